"""The voxel lattice a phantom is drawn on, and windows of it, in millimetres (x to the right, y forward, z up)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating[Any]]
"""Real-valued arrays, float32 where they cover voxels."""
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """An axis-aligned RAS lattice: voxel (0, 0, 0) is centred on `origin_mm`.

    Example:
        >>> Grid((4, 4, 4), (2.0, 2.0, 2.0), (-3.0, -3.0, -3.0)).x.tolist()
        [-3.0, -1.0, 1.0, 3.0]
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def axis(self, i: int) -> Real:
        return (self.origin_mm[i] + self.spacing_mm[i] * np.arange(self.shape[i])).astype(np.float32)

    @cached_property
    def x(self) -> Real:
        return self.axis(0)

    @cached_property
    def y(self) -> Real:
        return self.axis(1)

    @cached_property
    def z(self) -> Real:
        return self.axis(2)

    @property
    def voxel_mm(self) -> float:
        """Edge of the cube of equal volume: the width over which an edge is blurred by partial volume."""
        return float(np.prod(self.spacing_mm)) ** (1 / 3)

    @property
    def affine(self) -> NDArray[np.float64]:
        out = np.diag([*self.spacing_mm, 1.0])
        out[:3, 3] = self.origin_mm
        return out

    def full(self) -> Window:
        return Window(self, tuple(slice(0, n) for n in self.shape))  # type: ignore[arg-type]  # always three

    def window(self, low: Sequence[float], high: Sequence[float]) -> Window:
        """Voxels whose centres lie in the box from `low` to `high` (mm), possibly none."""
        cut = []
        for i in range(3):
            first = int(np.ceil((low[i] - self.origin_mm[i]) / self.spacing_mm[i]))
            last = int(np.floor((high[i] - self.origin_mm[i]) / self.spacing_mm[i])) + 1
            first = min(max(first, 0), self.shape[i])
            cut.append(slice(first, min(max(last, first), self.shape[i])))
        return Window(self, (cut[0], cut[1], cut[2]))

    def around(self, points: NDArray[np.floating], margin: float) -> Window:
        return self.window((points.min(axis=0) - margin).tolist(), (points.max(axis=0) + margin).tolist())


@dataclass(frozen=True)
class Window:
    """A box of a grid; `x`, `y`, `z` broadcast to its shape."""

    grid: Grid
    slices: Slices

    @property
    def x(self) -> Real:
        return self.grid.x[self.slices[0], None, None]

    @property
    def y(self) -> Real:
        return self.grid.y[None, self.slices[1], None]

    @property
    def z(self) -> Real:
        return self.grid.z[None, None, self.slices[2]]

    @property
    def shape(self) -> tuple[int, int, int]:
        a, b, c = self.slices
        return (a.stop - a.start, b.stop - b.start, c.stop - c.start)

    def inner(self, other: Window) -> Slices:
        """Where the voxels of `other` (a box inside this one) lie in an array of this window."""
        pairs = zip(self.slices, other.slices, strict=True)
        a, b, c = (slice(o.start - s.start, o.stop - s.start) for s, o in pairs)
        return (a, b, c)
