"""Lesions that disappear: the share that is gone by a day, learned from lesions that became too small to measure.

    logit P(gone by t) = b0 + b1 ln d(t) + b2 ln t

d(t) the middle of the lesion's course in mm, t the days ahead. The samples in which it goes are those whose draw is
lowest, the ones that shrink; one that is gone stays so (244 of 255 readings after a disappearance in the RECIST table
say the same). All who were learned from were under drugs: days without drugs add nothing, and a lesion is gone then by
law alone, when it is too small.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.given import Given
from synth.dynamics.series import FLOOR_MM
from synth.errors import InputError
from synth.volume import write_bytes

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

SHIPPED = Path(__file__).with_name("deaths.json")
GRID = np.array([7.0, 14.0, 28.0, 42.0, 63.0, 90.0, 120.0, 180.0, 270.0, 365.0, 540.0, 730.0, 1095.0, 1825.0, 3653.0])
"""Days at which the share is asked for; in between it is interpolated, so that horizons do not change each other."""
LONGEST_DAYS = 730.0
"""The tables reach no further: nothing disappears later."""
SMALLEST_MM, LARGEST_MM = 1.0, 300.0
WEAK = 1e3
"""Inverse strength of the ridge of the fit, so weak that it only keeps the fit finite."""


@dataclass(frozen=True)
class Deaths:
    """The learned share.

    Attributes:
        intercept, size, time: b0, b1, b2; larger lesions go less often, more have gone later.
        events, questions: how many it was learned from.

    Raises `InputError` for numbers under which the share would fall with time or rise with size.

    Example:
        >>> Deaths.shipped().share(np.log([8.0, 40.0]), np.array([180.0, 180.0])).round(2).tolist()[0] > 0.05
        True
    """

    intercept: float
    size: float
    time: float
    events: int = 0
    questions: int = 0

    def __post_init__(self) -> None:
        fine = all(math.isfinite(v) for v in (self.intercept, self.size, self.time))
        if not fine or self.size > 0 or self.time < 0:
            got = f"{self.intercept:g}, {self.size:g}, {self.time:g}"
            expected = "a share that falls with size and rises with time"
            raise InputError("disappearance", expected=expected, got=got, fix="refit it on more series")

    @classmethod
    def fit(cls, log_mm_then: Float64, ahead_days: Float64, gone: Bools) -> Deaths:
        """Logistic regression (scikit-learn) on the size expected and the horizon, all (n,), of lesions seen now."""
        from sklearn.linear_model import LogisticRegression

        if gone.all() or not gone.any():
            got = f"{int(gone.sum())} of {len(gone)}"
            raise InputError("disappearance", expected="some that went and some that stayed", got=got, fix="give more")
        x = np.stack([_bounded(log_mm_then), np.log(ahead_days)], axis=1)
        fitted = LogisticRegression(C=WEAK, max_iter=1000).fit(x, gone)
        size, time = (float(v) for v in fitted.coef_[0])
        return cls(float(fitted.intercept_[0]), min(size, 0.0), max(time, 0.0), int(gone.sum()), len(gone))

    def share(self, log_mm_then: Float64, ahead_days: Float64) -> Float64:
        """(n,) P(gone by the day), from the size expected then; 0 at no time."""
        days = np.clip(ahead_days, 1e-6, LONGEST_DAYS)
        logit = self.intercept + self.size * _bounded(log_mm_then) + self.time * np.log(days)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -60.0, 60.0))))

    def gone(self, rank: Float64, log_mm: Float64, given: Given, days: Float64) -> Bools:
        """(samples, H) whether the lesion has gone, never coming back.

        `rank` (samples,) uniform, low for the samples that shrink; `log_mm` the middle course at `GRID`.
        """
        so_far = np.maximum.accumulate(self.share(log_mm, GRID))
        grid = np.concatenate([[0.0], GRID])
        treated = np.diff(_treated(given, grid)) / np.diff(grid)
        by_day = np.concatenate([[0.0], np.cumsum(np.diff(so_far, prepend=0.0) * treated)])
        return rank[:, None] < np.interp(days, grid, by_day)[None, :]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        write_bytes(path, (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode())

    @classmethod
    def load(cls, path: Path = SHIPPED) -> Deaths:
        """Read it; raises InputError for what is no such file."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            fix = "make it again with benchmarks/dynamics_fit.py"
            raise InputError(str(path), expected="a fit as JSON", got=str(error)[:200], fix=fix) from None

    @classmethod
    @cache
    def shipped(cls) -> Deaths:
        """Fitted to the RECIST table."""
        return cls.load()

    @property
    def told(self) -> str:
        """Where it comes from, for the provenance of a forecast."""
        learned = f"learned from {self.events} of {self.questions} readings in the tables, under drugs"
        return f"{learned}; without drugs by law: below what is measured ({FLOOR_MM:g} mm) or seen on the grid"


def _treated(given: Given, days: Float64) -> Float64:
    """(n,) days under any drug until each day from now."""
    any_drug = Given(tuple(("any", start, stop) for _, start, stop in given.courses if stop > 0))
    total = any_drug.exposed("any", days)
    return np.asarray(total - any_drug.exposed("any", np.zeros(1)))


def _bounded(log_mm: Float64) -> Float64:
    return np.clip(log_mm, math.log(SMALLEST_MM), math.log(LARGEST_MM))
