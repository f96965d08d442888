"""Several visits of one patient under one set of ids: registered, matched, and told apart by their days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from synth.errors import InputError
from synth.parse import Parse
from synth.parse.match import Matching, MatchRules, match, persist_ids
from synth.pipeline.preflight import preflight, require
from synth.volume import Volume
from synth.volume.register import Kind, register


def persistent(
    parses: Sequence[Parse],
    images: Sequence[Volume] | None = None,
    *,
    kind: Kind = "rigid",
    rules: MatchRules | None = None,
) -> tuple[Parse, ...]:
    """The visits with the ids of the last one, each on its own grid.

    Each visit is matched with the one after it, so that an entity keeps its id through all of them. Findings that have
    become one by the next visit are that one before as well, their masks together: what it grew from is all of them.
    With the images, each visit is registered to the last one first; without, they are taken to lie in one world.

    Args:
        parses: in the order of time; images: one a parse.
        kind: rigid for images of one scanner, affine where voxel sizes are in doubt.

    Raises:
        InputError: not one image for each parse, an image on another grid than its parse, or one that cannot be read
            as what it is said to be (`preflight`).

    Example:
        >>> from synth.parse import Entity
        >>> from synth.volume import Geometry
        >>> grid = Geometry.regular((4, 4, 4), 3.0)
        >>> a, b = (Parse([Entity(id=id, name="liver")], geometry=grid) for id in ("organ-1", "liver"))
        >>> [parse.ids for parse in persistent([a, b])]
        [('liver',), ('liver',)]
    """
    placed = list(parses) if images is None else _in_one_world(parses, images, kind)
    found: list[Parse] = [parses[-1]]
    later = placed[-1]
    for own, earlier in zip(reversed(parses[:-1]), reversed(placed[:-1]), strict=True):
        matching = match(later, earlier, rules)
        found.append(_joined(own, matching, later))
        later = _joined(earlier, matching, later)
    return tuple(reversed(found))


def _joined(earlier: Parse, matching: Matching, later: Parse) -> Parse:
    """The earlier visit with the ids of the later one, and as one what has become one."""
    parse = persist_ids(earlier, matching, later)
    now = dict(zip(earlier.ids, parse.ids, strict=True))
    for group in matching.regroups:
        if group.kind == "split":  # of the later visit's one into the earlier one's several
            one, *others = (now[id] for id in group.second)
            together = parse.masks[one]
            for other in others:
                together = together | parse.masks[other]
            parse = parse.with_mask(one, together).without(*others)
    return parse


def _in_one_world(parses: Sequence[Parse], images: Sequence[Volume], kind: Kind) -> list[Parse]:
    """The parses in the world of the last image; the masks keep their voxels, the grids move."""
    if len(images) != len(parses):
        raise InputError(
            "images of the visits", expected=f"{len(parses)}, one a parse", got=str(len(images)), fix="give all"
        )
    for number, (parse, image) in enumerate(zip(parses, images, strict=True), start=1):
        difference = parse.geometry.describe_difference(image.geometry)
        if difference:
            fix = "resample one to the other"
            raise InputError(f"image of visit {number}", expected="the grid of its parse", got=difference, fix=fix)
        require(replace(each, what=f"visit {number}: {each.what}") for each in preflight(image, parse))
    moved = []
    for parse, image in zip(parses[:-1], images[:-1], strict=True):
        moved.append(parse.replace(geometry=register(image, images[-1], kind).moved(parse.geometry)))
    return [*moved, parses[-1]]
