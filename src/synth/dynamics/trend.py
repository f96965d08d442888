"""A law with rates from the history: linear in what the visits say, saturating in time, shrunken towards no change.

    change(h) = sum_j f_j (a_j h/(h + s) + b_j sqrt(h/s))

f the summary of the history, h the days ahead, s the typical horizon. It is 0 at h = 0. Coefficients minimise the
absolute error, lesions weighted by diameter (an error in ln mm costs so much in mm), with a ridge: iteratively
reweighted least squares (Schlossmacher 1973, J Am Stat Assoc 68:857).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.history import HISTORY, Asked
from synth.errors import InputError

Float64 = NDArray[np.float64]

READ = (
    "shrunken_slope",
    "trend",
    "last_slope",
    "from_first",
    "from_nadir",
    "from_peak",
    "at_floor",
    "last",
    "trend_offset",
)
MOST = 6.0
RIDGE = 30.0
ROUNDS = 25
LEAST_ERROR = 0.03
"""Errors in ln mm below this, a third of a reader's, are not told apart."""


@dataclass(frozen=True, eq=False)
class ShrunkenTrend:
    """The fitted law.

    Attributes:
        coefficients: (2 (1 + read) + extra,) in the units of `scale`.
        scale: the same shape, the spread of each regressor.
        horizon: (1,) s, in days.
    """

    coefficients: Float64
    scale: Float64
    horizon: Float64

    @classmethod
    def fit(cls, asked: Asked, extra: Float64, change: Float64, weight: Float64) -> ShrunkenTrend:
        """Learn the change (n,) of ln mm; `extra` (n, m) are further regressors that vanish at h = 0."""
        horizon = np.array([max(float(np.median(asked.ahead_days)), 1.0)])
        x = _regressors(asked, extra, horizon[0])
        scale = x.std(axis=0) + 1e-9
        x = x / scale
        size = weight * np.exp(asked.last - asked.last.mean())
        size = size / size.mean()
        found = np.zeros(x.shape[1])
        for _ in range(ROUNDS):
            w = size / np.maximum(np.abs(change - x @ found), LEAST_ERROR)
            ridge = RIDGE * w.mean() * np.eye(x.shape[1])
            found = np.linalg.solve(x.T @ (w[:, None] * x) + ridge, x.T @ (w * change))
        return cls(found, scale, horizon)

    def predict(self, asked: Asked, extra: Float64) -> Float64:
        """(n,) the change of ln mm."""
        x = _regressors(asked, extra, float(self.horizon[0])) / self.scale
        change: Float64 = (x * self.coefficients).sum(axis=1)  # not `@`, whose last bits depend on the other rows
        return change

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Its arrays by name, to be stored."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> ShrunkenTrend:
        """From stored arrays; raises InputError for what is no such law."""
        try:
            made = cls(**{f.name: np.asarray(tensors[f.name], np.float64) for f in fields(cls)})
        except KeyError as error:
            raise InputError("trend", expected=f"array {error}", got="none", fix="fetch the weights again") from None
        if made.coefficients.shape != made.scale.shape or made.horizon.shape != (1,) or not (made.horizon > 0).all():
            raise InputError("trend", expected="as many scales as coefficients", got="others", fix="fetch it again")
        return made


def _regressors(asked: Asked, extra: Float64, horizon: float) -> Float64:
    """(n, 2 (1 + read) + extra)."""
    columns = [HISTORY.index(name) for name in READ]
    said = np.clip(np.nan_to_num(asked.history[:, columns]), -MOST, MOST)
    base = np.concatenate([np.ones((len(asked), 1)), said], axis=1)
    h = asked.ahead_days[:, None]
    return np.concatenate([base * (h / (h + horizon)), base * np.sqrt(h / horizon), extra], axis=1)
