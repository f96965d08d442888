"""A structural difference as a radiologist would dictate it: one sentence for each finding or organ that changed."""

from __future__ import annotations

from collections.abc import Iterator

from synth.parse.changes import RelationChange, named
from synth.parse.diff import ParseDiff
from synth.parse.items import Entity, Relation
from synth.parse.kinds import Kind, Presence
from synth.parse.measure import axial_extent
from synth.parse.parse import Parse
from synth.parse.vocabulary import VOCABULARY

STEADY = 0.1  # share of the volume below which a change is no more than an outline drawn anew
_PASSIVE = {"abuts": "abuts", "encases": "encased by", "located_in": "contains"}


def narrative(first: Parse, second: Parse, change: ParseDiff) -> tuple[str, ...]:
    """One sentence for each entity that changed, findings first: size, then contacts gained and lost.

    What follows from a change of presence or of a mask (lapsed measurements, edges of what is gone, provenance) is left
    out; `ParseDiff.sentences` has all of it.

    Args:
        first, second: the parses that `change` is the difference of.

    Example:
        >>> import numpy as np
        >>> from synth.parse.diff import diff
        >>> from synth.volume import Geometry, Mask
        >>> boxes = [Mask.from_box((9, 9, 9), (2, 2, 2), np.ones((n, 2, 2), bool)) for n in (2, 4)]
        >>> grid = Geometry.regular((9, 9, 9), 5.0)
        >>> a, b = (Parse([Entity(id="m1", name="liver_metastasis")], geometry=grid, masks={"m1": m}) for m in boxes)
        >>> narrative(a, b, diff(a, b))
        ('Liver metastasis (m1) grew from 1 to 2 mL (+100%), longest axis 11 to 21 mm.',)
    """
    days = _days(first, second)
    told = [s for entity in _order(change) if (s := _sentence(entity, first, second, change, days))]
    if not told:
        return (f"No change{days}.",)
    return tuple(told)


def _order(change: ParseDiff) -> list[Entity]:
    """Every entity that something is said about: findings, those that are new, then the others."""
    found = {c.entity.id: c.entity for c in change.entities} | {c.entity.id: c.entity for c in change.masks}
    for edge in change.relations:
        for end in (edge.subject, edge.object):
            if end.kind is Kind.finding:
                found.setdefault(end.id, end)
    new = {c.entity.id for c in change.entities if c.before is None}
    return sorted(found.values(), key=lambda e: (e.kind is not Kind.finding, e.id in new))


def _sentence(entity: Entity, first: Parse, second: Parse, change: ParseDiff, days: str) -> str | None:
    what = _what(entity, first, second)
    settled = what is not None and what.startswith(
        ("is gone", "has resolved", "has merged into", "is new", "has split", "was ")
    )
    contacts = [] if settled else list(_contacts(entity, second, change))
    if what is None and not contacts:
        return None
    label = named(entity)
    label = label[0].upper() + label[1:]
    parts = "; ".join(([what + days] if what else []) + contacts)
    return f"{label} {parts}."


def _what(entity: Entity, first: Parse, second: Parse) -> str | None:
    """What became of the entity itself."""
    before, after = (_state(parse, entity.id) for parse in (first, second))
    if before is Presence.present and after is Presence.absent:
        into = _merged_into(entity.id, second)
        if into:
            return f"has merged into {named(second.entity(into))}"
        return "has resolved" if _resolved(entity.id, second) else "is gone"
    if before is None:
        source = _split_from(entity.id, second)
        came = f"has split off {named(second.entity(source))}" if source else f"is new{_place(entity.id, second)}"
        return ", ".join(part for part in (came, _size(entity.id, second)) if part)
    if before is not after:
        return f"was {_words(before)} and is {_words(after)}"
    taken_up = [
        r.object for r in second.relations_of(entity.id) if r.subject == entity.id and _regrouped(r.payload, "merge")
    ]
    growth = _growth(entity.id, first, second)
    if taken_up and growth:
        return f"has merged with {', '.join(named(first.entity(id)) for id in taken_up if id in first)} and {growth}"
    return growth


