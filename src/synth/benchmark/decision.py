"""The decision benchmark: does a parse say the right things about the right entities?

Entities are matched first: same name, Dice of at least 0.5; for findings at least 0.1, or the centre of one inside the
other; entities without masks by name. A *fact* is (entity, attribute, value), (entity, relation, entity), or that an
entity is absent. It counts only if every part is right and bound to the same matched entities.
F1 = 2 TP / (2 TP + FP + FN).

The *binding gap* is the mean F1 of the primitives, each scored on its own (entities matched; attribute values whatever
entity they are bound to; relation types whatever they join), less the joint F1: what is lost by binding.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval, mean_finite
from synth.errors import InputError
from synth.parse import Attribute, Entity, Kind, Parse, Presence, canonical_edge, is_bundle, load_bundle
from synth.parse.match import assign
from synth.volume import Mask, resample_mask

FAMILIES = ("attribute", "relation", "absence")
PRIMITIVES = ("entity", "attribute", "relation")

_CLAIMS = (Presence.present, Presence.uncertain, Presence.absent)
_Edge = tuple[str, str, str]


@dataclass(frozen=True)
class MatchThresholds:
    """When two delineated entities of one name are the same."""

    dice: float = 0.5
    finding_dice: float = 0.1


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives."""

    hits: int = 0
    extra: int = 0
    missed: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.extra + other.extra, self.missed + other.missed)

    @property
    def f1(self) -> float:
        """F1; NaN when there was nothing to say and nothing was said."""
        total = 2 * self.hits + self.extra + self.missed
        return 2 * self.hits / total if total else math.nan


