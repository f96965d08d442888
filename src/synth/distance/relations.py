"""Which relations of an entity hold in one parse and clearly do not in the other."""

from __future__ import annotations

from scipy import ndimage

from synth.distance.terms import Term
from synth.parse import Parse
from synth.volume import Mask

PLACES = ("located_in", "abuts", "encases")
LEAST_INSIDE = 0.25  # half of what it takes to be inside
APART = 2  # voxels of gap from which two that touched are apart: one more than a border may move


def relations(one: Parse, other: Parse, entity: str) -> list[Term]:
    """How many of the entity's relations, declared in either parse, hold in the masks of only one of them."""
    edges = {
        (r.type, r.subject, r.object)
        for parse in (one, other)
        for r in parse.relations_of(entity)
        if r.type in PLACES and entity == r.subject and {r.subject, r.object} <= {*one.masks} & {*other.masks}
    }
    if not edges:
        return []
    changed = sum(_denied(type, one, a, b) != _denied(type, other, a, b) for type, a, b in edges)
    return [Term("relations", float(changed), 0.0)]


def _denied(type: str, parse: Parse, subject: str, object: str) -> bool:
    a, b = parse.masks[subject], parse.masks[object]
    if type == "located_in":  # a label map cuts the finding out of its host, so that only its shell lies in there
        shell = _grown(a, 1) - a
        return max(a.overlap(b) / max(a.voxels, 1), shell.overlap(b) / max(shell.voxels, 1)) < LEAST_INSIDE
    return _grown(a, APART).overlap(b) == 0


def _grown(mask: Mask, steps: int) -> Mask:
    slices = mask.padded_slices(steps)
    start = (slices[0].start, slices[1].start, slices[2].start)
    return Mask.from_box(mask.shape, start, ndimage.binary_dilation(mask.crop(slices), iterations=steps))