def _place(id: str, parse: Parse) -> str:
    hosts = [parse.entity(r.object).term.words for r in parse.relations_of(id) if r.key[:2] == ("located_in", id)]
    return f" in {' and '.join(hosts)}" if hosts else ""


def _growth(id: str, first: Parse, second: Parse) -> str | None:
    if id not in first.masks or id not in second.masks or first.masks[id] == second.masks[id]:
        return None
    old, new = (parse.masks[id].volume_ml(parse.geometry) for parse in (first, second))
    percent = 100.0 * (new / old - 1.0)
    verb = "is stable at" if abs(new / old - 1.0) < STEADY else ("grew from" if new > old else "shrank from")
    sizes = f"{new:.3g} mL" if verb.startswith("is") else f"{old:.3g} to {new:.3g} mL"
    if second.entity(id).kind is not Kind.finding:
        return f"{verb} {sizes} ({percent:+.0f}%)"
    axes = [axial_extent(parse.masks[id], parse.geometry).longest_mm for parse in (first, second)]
    return f"{verb} {sizes} ({percent:+.0f}%), longest axis {axes[0]:.0f} to {axes[1]:.0f} mm"


def _contacts(entity: Entity, second: Parse, change: ParseDiff) -> Iterator[str]:
    """Neighbours gained and lost; each edge is told by the finding, or by its subject.

    That a lesion in an organ comes to touch another part of that organ goes without saying.
    """
    hosts = {second.entity(r.object).name for r in _hosted(entity, second)}
    for edge in change.relations:
        teller = (
            edge.subject if edge.subject.kind is Kind.finding or edge.object.kind is not Kind.finding else edge.object
        )
        if teller.id != entity.id or not _is_contact(edge):
            continue
        other = edge.object if teller.id == edge.subject.id else edge.subject
        if edge.relation.type == "abuts" and VOCABULARY.whole(other.name) in hosts:
            continue
        sign = "now" if edge.before is None else "no longer"
        verb = _words(edge.relation.type) if edge.subject.id == entity.id else _PASSIVE[edge.relation.type]
        yield f"{sign} {verb} {named(other)}"


def _hosted(entity: Entity, second: Parse) -> Iterator[Relation]:
    if entity.id in second:
        yield from (r for r in second.relations_of(entity.id) if r.key[:2] == ("located_in", entity.id))


def _is_contact(edge: RelationChange) -> bool:
    one_sided = (edge.before is None) != (edge.after is None)
    return one_sided and edge.relation.type in _PASSIVE


def _merged_into(id: str, second: Parse) -> str | None:
    return next((r.subject for r in second.relations if _regrouped(r.payload, "merge") and r.object == id), None)


def _split_from(id: str, second: Parse) -> str | None:
    return next((r.object for r in second.relations if _regrouped(r.payload, "split") and r.subject == id), None)


def _resolved(id: str, second: Parse) -> bool:
    """Whether it disappeared of itself or under treatment, rather than being taken out."""
    said = (r.payload for r in second.relations_of(id) if r.key == ("changed_from", id, id))
    return any(payload is not None and payload.get("resolved") is True for payload in said)


def _regrouped(payload: object, kind: str) -> bool:
    return isinstance(payload, dict) and payload.get("regrouped") == kind


def _size(id: str, parse: Parse) -> str:
    if id not in parse.masks:
        return ""
    mask = parse.masks[id]
    return (
        f"{mask.volume_ml(parse.geometry):.3g} mL, longest axis {axial_extent(mask, parse.geometry).longest_mm:.0f} mm"
    )


def _state(parse: Parse, id: str) -> Presence | None:
    """What the parse claims about this id; None where it does not mention it."""
    return parse.entity(id).presence if id in parse else None


def _days(first: Parse, second: Parse) -> str:
    start, stop = first.circumstance.day, second.circumstance.day
    if start is None or stop is None or stop == start:
        return ""
    return f" within {stop - start:g} {'day' if stop - start == 1 else 'days'}"


def _words(name: object) -> str:
    return str(name).replace("_", " ")
