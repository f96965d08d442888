"""What every benchmark prints: one object of rows, each a number with its interval, the same form for all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

Unit = TypeVar("Unit")


@dataclass(frozen=True)
class Row:
    """One number.

    Attributes:
        group: what it is about (arena, organ, family, severity, distance, horizon, task), "all" for the pool.
        method: "ours", or the name of a baseline.
        metric: what was measured.
        value: the number; NaN where it is not defined.
        low, high: its 95% interval; NaN where there is none.
        n: how many cases, masks or series went into it.
    """

    group: Mapping[str, str]
    method: str
    metric: str
    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """JSON data; what is not finite becomes null."""
        numbers = {"value": _finite(self.value), "low": _finite(self.low), "high": _finite(self.high)}
        return {"group": dict(self.group), "method": self.method, "metric": self.metric, **numbers, "n": self.n}


@dataclass(frozen=True)
class BenchmarkResult:
    """One run of a benchmark.

    Attributes:
        benchmark: its name.
        command: the command line that makes it again.
        weights: name -> SHA-256 of every weights file that was used.
        seconds: how long it took.
        rows: the numbers.

    Example:
        >>> row = Row({"family": "all"}, "ours", "joint_f1", 0.5, 0.4, math.nan, 3)
        >>> BenchmarkResult("decision", "synth benchmark decision", rows=(row,)).to_json()["rows"][0]["high"] is None
        True
    """

    benchmark: str
    command: str
    weights: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    rows: tuple[Row, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "benchmark": self.benchmark,
            "command": self.command,
            "weights": dict(self.weights),
            "seconds": round(self.seconds, 3),
            "rows": [row.to_json() for row in self.rows],
        }

    def table(self) -> str:
        """The rows as aligned text, one line each."""
        head = ("group", "method", "metric", "value", "95% interval", "n")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )


@dataclass(frozen=True)
class Interval:
    """The ends of a confidence interval; NaN where the statistic was never defined."""

    low: float
    high: float


def bootstrap_interval(
    units: Sequence[Unit],
    statistic: Callable[[Sequence[Unit]], float],
    *,
    rng: np.random.Generator,
    draws: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap over units (patients, cases), which are drawn whole, with replacement.

    Draws in which the statistic is not finite are left out.

    Example:
        >>> interval = bootstrap_interval([1.0] * 9, lambda v: sum(v) / len(v), rng=np.random.default_rng(0))
        >>> interval.low, interval.high
        (1.0, 1.0)
    """
    values = []
    for _ in range(draws if units else 0):
        value = statistic([units[index] for index in rng.integers(len(units), size=len(units))])
        if math.isfinite(value):
            values.append(value)
    if not values:
        return Interval(math.nan, math.nan)
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(low), float(high))


def exact_interval(value: float, n: int, *, level: float = 0.95) -> Interval:
    """Clopper-Pearson bounds of a rate that came out as none or all of n independent ones, which draws cannot vary.

        0 of n: 0 to 1 - a,    n of n: a to 1,    a = ((1 - level) / 2)^(1 / n)

    Of means of numbers between 0 and 1 as well: their mean is at most the chance that one is above 0. Raises ValueError
    for another value.

    Example:
        >>> round(exact_interval(0.0, 10).high, 3)
        0.308
    """
    bound = ((1 - level) / 2) ** (1 / n)
    if value == 0.0:
        return Interval(0.0, 1.0 - bound)
    if value == 1.0:
        return Interval(bound, 1.0)
    raise ValueError(f"exact bounds are of 0 or 1, not of {value:g}")


def mean_finite(values: Iterable[float]) -> float:
    """Mean of the finite values; NaN when there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _cells(row: Row) -> tuple[str, ...]:
    group = ", ".join(f"{key}={value}" for key, value in row.group.items())
    interval = f"{row.low:.3f} to {row.high:.3f}" if math.isfinite(row.low) and math.isfinite(row.high) else ""
    return group, row.method, row.metric, f"{row.value:.3f}", interval, str(row.n)