@dataclass(frozen=True)
class CaseScore:
    """One case: counts of bound facts by family, of primitives, and whether the prediction was no parse at all."""

    name: str
    facts: Mapping[str, Counts]
    primitives: Mapping[str, Counts]
    violation: str | None = None

    @property
    def joint(self) -> Counts:
        """All families together."""
        return total(self.facts.values())


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts."""
    return sum(counts, start=Counts())


def joint_f1(cases: Sequence[CaseScore], family: str = "all") -> float:
    """Micro F1 of bound facts: counts pooled over the cases."""
    return total(case.joint if family == "all" else case.facts[family] for case in cases).f1


def primitive_f1(cases: Sequence[CaseScore], primitive: str) -> float:
    """Micro F1 of one primitive."""
    return total(case.primitives[primitive] for case in cases).f1


def binding_gap(cases: Sequence[CaseScore]) -> float:
    """Mean F1 of the primitives that occur, less the joint F1."""
    return mean_finite(primitive_f1(cases, each) for each in PRIMITIVES) - joint_f1(cases)


def score_case(name: str, gold: Parse, pred: Parse, thresholds: MatchThresholds | None = None) -> CaseScore:
    """Score one parse against the truth."""
    partner = match_entities(gold, pred, thresholds or MatchThresholds())
    bound = {later: earlier for earlier, later in partner.items()}
    ours = _Facts.of(pred, {id: bound.get(id, f"unmatched:{id}") for id in pred.ids})
    truth = _Facts.of(gold, {id: id for id in gold.ids})
    entities = [sum(e.presence in _CLAIMS for e in parse.entities) for parse in (gold, pred)]
    matched = sum(_same_claim(gold.entity(a), pred.entity(b)) for a, b in partner.items())
    return CaseScore(
        name,
        {
            "attribute": _compare_attributes(truth.attributes, ours.attributes),
            "relation": _compare(Counter(truth.relations), Counter(ours.relations)),
            "absence": _compare(Counter(truth.absences), Counter(ours.absences)),
        },
        {
            "entity": Counts(matched, entities[1] - matched, entities[0] - matched),
            "attribute": _unbound(truth.attributes.values(), ours.attributes.values()),
            "relation": _compare(Counter(e[0] for e in truth.relations), Counter(e[0] for e in ours.relations)),
        },
    )


def score_missing(name: str, gold: Parse, violation: str | None) -> CaseScore:
    """The score of a prediction that is not there, or that is no parse: everything is missed."""
    nothing = Parse((), geometry=gold.geometry)
    return replace(score_case(name, gold, nothing), violation=violation)


def match_entities(gold: Parse, pred: Parse, thresholds: MatchThresholds) -> dict[str, str]:
    """Ids of the truth -> ids of the prediction, one to one, the largest sum of Dice first."""
    same_grid = gold.geometry.matches(pred.geometry)
    masks = {
        id: mask if same_grid else resample_mask(mask, pred.geometry, gold.geometry) for id, mask in pred.masks.items()
    }
    table = np.full((len(gold.entities), len(pred.entities)), -1.0)
    for i, one in enumerate(gold.entities):
        for j, other in enumerate(pred.entities):
            if one.name == other.name:
                table[i, j] = _agreement(one, gold.masks.get(one.id), other, masks.get(other.id), thresholds)
    return {gold.entities[i].id: pred.entities[j].id for i, j in assign(table)}


def run(
    pred: Path,
    gold: Path,
    *,
    command: str = "synth benchmark decision",
    declared_only: bool = False,
    seed: int = 0,
    note: Callable[[str], None] | None = None,
) -> BenchmarkResult:
    """Score a folder of bundles against another, paired by the names of their folders.

    A predicted bundle that cannot be read as a parse is a closure violation and misses every fact; one that is not
    there misses them too. `note` is told of both, and of predictions without a truth, which are not scored.
    `declared_only` leaves out what was derived from masks or image, in both. Raises `InputError` when the truth cannot
    be read.
    """
    began = perf_counter()
    truths = gold_cases(gold)
    cases = [_load_and_score(name, folder, pred, declared_only) for name, folder in truths.items()]
    if note is not None:
        for remark in _remarks(cases, pred, truths):
            note(remark)
    made = tuple(rows(cases, seed))
    return BenchmarkResult("decision", command, seconds=perf_counter() - began, rows=made)


def rows(cases: Sequence[CaseScore], seed: int) -> list[Row]:
    """The table: micro and macro joint F1, F1 by family and by primitive, binding gap, closure violations."""
    rng = np.random.default_rng(seed)

    def row(metric: str, statistic: Callable[[Sequence[CaseScore]], float], **group: str) -> Row:
        interval = bootstrap_interval(cases, statistic, rng=rng)
        return Row(
            {"family": "all", **group}, "ours", metric, statistic(cases), interval.low, interval.high, len(cases)
        )

    made = [row("joint_f1", joint_f1, average="micro"), row("joint_f1", _macro_f1, average="macro")]
    made += [row("joint_f1", partial(joint_f1, family=family), family=family, average="micro") for family in FAMILIES]
    made += [
        row("primitive_f1", partial(primitive_f1, primitive=each), family=each, average="micro") for each in PRIMITIVES
    ]
    return [*made, row("binding_gap", binding_gap), row("closure_violations", _violations)]


def gold_cases(gold: Path) -> dict[str, Path]:
    """The folders of the truth that hold a bundle, by name."""
    if not gold.is_dir():
        raise InputError(str(gold), expected="a folder of bundles", got="none", fix="check the path")
    found = {each.name: each for each in sorted(gold.iterdir()) if is_bundle(each)}
    if not found:
        raise InputError(str(gold), expected="bundles in it", got="none", fix="give the folder above the bundles")
    return found


def _remarks(cases: Sequence[CaseScore], pred: Path, truths: Mapping[str, Path]) -> Iterator[str]:
    for case in cases:
        if case.violation is not None:
            yield f"{case.name}: no parse: {case.violation}"
        elif not (pred / case.name).exists():
            yield f"{case.name}: no prediction"
    for each in sorted(pred.iterdir()):
        if is_bundle(each) and each.name not in truths:
            yield f"{each.name}: no truth of this name, not scored"


def _load_and_score(name: str, folder: Path, predictions: Path, declared_only: bool) -> CaseScore:
    truth = _only_declared(load_bundle(folder), declared_only)
    if not (predictions / name).exists():
        return score_missing(name, truth, None)
    try:
        ours = _only_declared(load_bundle(predictions / name), declared_only)
    except InputError as error:
        return score_missing(name, truth, str(error))
    return score_case(name, truth, ours)


def _only_declared(parse: Parse, declared_only: bool) -> Parse:
    if not declared_only:
        return parse
    return parse.without_derived().replace(relations=tuple(r for r in parse.relations if not r.derived))


@dataclass(frozen=True)
class _Facts:
    """What a parse states, its entities under the names that both sides share."""

    attributes: Mapping[tuple[str, str, str | None], Attribute]
    relations: tuple[_Edge, ...]
    absences: tuple[str, ...]

    @classmethod
    def of(cls, parse: Parse, names: Mapping[str, str]) -> _Facts:
        edges = {canonical_edge(r.type, names[r.subject], names[r.object]) for r in parse.relations}
        return cls(
            {(names[a.entity], a.type, a.phase): a for a in parse.attributes},
            tuple(edges),
            tuple(names[e.id] for e in parse.entities if e.presence is Presence.absent),
        )


def _compare(truth: Counter[Any], ours: Counter[Any]) -> Counts:
    hits = (truth & ours).total()
    return Counts(hits, ours.total() - hits, truth.total() - hits)


def _compare_attributes(truth: Mapping[Any, Attribute], ours: Mapping[Any, Attribute]) -> Counts:
    hits = sum(key in ours and _same_value(attribute, ours[key]) for key, attribute in truth.items())
    return Counts(hits, len(ours) - hits, len(truth) - hits)


def _unbound(truth: Iterable[Attribute], ours: Iterable[Attribute]) -> Counts:
    """Values of one type and phase paired off whatever entity they belong to, numbers in their order."""
    hits, left = 0, list(ours)
    given = len(left)
    wanted = sorted(truth, key=_place)
    for attribute in wanted:
        same = [each for each in left if _place(each)[:2] == _place(attribute)[:2] and _same_value(attribute, each)]
        if same:
            left.remove(min(same, key=_place))
            hits += 1
    return Counts(hits, given - hits, len(wanted) - hits)


def _place(attribute: Attribute) -> tuple[str, str, str, float]:
    text, number = (attribute.value, 0.0) if isinstance(attribute.value, str) else ("", attribute.value)
    return attribute.type, attribute.phase or "", text, number


def _same_value(one: Attribute, other: Attribute) -> bool:
    return one.definition.same(one.value, other.value)


def _same_claim(one: Entity, other: Entity) -> bool:
    return one.presence in _CLAIMS and one.presence is other.presence


def _agreement(one: Entity, truth: Mask | None, other: Entity, ours: Mask | None, thresholds: MatchThresholds) -> float:
    """How well two entities of one name agree, in [0, 1]; negative where they are not the same."""
    if truth is None and ours is None:
        return 0.5 * (one.presence is other.presence) + 0.1 * (one.id == other.id)
    if truth is None or ours is None or ours.is_empty:
        return -1.0
    dice = truth.dice(ours)
    if one.kind is not Kind.finding:
        return dice if dice >= thresholds.dice else -1.0
    inside = _centre_inside(truth, ours) or _centre_inside(ours, truth)
    return dice if dice >= thresholds.finding_dice or inside else -1.0


def _centre_inside(mask: Mask, other: Mask) -> bool:
    x, y, z = (int(c) for c in np.rint(mask.centroid_voxel()))
    return bool(other.crop((slice(x, x + 1), slice(y, y + 1), slice(z, z + 1))).any())


def _macro_f1(cases: Sequence[CaseScore]) -> float:
    return mean_finite(case.joint.f1 for case in cases)


def _violations(cases: Sequence[CaseScore]) -> float:
    return float(sum(case.violation is not None for case in cases))
