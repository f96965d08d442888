"""Signed distances (mm, negative inside) of the primitives that organs are made of, and how they are joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

from synth.phantom.grid import Grid, Real, Window

FAR = 1.0e3
MARGIN = 14.0  # how far outside a surface its distance is still known: fat gaps and warps are smaller


@dataclass(frozen=True)
class Field:
    """A signed distance on a window; `along` (0..1) is the place on the centre line for tubes."""

    window: Window
    d: Real
    along: Real | None = None


def smooth_max(a: Real, b: Real, k: float) -> Real:
    """Intersection whose edge is rounded over `k` mm."""
    h = np.maximum(k - np.abs(a - b), 0.0) / k
    return np.maximum(a, b) + h * h * (k / 4)


def smooth_min(a: Real, b: Real, k: float) -> Real:
    """Union whose crease is filled over `k` mm."""
    return -smooth_max(-a, -b, k)


def occupancy(d: Real, voxel_mm: float) -> Real:
    """Share of a voxel inside a surface at distance `d`: the box-filtered edge.

    Example:
        >>> occupancy(np.float32([-4, 0, 4]), 4.0).tolist()
        [1.0, 0.5, 0.0]
    """
    return np.clip(0.5 - d / voxel_mm, 0.0, 1.0)


def ellipsoid(
    window: Window,
    centre: NDArray[np.floating],
    radii: tuple[float, float, float],
    axes: NDArray[np.floating] | None = None,
) -> Real:
    """First-order distance of an ellipsoid; rows of `axes` are its unit axes."""
    cx, cy, cz = (float(v) for v in centre)
    x, y, z = window.x - cx, window.y - cy, window.z - cz
    if axes is not None:
        (a, b, c) = ([float(v) for v in row] for row in axes)
        x, y, z = (x * r[0] + y * r[1] + z * r[2] for r in (a, b, c))
    x, y, z = x / radii[0], y / radii[1], z / radii[2]
    k0 = np.sqrt(x * x + y * y + z * z) + 1e-6
    k1 = np.sqrt((x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2) + 1e-6
    return k0 * (k0 - 1.0) / k1


def curve(
    points: NDArray[np.floating],
    values: NDArray[np.floating],
    step_mm: float = 6.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points every `step_mm` along the smooth curve through `points`, and `values` (N,) or (N, k) along it."""
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    n = max(int(np.ceil(chord[-1] / step_mm)) + 1, 2)
    t = np.linspace(0.0, chord[-1], n)
    smooth = CubicSpline(chord, points, axis=0) if len(points) > 2 else PchipInterpolator(chord, points, axis=0)
    return smooth(t), PchipInterpolator(chord, values, axis=0)(t)


def tube(grid: Grid, points: NDArray[np.floating], radii: NDArray[np.floating], margin: float = MARGIN) -> Field:
    """Distance of a round tube along a polyline, radius varying along it."""
    return strip(grid, points, np.stack([radii, radii], axis=1), None, margin)


def strip(
    grid: Grid,
    points: NDArray[np.floating],
    half: NDArray[np.floating],
    lateral: NDArray[np.floating] | None,
    margin: float = MARGIN,
) -> Field:
    """Distance of a tube of elliptic section: half[:, 0] wide along `lateral`, half[:, 1] thick across it."""
    window = grid.around(points, float(half.max()) + margin)
    d = np.full(window.shape, FAR, np.float32)
    along = np.zeros(window.shape, np.float32)
    n = len(points) - 1 if 0 not in window.shape else 0
    for i in range(n):
        box = grid.around(points[i : i + 2], float(half[i : i + 2].max()) + margin)
        if 0 in box.shape:
            continue
        near, share = _segment(box, points[i : i + 2], half[i : i + 2], lateral)
        inner = window.inner(box)
        closer = near < d[inner]
        d[inner] = np.where(closer, near, d[inner])
        along[inner] = np.where(closer, (i + share) / n, along[inner])
    return Field(window, d, along)


def _segment(
    box: Window, ends: NDArray[np.floating], half: NDArray[np.floating], lateral: NDArray[np.floating] | None
) -> tuple[Real, Real]:
    ax, ay, az = (float(v) for v in ends[0])
    bx, by, bz = (float(v) for v in ends[1] - ends[0])
    x, y, z = box.x - ax, box.y - ay, box.z - az
    share = np.clip((x * bx + y * by + z * bz) / (bx * bx + by * by + bz * bz + 1e-9), 0.0, 1.0)
    x, y, z = x - share * bx, y - share * by, z - share * bz
    squared = x * x + y * y + z * z
    thick = float(half[0, 1]) + share * float(half[1, 1] - half[0, 1])
    if lateral is None:
        return np.sqrt(squared) - thick, share
    lx, ly, lz = (float(v) for v in lateral)
    wide = float(half[0, 0]) + share * float(half[1, 0] - half[0, 0])
    side = x * lx + y * ly + z * lz
    across = np.maximum(squared - side * side, 0.0)
    k0 = np.sqrt((side / wide) ** 2 + across / thick**2) + 1e-6
    k1 = np.sqrt((side / wide**2) ** 2 + across / thick**4) + 1e-6
    return k0 * (k0 - 1.0) / k1, share


def plates(grid: Grid, triangles: NDArray[np.floating], thick: float, margin: float = MARGIN) -> Field:
    """Distance of triangles (n, 3, 3) thickened by `thick` mm on each side: thin curved bones."""
    window = grid.around(triangles.reshape(-1, 3), thick + margin)
    d = np.full(window.shape, FAR, np.float32)
    for corners in triangles:
        box = grid.around(corners, thick + margin)
        if 0 in box.shape:
            continue
        inner = window.inner(box)
        d[inner] = np.minimum(d[inner], _triangle(box, corners) - thick)
    return Field(window, d)


def _triangle(box: Window, corners: NDArray[np.floating]) -> Real:
    """Unsigned distance to a triangle: to its plane where the foot lies inside, else to the nearest edge."""
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    normal = normal / (np.linalg.norm(normal) + 1e-9)
    edge_d = np.full(box.shape, FAR, np.float32)
    inside = np.ones(box.shape, bool)
    for i in range(3):
        a, e = corners[i], corners[(i + 1) % 3] - corners[i]
        px, py, pz = (p - float(v) for p, v in zip((box.x, box.y, box.z), a, strict=True))
        share = np.clip((px * float(e[0]) + py * float(e[1]) + pz * float(e[2])) / float(e @ e + 1e-9), 0.0, 1.0)
        qx, qy, qz = (p - share * float(v) for p, v in zip((px, py, pz), e, strict=True))
        edge_d = np.minimum(edge_d, np.sqrt(qx * qx + qy * qy + qz * qz))
        out = np.cross(normal, e)
        inside &= (px * float(out[0]) + py * float(out[1]) + pz * float(out[2])) >= 0
    px, py, pz = (p - float(v) for p, v in zip((box.x, box.y, box.z), corners[0], strict=True))
    plane = np.abs(px * float(normal[0]) + py * float(normal[1]) + pz * float(normal[2]))
    return np.where(inside, plane, edge_d)
