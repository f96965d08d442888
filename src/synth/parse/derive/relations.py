"""Spatial relations read off the masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.parse.items import Entity, Relation
from synth.parse.kinds import Kind, Side
from synth.parse.parse import Parse
from synth.parse.relation_types import canonical_edge
from synth.parse.vocabulary import VOCABULARY
from synth.volume import Mask, Slices3

_AXES = (("right_of", "left_of"), ("anterior_to", "posterior_to"), ("superior_to", "inferior_to"))
_HOSTS = (Kind.organ, Kind.substructure)
_PLACED = (Kind.organ, Kind.substructure, Kind.finding)


@dataclass(frozen=True)
class DerivationRules:
    """When a relation holds.

    Attributes:
        inside: least share of a finding that lies in its host, or, where labels exclude each other, of the voxels
            around the finding that are the host's.
        neighbour_mm: directions are given for pairs whose bounding boxes are no farther apart, and for mirrored pairs.
        encased: least share of a vessel's wall, along the tumour, that the tumour touches (0.5 is 180 degrees).
    """

    inside: float = 0.5
    neighbour_mm: float = 25.0
    encased: float = 0.5


@dataclass(frozen=True, eq=False)
class _Item:
    entity: Entity
    mask: Mask

    @cached_property
    def grown(self) -> Mask:
        """The mask with every voxel that shares a face with it."""
        slices = self.mask.padded_slices(1)
        box = ndimage.binary_dilation(self.mask.crop(slices))
        start = (slices[0].start, slices[1].start, slices[2].start)
        return Mask.from_box(self.mask.shape, start, box)

    @cached_property
    def shell(self) -> Mask:
        """The voxels right around the mask."""
        return self.grown - self.mask


def derive_relations(parse: Parse, rules: DerivationRules | None = None) -> Parse:
    """The parse with the spatial relations that its masks imply, in place of those derived before.

    `located_in` for findings, `part_of` for substructures, `abuts` where two share a face, `encases` for tumours around
    vessels, and one direction (`left_of`, `anterior_to`, `superior_to`) for neighbours that a plane separates.
    Declared relations stay as they are, and none is added that says the same.
    """
    rules = rules or DerivationRules()
    kept = [
        relation for relation in parse.relations if not (relation.derived and relation.definition.family == "spatial")
    ]
    said = {canonical_edge(*relation.key) for relation in kept}
    fresh = [each for each in _derived(parse, rules) if canonical_edge(*each.key) not in said]
    fresh = [each for each in fresh if not _closes_cycle(each, said)]
    types = sorted({f"relations.{each.type}" for each in fresh})
    circumstance = parse.circumstance.deriving(*types) if types else parse.circumstance
    return parse.replace(relations=(*kept, *fresh), circumstance=circumstance)


def _closes_cycle(relation: Relation, said: set[tuple[str, str, str]]) -> bool:
    """Whether declared edges lead back from its object to its subject: the declaration stays, wrong as it may be."""
    if not relation.definition.acyclic:
        return False
    reached, pending = set[str](), [relation.object]
    while pending:
        here = pending.pop()
        reached.add(here)
        pending += [
            there for type, start, there in said if (type, start) == (relation.type, here) and there not in reached
        ]
    return relation.subject in reached


def _derived(parse: Parse, rules: DerivationRules) -> Iterator[Relation]:
    items = [_Item(entity, parse.masks[entity.id]) for entity in parse.entities if entity.id in parse.masks]
    near = _NearPairs(items, parse.geometry.spacing_mm)
    yield from _parts(items)
    hosted: set[tuple[str, str]] = set()
    for relation in _locations(items, near, rules):
        hosted.add((relation.subject, relation.object))
        yield relation
    placed = [index for index, item in enumerate(items) if item.entity.kind in _PLACED]
    for i, j in near.touching(placed):
        yield from _contact(items[i], items[j], hosted, rules)
    for i, j, axis, sign in near.separated(placed, rules.neighbour_mm):
        yield _edge(_AXES[axis][0 if sign > 0 else 1], items[i].entity, items[j].entity)


def _parts(items: list[_Item]) -> Iterator[Relation]:
    """Each substructure and the nearest thing above it that the parse has."""
    for item in items:
        if item.entity.kind is not Kind.substructure:
            continue
        for name in VOCABULARY.ancestors(item.entity.name):
            wholes = [other for other in items if other.entity.name == name]
            if wholes:
                best = max(wholes, key=lambda other: other.mask.overlap(item.mask))
                yield _edge("part_of", item.entity, best.entity)
                break


def _locations(items: list[_Item], near: _NearPairs, rules: DerivationRules) -> Iterator[Relation]:
    """Each finding and the organ and the substructure that hold it; a tissue where no organ does."""
    for index, item in enumerate(items):
        if item.entity.kind is not Kind.finding:
            continue
        shares = {other: _share_inside(item, items[other]) for other in near.around(index)}
        shares = {other: share for other, share in shares.items() if share >= rules.inside}
        found = False
        for kinds in ((Kind.substructure,), (Kind.organ,), (Kind.tissue,)):
            hosts = [
                other for other in shares if items[other].entity.kind in kinds and items[other].entity.name != "body"
            ]
            if hosts and not (found and kinds == (Kind.tissue,)):
                best = max(hosts, key=lambda other: (shares[other], -items[other].mask.voxels))
                yield _edge("located_in", item.entity, items[best].entity)
                found = True


def _share_inside(item: _Item, host: _Item) -> float:
    inside = item.mask.overlap(host.mask) / item.mask.voxels
    around = item.shell.overlap(host.mask) / max(item.shell.voxels, 1)
    return max(inside, around)  # labels may exclude each other, or nearly so


def _contact(one: _Item, other: _Item, hosted: set[tuple[str, str]], rules: DerivationRules) -> Iterator[Relation]:
    pair = one.entity.id, other.entity.id
    if pair in hosted or pair[::-1] in hosted or _is_part(one, other) or _is_part(other, one):
        return
    touching = one.grown.overlap(other.mask)
    smaller = min(one.mask.voxels, other.mask.voxels)
    if touching == 0 or one.mask.overlap(other.mask) > 0.5 * smaller:
        return
    yield _edge("abuts", one.entity, other.entity)
    for tumour, vessel in ((one, other), (other, one)):
        if VOCABULARY.is_a(tumour.entity.name, "tumour") and VOCABULARY.is_a(vessel.entity.name, "vessel"):
            wall = Mask.from_box(vessel.mask.shape, (0, 0, 0), _wall(vessel, tumour.mask))
            if wall.voxels and wall.overlap(tumour.mask) >= rules.encased * wall.voxels:
                yield _edge("encases", tumour.entity, vessel.entity)


def _wall(vessel: _Item, tumour: Mask) -> NDArray[np.bool_]:
    """What surrounds the vessel in the axial slices that the tumour reaches, (X, Y, Z)."""
    dense = np.zeros(tumour.shape, dtype=bool)
    levels: Slices3 = (slice(None), slice(None), tumour.slices[2])
    dense[levels] = vessel.shell.crop(levels)
    return dense


def _is_part(part: _Item, whole: _Item) -> bool:
    return part.entity.kind is Kind.substructure and whole.entity.name in VOCABULARY.ancestors(part.entity.name)


def _edge(type: str, subject: Entity, object: Entity) -> Relation:
    type, first, second = canonical_edge(type, subject.id, object.id)
    return Relation(type=type, subject=first, object=second, derived=True)


class _NearPairs:
    """Which bounding boxes meet, and which a plane separates; (N, N) tables instead of N² visits to masks."""

    def __init__(self, items: list[_Item], spacing_mm: tuple[float, float, float]) -> None:
        self.low = np.array([item.mask.origin for item in items]).reshape(-1, 3)
        self.high = self.low + np.array([item.mask.box.shape for item in items]).reshape(-1, 3)
        self.mirrors = {
            (i, j)
            for i, one in enumerate(items)
            for j, other in enumerate(items)
            if one.entity.term.side is Side.left and one.entity.term.mirror == other.entity.name
        }
        # Voxels between the boxes along each axis, negative where they overlap: (N, N, 3).
        after = self.low[:, None] - self.high[None]
        self.gap = np.maximum(after, after.transpose(1, 0, 2))
        self.beyond = after >= 0
        self.gap_mm = self.gap * np.asarray(spacing_mm)

    def around(self, index: int) -> list[int]:
        """Items whose box meets this one's, or touches it."""
        return [int(j) for j in np.flatnonzero((self.gap[index] <= 0).all(axis=1)) if j != index]

    def touching(self, chosen: list[int]) -> Iterator[tuple[int, int]]:
        """Pairs of the chosen whose boxes meet or touch."""
        for i in chosen:
            yield from ((i, j) for j in self.around(i) if j > i and j in set(chosen))

    def separated(self, chosen: list[int], most_mm: float) -> Iterator[tuple[int, int, int, int]]:
        """Neighbours that a plane across one axis separates: the two, the widest such axis, the side of the first."""
        apart = np.linalg.norm(np.maximum(self.gap_mm, 0.0), axis=2)
        for place, i in enumerate(chosen):
            for j in chosen[place + 1 :]:
                mirrored = (i, j) in self.mirrors or (j, i) in self.mirrors
                axis = 0 if mirrored else int(np.argmax(self.gap_mm[i, j]))
                if self.gap[i, j, axis] >= 0 and (mirrored or apart[i, j] <= most_mm):
                    yield i, j, axis, 1 if self.beyond[i, j, axis] else -1
