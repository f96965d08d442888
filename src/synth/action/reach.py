"""What an action on entities of a parse reaches beside them."""

from __future__ import annotations

from collections.abc import Iterable

from synth.parse import Kind, Parse
from synth.volume import Mask

MOSTLY = 0.5  # share of its voxels from which on a finding lies in something


def with_contents(parse: Parse, ids: Iterable[str]) -> tuple[str, ...]:
    """These entities and whatever lies in them or is a part of them, by a relation or, of findings, by their voxels.

    Example:
        >>> from synth.parse import Entity, Relation
        >>> from synth.volume import Geometry
        >>> inside = Relation(type="located_in", subject="m", object="liver")
        >>> entities = [Entity(id="liver", name="liver"), Entity(id="m", name="metastasis")]
        >>> parse = Parse(entities, (), [inside], geometry=Geometry.regular((4, 4, 4), 3.0))
        >>> with_contents(parse, ["liver"])
        ('liver', 'm')
    """
    found = [id for id in dict.fromkeys(ids) if id in parse]
    for id in found:
        inner = [r.subject for r in parse.relations if r.type in ("located_in", "part_of") and r.object == id]
        if id in parse.present_ids:
            inner += mostly_within(parse, parse.masks[id])
        found += [i for i in dict.fromkeys(inner) if i not in found]
    return tuple(found)


def mostly_within(parse: Parse, mask: Mask) -> list[str]:
    """Ids of the drawn findings of which at least half lies in a mask on the grid of the parse."""
    findings = [i for i in parse.present_ids if parse.entity(i).kind is Kind.finding]
    return [i for i in findings if parse.masks[i].overlap(mask) >= MOSTLY * parse.masks[i].voxels]
