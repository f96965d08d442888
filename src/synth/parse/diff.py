"""What changed between two parses, entity by entity: a structural difference that can be read, and applied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from synth.errors import InputError
from synth.parse.changes import (
    AttributeChange,
    Change,
    CircumstanceChange,
    EntityChange,
    GridChange,
    MaskChange,
    RelationChange,
)
from synth.parse.items import Entity, Relation
from synth.parse.match import Matching, MatchRules, match, persist_ids
from synth.parse.parse import Parse
from synth.volume import Geometry, Mask

Item = TypeVar("Item")


@dataclass(frozen=True)
class ParseDiff:
    """The difference of two parses whose ids mean the same entities.

    `apply(diff(a, b), a) == b`, and the difference of a parse with itself is empty.
    """

    entities: tuple[EntityChange, ...] = ()
    attributes: tuple[AttributeChange, ...] = ()
    relations: tuple[RelationChange, ...] = ()
    masks: tuple[MaskChange, ...] = ()
    grid: GridChange | None = None
    circumstance: CircumstanceChange | None = None

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change, entities first."""
        whole = tuple(change for change in (self.grid, self.circumstance) if change is not None)
        return (*self.entities, *self.masks, *self.attributes, *self.relations, *whole)

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        return not self.changes

    @property
    def presence_flips(self) -> tuple[EntityChange, ...]:
        """The changes of presence."""
        return tuple(change for change in self.entities if change.is_flip)

    def sentences(self) -> tuple[str, ...]:
        """One sentence a change."""
        return tuple(change.sentence() for change in self.changes)

    def edges(self) -> tuple[Relation, ...]:
        """A `changed_from` edge for each changed entity that both parses have, the difference as its payload."""
        gone = {change.entity.id for change in self.entities if change.before is None or change.after is None}
        facts: dict[str, dict[str, Any]] = {}
        for id, key, value in _edge_facts(self):
            if id not in gone:
                facts.setdefault(id, {}).setdefault(key, {}).update(value)
        return tuple(changed_from(id, id, payload) for id, payload in facts.items())

    def to_json(self) -> dict[str, Any]:
        """The difference as JSON data, volumes in place of masks."""
        return {
            "entities": [_both(change.before, change.after) for change in self.entities],
            "masks": [
                {"entity": change.entity.id, "before_ml": change.before_ml, "after_ml": change.after_ml}
                for change in self.masks
            ],
            "attributes": [_both(change.before, change.after) for change in self.attributes],
            "relations": [_both(change.before, change.after) for change in self.relations],
            "grid": self.grid and {"before": self.grid.before.to_json(), "after": self.grid.after.to_json()},
            "circumstance": self.circumstance and _both(self.circumstance.before, self.circumstance.after),
            "sentences": list(self.sentences()),
        }


def diff(first: Parse, second: Parse) -> ParseDiff:
    """Compare by id; where ids do not persist, `compare_visits` matches the entities first.

    Example:
        >>> z = Parse([Entity(id="liver", name="liver")], geometry=Geometry.regular((4, 4, 4), 3.0))
        >>> diff(z, z).is_empty, diff(z, z.with_presence("liver", "absent")).sentences()
        (True, ('liver: present before, absent now',))
    """
    old, new = ({e.id: e for e in parse.entities} for parse in (first, second))
    known = {**old, **new}
    attributes = _shifts({a.key: a for a in first.attributes}, {a.key: a for a in second.attributes})
    relations = _shifts({r.key: r for r in first.relations}, {r.key: r for r in second.relations})
    same_grid, same_circumstance = first.geometry == second.geometry, first.circumstance == second.circumstance
    return ParseDiff(
        entities=tuple(EntityChange(before, after) for before, after in _shifts(old, new)),
        attributes=tuple(
            AttributeChange(known[(after or before).entity], before, after) for before, after in attributes
        ),
        relations=tuple(
            RelationChange(known[(after or before).subject], known[(after or before).object], before, after)
            for before, after in relations
        ),
        masks=tuple(_mask_changes(first, second, known)),
        grid=None if same_grid else GridChange(first.geometry, second.geometry),
        circumstance=None if same_circumstance else CircumstanceChange(first.circumstance, second.circumstance),
    )


