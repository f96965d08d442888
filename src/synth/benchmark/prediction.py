"""The prediction benchmark on tables of growth series: ours beside every baseline, in folds of patients.

recist  k3: three visits, every later one; beyond26w: those of them more than 182 days ahead; next_visit: progression at
        the next visit (20% and 5 mm over the smallest so far), from two visits on; disappearance: lesions that become
        too small to measure (`prediction_deaths`)
pdxe    pdxe_10d: visits of the first ten days, then days 17 to 60; pdxe_day0: day 0 and the action, the same days

A fold is fitted on the other folds alone: effects of actions, trust, calibration and all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.prediction_baselines import Boosting, boosted_progression, by_law, linear
from synth.benchmark.prediction_deaths import run_deaths
from synth.benchmark.prediction_scores import (
    CARRY,
    LEVELS,
    MEDIAN,
    Answers,
    Scored,
    against,
    auroc_rows,
    marginal,
    rows_of,
)
from synth.benchmark.result import Row
from synth.dynamics.forest import ForestSettings
from synth.dynamics.history import Asked, ask
from synth.dynamics.laws import CLASSICAL
from synth.dynamics.learner import Learner, LearnerSettings
from synth.dynamics.series import Question, Series, folds_of, questions_after

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Kind = Literal["recist", "pdxe"]
Advance = Callable[..., None]

FAR_DAYS = 182.0
EARLY_DAYS, FROM_DAY, TO_DAY = 10.0, 17.0, 60.0
PROGRESSION_SHARE, PROGRESSION_MM = 1.2, 5.0
"""RECIST 1.1: at least 20% and 5 mm above the nadir (Eisenhauer et al. 2009, section 4.3.1)."""
OTHER_VISITS = 0.4
"""Weight of training questions from two or four visits where three are asked about: like, but not the same."""


@dataclass(frozen=True, eq=False)
class Table:
    """The series of a benchmark and the fold of each; -1 is never tested, only trained on."""

    series: Sequence[Series]
    fold: Int64

    @classmethod
    def folded(cls, series: Sequence[Series], folds: int, seed: int) -> Table:
        """Every series is tested once."""
        return cls(series, folds_of(series, folds, seed))

    @classmethod
    def split(cls, train: Sequence[Series], test: Sequence[Series]) -> Table:
        """One fold, which is tested, and the rest."""
        return cls([*train, *test], np.array([-1] * len(train) + [0] * len(test), np.int64))

    def splits(self) -> list[int]:
        """The folds that are tested."""
        return [int(f) for f in np.unique(self.fold) if f >= 0]


def run_recist(table: Table, *, seed: int, advance: Advance) -> Iterator[Row]:
    """All rows of `--kind recist`."""
    asked = ask(table.series, questions_after(table.series, (2, 3, 4)))
    answers, rows = _recist_answers(table, asked, seed, advance)
    three = asked.where(rows)
    for task, keep in (("k3", np.ones(len(three), bool)), ("beyond26w", three.ahead_days > FAR_DAYS)):
        part = {m: _where(a, keep) for m, a in answers.items()}
        scored = _scored(task, table, three.where(keep))
        yield from rows_of(scored, part, seed=seed)
        yield against(scored, "mae", part["ours"], part["boosting"], "boosting", seed=seed)
    yield from _next_visit(table, seed, advance)
    yield from run_deaths(table.series, table.fold, seed=seed, advance=advance)


def run_pdxe(table: Table, *, seed: int, advance: Advance) -> Iterator[Row]:
    """All rows of `--kind pdxe`."""
    for task, early in (("pdxe_10d", EARLY_DAYS), ("pdxe_day0", 0.0)):
        asked = ask(table.series, _early_questions(table.series, early))
        answers, rows = _pdxe_answers(table, asked, seed, laws=early > 0, advance=advance)
        part = asked.where(rows)
        scored = _scored(task, table, part, power=3.0, in_mm=False)
        yield from rows_of(scored, answers, seed=seed)
        for other in ("boosting", "ours_without_action"):
            yield against(scored, "log_mae", answers["ours"], answers[other], other, seed=seed)


def _early_questions(series: Sequence[Series], early: float) -> list[Question]:
    found = []
    for i, each in enumerate(series):
        seen = int((each.days <= early).sum())
        later = np.flatnonzero((each.days >= FROM_DAY) & (each.days <= TO_DAY))
        found += [Question(i, seen, int(target)) for target in later if seen]
    return found


def _recist_answers(table: Table, asked: Asked, seed: int, advance: Advance) -> tuple[dict[str, Answers], Int64]:
    """Each method on the questions after three visits; `rows` says which of `asked` those are."""
    tested = (asked.seen == 3) & (table.fold[asked.series] >= 0)
    rows = np.flatnonzero(tested)
    parts: list[tuple[Int64, dict[str, Answers]]] = []
    for fold in table.splits():
        here, seen = table.fold[asked.series] == fold, table.fold[asked.series] != fold
        train, test = asked.where(seen & (asked.seen == 3)), asked.where(here & (asked.seen == 3))
        wide = asked.where(seen)
        weight = np.where(wide.seen == 3, 1.0, OTHER_VISITS)
        learner = Learner.fit(table.series, wide, LearnerSettings(), weight=weight, seed=seed)
        boosting = Boosting.fit(table.series, train, LEVELS.tolist(), with_action=True)
        said = _plain(table, train, test) | {
            "boosting": _answers(boosting.quantiles(table.series, test)),
            "ours": _answers(learner.quantiles(table.series, test, LEVELS)),
        }
        parts.append((np.flatnonzero(here & (asked.seen == 3)), said))
        advance(1)
    return _joined(parts, rows), rows


def _pdxe_answers(
    table: Table, asked: Asked, seed: int, *, laws: bool, advance: Advance
) -> tuple[dict[str, Answers], Int64]:
    rows = np.flatnonzero(table.fold[asked.series] >= 0)
    forest = ForestSettings(trees=80, leaf=20, features=0.35, sample=0.3)
    parts: list[tuple[Int64, dict[str, Answers]]] = []
    for fold in table.splits():
        here = table.fold[asked.series] == fold
        train, test = asked.where(~here), asked.where(here)
        said = _plain(table, train, test, laws=laws)
        for name, with_action in (("", True), ("_without_action", False)):
            settings = LearnerSettings(forest=forest, with_action=with_action, held_out=2)
            learner = Learner.fit(table.series, train, settings, seed=seed)
            said["ours" + name] = _answers(learner.quantiles(table.series, test, LEVELS))
            boosting = Boosting.fit(table.series, train, [0.5], with_action=with_action)
            said["boosting" + name] = Answers(boosting.quantiles(table.series, test)[:, 0])
        parts.append((np.flatnonzero(here), said))
        advance(1)
    return _joined(parts, rows), rows


def _plain(table: Table, train: Asked, test: Asked, *, laws: bool = True) -> dict[str, Answers]:
    """The baselines that learn nothing but the spread of changes."""
    said = {CARRY: Answers(np.zeros(len(test)), marginal(train.truth - train.last, len(test)))}
    if laws:
        said["linear"] = Answers(linear(table.series, test))
        said |= {name: Answers(by_law(name, table.series, test)) for name in CLASSICAL}
    return said


def _next_visit(table: Table, seed: int, advance: Advance) -> Iterator[Row]:
    """Progression at the next visit: its probability under ours, the size over nadir, and a boosted classifier."""
    series = table.series
    asked = ask(series, [q for q in questions_after(series, range(2, 40)) if q.target == q.seen])
    nadir = np.array([series[i].log_mm[:k].min() for i, k in zip(asked.series, asked.seen, strict=True)])
    limit = np.log(np.maximum(PROGRESSION_SHARE * np.exp(nadir), np.exp(nadir) + PROGRESSION_MM))
    event = asked.truth >= limit - 1e-9
    scores = {name: np.full(len(asked), np.nan) for name in (CARRY, "boosting", "ours")}
    for fold in table.splits():
        here = table.fold[asked.series] == fold
        train, test = asked.where(~here), asked.where(here)
        learner = Learner.fit(series, train, LearnerSettings(held_out=0), seed=seed)
        predicted = learner.ensemble.predict(series, test)
        scores["ours"][here] = 1.0 - predicted.level_of((limit - asked.last)[here], 1.0)
        scores["boosting"][here] = boosted_progression(series, train, event[~here], test)
        scores[CARRY][here] = (asked.last - nadir)[here]
        advance(1)
    tested = table.fold[asked.series] >= 0
    patient = _patients(table, asked)[tested]
    yield from auroc_rows("next_visit", patient, event[tested], {m: s[tested] for m, s in scores.items()}, seed=seed)


def _answers(quantiles: Float64) -> Answers:
    return Answers(quantiles[:, MEDIAN], quantiles)


def _where(said: Answers, keep: NDArray[np.bool_]) -> Answers:
    return Answers(said.median[keep], None if said.quantiles is None else said.quantiles[keep])


def _joined(parts: list[tuple[Int64, dict[str, Answers]]], rows: Int64) -> dict[str, Answers]:
    """The folds' answers in the order of `rows`."""
    order = np.argsort(np.concatenate([at for at, _ in parts]), kind="stable")
    assert len(order) == len(rows)
    joined = {}
    for method, first in parts[0][1].items():
        median = np.concatenate([said[method].median for _, said in parts])[order]
        spread = [said[method].quantiles for _, said in parts]
        whole = None if first.quantiles is None else np.concatenate([q for q in spread if q is not None])[order]
        joined[method] = Answers(median, whole)
    return joined


def _scored(task: str, table: Table, asked: Asked, *, power: float = 1.0, in_mm: bool = True) -> Scored:
    return Scored(task, _patients(table, asked), asked.last, asked.truth, power, in_mm)


def _patients(table: Table, asked: Asked) -> Int64:
    """(n,) the number of each question's patient."""
    names = {name: i for i, name in enumerate(sorted({s.patient for s in table.series}))}
    return np.array([names[table.series[i].patient] for i in asked.series], np.int64)
