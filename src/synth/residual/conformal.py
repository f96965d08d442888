"""How surprising a score would be for an entity that is truly there: split-conformal p-values, and what many make.

    p = (1 + #{calibration scores <= score}) / (n + 1)

Valid when the case at hand is exchangeable with the calibration cases (Vovk et al. 2005, ch. 2; Mondrian: within a
cell of alike entities). Many entities are judged at once by Benjamini & Hochberg 1995: of what is flagged, at most a
share alpha is expected to be a false alarm; conformal p-values that share a calibration set keep that (Bates et al.
2023, Theorem 2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.residual.intensity_prior import lineage

SIZE_EDGES_ML = (5.0, 50.0)
SIZES = ("small", "medium", "large")
POOL = "all"


def p_value(score: float, calibration_scores: ArrayLike) -> float:
    """Share of calibration scores at or below this one, the case at hand counted among them.

    Example:
        >>> p_value(0.0, [1.0, 2.0, 3.0])
        0.25
    """
    scores = np.asarray(calibration_scores, float)
    return (1.0 + float((scores <= score).sum())) / (scores.size + 1.0)


def benjamini_hochberg(p_values: Sequence[float], alpha: float) -> NDArray[np.bool_]:
    """Which hypotheses are rejected with the false discovery rate held at alpha.

    Example:
        >>> benjamini_hochberg([0.01, 0.9, 0.04, 0.5], alpha=0.1).tolist()
        [True, False, True, False]
    """
    p = np.asarray(p_values, float)
    if not p.size:
        return np.zeros(0, bool)
    order = np.sort(p)
    passed = np.flatnonzero(order <= alpha * np.arange(1, p.size + 1) / p.size)
    return p <= order[passed[-1]] if passed.size else np.zeros(p.size, bool)


def scores_needed(hypotheses: int, alpha: float) -> int:
    """Calibration scores a cell must have before one of so many hypotheses can be rejected: m / alpha - 1.

    Example:
        >>> scores_needed(20, 0.1)
        199
    """
    return max(0, math.ceil(hypotheses / alpha - 1e-9) - 1)


def size_of(volume_ml: float) -> str:
    """The size cell of a volume."""
    return SIZES[int(np.searchsorted(SIZE_EDGES_ML, volume_ml, side="right"))]


@dataclass(frozen=True)
class CalibrationScore:
    """The score of one entity that is truly there."""

    name: str
    volume_ml: float
    score: float


@dataclass(frozen=True)
class Conformal:
    """A p-value, and the cell of calibration scores it was read from."""

    p_value: float
    cell: str
    scores: int


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of true entities in cells from fine (name and size) to coarse (all).

    Example:
        >>> known = Calibration(tuple(CalibrationScore("liver", 1500.0, float(s)) for s in range(99)))
        >>> known.judge("liver", 1400.0, -1.0, needed=50)
        Conformal(p_value=0.01, cell='liver/large', scores=99)
    """

    scores: tuple[CalibrationScore, ...]

    @cached_property
    def cells(self) -> Mapping[str, NDArray[np.float64]]:
        """Cell -> its scores, sorted."""
        found: dict[str, list[float]] = {}
        for each in self.scores:
            for cell in _cells(each.name, each.volume_ml):
                found.setdefault(cell, []).append(each.score)
        return {cell: np.sort(np.asarray(values)) for cell, values in found.items()}

    def judge(self, name: str, volume_ml: float, score: float, *, needed: int) -> Conformal | None:
        """The p-value from the finest cell that has enough scores, else from all; None without any score."""
        cells = [c for c in _cells(name, volume_ml) if c in self.cells]
        if not cells:
            return None
        cell = next((c for c in cells if self.cells[c].size >= needed), cells[-1])
        scores = self.cells[cell]
        return Conformal(p_value(score, scores), cell, int(scores.size))

    def leaving_out(self, own: Iterable[CalibrationScore]) -> Calibration:
        """The same without some of its own scores, such as those of one case: cells are thinned, not built again."""
        gone = {id(s) for s in own}
        less = Calibration(tuple(s for s in self.scores if id(s) not in gone))
        mine = Calibration(tuple(s for s in self.scores if id(s) in gone)).cells
        thinned = {
            c: _less(all_of_them, mine[c]) if c in mine else all_of_them for c, all_of_them in self.cells.items()
        }
        less.__dict__["cells"] = {c: scores for c, scores in thinned.items() if scores.size}  # where the cache looks
        return less

    def to_json(self) -> list[list[object]]:
        """Rows of name, volume in mL and score."""
        return [[s.name, float(f"{s.volume_ml:.4g}"), round(s.score, 4)] for s in self.scores]

    @classmethod
    def from_json(cls, rows: Iterable[Sequence[object]]) -> Calibration:
        """Read what `to_json` gave."""
        return cls(tuple(CalibrationScore(str(n), float(str(v)), float(str(s))) for n, v, s in rows))


def _less(scores: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sorted scores without some of them, which are sorted too; of equal ones as many go as there are."""
    first = np.searchsorted(own, own)
    return np.delete(scores, np.searchsorted(scores, own) + np.arange(own.size) - first)


def _cells(name: str, volume_ml: float) -> tuple[str, ...]:
    """Cells of an entity, finest first: names and their ancestors with and without size, sizes, all."""
    size = size_of(volume_ml)
    named = [cell for each in lineage(name) for cell in (f"{each}/{size}", each)]
    return (*named, f"{POOL}/{size}", POOL)