def apply(change: ParseDiff, first: Parse) -> Parse:
    """The second parse, from the first and the difference; a first parse that it does not fit is an `InputError`."""
    entities = _patched("entities", {e.id: e for e in first.entities}, [(c.entity.id, c) for c in change.entities])
    attributes = _patched(
        "attributes", {a.key: a for a in first.attributes}, [(c.attribute.key, c) for c in change.attributes]
    )
    relations = _patched(
        "relations", {r.key: r for r in first.relations}, [(c.relation.key, c) for c in change.relations]
    )
    masks = _patched("masks", dict(first.masks), [(c.entity.id, c) for c in change.masks])
    geometry = _exchanged("geometry", first.geometry, change.grid)
    circumstance = _exchanged("circumstance", first.circumstance, change.circumstance)
    return Parse(
        entities.values(),
        attributes.values(),
        relations.values(),
        geometry=geometry,
        circumstance=circumstance,
        masks=masks,
    )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two visits of one patient: which entity is which, the second parse under persistent ids, and what changed."""

    matching: Matching
    second: Parse
    diff: ParseDiff
    edges: tuple[Relation, ...]

    def with_history(self) -> Parse:
        """The second parse with the `changed_from` edges whose ends it has; those it has already stay."""
        have = {relation.key for relation in self.second.relations}
        fresh = [e for e in self.edges if e.object in self.second and e.key not in have]
        return self.second.replace(relations=(*self.second.relations, *fresh))


def compare_visits(first: Parse, second: Parse, rules: MatchRules | None = None) -> Comparison:
    """Match the entities, give the second visit the ids of the first, and compare.

    Merges and splits add `changed_from` edges from each entity of the second visit to each of the first that it was.
    """
    matching = match(first, second, rules)
    renamed = persist_ids(second, matching, first)
    change = diff(first, renamed)
    new_id = dict(zip(second.ids, renamed.ids, strict=True))
    regrouped = [
        changed_from(new_id[later], earlier, {"regrouped": group.kind})
        for group in matching.regroups
        for later in group.second
        for earlier in group.first
        if new_id[later] != earlier
    ]
    return Comparison(matching, renamed, change, (*change.edges(), *regrouped))


def changed_from(later: str, earlier: str, payload: dict[str, Any]) -> Relation:
    """The temporal edge from an entity to what it was at an earlier visit."""
    return Relation(type="changed_from", subject=later, object=earlier, payload=payload, derived=True)


def _shifts(old: Mapping[Any, Item], new: Mapping[Any, Item]) -> list[tuple[Any, Any]]:
    """Before and after of every key whose item differs; None where there is none."""
    keys = [*old, *(key for key in new if key not in old)]
    return [(old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def _mask_changes(first: Parse, second: Parse, known: Mapping[str, Entity]) -> Iterator[MaskChange]:
    for id in [*first.masks, *(id for id in second.masks if id not in first.masks)]:
        before, after = first.masks.get(id), second.masks.get(id)
        if before != after:
            yield MaskChange(known[id], before, after, _ml(before, first.geometry), _ml(after, second.geometry))


def _ml(mask: Mask | None, geometry: Geometry) -> float | None:
    return None if mask is None else mask.volume_ml(geometry)


def _edge_facts(change: ParseDiff) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for flip in change.presence_flips:
        states = {"before": flip.before, "after": flip.after}
        yield flip.entity.id, "presence", {when: str(entity.presence) for when, entity in states.items() if entity}
    for shift in change.attributes:
        value = {"before": shift.before and shift.before.value, "after": shift.after and shift.after.value}
        key = shift.attribute.type + (f"@{shift.attribute.phase}" if shift.attribute.phase else "")
        if value["before"] != value["after"]:
            yield shift.entity.id, "attributes", {key: value}
    for mask in change.masks:
        yield mask.entity.id, "volume_ml", {"before": mask.before_ml, "after": mask.after_ml}
    for edge in change.relations:
        if edge.before is None or edge.after is None:
            sign = "came" if edge.before is None else "went"
            yield edge.subject.id, "relations", {f"{edge.relation.type} {edge.object.id}": sign}


def _both(before: Any, after: Any) -> dict[str, Any]:
    return {
        "before": None if before is None else before.model_dump(mode="json"),
        "after": None if after is None else after.model_dump(mode="json"),
    }


def _patched(what: str, items: dict[Any, Any], changes: list[tuple[Any, Any]]) -> dict[Any, Any]:
    for key, change in changes:
        _require_fit(what, items.get(key) == change.before, key)
        if change.after is None:
            del items[key]
        else:
            items[key] = change.after
    return items


def _exchanged(what: str, item: Any, change: GridChange | CircumstanceChange | None) -> Any:
    if change is None:
        return item
    _require_fit(what, item == change.before, what)
    return change.after


def _require_fit(what: str, fits: bool, key: object) -> None:
    if not fits:
        got = f"another state of {key}"
        raise InputError(
            f"diff of {what}", expected="the parse that it was made from", got=got, fix="compare these two anew"
        )
