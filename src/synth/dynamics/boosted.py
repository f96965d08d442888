"""Boosted trees for the median of a change, kept as plain arrays: fitted by scikit-learn, walked by a few lines.

Source: Friedman 2001, Ann Stat 29:1189, least absolute deviation; histogram trees as in Ke et al. 2017, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.forest import Float32, Float64, Int32, known
from synth.errors import InputError


@dataclass(frozen=True)
class BoostSettings:
    """How much is boosted: rounds of small trees."""

    rounds: int = 120
    rate: float = 0.05
    leaves: int = 8
    leaf: int = 40


@dataclass(frozen=True, eq=False)
class BoostedMedian:
    """base + the sum over trees of a leaf's value; nodes of all trees one after the other, a leaf has feature -1.

    Attributes:
        feature, threshold, left, right: (nodes,) what a node asks, and where to go on.
        value: (nodes,) what a leaf adds.
        roots: (trees,) where each tree begins.
        base: (1,) the start.
    """

    feature: Int32
    threshold: Float32
    left: Int32
    right: Int32
    value: Float32
    roots: Int32
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
        rows, total = np.arange(len(values)), np.full(len(values), float(self.base[0]))
        for root in self.roots:
            node = np.full(len(values), root)
            while (inner := self.feature[node] >= 0).any():
                goes_left = values[rows, np.where(inner, self.feature[node], 0)] <= self.threshold[node]
                node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
            total += self.value[node]
        return total

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Its arrays by name, to be stored."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> BoostedMedian:
        """From stored arrays; raises InputError for what is no set of trees, before anything walks through it."""
        try:
            made = cls(**{f.name: np.asarray(tensors[f.name]) for f in fields(cls)})
        except KeyError as error:
            raise InputError("boosting", expected=f"array {error}", got="none", fix="fetch the weights again") from None
        nodes, inner = len(made.feature), made.feature >= 0
        at = np.flatnonzero(inner)
        children = np.stack([made.left[inner], made.right[inner]])
        # Children come after their parent, so that every walk ends.
        fine = bool(((children > at) & (children < nodes)).all()) and made.base.shape == (1,)
        if not fine or not ((made.roots >= 0) & (made.roots < nodes)).all() or len(made.value) != nodes:
            raise InputError("boosting", expected="trees that lead to leaves", got="others", fix="fetch it again")
        return made
