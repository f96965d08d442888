"""Fit one law to many short histories at once: a random search that zooms in, the same for every law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.laws.law import Law
from synth.errors import InputError

Float64 = NDArray[np.float64]
CANDIDATES, ROUNDS, SHRINK = 96, 14, 0.65
START_WIDTH = 0.4
"""How far, in ln V, the curve may begin from the first measurement: about two readers' disagreement."""


@dataclass(frozen=True, eq=False)
class FittedLaw:
    """A law with the parameters of each of n histories.

    Attributes:
        law: which.
        first_day: (n,) day of each first visit, where the curve begins.
        log_start: (n,) ln V there.
        parameters: name -> (n,).
    """

    law: Law
    first_day: Float64
    log_start: Float64
    parameters: dict[str, Float64]

    def log_volume(self, which: NDArray[np.int64], days: Float64) -> Float64:
        """ln V of history `which[i]` on `days[i]`, both (m,)."""
        parameters = {name: values[which] for name, values in self.parameters.items()}
        return self.law.log_volume(self.log_start[which], days - self.first_day[which], **parameters)


def fit_law(law: Law, days: Float64, log_volumes: Float64, *, seed: int = 0) -> FittedLaw:
    """Least squares in ln V over the visits, for n histories of k visits: `days` and `log_volumes` are (n, k).

    Each round draws candidates around the best so far, in a box that shrinks; the law's ranges bound them.
    Raises InputError for histories of one visit, which say nothing of a rate.

    Example:
        >>> from synth.dynamics.laws import LAWS
        >>> days = np.array([[0.0, 30.0, 60.0]])
        >>> fitted = fit_law(LAWS["exponential"], days, 0.01 * days)
        >>> bool(abs(fitted.parameters["a"][0] - 0.01) < 0.001)
        True
    """
    if days.shape != log_volumes.shape or days.ndim != 2 or days.shape[1] < 2:
        expected = "(n, k) days and volumes of at least two visits"
        raise InputError("history", expected=expected, got=f"{days.shape}, {log_volumes.shape}", fix="give more visits")
    rng = np.random.default_rng(seed)
    names = list(law.ranges)
    first = log_volumes[:, 0]
    low = np.stack([first - START_WIDTH, *(np.full_like(first, law.ranges[name][0]) for name in names)], axis=1)
    high = np.stack([first + START_WIDTH, *(np.full_like(first, law.ranges[name][1]) for name in names)], axis=1)
    best, width = (low + high) / 2, (high - low) / 2
    for _ in range(ROUNDS):
        drawn = rng.uniform(-1.0, 1.0, (len(best), CANDIDATES, best.shape[1]))
        drawn[:, 0] = 0.0  # the best so far stays among the candidates
        tried = np.clip(best[:, None] + drawn * width[:, None], low[:, None], high[:, None])
        loss = _squared_error(law, names, tried, days, log_volumes)
        best = tried[np.arange(len(best)), loss.argmin(axis=1)]
        width = width * SHRINK
    return FittedLaw(law, days[:, 0], best[:, 0], {name: best[:, i + 1] for i, name in enumerate(names)})


def _squared_error(law: Law, names: list[str], tried: Float64, days: Float64, log_volumes: Float64) -> Float64:
    """(n, candidates) sum over the visits."""
    parameters = {name: tried[:, :, None, i + 1] for i, name in enumerate(names)}
    predicted = law.log_volume(tried[:, :, None, 0], (days - days[:, :1])[:, None, :], **parameters)
    error: Float64 = ((predicted - log_volumes[:, None, :]) ** 2).sum(axis=2)
    return np.where(np.isfinite(error), error, np.inf)
