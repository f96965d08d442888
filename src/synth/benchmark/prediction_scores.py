"""From predictions to rows: errors, skill, coverage and AUROC, each with its interval over patients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.result import Row

Float64 = NDArray[np.float64]
LEVELS = np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
MEDIAN = 5
DRAWS = 1000
CARRY = "carry_forward"


@dataclass(frozen=True, eq=False)
class Answers:
    """What one method said to the questions of one task.

    Attributes:
        median: (n,) change of ln mm.
        quantiles: (n, levels) at `LEVELS`, where the method gives a distribution.
    """

    median: Float64
    quantiles: Float64 | None = None


@dataclass(frozen=True, eq=False)
class Scored:
    """The questions of one task, as scoring needs them.

    Attributes:
        task: its name in the rows.
        patient: (n,) who, drawn whole by the bootstrap.
        last, truth: (n,) ln mm now and then.
        power: 1 where tables hold diameters, 3 where they hold volumes: log errors are those of the table.
        in_mm: whether errors in mm are reported.
    """

    task: str
    patient: NDArray[np.int64]
    last: Float64
    truth: Float64
    power: float = 1.0
    in_mm: bool = True


def rows_of(scored: Scored, answers: Mapping[str, Answers], *, seed: int) -> Iterator[Row]:
    """Every metric of every method; `*_ratio` is to carry-forward on the same draws of patients."""
    shares = _Shares.of(scored.patient, seed)
    carry = answers[CARRY]
    change = scored.truth - scored.last
    for method, said in answers.items():
        errors = {"log_mae": scored.power * np.abs(said.median - change)}
        base = {"log_mae": scored.power * np.abs(carry.median - change)}
        if scored.in_mm:
            errors["mae"], base["mae"] = _mm(scored, said), _mm(scored, carry)
        for name, each in errors.items():
            yield shares.mean_row(scored.task, method, name, each)
            yield shares.ratio_row(scored.task, method, f"{name}_ratio", each, base[name])
        if said.quantiles is not None and carry.quantiles is not None:
            ours, theirs = pinball(change, said.quantiles), pinball(change, carry.quantiles)
            yield shares.ratio_row(scored.task, method, "pinball_skill", ours, theirs, lambda ratio: 1.0 - ratio)
            inside = (change >= said.quantiles[:, 0] - 1e-9) & (change <= said.quantiles[:, -1] + 1e-9)
            yield shares.mean_row(scored.task, method, "coverage90", inside.astype(np.float64))


def against(scored: Scored, metric: str, ours: Answers, others: Answers, name: str, *, seed: int) -> Row:
    """The ratio of our error to another method's, on the same draws of patients; below 1 is better."""
    change = scored.truth - scored.last
    if metric == "mae":
        pair = _mm(scored, ours), _mm(scored, others)
    else:
        pair = np.abs(ours.median - change), np.abs(others.median - change)
    return _Shares.of(scored.patient, seed).ratio_row(scored.task, "ours", f"{metric}_ratio_to_{name}", *pair)


def auroc_rows(
    task: str, patient: NDArray[np.int64], event: NDArray[np.bool_], scores: Mapping[str, Float64], *, seed: int
) -> Iterator[Row]:
    """AUROC of each method's score, by rank sums, patients drawn whole."""
    groups = [np.flatnonzero(patient == p) for p in np.unique(patient)]
    rng = np.random.default_rng(seed)
    draws = [
        np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]) for _ in range(DRAWS // 4)
    ]
    for method, score in scores.items():
        values = [auroc(score[rows], event[rows]) for rows in draws]
        low, high = np.nanquantile(values, (0.025, 0.975))
        yield Row({"task": task}, method, "auroc", auroc(score, event), float(low), float(high), len(event))


