"""Cohorts of growing lesions whose future is known under every action, treated the more the sicker they are.

Growth and damage follow Simeoni et al. 2004, Cancer Res 64:1094 (equations 1-4): exponential, then linear growth, and
damaged cells that pass three stages before they are gone, so that a drug is seen late. No law of `synth.dynamics` has
such a delay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError

Float64 = NDArray[np.float64]

ACTIONS = ("observation", "cytotoxic", "targeted")
VISIT_DAYS = (-84.0, -42.0, 0.0)
STAGES, STAGE_RATE = 3, 0.1
SWITCH = 20.0
"""Psi of Simeoni et al.: how sharply exponential growth turns linear."""
READING_SD = 0.04
"""Error of ln mm of one reading."""


@dataclass(frozen=True)
class CohortSettings:
    """What a cohort is like.

    Attributes:
        patients: how many.
        horizon_days: when the outcome is measured.
        confounding: how much the log-odds of treatment rise with size and growth, in standard deviations; 0 is a trial.
        seed: of everything.
    """

    patients: int = 1500
    horizon_days: float = 180.0
    confounding: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.patients < 2 or self.horizon_days <= 0 or self.confounding < 0 or self.seed < 0:
            raise InputError("cohort", expected="two patients or more, a horizon", got=str(self), fix="correct it")


@dataclass(frozen=True, eq=False)
class Cohort:
    """What was seen of n patients, and what nobody sees.

    Attributes:
        days: (visits,) of the scans, the last one now.
        log_mm: (n, visits) measured ln mm.
        action: (n,) index into `ACTIONS` of what was given.
        outcome: (n,) measured change of ln mm at the horizon.
        truth: (n, actions) the change that each action would have brought, without reading error.
    """

    days: Float64
    log_mm: Float64
    action: NDArray[np.int64]
    outcome: Float64
    truth: Float64


def make_cohort(settings: CohortSettings) -> Cohort:
    """Draw patients, treat them by how sick they look, and follow each under every action.

    Example:
        >>> cohort = make_cohort(CohortSettings(patients=50))
        >>> cohort.log_mm.shape, cohort.truth.shape
        ((50, 3), (50, 3))
    """
    rng = np.random.default_rng(settings.seed)
    n = settings.patients
    rate = np.exp(rng.normal(math.log(0.009), 0.5, n))
    volume = np.exp(rng.normal(math.log(3.0), 0.9, n))
    linear = np.exp(rng.normal(math.log(0.8), 0.3, n))
    past = [_grow(volume, rate, linear, "observation", day - VISIT_DAYS[0]) for day in VISIT_DAYS]
    now = past[-1]
    true_mm = np.stack([log_mm_of(v) for v in past], axis=1)
    log_mm = true_mm + rng.normal(0.0, READING_SD, true_mm.shape)
    after = [_grow(now, rate, linear, action, settings.horizon_days) for action in ACTIONS]
    truth = np.stack([log_mm_of(v) for v in after], axis=1) - true_mm[:, -1:]
    action = _assigned(log_mm, settings.confounding, rng)
    reading = rng.normal(0.0, READING_SD, n)
    outcome = truth[np.arange(n), action] + true_mm[:, -1] + reading - log_mm[:, -1]
    return Cohort(np.array(VISIT_DAYS), log_mm, action, outcome, truth)


@dataclass(frozen=True, eq=False)
class Cells:
    """(n,) ml of cells that grow, and (stages, n) of damaged ones on their way out."""

    growing: Float64
    dying: Float64

    @property
    def volume(self) -> Float64:
        """(n,) ml in all."""
        return np.asarray(self.growing + self.dying.sum(axis=0), np.float64)

    def after_a_day(self, rate: Float64, linear: Float64, killed: Float64) -> Cells:
        """One day later, `killed` (n,) the share of the growing cells that is damaged in it."""
        growth = rate * self.growing / (1.0 + (rate * self.volume / linear) ** SWITCH) ** (1.0 / SWITCH)
        damaged = killed * self.growing
        moved = STAGE_RATE * self.dying
        dying = self.dying - moved
        dying[0] += damaged
        dying[1:] += moved[:-1]
        return Cells(self.growing + growth - damaged, dying)


def _grow(volume: Float64, rate: Float64, linear: Float64, action: str, days: float) -> Float64:
    """(n,) ml after so many days, by daily steps."""
    cells = Cells(volume.copy(), np.zeros((STAGES, len(volume))))
    for day in range(round(days)):
        cells = cells.after_a_day(rate, linear, _kill(action, float(day), rate))
    return cells.volume


def _kill(action: str, day: float, rate: Float64) -> Float64:
    """Share of the cells damaged a day: cytotoxic drugs hit those that divide and lose effect, targeted ones go on."""
    if action == "cytotoxic":
        return 2.4 * rate * math.exp(-day / 70.0)
    return np.full_like(rate, 0.0095 if action == "targeted" else 0.0)


def _assigned(log_mm: Float64, strength: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) action; larger and faster lesions are treated more, and with the stronger drug."""
    size = log_mm[:, -1]
    growth = log_mm[:, -1] - log_mm[:, 0]
    sick = 0.5 * _standard(size) + 1.5 * _standard(growth)
    logit = np.stack([-0.7 * strength * sick, 0.7 * strength * sick, np.zeros_like(sick)], axis=1)
    draw = logit + rng.gumbel(size=logit.shape)
    return np.asarray(draw.argmax(axis=1), np.int64)


def _standard(values: Float64) -> Float64:
    return (values - values.mean()) / values.std()


def log_mm_of(volume_ml: Float64) -> Float64:
    """ln of the diameter of the ball of this volume."""
    return np.log(6000.0 * volume_ml / math.pi) / 3.0
