"""Smooth random fields anchored in patient space: the same patient has the same field on every grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.phantom.grid import Grid, Real

LOW = np.array([-320.0, -260.0, -420.0])
HIGH = np.array([320.0, 260.0, 620.0])


def smooth_field(grid: Grid, rng: np.random.Generator, knot_mm: float) -> Real:
    """Unit-variance field (X, Y, Z): a cubic B-spline over independent normals on knots `knot_mm` apart."""
    counts = np.ceil((HIGH - LOW) / knot_mm).astype(int) + 4
    coefficients = rng.standard_normal(tuple(counts), dtype=np.float32)
    out = coefficients
    for axis, positions in enumerate((grid.x, grid.y, grid.z)):
        weights, first = _weights(positions, float(LOW[axis]), knot_mm, int(counts[axis]))
        out = np.take(out, np.arange(first, first + weights.shape[1]), axis=axis)
        out = np.moveaxis(np.tensordot(weights, out, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(out) * np.float32(_UNIT)


# Variance of a cubic B-spline over unit normals, averaged over the cell, is 0.479 per axis.
_UNIT = 0.479 ** (-1.5)


def _weights(positions: Real, low: float, knot_mm: float, count: int) -> tuple[Real, int]:
    place = np.clip((positions - low) / knot_mm, 0.0, count - 4.001)
    base = np.floor(place).astype(int)
    t = (place - base).astype(np.float32)
    first = int(base.min())
    out = np.zeros((len(positions), int(base.max()) - first + 4), np.float32)
    basis = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    for k, weight in enumerate(basis):
        out[np.arange(len(positions)), base - first + k] = weight / 6
    return out, first


def waves(
    points: NDArray[np.floating],
    rng: np.random.Generator,
    amplitude_mm: float,
    length_mm: float,
) -> NDArray[np.float64]:
    """A smooth random displacement (N, 3) of points (N, 3): a few sines of about `length_mm`."""
    out = np.zeros(points.shape)
    for _ in range(4):
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction) * length_mm * rng.uniform(0.7, 1.5)
        push = rng.standard_normal(3) * amplitude_mm / 2
        out += push * np.sin(2 * np.pi * points @ direction + rng.uniform(0, 2 * np.pi))[:, None]
    return out
