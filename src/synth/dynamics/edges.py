"""Relations of a future: those that its masks make true are added, those that they no longer make true are dropped."""

from __future__ import annotations

from collections.abc import Iterable

from synth.parse import Kind, Parse, Relation
from synth.parse.derive.relations import derive_relations

NEAR_MM = 26.0  # a little farther than relations between neighbours reach


def updated(now: Parse, then: Parse, changed: Iterable[str]) -> tuple[Relation, ...]:
    """The relations of `then`, whose masks of the `changed` entities are others than now.

    What the masks imply is read off both: an edge that held then and not now is new, one that held now and not then
    goes, and every other claim, right or wrong, stays as it is.
    """
    ids = {id for id in changed if id in now.masks or id in then.masks}
    if not ids:
        return then.relations
    around = {e.id for parse in (now, then) for e in parse.entities if _near(parse, e.id, ids)} | ids
    before, after = ({r.key: r for r in _implied(parse, around, ids)} for parse in (now, then))
    lost = {key for key in before if key not in after}
    kept = [r for r in then.relations if r.key not in lost]
    have = {r.key for r in kept}
    return (*kept, *(r for key, r in after.items() if key not in before and key not in have))


def _implied(parse: Parse, around: set[str], ids: set[str]) -> list[Relation]:
    """The edges that the masks imply and that have one of `ids` as an end."""
    kept = [e for e in parse.entities if e.id in around and e.id in parse.masks]
    bare = Parse(kept, geometry=parse.geometry, masks={e.id: parse.masks[e.id] for e in kept})
    return [r for r in derive_relations(bare).relations if r.subject in ids or r.object in ids]


def _near(parse: Parse, id: str, ids: set[str]) -> bool:
    if id not in parse.masks or parse.entity(id).kind is Kind.target:
        return False
    x, y, z = (max(1, int(NEAR_MM / step) + 1) for step in parse.geometry.spacing_mm)
    window = parse.masks[id].padded_slices((x, y, z))
    others = (parse.masks[other] for other in ids if other in parse.masks)
    return any(
        all(a.start < b.stop and b.start < a.stop for a, b in zip(window, o.slices, strict=True)) for o in others
    )
