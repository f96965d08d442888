"""Intervals that hold at each horizon: the levels of a predicted distribution, corrected on held-out patients.

If u = F(y) of held-out answers is not uniform, the level tau is asked for at the tau-quantile of u instead; with few
answers the correction is shrunken towards none. Source: Romano et al. 2019, NeurIPS (conformalised quantile
regression), in the distributional form of Chernozhukov et al. 2021, PNAS 118:e2107794118.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

BINS = 4
PRIOR = 150.0
"""Held-out answers that the assumption "already calibrated" counts for."""
TABLE = np.linspace(0.0, 1.0, 41)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Corrected levels per horizon.

    Attributes:
        edges: (bins - 1,) horizons in days that part the bins.
        levels: (bins, 41) the level to ask for, at each of 41 nominal ones.
    """

    edges: Float64
    levels: Float64

    @classmethod
    def none(cls) -> Calibration:
        """No correction."""
        return cls(np.zeros(0), TABLE[None, :].copy())

    @classmethod
    def fit(cls, u: Float64, ahead_days: Float64) -> Calibration:
        """From the distribution function at held-out answers, both (n,).

        Example:
            >>> rng = np.random.default_rng(0)
            >>> narrow = np.clip(0.5 + 2 * (rng.uniform(size=4000) - 0.5), 0, 1)
            >>> fitted = Calibration.fit(narrow, rng.uniform(10, 90, 4000))
            >>> bool(fitted.correct(np.array([0.05]), np.array([50.0]))[0, 0] < 0.02)
            True
        """
        edges = np.unique(np.quantile(ahead_days, np.arange(1, BINS) / BINS))
        bins = np.searchsorted(edges, ahead_days, side="right")
        rows = []
        for each in range(len(edges) + 1):
            inside = u[bins == each]
            found = np.quantile(inside, TABLE) if len(inside) else TABLE
            rows.append((len(inside) * found + PRIOR * TABLE) / (len(inside) + PRIOR))
        return cls(edges, np.array(rows))

    def correct(self, levels: Float64, ahead_days: Float64) -> Float64:
        """(n, levels) what to ask the distribution for, at each horizon (n,)."""
        bins = np.searchsorted(self.edges, ahead_days, side="right")
        table = np.array([np.interp(levels, TABLE, row) for row in self.levels])
        return table[bins]

    def undo(self, asked: Float64, ahead_days: Float64) -> Float64:
        """(n,) the nominal level of a level of the distribution (n,): `correct`, backwards."""
        bins = np.searchsorted(self.edges, ahead_days, side="right")
        found = np.empty_like(asked)
        for each, row in enumerate(self.levels):
            found[bins == each] = np.interp(asked[bins == each], row, TABLE)
        return found
