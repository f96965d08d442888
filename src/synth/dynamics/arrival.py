"""When a front that leaves a set of voxels arrives at the others: the eikonal equation on a grid with barriers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SURFACE = 0.5  # of a step: the surface runs between the last voxel inside and the first outside
FLAT = 1.3  # a first voxel that lies in a hollow of the surface is reached before one on a bulge
TOLERANCE_MM = 1e-9


def arrival_mm(source: Bools, speed: Floats, spacing_mm: tuple[float, float, float]) -> Floats:
    """Arrival times T (X, Y, Z) of a front that starts at the surface of `source` and moves at `speed`.

        |∇T| · speed = 1,   T = 0 in the source

    solved by first-order upwind differences, so that every voxel that is reached shares a face with one that was
    reached before it: the set {T <= t} hangs together with the source for every t. At speed 1 the times are
    millimetres of the shortest way; a voxel of speed 0 is a barrier, and what lies behind barriers alone is infinite.

    Source: Sethian 1996, PNAS 93:1591, with the updates in parallel (Jeong and Whitaker 2008, SIAM J Sci Comput
    30:2512) in place of a heap.

    Example:
        >>> source = np.zeros((5, 1, 1), bool); source[0] = True
        >>> arrival_mm(source, np.array([1.0, 1, 1, 0, 1]).reshape(5, 1, 1), (2.0, 2.0, 2.0)).ravel().round(2).tolist()
        [0.0, 1.3, 3.3, inf, inf]
    """
    padded = np.pad(source, 1)
    slowness = np.full(padded.size, np.inf)
    with np.errstate(divide="ignore"):
        slowness[np.pad(np.ones(source.shape, bool), 1).ravel()] = (1.0 / speed).ravel()
    steps = (padded.shape[1] * padded.shape[2], padded.shape[2], 1)
    free = np.isfinite(slowness) & ~padded.ravel()
    times = np.full(padded.size, np.inf)
    _first_layer(times, padded.ravel(), free, slowness, steps, spacing_mm)
    _march(times, free, slowness, steps, np.asarray(spacing_mm))
    times[padded.ravel()] = 0.0
    return np.ascontiguousarray(times.reshape(padded.shape)[1:-1, 1:-1, 1:-1])


def _first_layer(
    times: Floats,
    source: Bools,
    free: Bools,
    slowness: Floats,
    steps: tuple[int, int, int],
    spacing_mm: tuple[float, ...],
) -> None:
    """Times of the voxels that share a face with the source; what fills a hollow comes first."""
    inside = np.flatnonzero(source)
    touching = np.zeros(times.size)
    for step, width in zip(steps, spacing_mm, strict=True):
        for sign in (-step, step):
            near = inside + sign
            near = near[free[near]]
            times[near] = np.minimum(times[near], SURFACE * width * slowness[near])
            touching[near] += 1.0 / 6.0
    layer = np.isfinite(times)
    times[layer] *= FLAT - np.maximum(touching[layer] - 1.0 / 6.0, 0.0)


def _march(times: Floats, free: Bools, slowness: Floats, steps: tuple[int, int, int], spacing: Floats) -> None:
    """Update the neighbours of whatever changed until nothing does."""
    changed = np.flatnonzero(np.isfinite(times))
    waiting = np.zeros(times.size, np.bool_)
    while changed.size:
        for step in steps:
            waiting[changed - step] = waiting[changed + step] = True
        active = np.flatnonzero(waiting)
        waiting[active] = False
        active = active[free[active]]
        near = np.stack([np.minimum(times[active - step], times[active + step]) for step in steps])
        fresh = _upwind(near, spacing, slowness[active])
        sooner = fresh < times[active] - TOLERANCE_MM
        changed = active[sooner]
        times[changed] = fresh[sooner]


def _upwind(near: Floats, spacing: Floats, slowness: Floats) -> Floats:
    """The time at voxels (M,) from the earlier neighbour along each axis, `near` (3, M); infinite where all are."""
    order = np.argsort(near, axis=0)
    early = np.take_along_axis(near, order, axis=0)
    weight = (1.0 / spacing**2)[order]
    found = early[0] + slowness / np.sqrt(weight[0])
    known = np.where(np.isfinite(early), early, 0.0)
    base = known[0]  # times are taken from the earliest on, which keeps the squares small
    for axes in (2, 3):
        w, a = weight[:axes], known[:axes] - base
        total, mixed = w.sum(axis=0), (w * a).sum(axis=0)
        root = mixed**2 - total * ((w * a**2).sum(axis=0) - slowness**2)
        uses = (found > early[axes - 1]) & (root >= 0)
        found = np.where(uses, base + (mixed + np.sqrt(np.maximum(root, 0.0))) / total, found)
    return np.asarray(found)
