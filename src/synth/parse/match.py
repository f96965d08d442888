"""Which entity of one visit is which of another: matched by type, overlap, distance and size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.parse.items import Entity
from synth.parse.kinds import Kind
from synth.parse.parse import Parse
from synth.parse.vocabulary import VOCABULARY
from synth.volume import Mask, resample_mask


@dataclass(frozen=True)
class MatchRules:
    """What makes two entities the same one.

    Affinity = overlap_weight * Dice + distance_weight * exp(-(d / reach_mm)²)
             + size_weight * min(V1, V2) / max(V1, V2), in [0, 1]; the assignment with the largest sum wins.

    Attributes:
        reach_mm: how far a finding's centre may seem to move between registered visits.
        swallowed: share of an unmatched finding inside another's mask that makes it merged, or split off.
    """

    overlap_weight: float = 0.5
    distance_weight: float = 0.3
    size_weight: float = 0.2
    reach_mm: float = 20.0
    swallowed: float = 0.5


@dataclass(frozen=True)
class Pair:
    """One entity at two visits: its id in each, and how sure the match is (1 is certain)."""

    first: str
    second: str
    affinity: float


@dataclass(frozen=True)
class Regroup:
    """Findings that became one (`merge`), or one that became several (`split`): ids of either visit."""

    kind: Literal["merge", "split"]
    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True)
class Matching:
    """The entities of two parses, each exactly once in `pairs`, `gone` or `new`; regroupings refer to these."""

    pairs: tuple[Pair, ...]
    gone: tuple[str, ...]
    new: tuple[str, ...]
    regroups: tuple[Regroup, ...] = ()

    def partner(self, first: str) -> str | None:
        """The id at the second visit of an entity of the first."""
        return next((pair.second for pair in self.pairs if pair.first == first), None)


def match(first: Parse, second: Parse, rules: MatchRules | None = None) -> Matching:
    """Match two parses of one patient whose images are registered (same world millimetres; grids may differ).

    A tracking identifier that both carry decides. Otherwise anatomy matches by name, findings by a compatible name
    (one a sort of the other) and place; planning targets by name.

    Example:
        >>> from synth.volume import Geometry
        >>> grid = Geometry.regular((4, 4, 4), 3.0)
        >>> a = Parse([Entity(id="x", name="liver")], geometry=grid)
        >>> b = Parse([Entity(id="organ-7", name="liver")], geometry=grid)
        >>> match(a, b).pairs[0].second
        'organ-7'
    """
    rules = rules or MatchRules()
    there = _Masks(first, second)
    table = np.full((len(first.entities), len(second.entities)), -1.0)
    for i, one in enumerate(first.entities):
        for j, other in enumerate(second.entities):
            if compatible(one, other):
                table[i, j] = _affinity(one, other, there, rules)
    pairs = tuple(
        Pair(first.entities[i].id, second.entities[j].id, min(float(table[i, j]), 1.0)) for i, j in assign(table)
    )
    gone = tuple(id for id in first.ids if id not in {pair.first for pair in pairs})
    new = tuple(id for id in second.ids if id not in {pair.second for pair in pairs})
    return Matching(pairs, gone, new, _regroups(pairs, gone, new, first, second, there, rules))


def assign(affinity: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs (row, column) with the largest sum of affinities; a negative affinity forbids a pair."""
    from scipy.optimize import linear_sum_assignment

    gain = np.where(affinity >= 0, affinity + 1e-3, 0.0)
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if affinity[i, j] >= 0]


def compatible(one: Entity, other: Entity) -> bool:
    """Whether two names can mean one thing: equal, or for findings one a sort of the other."""
    if one.name == other.name:
        return True
    if one.kind is not Kind.finding or other.kind is not Kind.finding:
        return False
    return VOCABULARY.is_a(one.name, other.name) or VOCABULARY.is_a(other.name, one.name)


def persist_ids(second: Parse, matching: Matching, first: Parse) -> Parse:
    """The second parse with each matched entity under its id of the first visit, new ones under ids not used there."""
    names = {pair.second: pair.first for pair in matching.pairs}
    taken = {id.casefold() for id in first.ids}
    for id in matching.new:
        fresh, number = id, 2
        while fresh.casefold() in taken:
            fresh, number = f"{id[:58]}-{number}", number + 1
        names[id] = fresh
        taken.add(fresh.casefold())
    return rename(second, names)


