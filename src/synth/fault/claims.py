"""Faults of what is said: names, sides, attribute values, relations."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from synth.errors import InputError
from synth.fault.record import Expectation, Family, Faulted, FaultRecord, FaultSpec
from synth.fault.scene import Scene
from synth.parse import VOCABULARY, Attribute, AttributeType, Entity, Parse, Relation, attribute_type
from synth.volume import Mask

_TOLERANCES = (4.0, 10.0)
_ALSO_TRUE = {
    "air": "hypodense",
    "fat": "hypodense",
    "fluid": "hypodense",
    "calcified": "hyperdense",
    "metal": "hyperdense",
}
"""Attenuation classes that hold as well where a more definite one does: a cyst is fluid, and hypodense too."""


def relabel(scene: Scene, spec: FaultSpec) -> Faulted:
    """An entity under another name of the same kind: a stated one, or one of the parse that is not related to it."""
    entity = scene.choose(spec.entity, scene.drawn, "a present, delineated organ or finding")
    name = spec.to or _other_name(scene, entity)
    if VOCABULARY.term(name).name == entity.name:
        raise InputError("relabel", expected="another name", got=f"'{name}'", fix="choose another name")
    fits = [a for a in scene.parse.attributes_of(entity.id) if VOCABULARY.term(name).kind not in a.definition.kinds]
    parse = scene.parse.replace(
        entities=[e.renamed(name) if e.id == entity.id else e for e in scene.parse.entities],
        attributes=[a for a in scene.parse.attributes if a not in fits],
    )
    record = FaultRecord(
        Family.relabel,
        entity.id,
        (Expectation("wrong_label", name, entity.id),),
        1.0,
        "names",
        f"{entity.term.words} called {VOCABULARY.term(name).words}",
        {"from": entity.name, "to": name},
    )
    return Faulted(scene.redrawn(parse, entity.id), record)


def swap_sides(scene: Scene, spec: FaultSpec) -> Faulted:
    """A left and a right organ under each other's names."""
    entity = scene.choose(spec.entity, lambda e: _partner(scene, e) is not None, "a pair of which both are delineated")
    other = _partner(scene, entity)
    assert other is not None
    swapped = {entity.id: entity.renamed(other.name), other.id: other.renamed(entity.name)}
    parse = scene.parse.replace(entities=[swapped.get(e.id, e) for e in scene.parse.entities])
    expected = tuple(Expectation("wrong_label", swapped[id].name, id) for id in swapped)
    said = f"{entity.term.words} and {other.term.words} swapped"
    record = FaultRecord(Family.swap_sides, entity.id, expected, 2.0, "names", said, {"partner": other.id}, (other.id,))
    return Faulted(scene.redrawn(parse, *swapped), record)


def flip_attribute(scene: Scene, spec: FaultSpec) -> Faulted:
    """A declared attribute with another value: numbers 4 to 10 tolerances off, categories another of their kind."""
    attribute = _attribute(scene, spec)
    kind = attribute.definition
    value = spec.value if spec.value is not None else _other_value(kind, attribute.value, scene.rng)
    if kind.same(value, attribute.value):
        fix = "state another value"
        raise InputError("flip_attribute", expected="another value", got=f"{value} again", fix=fix)
    changed = attribute.changed(value=value)
    parse = scene.parse.replace(attributes=[changed if a == attribute else a for a in scene.parse.attributes])
    entity = scene.parse.entity(attribute.entity)
    off = _distance(kind, attribute.value, value)
    record = FaultRecord(
        Family.flip_attribute,
        entity.id,
        (Expectation("wrong_attribute", entity.name, entity.id),),
        off,
        "tolerances" if kind.is_numeric else "categories",
        f"{attribute.type} of {entity.term.words} changed from {attribute.value} to {value}",
        {"attribute": attribute.type, "from": attribute.value, "to": value, "phase": attribute.phase},
    )
    return Faulted(parse, record)


def wrong_relation(scene: Scene, spec: FaultSpec) -> Faulted:
    """A spatial relation turned around, or given another object, and declared as if it were read from the image."""
    within = None if spec.entity is None else scene.find(spec.entity).id
    wrong = list(_wrong_versions(scene, within))
    if not wrong:
        expected = "a spatial relation between delineated entities"
        raise InputError("parse", expected=expected, got="none", fix="derive relations first, or choose another entity")
    before, after = wrong[int(scene.rng.integers(len(wrong)))]
    parse = scene.parse.replace(relations=[after if r == before else r for r in scene.parse.relations])
    subject = scene.parse.entity(after.subject)
    record = FaultRecord(
        Family.wrong_relation,
        subject.id,
        (Expectation("wrong_relation", subject.name, subject.id),),
        1.0,
        "relations",
        f"{subject.id} declared {after.type.replace('_', ' ')} {after.object}, which is wrong",
        {"from": list(before.key), "to": list(after.key)},
        tuple({before.subject, before.object, after.object} - {subject.id}),
    )
    return Faulted(parse, record)


