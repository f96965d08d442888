"""Growth and treatment told apart: the rates of one lesion from dated visits and what was given between them.

    ln V(t) = c + g t - sum_a k_a R_a(t) + w(t) + e,    R_a(t) = (1 - exp(-f_a E_a(t))) / f_a

g growth (1/day), k_a log-kill of drug class a when it is new (1/day), f_a how fast its effect fades with exposure,
E_a(t) the days that it was given until t; w a random walk, e the error of a reading. The effect of a drug ends when it
stops. g and k_a are normal between lesions, c is free, so that the visits give them in closed form, shrunken to the
population the more the less the visits say (best linear unbiased prediction).

Source: the law of Claret et al. 2009, J Clin Oncol 27:4103, equation 1; the estimate of Laird and Ware 1982, Biometrics
38:963.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.given import Given
from synth.errors import InputError
from synth.volume import write_bytes

Float64 = NDArray[np.float64]

SHIPPED = Path(__file__).with_name("rates.json")
LEVEL_SPREAD = 5.0
"""Standard deviation of ln V at the first visit, so wide that it does not shrink."""


@dataclass(frozen=True)
class Kill:
    """What a class of drug does in a population: mean and spread of its log-kill, and how it fades; all 1/day."""

    mean: float
    spread: float
    fade: float

    def __post_init__(self) -> None:
        fine = all(math.isfinite(v) for v in asdict(self).values()) and self.spread > 0 and self.fade > 0
        if not fine:
            raise InputError("kill", expected="finite rates, spread and fading above 0", got=str(self), fix="refit it")

    def reached(self, exposed_days: Float64) -> Float64:
        """R: how many days of fresh drug so many days of exposure are worth."""
        return np.asarray(-np.expm1(-self.fade * exposed_days) / self.fade)


@dataclass(frozen=True)
class Rates:
    """The population that a lesion's rates are shrunken to.

    Attributes:
        growth, growth_spread: of g, 1/day.
        kills: class of drug -> its kill; `other` stands for a class that no table has.
        wander: of w, standard deviation of ln V after one day; it grows with the square root of time.
        reading: standard deviation of e, ln V.
        assumed: names of the numbers that were not fitted.

    Example:
        >>> rates = Rates.shipped()
        >>> days, size = np.array([-84.0, -42.0, 0.0]), np.log([2.0, 3.0, 4.5])
        >>> drug = Given((("cytotoxic", -84.0, 0.0),))
        >>> treated, untreated = rates.of(days, size, drug), rates.of(days, size, Given())
        >>> bool(treated.growth > untreated.growth), treated.change(Given(), np.array([0.0])).tolist()
        (True, [0.0])
    """

    growth: float
    growth_spread: float
    kills: Mapping[str, Kill]
    other: Kill
    wander: float
    reading: float
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        spreads = (self.growth_spread, self.wander, self.reading)
        if not math.isfinite(self.growth) or not all(math.isfinite(v) and v > 0 for v in spreads):
            got = f"{self.growth:g}, {spreads}"
            raise InputError("rates", expected="finite rates and spreads above 0", got=got, fix="refit them")

    def kill(self, name: str) -> Kill:
        """Of a class of drug."""
        return self.kills.get(name, self.other)

    def of(self, days: Float64, log_volume: Float64, given: Given) -> LesionRates:
        """The rates of one lesion from its visits on `days` (n,), any calendar with the drugs', at ln V (n,)."""
        classes = given.classes
        design = self.design(days, given, classes)
        prior = np.array([self.growth, *(self.kill(name).mean for name in classes)])
        spread = np.array([self.growth_spread, *(self.kill(name).spread for name in classes)])
        within = np.linalg.inv(self.noise(days))
        precision = design.T @ within @ design + np.diag(spread**-2.0)
        residual = log_volume - log_volume[0] - design @ prior
        covariance = np.linalg.inv(precision)
        found = prior + covariance @ (design.T @ within @ residual)
        own = 1.0 - np.diag(covariance) / spread**2
        kills = {name: float(k) for name, k in zip(classes, found[1:], strict=True)}
        return LesionRates(self, float(found[0]), kills, float(np.clip(own[0], 0.0, 1.0)), given)

    def design(self, days: Float64, given: Given, classes: tuple[str, ...]) -> Float64:
        """(n, 1 + classes) how ln V since the first visit depends on the growth and on each kill."""
        reached = [self.kill(name).reached(given.exposed(name, days)) for name in classes]
        return np.stack([days - days[0], *(-(r - r[0]) for r in reached)], axis=1)

    def noise(self, days: Float64) -> Float64:
        """(n, n) covariance of level, random walk and reading."""
        since = days - days[0]
        walk = self.wander**2 * np.minimum.outer(since, since)
        return np.asarray(LEVEL_SPREAD**2 + walk + self.reading**2 * np.eye(len(days)))

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_bytes(path, (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode())

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Rates:
        """Read it; raises InputError for what is no such file."""
        try:
            told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            kills = {str(name): Kill(**kill) for name, kill in told.pop("kills").items()}
            other, assumed = Kill(**told.pop("other")), tuple(told.pop("assumed"))
            return cls(**told, kills=kills, other=other, assumed=assumed)
        except (OSError, KeyError, TypeError, ValueError) as error:
            fix = "make it again with benchmarks/dynamics_fit.py"
            raise InputError(str(path), expected="rates as JSON", got=str(error)[:200], fix=fix) from None

    @classmethod
    @cache
    def shipped(cls) -> Rates:
        """Fitted to the RECIST table; growth without treatment, which it does not have, is assumed."""
        return cls.load()


@dataclass(frozen=True)
class LesionRates:
    """What the visits say of one lesion, shrunken.

    Attributes:
        population: whose prior it was; growth: g; kills: class given before now -> k.
        own: share of the variance of the growth that the visits have settled, 0 where they say nothing.
        given: what was given before now.
    """

    population: Rates
    growth: float
    kills: Mapping[str, float]
    own: float
    given: Given = field(default_factory=Given)

    def change(self, planned: Given, days: Float64) -> Float64:
        """(H,) the expected ln V(day) - ln V(now) under what is given from now on.

        Exposure counts on from before: a drug that has faded does not come back fresh.
        """
        total = self.growth * days
        both = Given((*self.given.courses, *planned.courses))
        for name in both.classes:
            law = self.population.kill(name)
            reached = law.reached(both.exposed(name, days)) - law.reached(both.exposed(name, np.zeros(1)))
            total = total - self.kills.get(name, law.mean) * reached
        return np.asarray(total)
