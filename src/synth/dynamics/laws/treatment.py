"""What a treatment does to ln V by law: log-kill with resistance for drugs, linear-quadratic for radiation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.errors import InputError

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class LogKill:
    """A drug kills a share of the sensitive cells a day; resistance makes the kill fade.

    d ln V/dt = -kill exp(-resistance t) while it is given (Claret et al. 2009, J Clin Oncol 27:4103, equation 1).

    Attributes:
        kill_per_day: rate at the start of treatment, 1/day.
        resistance_per_day: rate at which the effect is lost, 1/day.

    Example:
        >>> drug = LogKill(kill_per_day=0.01, resistance_per_day=0.0)
        >>> float(drug.change(100.0))
        -1.0
    """

    kill_per_day: float
    resistance_per_day: float

    def __post_init__(self) -> None:
        for name in ("kill_per_day", "resistance_per_day"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(name, expected="a rate from 0 on", got=f"{value:g}", fix="give it per day")

    def change(self, exposed_days: ArrayLike) -> Float64:
        """The change of ln V after so many days of treatment; 0 at none."""
        t = np.maximum(np.asarray(exposed_days, np.float64), 0.0)
        if self.resistance_per_day == 0.0:
            return -self.kill_per_day * t
        return self.kill_per_day * np.expm1(-self.resistance_per_day * t) / self.resistance_per_day


@dataclass(frozen=True)
class LinearQuadratic:
    """Surviving share of clonogenic cells after n fractions of d Gy: exp(-n (alpha d + beta d^2)).

    Dead cells stay in view and are cleared with a half-life, so that ln V falls over weeks, not on the day.
    Source: Fowler 1989, Br J Radiol 62:679; clearance as in Huang et al. 2010, Cancer Res 70:465.

    Attributes:
        alpha_per_gy, beta_per_gy2: radiosensitivity.
        clearance_days: half-life of dead cells.

    Example:
        >>> tumour = LinearQuadratic(alpha_per_gy=0.3, beta_per_gy2=0.03, clearance_days=45.0)
        >>> round(tumour.log_survival(2.0, 30), 1), float(tumour.change(2.0, 30.0, 0.0)) + 0.0
        (-21.6, 0.0)
    """

    alpha_per_gy: float
    beta_per_gy2: float
    clearance_days: float

    def __post_init__(self) -> None:
        for name in ("alpha_per_gy", "beta_per_gy2", "clearance_days"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0) or (name == "clearance_days" and value == 0):
                raise InputError(name, expected="a number above 0", got=f"{value:g}", fix="see the source")

    def log_survival(self, dose_per_fraction_gy: float, fractions: float) -> float:
        """ln of the surviving share."""
        d = dose_per_fraction_gy
        return -fractions * (self.alpha_per_gy * d + self.beta_per_gy2 * d * d)

    def change(self, dose_per_fraction_gy: float, fractions: float, days_after: ArrayLike) -> Float64:
        """The change of ln V `days_after` the dose: the survivors and what is left of the dead."""
        return self.course(dose_per_fraction_gy, fractions, [0.0], days_after)

    def course(self, dose_per_fraction_gy: float, fractions: float, given_days: ArrayLike, days: ArrayLike) -> Float64:
        """The change of ln V on `days` (any shape) when the fractions are shared evenly among `given_days` (P,).

        Each share kills among the survivors of those before it, and the dead of each are cleared from its own day on:

            V(t) / V(0) = s^k + sum over the k shares given until t of s^(i-1) (1 - s) 2^(-(t - day i) / clearance)
        """
        given, t = np.asarray(given_days, np.float64), np.asarray(days, np.float64)[..., None]
        log_s = self.log_survival(dose_per_fraction_gy, fractions / given.size)
        killed = np.exp(log_s * np.arange(given.size)) * -math.expm1(log_s)
        since = t - given
        dead = (killed * np.exp2(-np.maximum(since, 0.0) / self.clearance_days) * (since >= 0)).sum(axis=-1)
        return np.log(np.exp(log_s * (since >= 0).sum(axis=-1)) + dead)
