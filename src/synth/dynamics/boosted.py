"""Boosted trees for the median of a change, kept as plain arrays: fitted by scikit-learn, walked by a few lines.

Source: Friedman 2001, Ann Stat 29:1189, least absolute deviation; histogram trees as in Ke et al. 2017, NeurIPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from synth.dynamics.forest import known
from synth.dynamics.trees import Float32, Float64, Trees


@dataclass(frozen=True)
class BoostSettings:
    """How much is boosted: rounds of small trees."""

    rounds: int = 120
    rate: float = 0.05
    leaves: int = 8
    leaf: int = 40


@dataclass(frozen=True, eq=False)
class BoostedMedian(Trees):
    """base + the sum over trees of a leaf's value.

    Attributes:
        value: (nodes,) what a leaf adds.
        base: (1,) the start.
    """

    what: ClassVar[str] = "boosting"

    value: Float32
    base: Float64

    @classmethod
    def fit(cls, x: Float64, y: Float64, weight: Float64, settings: BoostSettings, *, seed: int) -> BoostedMedian:
        """Fit to x (n, features) and y (n,) by absolute error.

        Example:
            >>> x = np.linspace(-1, 1, 400)[:, None]
            >>> fitted = BoostedMedian.fit(x, x[:, 0] ** 2, np.ones(400), BoostSettings(), seed=0)
            >>> bool(fitted.predict(np.array([[0.9]]))[0] > 2 * fitted.predict(np.array([[0.1]]))[0])
            True
        """
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(
            loss="absolute_error",
            max_iter=settings.rounds,
            learning_rate=settings.rate,
            max_leaf_nodes=settings.leaves,
            min_samples_leaf=settings.leaf,
            early_stopping=False,
            random_state=seed,
        ).fit(known(x), y, sample_weight=weight)
        trees = [one[0].nodes for one in model._predictors]
        roots = np.concatenate([[0], np.cumsum([len(t) for t in trees])[:-1]])
        nodes = np.concatenate(trees)
        offset = np.repeat(roots, [len(t) for t in trees])
        ends = nodes["is_leaf"].astype(bool)
        return cls(
            feature=np.where(ends, -1, nodes["feature_idx"]).astype(np.int32),
            threshold=np.where(ends, 0.0, nodes["num_threshold"]).astype(np.float32),
            left=(nodes["left"] + offset).astype(np.int32),
            right=(nodes["right"] + offset).astype(np.int32),
            value=nodes["value"].astype(np.float32),
            roots=roots.astype(np.int32),
            base=np.array([float(np.ravel(model._baseline_prediction)[0])]),
        )

    def predict(self, x: Float64) -> Float64:
        """(n,) for x (n, features)."""
        values = known(x)
        total = np.full(len(values), float(self.base[0]))
        for node in self.ends(values):
            total += self.value[node]
        return total

    def _leaves_fit(self) -> bool:
        return len(self.value) == len(self.feature) and self.base.shape == (1,)