def _other_name(scene: Scene, entity: Entity) -> str:
    """A name of the parse that is unrelated to the entity's; or else its nearest cousin in the vocabulary."""
    within_parse = {e.name for e in scene.parse.entities if e.kind is entity.kind}
    wider = [set(VOCABULARY.descendants(name)) for name in VOCABULARY.ancestors(entity.name)]
    for candidates in (within_parse, *wider):
        names = sorted(name for name in candidates if _unrelated(entity, name))
        if names:
            return names[int(scene.rng.integers(len(names)))]
    raise InputError("relabel", expected="another name of the same kind", got="none", fix="state the wrong name")


def _unrelated(entity: Entity, name: str) -> bool:
    """Of the same kind, neither wider nor narrower, nor the same on the other side."""
    lineage = {entity.name, entity.term.mirror, *VOCABULARY.ancestors(entity.name)}
    same_kind = VOCABULARY.term(name).kind is entity.kind
    return same_kind and name not in lineage and entity.name not in VOCABULARY.ancestors(name)


def _partner(scene: Scene, entity: Entity) -> Entity | None:
    mirror = entity.term.mirror
    if mirror is None or not scene.drawn(entity):
        return None
    return next((other for other in scene.parse.by_name(mirror) if scene.drawn(other)), None)


def _attribute(scene: Scene, spec: FaultSpec) -> Attribute:
    if spec.attribute is not None:
        attribute_type(spec.attribute)
    within = None if spec.entity is None else scene.find(spec.entity).id
    found = [
        a
        for a in scene.parse.attributes
        if not a.derived
        and a.entity == (within or a.entity)
        and a.type == (spec.attribute or a.type)
        and a.entity not in scene.spared
    ]
    if not found:
        got = "none but derived ones" if scene.parse.attributes else "none"
        raise InputError(
            "parse", expected="a declared attribute", got=got, fix="choose another fault, or another parse"
        )
    return found[int(scene.rng.integers(len(found)))]


def _other_value(kind: AttributeType, value: float | str, rng: np.random.Generator) -> float | str:
    if kind.values is not None:
        true = (value, _ALSO_TRUE.get(str(value)))
        others = [each for each in kind.values if each not in true and each not in kind.beside_scale]
        return others[int(rng.integers(len(others)))]
    assert not isinstance(value, str)
    step = rng.uniform(*_TOLERANCES) * kind.tolerance
    choices = [each for each in (value - step, value + step) if _in_range(kind, each)]
    if not choices:
        raise InputError(kind.name, expected="room for another value", got=f"{value:g}", fix="state the wrong value")
    return float(choices[int(rng.integers(len(choices)))])


def _in_range(kind: AttributeType, value: float) -> bool:
    return (kind.low is None or value >= kind.low) and (kind.high is None or value <= kind.high)


def _distance(kind: AttributeType, before: float | str, after: float | str) -> float:
    if kind.is_numeric and not isinstance(before, str) and not isinstance(after, str):
        return abs(after - before) / (kind.tolerance or 1.0)
    ranks = kind.rank(str(before)), kind.rank(str(after))
    return 1.0 if ranks[0] is None or ranks[1] is None else float(abs(ranks[0] - ranks[1]))


def _wrong_versions(scene: Scene, within: str | None) -> Iterable[tuple[Relation, Relation]]:
    """Each spatial relation between delineated entities with a wrong version of it that keeps closure."""
    taken = {relation.key for relation in scene.parse.relations}
    drawn = set(scene.parse.present_ids) - scene.spared
    for relation in scene.parse.relations:
        if relation.definition.family != "spatial" or not {relation.subject, relation.object} <= drawn:
            continue
        if within not in (None, relation.subject):
            continue
        wrong = _wrong_version(scene, relation)
        if wrong is not None and wrong.key not in taken:
            yield relation, wrong


def _wrong_version(scene: Scene, relation: Relation) -> Relation | None:
    inverse = relation.definition.inverse
    if inverse is not None and inverse != relation.type:
        return relation.changed(type=inverse, derived=False, payload=None)
    subject = scene.parse.masks[relation.subject]
    far = [
        e.id
        for e in scene.parse.entities
        if scene.drawn(e) and e.id not in (relation.subject, relation.object) and _apart(scene.parse, subject, e.id)
    ]
    if not far:
        return None
    chosen = far[int(scene.rng.integers(len(far)))]
    return relation.changed(object=chosen, derived=False, payload=None)


def _apart(parse: Parse, mask: Mask, other: str) -> bool:
    """The two do not touch: no relation of contact between them can be true."""
    grown = mask.padded_slices(2)
    return not parse.masks[other].crop(grown).any()
