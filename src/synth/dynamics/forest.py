"""A quantile forest: randomised trees whose leaves hold distributions, kept as plain arrays.

    F(y | x) = 1/T sum_t F_leaf(t, x)(y)

The mean over trees of the leaves' distribution functions, each tabulated on one grid. Sources: Geurts et al. 2006, Mach
Learn 63:3 (extremely randomised trees); Meinshausen 2006, JMLR 7:983 (quantile regression forests).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.trees import Float32, Float64, Int32, Trees
from synth.errors import InputError

MISSING = -50.0
"""Stands for an unknown feature: below every known one, so that a split can set it apart."""
GRID = 64


@dataclass(frozen=True)
class ForestSettings:
    """How a forest is grown.

    Attributes:
        trees: how many.
        leaf: least number of training rows of a leaf.
        features: share of the features tried at a split.
        sample: share of the rows that each tree sees.
    """

    trees: int = 120
    leaf: int = 15
    features: float = 0.35
    sample: float = 0.7


@dataclass(frozen=True, eq=False)
class QuantileForest(Trees):
    """The forest as arrays over all nodes of all trees, one after the other.

    Attributes:
        leaf: (nodes,) row of `cdf`, -1 for an inner node.
        cdf: (leaves, grid) float16, share of the leaf's targets at or below each grid value.
        grid: (grid,) increasing values of the target.
    """

    what: ClassVar[str] = "forest"

    leaf: Int32
    cdf: NDArray[np.float16]
    grid: Float64

    @classmethod
    def fit(
        cls, x: Float64, y: Float64, weight: Float64, settings: ForestSettings, *, split_on: Float64, seed: int
    ) -> QuantileForest:
        """Grow on x (n, features) and y (n,); splits follow the squared error of `split_on` (n,), leaves hold y.

        Raises InputError for fewer rows than two leaves need.

        Example:
            >>> x = np.linspace(-1, 1, 400)[:, None]
            >>> forest = QuantileForest.fit(x, x[:, 0], np.ones(400), ForestSettings(20), split_on=x[:, 0], seed=0)
            >>> bool(abs(forest.quantiles(np.array([[0.5]]), np.array([0.5]))[0, 0] - 0.5) < 0.1)
            True
        """
        if len(y) < 2 * settings.leaf:
            expected = f"at least {2 * settings.leaf} questions to learn from"
            raise InputError("training", expected=expected, got=str(len(y)), fix="give more series")
        trees = _grow(known(x), split_on, weight, settings, seed)
        grid = np.unique(np.quantile(y, np.linspace(0.0, 1.0, GRID)))
        column = np.searchsorted(grid, y, side="left")
        tables = [_leaf_tables(tree.apply(known(x)), column, weight, len(grid)) for tree in trees]
        return cls(**_joined(trees, tables), grid=grid)

    def distribution(self, x: Float64) -> Float64:
        """(n, grid) the distribution function at the grid values, for x (n, features)."""
        values = known(x)
        total = np.zeros((len(values), len(self.grid)))
        for node in self.ends(values):
            total += self.cdf[self.leaf[node]]
        return total / len(self.roots)

    def quantiles(self, x: Float64, levels: Float64) -> Float64:
        """(n, levels) quantiles of the target, linear between grid values."""
        return invert(self.distribution(x), self.grid, levels)

    def _leaves_fit(self) -> bool:
        ends = (self.leaf >= 0) & (self.leaf < len(self.cdf))
        return bool((ends | (self.feature >= 0)).all()) and self.cdf.shape[1:] == self.grid.shape


def known(x: Float64) -> Float32:
    """Features with `MISSING` for what is unknown."""
    return np.clip(np.nan_to_num(x, nan=MISSING), -1e6, 1e6).astype(np.float32)


def invert(cdf: Float64, grid: Float64, levels: Float64) -> Float64:
    """(n, levels) where each of the distribution functions (n, grid) reaches the levels."""
    found = np.empty((len(cdf), len(levels)))
    for j, level in enumerate(levels):
        after = np.clip((cdf < level).sum(axis=1), 1, len(grid) - 1)
        rows = np.arange(len(cdf))
        low, high = cdf[rows, after - 1], cdf[rows, after]
        part = np.clip((level - low) / np.maximum(high - low, 1e-9), 0.0, 1.0)
        found[:, j] = grid[after - 1] + part * (grid[after] - grid[after - 1])
    return found


def _grow(x: Float32, y: Float64, weight: Float64, settings: ForestSettings, seed: int) -> list[Any]:
    """The trees as scikit-learn keeps them."""
    from sklearn.ensemble import ExtraTreesRegressor

    grown = ExtraTreesRegressor(
        settings.trees,
        min_samples_leaf=settings.leaf,
        max_features=settings.features,
        bootstrap=True,
        max_samples=settings.sample,
        random_state=seed,
    ).fit(x, y, sample_weight=weight)
    return [tree.tree_ for tree in grown.estimators_]


def _leaf_tables(
    reached: NDArray[np.int64], column: NDArray[np.int64], weight: Float64, width: int
) -> tuple[NDArray[np.int64], Float64]:
    """The leaves of one tree and (leaves, grid) their distribution functions."""
    leaves, row = np.unique(reached, return_inverse=True)
    counts = np.bincount(row * width + column, weights=weight, minlength=len(leaves) * width)
    summed = counts.reshape(len(leaves), width).cumsum(axis=1)
    return leaves, summed / summed[:, -1:]


def _joined(trees: list[Any], tables: list[tuple[NDArray[np.int64], Float64]]) -> dict[str, Any]:
    """One array a field, the trees one after the other."""
    sizes = np.array([tree.node_count for tree in trees])
    roots = np.concatenate([[0], sizes.cumsum()[:-1]])
    first_leaf = np.concatenate([[0], np.cumsum([len(leaves) for leaves, _ in tables])[:-1]])
    leaf = np.full(sizes.sum(), -1)
    for (leaves, _), root, first in zip(tables, roots, first_leaf, strict=True):
        leaf[leaves + root] = first + np.arange(len(leaves))
    feature = np.concatenate([tree.feature for tree in trees])
    left = np.concatenate([tree.children_left + root for tree, root in zip(trees, roots, strict=True)])
    right = np.concatenate([tree.children_right + root for tree, root in zip(trees, roots, strict=True)])
    return {
        "feature": np.where(feature >= 0, feature, -1).astype(np.int32),
        "threshold": np.concatenate([tree.threshold for tree in trees]).astype(np.float32),
        "left": left.astype(np.int32),
        "right": right.astype(np.int32),
        "roots": roots.astype(np.int32),
        "leaf": leaf.astype(np.int32),
        "cdf": np.concatenate([table for _, table in tables]).astype(np.float16),
    }
