"""What a history of irregular visits says: the summary that the model reads, unknown where there are too few visits.

Sizes are ln mm; rates are per 100 days; nothing depends on where the calendar begins. Slopes are shrunken towards
none, as a rate from two close visits is mostly noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.series import FLOOR_MM, Question, Series

Float64 = NDArray[np.float64]
RECENT_DAYS = 60.0
"""A visit this much older than the last weighs 1/e in the trend."""
SHORTEST_DAYS = 7.0
"""Visits closer than this are taken to be so far apart: reading noise does not make a rate."""
HISTORY = (
    "last",
    "seen",
    "span_days",
    "since_previous_days",
    "last_slope",
    "previous_slope",
    "from_first",
    "from_nadir",
    "since_nadir_days",
    "from_peak",
    "first",
    "middle",
    "trend",
    "trend_offset",
    "shrunken_slope",
    "spread",
    "at_floor",
    "mean_step",
    "previous_from_first",
)
AHEAD = ("log_ahead", "ahead_days", "ahead_in_intervals", "slope_ahead", "trend_ahead")
TREND_RIDGE, SLOPE_RIDGE = 0.05, 0.3


@dataclass(frozen=True, eq=False)
class Visits:
    """The known part of a series: days and ln mm, both (k,), the last one now."""

    days: Float64
    log_mm: Float64

    @cached_property
    def summary(self) -> Float64:
        """(history,) the features in the order of `HISTORY`; NaN where the visits do not say."""
        days, y, k = self.days, self.log_mm, len(self.days)
        trend, offset = self._trend()
        steps = np.diff(y)
        gaps = np.maximum(np.diff(days), SHORTEST_DAYS)
        nan = np.nan
        return np.array(
            [
                y[-1],
                k,
                days[-1] - days[0],
                days[-1] - days[-2] if k > 1 else nan,
                100.0 * steps[-1] / gaps[-1] if k > 1 else nan,
                100.0 * steps[-2] / gaps[-2] if k > 2 else nan,
                y[-1] - y[0],
                y[-1] - y.min(),
                days[-1] - days[int(y.argmin())],
                y.max() - y[-1],
                y[0],
                y[k // 2] if k > 2 else nan,
                trend,
                offset,
                self._shrunken_slope(),
                y.std(),
                float(y[-1] <= np.log(FLOOR_MM) + 0.01),
                np.abs(steps).mean() if k > 1 else nan,
                y[-2] - y[0] if k > 1 else nan,
            ]
        )

    def ahead(self, days_ahead: float) -> Float64:
        """(ahead,) the features in the order of `AHEAD`: the horizon, alone and against the history."""
        known = dict(zip(HISTORY, self.summary, strict=True))
        interval = max(known["since_previous_days"], SHORTEST_DAYS)
        part = days_ahead / 100.0
        ahead = (np.log1p(days_ahead), days_ahead, days_ahead / interval)
        return np.array([*ahead, known["shrunken_slope"] * part, known["trend"] * part])

    def _trend(self) -> tuple[float, float]:
        """Slope, and offset of the line from the last size, of the visits weighted by how recent they are."""
        t, y = (self.days - self.days[-1]) / 100.0, self.log_mm
        weight = np.exp((self.days - self.days[-1]) / RECENT_DAYS)
        total = weight.sum()
        mean_t, mean_y = (weight * t).sum() / total, (weight * y).sum() / total
        slope = (weight * (t - mean_t) * (y - mean_y)).sum() / ((weight * (t - mean_t) ** 2).sum() + TREND_RIDGE)
        return float(slope), float(mean_y - slope * mean_t - y[-1])

    def _shrunken_slope(self) -> float:
        """Slope of the line through the last size."""
        t = (self.days - self.days[-1]) / 100.0
        return float((t * (self.log_mm - self.log_mm[-1])).sum() / ((t * t).sum() + SLOPE_RIDGE))


@dataclass(frozen=True, eq=False)
class Asked:
    """Questions as arrays, one row each.

    Attributes:
        history: (n, history + ahead) features of visits and horizon.
        last: (n,) ln mm now.
        ahead_days: (n,) the horizon.
        truth: (n,) ln mm then.
        series: (n,) number of the series.
        seen: (n,) how many visits were known.
    """

    history: Float64
    last: Float64
    ahead_days: Float64
    truth: Float64
    series: NDArray[np.int64]
    seen: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.last)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Asked:
        """The questions kept."""
        return Asked(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


def ask(series: Sequence[Series], questions: Sequence[Question]) -> Asked:
    """The questions with what is known and what came.

    Example:
        >>> from synth.dynamics.series import questions_after
        >>> two = [Series.of("p", [(0, 10), (50, 20)])]
        >>> asked = ask(two, questions_after(two, [1]))
        >>> asked.ahead_days.tolist(), round(float(asked.truth[0] - asked.last[0]), 3)
        ([50.0], 0.693)
    """
    visits: dict[tuple[int, int], Visits] = {}
    rows, ahead = [], []
    for i, seen, target in questions:
        of = series[i]
        past = visits.setdefault((i, seen), Visits(of.days[:seen], of.log_mm[:seen]))
        days_ahead = float(of.days[target] - past.days[-1])
        rows.append(np.concatenate([past.summary, past.ahead(days_ahead)]))
        ahead.append(days_ahead)
    width = len(HISTORY) + len(AHEAD)
    return Asked(
        history=np.array(rows).reshape(-1, width),
        last=np.array([series[q.series].log_mm[q.seen - 1] for q in questions], np.float64),
        ahead_days=np.array(ahead, np.float64),
        truth=np.array([series[q.series].log_mm[q.target] for q in questions], np.float64),
        series=np.array([q.series for q in questions], np.int64),
        seen=np.array([q.seen for q in questions], np.int64),
    )
