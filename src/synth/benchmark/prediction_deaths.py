"""Lesions that disappear from the RECIST table: is the share that is said to be gone by a day right?

ours      the learned share, from the size that a learner fitted to other patients expects (`synth.dynamics.deaths`)
floor     the mass that this learner's distribution has at 2 mm, too small to measure
constant  the share of the training patients' readings at which the lesion was gone
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.prediction_scores import auroc_rows, brier_rows
from synth.benchmark.result import Row
from synth.dynamics.deaths import Deaths
from synth.dynamics.history import Asked, ask
from synth.dynamics.learner import Ensemble, LearnerSettings
from synth.dynamics.series import FLOOR_MM, Series, folds_of, questions_after

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Advance = Callable[..., None]

GONE = math.log(FLOOR_MM) + 0.01
MOST_SEEN = 6
INNER = 2
LEAST_EVENTS = 20
TASK = "disappearance"


def questions_of(series: Sequence[Series]) -> Asked:
    """Every later visit, from the first visits up to the sixth, of lesions that can be measured then."""
    asked = ask(series, questions_after(series, range(1, MOST_SEEN + 1)))
    return asked.where(asked.last > GONE)


def expected_sizes(series: Sequence[Series], asked: Asked, *, folds: int, seed: int) -> Float64:
    """(n,) ln mm that a learner of the other patients expects at each question."""
    present = sorted(set(asked.series.tolist()))
    fold = np.zeros(len(series), np.int64)
    fold[present] = folds_of([series[i] for i in present], folds, seed + 1)
    row, found = fold[asked.series], np.empty(len(asked))
    for each in range(folds):
        held = row == each
        predicted = _ensemble(series, asked.where(~held), seed).predict(series, asked.where(held))
        found[held] = asked.last[held] + predicted.median + predicted.shift
    return found


def run_deaths(series: Sequence[Series], fold: Int64, *, seed: int, advance: Advance) -> Iterator[Row]:
    """Brier score of each, its skill over the constant share, and AUROC; a fold of -1 is never tested.

    No rows where fewer than `LEAST_EVENTS` readings say gone, for then nothing can be learned.
    """
    asked = questions_of(series)
    gone, row = asked.truth <= GONE, fold[asked.series]
    tests = [int(f) for f in np.unique(fold) if f >= 0]
    if min(int(gone[row != each].sum()) for each in tests) < LEAST_EVENTS:
        return
    said = {name: np.full(len(asked), np.nan) for name in ("constant", "floor", "ours")}
    for each in tests:
        train, test = row != each, row == each
        known = asked.where(train)
        learned = Deaths.fit(expected_sizes(series, known, folds=INNER, seed=seed), known.ahead_days, gone[train])
        held = asked.where(test)
        predicted = _ensemble(series, known, seed).predict(series, held)
        said["ours"][test] = learned.share(held.last + predicted.median + predicted.shift, held.ahead_days)
        said["floor"][test] = predicted.level_of(GONE - held.last, 1.0)
        said["constant"][test] = gone[train].mean()
        advance(1)
    tested = row >= 0
    names = {name: i for i, name in enumerate(sorted({s.patient for s in series}))}
    patient = np.array([names[series[i].patient] for i in asked.series], np.int64)[tested]
    scores = {name: each[tested] for name, each in said.items()}
    yield from brier_rows(TASK, patient, gone[tested], scores, "constant", seed=seed)
    yield from auroc_rows(TASK, patient, gone[tested], {m: scores[m] for m in ("floor", "ours")}, seed=seed)


def _ensemble(series: Sequence[Series], asked: Asked, seed: int) -> Ensemble:
    return Ensemble.fit(series, asked, np.ones(len(asked)), LearnerSettings(held_out=0), seed)
