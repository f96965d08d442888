"""The learned predictor: how a lesion changes, as a distribution over ln mm, at any horizon.

1 encode      visits and horizon (`history`), the action and its cross-fitted effect (`actions_seen`)
2 predict     a forest's distribution, its median moved to the mean of three: forest, boosted trees, shrunken trend;
              the trend is not told the action, which adds to it what it adds to the boosted trees
3 gate        the median is scaled by the trust that held-out patients earned over carry-forward, 0 to 1
4 calibrate   levels corrected per horizon on held-out patients (`conformal`)

Below the shortest horizon that was trained on the change fades to none, so that at dt = 0 nothing has happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.actions_seen import GIVEN, GROUP, Effects, Vocabulary, cross_fitted
from synth.dynamics.boosted import BoostedMedian, BoostSettings
from synth.dynamics.conformal import Calibration
from synth.dynamics.forest import ForestSettings, QuantileForest, invert
from synth.dynamics.history import Asked
from synth.dynamics.series import FLOOR_MM, Series, folds_of
from synth.dynamics.trend import ShrunkenTrend

Float64 = NDArray[np.float64]
TRUSTS = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class LearnerSettings:
    """How to learn.

    Attributes:
        forest, boost: of the two ensembles.
        blend: shares of the forest, the boosted trees and the trend in the median.
        with_action: whether the action is seen.
        held_out: folds of patients that trust and calibration are measured on.
    """

    forest: ForestSettings = field(default_factory=ForestSettings)
    boost: BoostSettings = field(default_factory=BoostSettings)
    blend: tuple[float, float, float] = (0.5, 0.25, 0.25)
    with_action: bool = True
    held_out: int = 3


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Steps 1 and 2: the uncalibrated distribution.

    Attributes:
        vocabulary, effects: how actions are encoded.
        forest, boosted, trend: the three that predict.
        blind: boosted trees that are told all but the action; None where no part is told it.
        blend: see `LearnerSettings`.
    """

    vocabulary: Vocabulary
    effects: Effects
    forest: QuantileForest
    boosted: BoostedMedian
    blind: BoostedMedian | None
    trend: ShrunkenTrend
    blend: tuple[float, float, float]

    @classmethod
    def fit(
        cls, series: Sequence[Series], asked: Asked, weight: Float64, settings: LearnerSettings, seed: int
    ) -> Ensemble:
        """Learn from the questions, each with a weight."""
        used = sorted(set(asked.series.tolist()))
        vocabulary = Vocabulary.of([series[i] for i in used], with_action=settings.with_action)
        effects = cross_fitted(series, asked, seed) if settings.with_action else None
        told = _Told.of(vocabulary, series, asked, effects)
        y = asked.truth - asked.last
        boosted = BoostedMedian.fit(told.all, y, weight, settings.boost, seed=seed)
        blind = BoostedMedian.fit(told.patient, y, weight, settings.boost, seed=seed) if settings.with_action else None
        added = _added(boosted.predict(told.all), blind, told)
        return cls(
            vocabulary=vocabulary,
            effects=Effects.fit(series, asked),
            forest=QuantileForest.fit(told.all, y, weight, settings.forest, split_on=y, seed=seed),
            boosted=boosted,
            blind=blind,
            trend=ShrunkenTrend.fit(asked, told.drift, y - added, weight),
            blend=settings.blend,
        )

    def predict(self, series: Sequence[Series], asked: Asked) -> Predicted:
        """The distribution for each question."""
        effects = None if self.blind is None else self.effects.of(series, asked)
        told = _Told.of(self.vocabulary, series, asked, effects)
        cdf = self.forest.distribution(told.all)
        median, boosted = invert(cdf, self.forest.grid, np.array([0.5]))[:, 0], self.boosted.predict(told.all)
        three = (median, boosted, self.trend.predict(asked, told.drift) + _added(boosted, self.blind, told))
        blended = sum(share * each for share, each in zip(self.blend, three, strict=True))
        return Predicted(cdf, self.forest.grid, median, blended - median)


@dataclass(frozen=True, eq=False)
class _Told:
    """Features of n questions.

    Attributes:
        all: (n, ...) visits, horizon, group and action; patient: (n, ...) the same without the action.
        drift: (n, 1 or 0) the change that the group shows over the horizon: nothing at no time.
    """

    all: Float64
    patient: Float64
    drift: Float64

    @classmethod
    def of(cls, vocabulary: Vocabulary, series: Sequence[Series], asked: Asked, effects: Float64 | None) -> _Told:
        """Without effects, where the action is not told, all is the patient."""
        named = vocabulary.encode(series)[asked.series]
        if effects is None:
            plain = np.concatenate([asked.history, named], axis=1)
            return cls(plain, plain, np.zeros((len(asked), 0)))
        given, group = effects[:, GIVEN], effects[:, GROUP]
        groups = named[:, len(vocabulary.parts) :]
        return cls(
            all=np.concatenate([asked.history, named, given], axis=1),
            patient=np.concatenate([asked.history, groups, group], axis=1),
            drift=group[:, 1:] * np.minimum(asked.ahead_days, 1.0)[:, None],
        )


