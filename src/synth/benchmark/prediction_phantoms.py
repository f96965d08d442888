"""Phantom trajectories with known counterfactuals: are effects and rankings right where the sicker got more?

And is a forecast better for knowing what was given until now (`prediction_past`)?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.prediction_past import run_past
from synth.benchmark.result import Row
from synth.dynamics.causal import Study, adjusted_effect, naive_effect, rank_actions
from synth.dynamics.history import HISTORY, Visits, ask
from synth.dynamics.learner import Learner, LearnerSettings
from synth.dynamics.series import Question, Series
from synth.phantom.trajectory import ACTIONS, Cohort, CohortSettings, make_cohort

Float64 = NDArray[np.float64]
Advance = Callable[..., None]

OBSERVATION, CYTOTOXIC, TARGETED = range(3)
COHORTS = 5
READ = ("last", "last_slope", "previous_slope")
"""All that three visits at fixed days can say: the rest of the history follows from these."""


def run_phantoms(patients: int, *, seed: int, advance: Advance) -> Iterator[Row]:
    """Relative error of each effect, adjusted, naive and by the learner, over cohorts; rankings of two drugs."""
    errors: dict[tuple[str, str], list[float]] = {}
    right: list[NDArray[np.bool_]] = []
    decided: list[NDArray[np.bool_]] = []
    for number in range(COHORTS):
        settings = CohortSettings(patients=patients, seed=seed * 1000 + 2 * number)
        cohort, others = make_cohort(settings), make_cohort(replace(settings, seed=settings.seed + 1))
        study = Study(histories(cohort), cohort.action, cohort.outcome)
        for drug in (CYTOTOXIC, TARGETED):
            truth = float((cohort.truth[:, drug] - cohort.truth[:, OBSERVATION]).mean())
            for method, estimate in (("ours", adjusted_effect), ("naive", naive_effect)):
                found = estimate(study, OBSERVATION, drug).value
                errors.setdefault((ACTIONS[drug], method), []).append(abs(found / truth - 1.0))
        for drug, found in learned_effects(cohort, settings.horizon_days, seed=seed).items():
            errors.setdefault((ACTIONS[drug], "learner"), []).append(found)
        ranking = rank_actions(study, histories(others), CYTOTOXIC, TARGETED, seed=seed)
        best = np.where(others.truth[:, CYTOTOXIC] < others.truth[:, TARGETED], CYTOTOXIC, TARGETED)
        decided.append(ranking.better >= 0)
        right.append((ranking.better == best)[ranking.better >= 0])
        advance(1)
    for (drug_name, method), found_errors in errors.items():
        yield _row(f"effect_{drug_name}", method, "relative_error", np.array(found_errors))
    yield _row("ranking", "ours", "right_of_decided", np.concatenate(right).astype(np.float64))
    yield _row("ranking", "ours", "decided", np.concatenate(decided).astype(np.float64))
    yield from run_past(patients, seed=seed, advance=advance)


def learned_effects(cohort: Cohort, horizon_days: float, *, seed: int) -> dict[int, float]:
    """Relative error of the effect of each drug in what the forecast's learner says, trained on the other half.

    It saw each patient under one action; every patient of the second half is asked about under all of them.
    """
    days, n = np.append(cohort.days, horizon_days), len(cohort.action)
    sizes = np.column_stack([cohort.log_mm, cohort.log_mm[:, -1] + cohort.outcome])
    series = [Series(str(i), days, sizes[i], ACTIONS[a]) for i, a in enumerate(cohort.action)]
    order = np.random.default_rng(seed).permutation(n)
    train, test = [series[i] for i in order[: n // 2]], order[n // 2 :]
    last = len(cohort.days)
    asked = ask(train, [Question(i, seen, last) for i in range(len(train)) for seen in range(1, last + 1)])
    learner = Learner.fit(train, asked, LearnerSettings(), weight=np.ones(len(asked)), seed=seed)
    said = {}
    for action in range(len(ACTIONS)):
        under = [replace(series[i], action=ACTIONS[action]) for i in test]
        questions = ask(under, [Question(i, last, last) for i in range(len(under))])
        said[action] = float(learner.quantiles(under, questions, np.array([0.5])).mean())
    truth = cohort.truth[test].mean(axis=0)
    drugs = (CYTOTOXIC, TARGETED)
    return {d: abs((said[d] - said[OBSERVATION]) / (truth[d] - truth[OBSERVATION]) - 1.0) for d in drugs}


def histories(cohort: Cohort) -> Float64:
    """(n, read) what is known of each patient before the choice."""
    columns = [HISTORY.index(name) for name in READ]
    rows = [Visits(cohort.days, each).summary[columns] for each in cohort.log_mm]
    return np.array(rows)


def _row(task: str, method: str, metric: str, values: Float64) -> Row:
    """Mean with its interval over cohorts or patients."""
    draws = np.random.default_rng(0).choice(values, size=(1000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return Row({"task": task}, method, metric, float(values.mean()), float(low), float(high), len(values))
