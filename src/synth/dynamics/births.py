"""New lesions: a Poisson count whose hazard varies between patients.

    n(t) ~ Poisson(g h t),   g ~ Gamma(1/v, v),   g given n in T ~ Gamma(1/v + n, v / (1 + v h T))

h is the hazard (1/day), v the variance of the patient's frailty g, n the new lesions of the patient's own visits, which
span T. Fitted to patients by the marginal likelihood, a negative binomial in n for each. Source: Rondeau et al. 2007,
Biostatistics 8:708.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln, ndtr
from scipy.stats import gamma, poisson

from synth.dynamics.futures import LesionHistory
from synth.errors import InputError

Float64 = NDArray[np.float64]
DAYS_A_YEAR = 365.25
PER_YEAR, FRAILTY = (1e-3, 100.0), (1e-3, 20.0)
"""Bounds of what is fitted."""


@dataclass(frozen=True)
class Seen:
    """New lesions that a patient's own visits showed, and the years from the first visit to the last.

    Raises `InputError` for negative numbers.
    """

    count: int = 0
    years: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 0 or not 0.0 <= self.years < math.inf:
            got = f"{self.count} in {self.years:g} years"
            raise InputError("new lesions seen", expected="a count and years from 0 on", got=got, fix="count again")

    @classmethod
    def of(cls, lesions: Sequence[LesionHistory]) -> Seen:
        """Of the lesions that are followed: those that were not there yet at the first visit at which any was."""
        came = [min(d for d, v in zip(each.days, each.volume_ml, strict=True) if v > 0) for each in lesions]
        if not came:
            return cls()
        first = min(came)
        return cls(sum(day > first for day in came), (lesions[0].days[-1] - first) / DAYS_A_YEAR)


@dataclass(frozen=True)
class Births:
    """The hazard of new lesions; no table that the shipped model is fitted on has any, so that there it is assumed.

    Attributes:
        per_year: new lesions a year of a mean patient.
        frailty: variance of the patients' own factor, above 0.
        patients: how many it was fitted on; 0 where it is assumed.
    """

    per_year: float = 0.6
    frailty: float = 1.0
    patients: int = 0

    def __post_init__(self) -> None:
        if not (0.0 < self.per_year < math.inf and 0.0 < self.frailty < math.inf and self.patients >= 0):
            got = f"{self.per_year:g} a year, frailty variance {self.frailty:g}, of {self.patients} patients"
            raise InputError("births", expected="a hazard and a variance above 0", got=got, fix="fit them again")

    @classmethod
    def fit(cls, patients: Sequence[Seen]) -> Births:
        """The hazard and frailty under which what was seen of these patients is likeliest.

        Raises `InputError` where nothing new or no time was seen.

        Example:
            >>> fitted = Births.fit([Seen(0, 1.0), Seen(1, 2.0), Seen(4, 2.0), Seen(0, 1.5)])
            >>> round(fitted.per_year, 2), fitted.patients
            (0.71, 4)
        """
        count = np.array([seen.count for seen in patients], np.float64)
        years = np.array([seen.years for seen in patients], np.float64)
        followed = years > 0
        if not count[followed].any():
            got = f"{int(followed.sum())} followed patients, nothing new in any"
            raise InputError("new lesions", expected="some to learn from", got=got, fix="leave the table out")
        n, t = count[followed], years[followed]

        def loss(log: Float64) -> float:
            h, k = math.exp(log[0]), math.exp(-log[1])
            terms = gammaln(n + k) - gammaln(k) + k * np.log(k) + n * np.log(h * t) - (n + k) * np.log(k + h * t)
            return -float(terms.sum())

        start = np.log([np.clip(n.sum() / t.sum(), *PER_YEAR), 1.0])
        found = minimize(loss, start, method="L-BFGS-B", bounds=[tuple(np.log(PER_YEAR)), tuple(np.log(FRAILTY))])
        per_year, frailty = np.exp(found.x).tolist()
        return cls(per_year, frailty, int(followed.sum()))

    def sample(
        self, days: Float64, patient: Float64, rng: np.random.Generator, seen: Seen | None = None
    ) -> NDArray[np.int64]:
        """(samples, H) counts so far, never falling; `patient` (samples,) is the standard normal of the frailty.

        What the patient's own visits showed corrects the frailty; none say nothing.

        Example:
            >>> rng = np.random.default_rng(0)
            >>> Births().sample(np.array([0.0, 365.0]), np.zeros(3), rng)[:, 0].tolist()
            [0, 0, 0]
        """
        seen = seen or Seen()
        shape = 1.0 / self.frailty + seen.count
        scale = self.frailty / (1.0 + self.frailty * self.per_year * seen.years)
        factor = gamma.ppf(np.clip(ndtr(patient), 1e-9, 1 - 1e-9), shape, scale=scale)
        uniform = rng.uniform(size=len(patient))
        mean = factor[:, None] * self.per_year * days[None, :] / DAYS_A_YEAR
        # One uniform a sample: the count is a quantile of a mean that only grows, so it never falls.
        return np.asarray(poisson.ppf(np.clip(uniform, 0.0, 1 - 1e-12)[:, None], mean), np.int64).clip(min=0)

    def told(self, seen: Seen) -> str:
        """Where it comes from, for the provenance of a forecast."""
        source = f"learned from {self.patients} patients" if self.patients else "assumed"
        hazard = f"{source}: {self.per_year:.3g} a year, frailty variance {self.frailty:.3g}"
        if seen.years == 0.0:
            return hazard
        return f"{hazard}; the frailty corrected by {seen.count} new in {seen.years:.2f} years of the patient's own"
