"""Fitting the population of `rates`: the greatest likelihood of series whose drugs are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.given import Given
from synth.dynamics.rates import Kill, Rates
from synth.errors import InputError

Float64 = NDArray[np.float64]

LEAST_SERIES = 10
MOST_STEPS = 80
WIDER = 1.5
"""How much wider than the mean of the fitted spreads that of a class without data is."""
_SLOWEST, _FASTEST = 1e-3, 0.2
"""Fading per day that is looked for: half-lives from three days to two years."""


@dataclass(frozen=True, eq=False)
class Treated:
    """One lesion that was seen on `days` (n,) with ln V `log_volume` (n,), and what was given on the same calendar."""

    days: Float64
    log_volume: Float64
    given: Given

    def __post_init__(self) -> None:
        fine = len(self.days) == len(self.log_volume) >= 2 and bool(np.isfinite(self.log_volume).all())
        if not fine or (np.diff(self.days) <= 0).any():
            got = f"{len(self.days)}, {len(self.log_volume)}"
            expected = "two finite sizes or more on rising days"
            raise InputError("treated series", expected=expected, got=got, fix="cut it")


@dataclass(frozen=True)
class Growth:
    """An assumed growth, for tables in which nobody is untreated: mean and spread, 1/day."""

    mean: float
    spread: float


def fit_rates(series: Sequence[Treated], *, growth: Growth | None = None) -> Rates:
    """The population under which the series are likeliest; growth is fitted as well where none is assumed.

    minus log-likelihood = sum of (r' S^-1 r + ln det S) / 2,  r = ln V - mean,  S = noise + X diag(spread^2) X'

    Raises InputError for fewer than ten series and for a population in which no drug was given.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> days, drug = np.arange(0.0, 300.0, 30.0), Given((("cytotoxic", 0.0, 150.0),))
        >>> def one(growth: float) -> Treated:
        ...     reached = Kill(0.03, 0.01, 0.02).reached(drug.exposed("cytotoxic", days))
        ...     return Treated(days, growth * days - 0.03 * reached + rng.normal(0, 0.1, len(days)), drug)
        >>> fitted = fit_rates([one(g) for g in rng.normal(0.01, 0.002, 60)])
        >>> bool(abs(fitted.growth - 0.01) < 0.001), bool(abs(fitted.kills["cytotoxic"].mean - 0.03) < 0.004)
        (True, True)
    """
    from scipy.optimize import minimize

    classes = tuple(sorted({name for each in series for name in each.given.classes}))
    if len(series) < LEAST_SERIES or not classes:
        expected, got = f"{LEAST_SERIES} series or more, some under drugs", f"{len(series)}, {classes}"
        raise InputError("rates", expected=expected, got=got, fix="give more series")
    form = _Form(classes, growth)
    found = minimize(
        lambda p: _unlikely(form.rates(p), series, classes),
        form.start(),
        method="L-BFGS-B",
        bounds=form.bounds(),
        options={"maxiter": MOST_STEPS},
    )
    return form.rates(found.x)


@dataclass(frozen=True)
class _Form:
    """How a vector of numbers of order one stands for a population: rates per 1000 days, logarithms of spreads."""

    classes: tuple[str, ...]
    growth: Growth | None

    def start(self) -> Float64:
        own = [] if self.growth else [3.0, math.log(3.0)]
        return np.array([*own, math.log(0.15), math.log(0.03), *(8.0, math.log(8.0), math.log(0.015)) * self.count])

    def bounds(self) -> list[tuple[float, float]]:
        own = [] if self.growth else [(-20.0, 100.0), (math.log(0.2), math.log(50.0))]
        noise = [(math.log(0.01), 0.0), (math.log(1e-3), math.log(0.3))]
        kill = [(-50.0, 200.0), (math.log(0.2), math.log(100.0)), (math.log(_SLOWEST), math.log(_FASTEST))]
        return [*own, *noise, *kill * self.count]

    @property
    def count(self) -> int:
        return len(self.classes)

    def rates(self, p: Float64) -> Rates:
        own = (self.growth.mean, self.growth.spread) if self.growth else (p[0] / 1e3, math.exp(p[1]) / 1e3)
        rest = p if self.growth else p[2:]
        each = rest[2:].reshape(self.count, 3)
        kills = {
            name: Kill(float(mean) / 1e3, math.exp(spread) / 1e3, math.exp(fade))
            for name, (mean, spread, fade) in zip(self.classes, each, strict=True)
        }
        assumed = ("growth", "growth_spread", "other") if self.growth else ("other",)
        reading, wander = (math.exp(v) for v in rest[:2])
        return Rates(float(own[0]), float(own[1]), kills, _mean(list(kills.values())), wander, reading, assumed)


def _mean(kills: Sequence[Kill]) -> Kill:
    """For a class without data: the mean of those with, less sure of itself."""
    fade = math.exp(sum(math.log(k.fade) for k in kills) / len(kills))
    spread = WIDER * math.sqrt(sum(k.spread**2 for k in kills) / len(kills))
    return Kill(sum(k.mean for k in kills) / len(kills), spread, fade)


def _unlikely(rates: Rates, series: Sequence[Treated], classes: tuple[str, ...]) -> float:
    """Minus the mean log-likelihood of a series."""
    mean = np.array([rates.growth, *(rates.kill(name).mean for name in classes)])
    spread = np.array([rates.growth_spread, *(rates.kill(name).spread for name in classes)])
    total = 0.0
    for each in series:
        design = rates.design(each.days, each.given, classes)
        scaled = design * spread
        root = np.linalg.cholesky(rates.noise(each.days) + scaled @ scaled.T)
        z = np.linalg.solve(root, each.log_volume - each.log_volume[0] - design @ mean)
        total += 0.5 * float(z @ z) + float(np.log(np.diag(root)).sum())
    return total / len(series)
