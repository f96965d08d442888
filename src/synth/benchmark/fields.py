"""Parses with one field changed: what the honesty of a decoder is tried on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from synth.errors import InputError
from synth.parse import ATTRIBUTE_TYPES, Attribute, Kind, Modality, Parse, Phase, Presence, Relation
from synth.parse.place import place_undrawn
from synth.volume import Geometry, Mask

ENTITIES = 2  # a field is tried on so many entities of each patient, the largest first
STEPS = {
    "mean_attenuation": 60.0,
    "attenuation_spread": 30.0,
    "texture": 2.0,
    "edge_sharpness": 20.0,
    "enhancement": 60.0,
}
UP = ("mean_attenuation", "enhancement")
DENSER = {"steatosis_grade": -1, "attenuation_class": 1}  # the last category against the first
ENHANCING = ("aorta", "kidney_left", "kidney_right", "spleen", "portal_vein_and_splenic_vein")
MEASURED_BACK = ("attenuation_spread", "texture", "edge_sharpness")
PLACING = ("abuts", "left_of", "superior_to", "anterior_to")
NEAREST, MOVED = 12, 0.5  # organs that a finding may have a relation to, and the Dice below which that moved it
COVERED = 0.5  # an entity of which others cover more has no look of its own


@dataclass(frozen=True, eq=False)
class Change:
    """One field of a parse, before and after.

    Attributes:
        field: what was changed; where: the place that it speaks of; direction: 1 brighter, -1 darker, 0 neither;
        local: whether it speaks of that place only; back: what is measured back, if that is how the effect is found;
        share: of the place that can change.
    """

    field: str
    before: Parse
    after: Parse
    where: Mask
    direction: int = 0
    local: bool = True
    back: Back | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Back:
    """A numeric attribute that was declared higher, to be measured in what is drawn."""

    entity: str
    kind: str
    step: float


def changes(parse: Parse, body: Mask) -> Iterator[Change]:
    """Every field that the parse holds, changed."""
    yield from _presence(parse)
    yield from _masks_and_names(parse)
    yield from _attributes(parse)
    yield from _relations(parse)
    yield from _circumstance(parse, body)


def _largest(parse: Parse, ids: Sequence[str]) -> list[str]:
    return sorted((i for i in ids if i in parse.masks), key=lambda i: -parse.masks[i].voxels)[:ENTITIES]


def _presence(parse: Parse) -> Iterator[Change]:
    for name in ("kidney_left", "spleen"):
        for entity in parse.by_name(name):
            if entity.id in parse.masks:
                where, without = parse.masks[entity.id], parse.without(entity.id)
                yield Change("presence: left out", parse, without, where)
                open_ = _without_tissues(parse)
                bare = open_.with_presence(entity.id, Presence.absent)
                yield Change("presence: absent, against left out", open_.without(entity.id), bare, where)
                yield Change("presence: uncertain", parse, parse.with_presence(entity.id, Presence.uncertain), where)
    for name in ("fat", "bone", "body"):
        for entity in parse.by_name(name):
            yield Change(
                f"tissue: {name}", parse, parse.without(entity.id), parse.masks[entity.id], local=name != "body"
            )


def _masks_and_names(parse: Parse) -> Iterator[Change]:
    for name in ("spleen", "kidney_left"):
        for entity in parse.by_name(name):
            if entity.id in parse.masks:
                own = parse.masks[entity.id]
                dense = np.roll(own.dense(), 4, axis=1)
                moved = parse.with_mask(entity.id, Mask.from_dense(dense))
                where = own.union(moved.masks[entity.id]).difference(own.intersection(moved.masks[entity.id]))
                yield Change("mask: moved", parse, moved, where)
                other = next((n for n in ("vertebrae_L3", "lung_lower_lobe_left") if not parse.by_name(n)), "sternum")
                named = entity.model_copy(update={"name": other})
                entities = [named if e.id == entity.id else e for e in parse.entities]
                yield Change("name: soft organ called bone or lung", parse, parse.replace(entities=entities), own)


def _attributes(parse: Parse) -> Iterator[Change]:
    untold = parse.without_derived()  # what is measured says some of what a category says
    for kind in dict.fromkeys(a.type for a in parse.attributes):
        base = untold if any(a.type == kind for a in untold.attributes) else parse
        held = {a.entity: a for a in base.attributes if a.type == kind}
        measured = ATTRIBUTE_TYPES[kind].values is None  # else it speaks of the whole organ, its parts included
        drawn = [i for i in held if i in parse.masks and parse.entity(i).kind != Kind.tissue]
        drawn = [i for i in drawn if not (measured and _covered(parse, i))]
        for entity in _largest(parse, drawn):
            other, direction = _other(held[entity])
            after = base.replace(attributes=[other if a.key == other.key else a for a in base.attributes])
            back = Back(entity, kind, STEPS[kind]) if kind in MEASURED_BACK else None
            yield Change(f"attribute: {kind}", base, after, parse.masks[entity], direction, back=back)


def _covered(parse: Parse, id: str) -> bool:
    """Whether smaller entities, which have a look of their own, cover most of it."""
    own = parse.masks[id]
    rest = own.dense()
    for other in parse.present_ids:
        mask = parse.masks[other]
        if other != id and mask.voxels < own.voxels and parse.entity(other).kind != Kind.tissue:
            rest[mask.slices] &= ~mask.box
    return bool(np.count_nonzero(rest) < (1 - COVERED) * own.voxels)


def _other(attribute: Attribute) -> tuple[Attribute, int]:
    """The attribute with another value, and where the image should go."""
    kind = ATTRIBUTE_TYPES[attribute.type]
    if kind.values is None:
        assert not isinstance(attribute.value, str)  # numeric
        value = attribute.value + STEPS.get(kind.name, 0.25 * ((kind.high or 100.0) - (kind.low or 0.0)))
        return attribute.model_copy(update={"value": value}), int(kind.name in UP)
    scale = [v for v in kind.values if v not in kind.beside_scale]
    value_of = scale[-1] if attribute.value != scale[-1] else scale[0]
    direction = DENSER.get(kind.name, 0) * (1 if value_of == scale[-1] else -1)
    return attribute.model_copy(update={"value": value_of}), direction


def _relations(parse: Parse) -> Iterator[Change]:
    """Relations of an entity whose mask is not given, so that they say where it is: of findings, which are then placed
    by them, and of organs where no finding has any of the kind."""
    untold = _without_tissues(parse.without_derived())
    organs = {e.id for e in parse.entities if e.kind is Kind.organ and e.id in parse.masks}
    hosted = [r for r in parse.relations if r.type == "located_in" and r.object in organs and r.subject in parse.masks]
    for edge in hosted:
        bare = _undrawn(untold, edge.subject).replace(relations=[edge])
        where = parse.masks[edge.object]
        share = min(1.0, parse.masks[edge.subject].voxels / where.voxels)
        yield Change("relation: located_in", bare.replace(relations=[]), bare, where, share=share)
        part = bare.replace(relations=[Relation(type="part_of", subject=edge.subject, object=edge.object)])
        yield Change("relation: part_of", part.replace(relations=[]), part, where, share=share)
        for kind in PLACING:
            told = _told_place(bare, edge, kind)
            if told is not None:
                yield Change(f"relation: {kind}", bare, told, where, share=share)
    placing = {"located_in", "part_of", *PLACING} if hosted else set()
    for kind in dict.fromkeys(r.type for r in parse.relations if r.type not in placing):
        edges = [r for r in parse.relations if r.type == kind and r.object in parse.masks]
        for subject in _largest(parse, list(dict.fromkeys(r.subject for r in edges))):
            before = _undrawn(untold, subject)
            ends = [r.object for r in edges if r.subject == subject]
            after = before.replace(relations=[r for r in before.relations if (r.type, r.subject) != (kind, subject)])
            where = _union([parse.masks[i] for i in (subject, *ends)], parse.geometry)
            yield Change(f"relation: {kind}", before, after, where)


def _undrawn(parse: Parse, id: str) -> Parse:
    """The parse in which an entity is there but has no mask."""
    masks = {i: m for i, m in parse.masks.items() if i != id}
    there = parse.entity(id).model_copy(update={"delineated": False})
    return parse.replace(entities=[there if e.id == id else e for e in parse.entities], masks=masks)


def _told_place(bare: Parse, edge: Relation, kind: str) -> Parse | None:
    """The parse in which the finding has one relation more, to the nearest organ for which it finds a place."""
    host, grid = bare.masks[edge.object].centroid_mm(bare.geometry), bare.geometry
    organs = [e.id for e in bare.entities if e.kind is Kind.organ and e.id in bare.masks and e.id != edge.object]
    near = sorted(organs, key=lambda i: float(np.linalg.norm(bare.masks[i].centroid_mm(grid) - host)))
    for other in near[:NEAREST]:
        told = bare.replace(relations=[edge, Relation(type=kind, subject=edge.subject, object=other)])
        try:
            moved = place_undrawn(told, 0).masks[edge.subject]
        except InputError:  # it fits nowhere there
            continue
        if moved.dice(place_undrawn(bare, 0).masks[edge.subject]) < MOVED:
            return told
    return None


def _without_tissues(parse: Parse) -> Parse:
    return parse.without(*[e.id for e in parse.entities if e.kind == Kind.tissue])


def _circumstance(parse: Parse, body: Mask) -> Iterator[Change]:
    bright = [parse.masks[e.id] for n in ENHANCING for e in parse.by_name(n) if e.id in parse.masks]
    plain = parse.circumstance.model_copy(update={"phase": Phase.unenhanced})
    # A parse that gives each organ's HU has said it already: the phase is asked of one that does not.
    untold = parse.without_derived()
    if bright:
        after = untold.replace(circumstance=plain)
        yield Change("circumstance: phase", untold, after, _union(bright, parse.geometry), -1)
    other = untold.circumstance.model_copy(update={"modality": Modality.mr})
    yield Change("circumstance: modality", untold, untold.replace(circumstance=other), body, local=False)


def _union(masks: Sequence[Mask], geometry: Geometry) -> Mask:
    dense = np.zeros(geometry.shape, bool)
    for mask in masks:
        dense[mask.slices] |= mask.box
    return Mask.from_dense(dense)