@dataclass(frozen=True, eq=False)
class Predicted:
    """Distributions of the change, (n, grid), of the median (n,), moved by `shift` (n,)."""

    cdf: Float64
    grid: Float64
    median: Float64
    shift: Float64

    def moved(self, trust: float) -> Float64:
        """(n,) how far to move so that the median is `trust` times the blended one."""
        return trust * (self.median + self.shift) - self.median

    def level_of(self, y: Float64, trust: float) -> Float64:
        """(n,) the distribution function at y (n,)."""
        at = y - self.moved(trust)
        return np.array([np.interp(v, self.grid, row) for v, row in zip(at, self.cdf, strict=True)])


@dataclass(frozen=True, eq=False)
class Learner:
    """All four steps.

    Attributes:
        ensemble: the distribution.
        trust: what the median is scaled by; 0 is carry-forward.
        calibration: of the levels, per horizon.
        shortest_days: below this horizon changes fade to none.
    """

    ensemble: Ensemble
    trust: float
    calibration: Calibration
    shortest_days: float

    @classmethod
    def fit(
        cls,
        series: Sequence[Series],
        asked: Asked,
        settings: LearnerSettings | None = None,
        *,
        weight: Float64 | None = None,
        seed: int = 0,
    ) -> Learner:
        """Learn from questions with answers; trust and calibration are measured on patients held out inside."""
        settings = settings or LearnerSettings()
        weight = np.ones(len(asked)) if weight is None else weight
        full = Ensemble.fit(series, asked, weight, settings, seed)
        trust, calibration = _held_out(series, asked, weight, settings, seed)
        return cls(full, trust, calibration, float(np.quantile(asked.ahead_days, 0.05)))

    def quantiles(self, series: Sequence[Series], asked: Asked, levels: Float64) -> Float64:
        """(n, levels) of the change of ln mm; (n, ...) questions about `series`, whose answers are not looked at."""
        predicted = self.ensemble.predict(series, asked)
        wanted = self.calibration.correct(levels, asked.ahead_days)
        wanted[:, levels == 0.5] = 0.5  # the median is the gate's, not the calibration's
        wanted = np.maximum.accumulate(wanted, axis=1) if (np.diff(levels) >= 0).all() else wanted
        found = np.array(
            [np.interp(w, *_ascending(c, predicted.grid)) for w, c in zip(wanted, predicted.cdf, strict=True)]
        )
        found = np.maximum(found + predicted.moved(self.trust)[:, None], np.log(FLOOR_MM) - asked.last[:, None])
        return found * self.fade(asked.ahead_days)[:, None]

    def fade(self, ahead_days: Float64) -> Float64:
        """(n,) 0 at no time, 1 from the shortest trained horizon on."""
        return np.clip(ahead_days / max(self.shortest_days, 1e-9), 0.0, 1.0)


def _added(boosted: Float64, blind: BoostedMedian | None, told: _Told) -> Float64:
    """(n,) what the action adds to boosted trees that say `boosted` (n,)."""
    return np.zeros_like(boosted) if blind is None else boosted - blind.predict(told.patient)


def _ascending(cdf: Float64, grid: Float64) -> tuple[Float64, Float64]:
    """The inverse of a distribution function as `np.interp` takes it: ties are broken upwards."""
    return cdf + np.arange(len(cdf)) * 1e-12, grid


def _held_out(
    series: Sequence[Series], asked: Asked, weight: Float64, settings: LearnerSettings, seed: int
) -> tuple[float, Calibration]:
    """Trust and calibration from patients that an inner ensemble has not seen."""
    present = sorted(set(asked.series.tolist()))
    patients = len({series[i].patient for i in present})
    if settings.held_out < 2 or patients < 2 * settings.held_out:
        return 1.0, Calibration.none()
    fold = np.zeros(len(series), np.int64)
    fold[present] = folds_of([series[i] for i in present], settings.held_out, seed + 1)
    row = fold[asked.series]
    y, parts = asked.truth - asked.last, []
    for each in range(settings.held_out):
        seen, held = row != each, row == each
        ensemble = Ensemble.fit(series, asked.where(seen), weight[seen], settings, seed)
        part = asked.where(held)
        parts.append((ensemble.predict(series, part), np.flatnonzero(held)))
    trust = min(TRUSTS, key=lambda t: _error(parts, asked, weight, t))
    u = np.empty(len(asked))
    for predicted, rows in parts:
        u[rows] = predicted.level_of(y[rows], trust)
    return trust, Calibration.fit(u, asked.ahead_days)


def _error(parts: list[tuple[Predicted, NDArray[np.int64]]], asked: Asked, weight: Float64, trust: float) -> float:
    """Mean absolute error in mm at one trust."""
    total = 0.0
    for predicted, rows in parts:
        guess = np.exp(asked.last[rows] + trust * (predicted.median + predicted.shift))
        total += float((weight[rows] * np.abs(guess - np.exp(asked.truth[rows]))).sum())
    return total / float(weight.sum())
