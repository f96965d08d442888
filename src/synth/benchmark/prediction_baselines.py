"""What a prediction has to beat: no change, a line, six classical laws, and gradient boosting.

Each baseline maps questions to changes of ln mm. Laws and line see one history at a time; boosting learns from the
training patients, from the same features as ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.actions_seen import Vocabulary
from synth.dynamics.forest import known
from synth.dynamics.history import Asked
from synth.dynamics.laws import LAWS, fit_law
from synth.dynamics.series import FLOOR_MM, Series

Float64 = NDArray[np.float64]
LOG_BALL_ML = math.log(math.pi / 6.0 / 1000.0)
"""ln of the ml of a ball of 1 mm diameter: laws grow volumes, tables hold diameters."""
LARGEST_CHANGE = 3.0
"""A law that multiplies a diameter by more than 20 has run away; it is held there."""


@dataclass(frozen=True)
class BoostingSettings:
    """Of the boosting baseline: scikit-learn's histogram boosting, small trees, one model a level."""

    rounds: int = 100
    rate: float = 0.06
    leaves: int = 8
    leaf: int = 40


def linear(series: Sequence[Series], asked: Asked) -> Float64:
    """(n,) the line of least squares through the known diameters, no smaller than 2 mm."""

    def line(days: Float64, log_mm: Float64, then: Float64) -> Float64:
        mm = np.exp(log_mm)
        centred = days - days.mean(axis=1, keepdims=True)
        slope = (centred * mm).sum(axis=1) / (centred**2).sum(axis=1)
        return np.log(np.maximum(mm.mean(axis=1) + slope * (then - days.mean(axis=1)), FLOOR_MM))

    return _each_history(series, asked, line)


def by_law(name: str, series: Sequence[Series], asked: Asked, *, seed: int = 0) -> Float64:
    """(n,) the law fitted to the known visits of each history, carried on; one visit is carried forward."""

    def grown(days: Float64, log_mm: Float64, then: Float64) -> Float64:
        unique, which = np.unique(np.concatenate([days, log_mm], axis=1), axis=0, return_inverse=True)
        k = days.shape[1]
        fitted = fit_law(LAWS[name], unique[:, :k], 3.0 * unique[:, k:] + LOG_BALL_ML, seed=seed)
        return (fitted.log_volume(which.reshape(-1), then) - LOG_BALL_ML) / 3.0

    return _each_history(series, asked, grown)


def _each_history(
    series: Sequence[Series], asked: Asked, predict: Callable[[Float64, Float64, Float64], Float64]
) -> Float64:
    """Ask `predict` for ln mm, histories of equal length together; the answer as a bounded change."""
    change = np.zeros(len(asked))
    for k in np.unique(asked.seen):
        rows = np.flatnonzero(asked.seen == k)
        if k < 2:
            continue
        days = np.stack([series[i].days[:k] for i in asked.series[rows]])
        sizes = np.stack([series[i].log_mm[:k] for i in asked.series[rows]])
        predicted = predict(days, sizes, days[:, -1] + asked.ahead_days[rows])
        change[rows] = np.clip(
            np.maximum(predicted, math.log(FLOOR_MM)) - sizes[:, -1], -LARGEST_CHANGE, LARGEST_CHANGE
        )
    return change


@dataclass(frozen=True, eq=False)
class Boosting:
    """Gradient boosting on the features of the history, one model for each level; 0.5 by absolute error.

    Attributes:
        vocabulary: of the actions; without them for the baseline that does not see the action.
        models: level -> fitted model.
    """

    vocabulary: Vocabulary
    models: dict[float, object]

    @classmethod
    def fit(
        cls,
        series: Sequence[Series],
        asked: Asked,
        levels: Sequence[float],
        *,
        with_action: bool,
        settings: BoostingSettings | None = None,
    ) -> Boosting:
        """Learn the quantiles of the change."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        settings = settings or BoostingSettings()
        vocabulary = Vocabulary.of([series[i] for i in sorted(set(asked.series.tolist()))], with_action=with_action)
        x, models = _features(vocabulary, series, asked), {}
        for level in levels:
            model = HistGradientBoostingRegressor(
                loss="absolute_error" if level == 0.5 else "quantile",
                quantile=None if level == 0.5 else level,
                max_iter=settings.rounds,
                learning_rate=settings.rate,
                max_leaf_nodes=settings.leaves,
                min_samples_leaf=settings.leaf,
                early_stopping=False,
                random_state=0,
            )
            models[level] = model.fit(x, asked.truth - asked.last)
        return cls(vocabulary, models)

    def quantiles(self, series: Sequence[Series], asked: Asked) -> Float64:
        """(n, levels) sorted so that they do not cross, and no lesion below 2 mm."""
        x = _features(self.vocabulary, series, asked)
        found = np.stack([model.predict(x) for model in self.models.values()], axis=1)  # type: ignore[attr-defined]  # scikit-learn is untyped
        return np.maximum(np.sort(found, axis=1), math.log(FLOOR_MM) - asked.last[:, None])


def boosted_progression(series: Sequence[Series], train: Asked, progressed: NDArray[np.bool_], test: Asked) -> Float64:
    """(n,) probability of progression by a boosted classifier on the same features."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    vocabulary = Vocabulary.of([series[i] for i in sorted(set(train.series.tolist()))])
    model = HistGradientBoostingClassifier(
        max_iter=100, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=40, early_stopping=False, random_state=0
    ).fit(_features(vocabulary, series, train), progressed)
    probability: Float64 = model.predict_proba(_features(vocabulary, series, test))[:, 1]
    return probability


def _features(vocabulary: Vocabulary, series: Sequence[Series], asked: Asked) -> NDArray[np.float32]:
    return known(np.concatenate([asked.history, vocabulary.encode(series)[asked.series]], axis=1))
