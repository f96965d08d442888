"""Forecasts with the past plan known and unknown, on phantoms whose future on the drug and off it is known.

carry_forward         nothing changes
past_unknown          the shipped model, the visits read as those of a patient of the training tables
ours                  the shipped model told what was given between which visits
ours_phantom_rates    the same, the population of growth and kill fitted to other phantoms in place of the shipped one

Tasks: `stop` and `continue` the drug that was given, `start` it, `observe` on without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synth.action import Observation, Plan, SystemicTherapy, TherapyAgent
from synth.benchmark.prediction_scores import loss_rows
from synth.benchmark.result import Row
from synth.dynamics import DynamicsModel, LesionHistory
from synth.dynamics.given import Given
from synth.dynamics.rates_fit import Treated, fit_rates
from synth.phantom.trajectory import READING_SD
from synth.phantom.treated import TreatedCohort, TreatedSettings, make_treated

Float64 = NDArray[np.float64]
Advance = Callable[..., None]

DRUG = "cytotoxic"
AGENT = TherapyAgent(name="drug", agent_class="cytotoxic", dose=100, every_days=21)
MOST_PATIENTS = 150
LEVELS = (0.05, 0.5, 0.95)
BASE = "past_unknown"
TASKS = ("stop", "continue", "start", "observe")


def run_past(patients: int, *, seed: int, advance: Advance) -> Iterator[Row]:
    """Log error of the median volume at each later day, its ratio to that with the past unknown, and coverage."""
    size = min(patients, MOST_PATIENTS)
    cohort = make_treated(TreatedSettings(patients=size, seed=2 * seed))
    others = make_treated(TreatedSettings(patients=size, seed=2 * seed + 1))
    shipped = DynamicsModel.from_pretrained()
    fitted = replace(shipped, rates=fit_rates(followed(others, np.random.default_rng([seed, 3]))))
    advance(1)
    found: dict[str, dict[str, list[tuple[int, Float64, Float64]]]] = {task: {} for task in TASKS}
    for patient in range(size):
        for on in (True, False):
            task = TASKS[2 * int(math.isinf(cohort.start[patient])) + int(on is math.isfinite(cohort.start[patient]))]
            truth = (cohort.on if on else cohort.off)[patient] - cohort.log_ml[patient, -1]
            said = {
                BASE: _said(shipped, cohort, patient, on=on, known=False),
                "ours": _said(shipped, cohort, patient, on=on, known=True),
                "ours_phantom_rates": _said(fitted, cohort, patient, on=on, known=True),
            }
            for method, each in said.items():
                low, middle, high = each
                inside = ((truth >= low) & (truth <= high)).astype(np.float64)
                found[task].setdefault(method, []).append((patient, np.abs(middle - truth), inside))
            found[task].setdefault("carry_forward", []).append((patient, np.abs(truth), np.zeros_like(truth)))
        if patient % 25 == 24:
            advance(1)
    for task, methods in found.items():
        yield from _rows(task, methods, seed)


def followed(cohort: TreatedCohort, rng: np.random.Generator) -> list[Treated]:
    """The visits and later readings of every patient, half of them on the drug from now on."""
    days = np.concatenate([cohort.days, cohort.later_days])
    series = []
    for i, on in enumerate(rng.permutation(len(cohort.start)) % 2 == 0):
        later = (cohort.on if on else cohort.off)[i] + 3.0 * rng.normal(0.0, READING_SD, len(cohort.later_days))
        start = min(float(cohort.start[i]), 0.0 if on else math.inf)
        courses = ((DRUG, start, math.inf if on else 0.0),) if math.isfinite(start) else ()
        series.append(Treated(days, np.concatenate([cohort.log_ml[i], later]), Given(courses)))
    return series


def _said(model: DynamicsModel, cohort: TreatedCohort, patient: int, *, on: bool, known: bool) -> Float64:
    """(3, H) the lower end, the middle and the upper end of ln V(day) / V(now) of one patient."""
    ml = np.exp(cohort.log_ml[patient])
    mm = np.cbrt(6000.0 * ml / math.pi)
    lesion = LesionHistory("lesion", None, tuple(cohort.days.tolist()), tuple(mm.tolist()), tuple(ml.tolist()))
    plan = _given(0.0, 365.0) if on else Plan(name="off", actions=(Observation(start_day=0, stop_day=365),))
    case = model.case(lesion, plan, _past(float(cohort.start[patient])) if known else None)
    levels = np.repeat(np.array(LEVELS)[:, None], len(cohort.later_days), axis=1)
    return model.courses.follow(case, cohort.later_days, levels).change


def _past(start: float) -> Plan:
    return _given(start, 0.0) if math.isfinite(start) else Plan(name="nothing")


def _given(start: float, stop: float) -> Plan:
    return Plan(name="drug", actions=(SystemicTherapy(start_day=start, stop_day=stop, agents=(AGENT,)),))


def _rows(task: str, methods: dict[str, list[tuple[int, Float64, Float64]]], seed: int) -> Iterator[Row]:
    patient = np.concatenate([np.full(len(error), who) for who, error, _ in methods[BASE]])
    errors = {name: np.concatenate([error for _, error, _ in each]) for name, each in methods.items()}
    inside = {name: np.concatenate([each[2] for each in found]) for name, found in methods.items()}
    inside.pop("carry_forward")
    yield from loss_rows(task, patient, "log_mae", errors, BASE, seed=seed)
    yield from loss_rows(task, patient, "coverage90", inside, None, seed=seed)