def brier_rows(
    task: str,
    patient: NDArray[np.int64],
    event: NDArray[np.bool_],
    said: Mapping[str, Float64],
    base: str,
    *,
    seed: int,
) -> Iterator[Row]:
    """Brier score of each method's probability, what it says on average, and its skill over `base`.

    `brier_skill` is one less the ratio, on the same draws of patients.
    """
    shares = _Shares.of(patient, seed)
    losses = {method: (each - event) ** 2 for method, each in said.items()}
    for method, loss in losses.items():
        yield shares.mean_row(task, method, "brier", loss)
        yield shares.mean_row(task, method, "mean_said", said[method])
        if method != base:
            yield shares.ratio_row(task, method, "brier_skill", loss, losses[base], lambda ratio: 1.0 - ratio)
    yield shares.mean_row(task, "observed", "mean_said", event.astype(np.float64))


def loss_rows(
    task: str,
    patient: NDArray[np.int64],
    metric: str,
    losses: Mapping[str, Float64],
    base: str | None,
    *,
    seed: int,
) -> Iterator[Row]:
    """The mean of each method's loss, and its ratio to that of `base` on the same draws of patients."""
    shares = _Shares.of(patient, seed)
    for method, loss in losses.items():
        yield shares.mean_row(task, method, metric, loss)
        if base is not None and method != base:
            yield shares.ratio_row(task, method, f"{metric}_ratio_to_{base}", loss, losses[base])


def auroc(score: Float64, event: NDArray[np.bool_]) -> float:
    """Share of (event, no event) pairs in the right order, ties half; NaN where one of the two is missing.

    Example:
        >>> auroc(np.array([1.0, 2.0, 2.0]), np.array([False, True, False]))
        0.75
    """
    from scipy.stats import rankdata

    positives = int(event.sum())
    negatives = len(event) - positives
    if not positives or not negatives:
        return math.nan
    return float((rankdata(score)[event].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def pinball(change: Float64, quantiles: Float64) -> Float64:
    """(n,) pinball loss, mean over `LEVELS`."""
    miss = change[:, None] - quantiles
    loss: Float64 = np.maximum(LEVELS * miss, (LEVELS - 1.0) * miss).mean(axis=1)
    return loss


@dataclass(frozen=True, eq=False)
class _Shares:
    """How often each patient is drawn, draw by draw: a bootstrap of sums costs one matrix product."""

    index: NDArray[np.int64]
    weights: Float64

    @classmethod
    def of(cls, patient: NDArray[np.int64], seed: int) -> _Shares:
        names, index = np.unique(patient, return_inverse=True)
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS).astype(np.float64)
        return cls(index, weights)

    def sums(self, values: Float64) -> Float64:
        """(draws,) the sum over the drawn patients."""
        return self.weights @ np.bincount(self.index, weights=values)

    def mean_row(self, task: str, method: str, metric: str, values: Float64) -> Row:
        draws = self.sums(values) / self.sums(np.ones_like(values))
        low, high = np.quantile(draws, (0.025, 0.975))
        return Row({"task": task}, method, metric, float(values.mean()), float(low), float(high), len(values))

    def ratio_row(
        self,
        task: str,
        method: str,
        metric: str,
        values: Float64,
        base: Float64,
        turn: Callable[[Float64], Float64] = lambda ratio: ratio,
    ) -> Row:
        low, high = np.quantile(turn(self.sums(values) / self.sums(base)), (0.025, 0.975))
        value = float(turn(np.array(values.sum() / base.sum())))
        return Row({"task": task}, method, metric, value, float(low), float(high), len(values))


def _mm(scored: Scored, said: Answers) -> Float64:
    """(n,) absolute error of the diameter."""
    error: Float64 = np.abs(np.exp(scored.last + said.median) - np.exp(scored.truth))
    return error


def marginal(changes: Float64, n: int) -> Float64:
    """Carry-forward's distribution: the quantiles of all training changes about no change, (n, levels)."""
    return np.tile(np.quantile(changes, LEVELS), (n, 1))
