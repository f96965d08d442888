"""Cohorts that were under a drug for a part of the visits, or not, with their true future on it and off it.

They grow and die by the law of `synth.phantom.trajectory`, in which a drug is seen late; how sensitive a lesion is to
the drug is its own, so that neither its growth nor its course under the drug alone gives the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.phantom.trajectory import READING_SD, STAGES, Cells

Float64 = NDArray[np.float64]

VISIT_DAYS = (-126.0, -84.0, -42.0, 0.0)
LATER_DAYS = (42.0, 90.0, 180.0)
START_DAYS = (math.inf, -126.0, -63.0)
"""When the drug began: never, at the first visit, halfway between the second and the third."""
KILL, FADE_DAYS = 2.4, 70.0
"""Damage a day in units of the growth rate when the drug is new, and how fast resistance comes."""


@dataclass(frozen=True)
class TreatedSettings:
    """What a cohort is like.

    Attributes:
        patients: how many; a third each began never, at the first visit and midway.
        sensitivity: log-normal spread of the damage between patients.
        seed: of everything.
    """

    patients: int = 300
    sensitivity: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.patients < 1 or not 0.0 <= self.sensitivity <= 3.0 or self.seed < 0:
            raise InputError(
                "cohort", expected="a patient or more, a spread from 0 on", got=str(self), fix="correct it"
            )


@dataclass(frozen=True, eq=False)
class TreatedCohort:
    """What was seen of n patients until now, and what will be.

    Attributes:
        days: (visits,); log_ml: (n, visits) measured ln V.
        start: (n,) the day on which the drug began, infinite where it did not.
        later_days: (H,); on, off: (n, H) true ln V then, with the drug given from now on and without.
    """

    days: Float64
    log_ml: Float64
    start: Float64
    later_days: Float64
    on: Float64
    off: Float64


def make_treated(settings: TreatedSettings) -> TreatedCohort:
    """Draw patients, treat some of them, and follow each under both plans.

    Example:
        >>> cohort = make_treated(TreatedSettings(patients=6))
        >>> cohort.log_ml.shape, cohort.on.shape, bool((cohort.on < cohort.off).all())
        ((6, 4), (6, 3), True)
    """
    rng = np.random.default_rng([settings.seed, 23])
    n = settings.patients
    rate = np.exp(rng.normal(math.log(0.009), 0.5, n))
    volume = np.exp(rng.normal(math.log(3.0), 0.9, n))
    patients = _Patients(
        rate=rate,
        linear=np.exp(rng.normal(math.log(0.8), 0.3, n)),
        damage=KILL * rate * np.exp(rng.normal(0.0, settings.sensitivity, n)),
        start=np.array(START_DAYS)[rng.permutation(n) % len(START_DAYS)],
    )
    seen, now = patients.followed(Cells(volume, np.zeros((STAGES, n))), VISIT_DAYS, patients.start, math.inf)
    on, _ = patients.followed(now, (0.0, *LATER_DAYS), np.minimum(patients.start, 0.0), math.inf)
    off, _ = patients.followed(now, (0.0, *LATER_DAYS), patients.start, 0.0)
    log_ml = np.log(seen) + 3.0 * rng.normal(0.0, READING_SD, seen.shape)
    later = np.array(LATER_DAYS)
    return TreatedCohort(np.array(VISIT_DAYS), log_ml, patients.start, later, np.log(on[:, 1:]), np.log(off[:, 1:]))


@dataclass(frozen=True, eq=False)
class _Patients:
    """What nobody sees of n patients: growth, its limit, damage by the drug; and when that began."""

    rate: Float64
    linear: Float64
    damage: Float64
    start: Float64

    def followed(self, cells: Cells, days: tuple[float, ...], start: Float64, stop: float) -> tuple[Float64, Cells]:
        """(n, days) ml on `days`, with the drug from `start` (n,) to `stop`, and the cells on the last of them."""
        seen = [cells.volume]
        for day in range(round(days[0]), round(days[-1])):
            going = (start <= day) & (day < stop)
            exposed = np.where(going, day - start, 0.0)
            killed = np.where(going, self.damage * np.exp(-exposed / FADE_DAYS), 0.0)
            cells = cells.after_a_day(self.rate, self.linear, killed)
            if float(day + 1) in days:
                seen.append(cells.volume)
        return np.stack(seen, axis=1), cells