def rename(parse: Parse, names: Mapping[str, str]) -> Parse:
    """The parse with other ids; ids that are not in `names` stay. Two entities of one id are an `InputError`."""
    unknown = sorted(set(names) - set(parse.ids))
    if unknown:
        raise InputError("ids to rename", expected="ids of the parse", got=f"'{unknown[0]}'", fix="correct the id")

    def new(id: str) -> str:
        return names.get(id, id)

    shared = [id for id, count in Counter(new(id) for id in parse.ids).items() if count > 1]
    if shared:
        got = f"'{shared[0]}' for several"
        raise InputError("ids after renaming", expected="one for each entity", got=got, fix="rename both or neither")

    return parse.replace(
        entities=tuple(entity.changed(id=new(entity.id)) for entity in parse.entities),
        attributes=tuple(attribute.changed(entity=new(attribute.entity)) for attribute in parse.attributes),
        relations=tuple(r.changed(subject=new(r.subject), object=new(r.object)) for r in parse.relations),
        masks={new(id): mask for id, mask in parse.masks.items()},
    )


class _Masks:
    """Masks of both parses on the grid of the second, with what the affinity needs of each, computed once."""

    def __init__(self, first: Parse, second: Parse) -> None:
        self.geometry = second.geometry
        same = first.geometry.matches(second.geometry)
        self.first: dict[str, Mask] = {}
        for id, mask in first.masks.items():
            moved = mask if same else resample_mask(mask, first.geometry, second.geometry)
            if not moved.is_empty:
                self.first[id] = moved
        self.second = second.masks
        self._centres: dict[int, NDArray[np.float64]] = {}

    def distance_mm(self, one: Mask, other: Mask) -> float:
        return float(np.linalg.norm(self._centre(one) - self._centre(other)))

    def _centre(self, mask: Mask) -> NDArray[np.float64]:
        if id(mask) not in self._centres:
            self._centres[id(mask)] = mask.centroid_mm(self.geometry)
        return self._centres[id(mask)]


def _affinity(one: Entity, other: Entity, there: _Masks, rules: MatchRules) -> float:
    """In [0, 1] with a bonus of up to 0.1 for equal names and ids; negative where the two cannot be one."""
    if one.tracking_uid is not None and other.tracking_uid is not None:
        return 2.0 if one.tracking_uid == other.tracking_uid else -1.0
    bonus = 0.05 * (one.name == other.name) + 0.05 * (one.id == other.id)
    first, second = there.first.get(one.id), there.second.get(other.id)
    if first is None or second is None:
        by_name = one.kind is not Kind.finding or one.id == other.id or (first is None and second is None)
        return 0.3 + bonus if by_name else -1.0
    dice, distance = first.dice(second), there.distance_mm(first, second)
    if one.kind is Kind.finding and dice == 0 and distance > rules.reach_mm:
        return -1.0
    near = float(np.exp(-((distance / rules.reach_mm) ** 2)))
    size = min(first.voxels, second.voxels) / max(first.voxels, second.voxels)
    return rules.overlap_weight * dice + rules.distance_weight * near + rules.size_weight * size + bonus


def _regroups(
    pairs: tuple[Pair, ...],
    gone: tuple[str, ...],
    new: tuple[str, ...],
    first: Parse,
    second: Parse,
    there: _Masks,
    rules: MatchRules,
) -> tuple[Regroup, ...]:
    """Unmatched findings that lie in the mask of a matched one: merged into it, or split off it."""
    merged: dict[str, list[str]] = {}
    split: dict[str, list[str]] = {}
    for pair in pairs:
        if first.entity(pair.first).kind is not Kind.finding:
            continue
        into, source = there.second.get(pair.second), there.first.get(pair.first)
        merged[pair.second] = [id for id in gone if _swallowed(first.entity(id), there.first.get(id), into, rules)]
        split[pair.first] = [id for id in new if _swallowed(second.entity(id), there.second.get(id), source, rules)]
    found = []
    for pair in pairs:
        if merged.get(pair.second):
            found.append(Regroup("merge", (pair.first, *merged[pair.second]), (pair.second,)))
        if split.get(pair.first):
            found.append(Regroup("split", (pair.first,), (pair.second, *split[pair.first])))
    return tuple(found)


def _swallowed(entity: Entity, mask: Mask | None, by: Mask | None, rules: MatchRules) -> bool:
    if entity.kind is not Kind.finding or mask is None or by is None:
        return False
    return mask.overlap(by) >= rules.swallowed * mask.voxels
