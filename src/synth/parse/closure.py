"""Closure: what makes a parse well-formed, each breach reported with the path of the field.

A declared relation that disagrees with the masks is *not* a breach: it is a wrong relation, for the audit to find.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from synth.errors import InputError
from synth.parse.items import Attribute, Entity, Relation
from synth.parse.kinds import Presence
from synth.parse.relation_types import RELATION_TYPES
from synth.volume import Geometry, Mask

MAX_ENTITIES = 10_000
MAX_FACTS = 200_000

CAN_HAVE_MASK = frozenset({Presence.present, Presence.uncertain})


def breaches(
    entities: Sequence[Entity],
    attributes: Sequence[Attribute],
    relations: Sequence[Relation],
    geometry: Geometry,
    masks: Mapping[str, Mask],
) -> Iterator[InputError]:
    """Everything that keeps these parts from being a parse, in the order of the fields."""
    yield from _counts(entities, attributes, relations)
    if geometry.axis_codes != "RAS":
        yield InputError(
            "geometry.affine", expected="RAS axes", got=geometry.axis_codes, fix="reorient the masks first"
        )
    known = {entity.id: entity for entity in entities}
    yield from _duplicate_ids(entities)
    yield from _attributes(attributes, known)
    yield from _relations(relations, known)
    yield from _masks(entities, known, masks, geometry)


def _counts(
    entities: Sequence[Entity], attributes: Sequence[Attribute], relations: Sequence[Relation]
) -> Iterator[InputError]:
    limits = (
        ("entities", entities, MAX_ENTITIES),
        ("attributes", attributes, MAX_FACTS),
        ("relations", relations, MAX_FACTS),
    )
    for name, items, limit in limits:
        if len(items) > limit:
            yield InputError(name, expected=f"at most {limit}", got=str(len(items)), fix="split the parse")


def _duplicate_ids(entities: Iterable[Entity]) -> Iterator[InputError]:
    """Ids that differ only in case count as equal: their masks would be one file on some disks."""
    seen: set[str] = set()
    for index, entity in enumerate(entities):
        if entity.id.casefold() in seen:
            yield InputError(
                f"entities[{index}].id",
                expected="an id of its own",
                got=f"'{entity.id}' again",
                fix="rename one of the two",
            )
        seen.add(entity.id.casefold())


def _attributes(attributes: Iterable[Attribute], known: Mapping[str, Entity]) -> Iterator[InputError]:
    seen: set[tuple[str, str, str | None]] = set()
    for index, attribute in enumerate(attributes):
        path = f"attributes[{index}]"
        entity = known.get(attribute.entity)
        if entity is None:
            yield _unresolved(f"{path}.entity", attribute.entity)
        elif entity.kind not in attribute.definition.kinds:
            kinds = ", ".join(attribute.definition.kinds)
            got = f"'{entity.id}', {entity.kind.with_article}"
            yield InputError(
                f"{path}.entity", expected=f"for '{attribute.type}' {kinds}", got=got, fix="bind it elsewhere"
            )
        if attribute.key in seen:
            got = f"'{attribute.type}' of '{attribute.entity}' again"
            yield InputError(path, expected="one value an entity, type and phase", got=got, fix="keep one of the two")
        seen.add(attribute.key)


def _relations(relations: Sequence[Relation], known: Mapping[str, Entity]) -> Iterator[InputError]:
    seen: set[tuple[str, str, str]] = set()
    for index, relation in enumerate(relations):
        for end in ("subject", "object"):
            if getattr(relation, end) not in known:
                yield _unresolved(f"relations[{index}].{end}", getattr(relation, end))
        if relation.key in seen:
            got = f"{relation.subject} {relation.type} {relation.object} again"
            yield InputError(f"relations[{index}]", expected="each edge once", got=got, fix="keep one of the two")
        seen.add(relation.key)
    for name, kind in RELATION_TYPES.items():
        if kind.acyclic:
            yield from _cycle(name, relations)


def _cycle(name: str, relations: Sequence[Relation]) -> Iterator[InputError]:
    """Report one edge that closes a cycle of this type."""
    edges = {(each.subject, each.object): index for index, each in enumerate(relations) if each.type == name}
    graph: TopologicalSorter[str] = TopologicalSorter()
    for subject, object in edges:
        graph.add(subject, object)
    try:
        graph.prepare()
    except CycleError as error:
        # The cycle runs from each object to its subject.
        cycle = list(reversed(error.args[1]))
        path = f"relations[{edges[cycle[0], cycle[1]]}].object"
        yield InputError(path, expected=f"no cycle of {name}", got=" > ".join(cycle), fix="drop one of these edges")


def _masks(
    entities: Sequence[Entity], known: Mapping[str, Entity], masks: Mapping[str, Mask], geometry: Geometry
) -> Iterator[InputError]:
    for id, mask in masks.items():
        entity = known.get(id)
        if entity is None:
            yield _unresolved(f"masks[{id}]", id)
        else:
            yield from mask_breaches(entity, mask, geometry)
    for index, entity in enumerate(entities):
        if entity.delineated and entity.id not in masks:
            got = "no mask"
            yield InputError(
                f"entities[{index}].delineated", expected=f"a mask of '{entity.id}'", got=got, fix="add the mask"
            )
        if entity.delineated is False and entity.id in masks:
            path, expected = f"entities[{index}].delineated", f"true for '{entity.id}', which has a mask"
            yield InputError(path, expected=expected, got="false", fix="drop the mask or the claim")


def mask_breaches(entity: Entity, mask: Mask, geometry: Geometry) -> Iterator[InputError]:
    """What keeps this mask from being that of this entity."""
    path = f"masks[{entity.id}]"
    if entity.presence not in CAN_HAVE_MASK:
        expected = f"none, for '{entity.id}' is {entity.presence}"
        yield InputError(path, expected=expected, got="a mask", fix="drop the mask or change the presence")
    if tuple(mask.shape) != tuple(geometry.shape):
        fix = "resample it to the grid of the parse"
        yield InputError(path, expected=f"shape {tuple(geometry.shape)}", got=f"{tuple(mask.shape)}", fix=fix)
    if mask.is_empty:
        fix = "leave the mask out, or declare the entity absent"
        yield InputError(path, expected="at least one voxel", got="an empty mask", fix=fix)


def _unresolved(path: str, id: str) -> InputError:
    return InputError(
        path, expected="the id of a declared entity", got=f"'{id}'", fix="declare that entity or correct the id"
    )
