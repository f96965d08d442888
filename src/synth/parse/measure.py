"""Measurements of one mask: computed when asked for, never stored as predictions.

Surfaces lie half a voxel beyond the outermost voxel centres, so that a box of 10 voxels of 2 mm is 20 mm long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.volume import Geometry, Mask

Points = NDArray[np.float64]

_SURFACE_SIGMA_VOXELS = 0.7
_SURFACE_MARGIN = 4
_FINE_SURFACE_VOXELS = 2_000_000


def volume_ml(mask: Mask, geometry: Geometry) -> float:
    """Voxels times the volume of one, in mL.

    Example:
        >>> box = Mask.from_box((8, 8, 8), (0, 0, 0), np.ones((5, 4, 2), bool))
        >>> round(volume_ml(box, Geometry.regular((8, 8, 8), 5.0)), 6)
        5.0
    """
    return mask.volume_ml(geometry)


def centroid_mm(mask: Mask, geometry: Geometry) -> tuple[float, float, float]:
    """Mean position of the voxel centres in the world, mm; an empty mask is an `InputError`."""
    x, y, z = (float(c) for c in mask.centroid_mm(geometry))
    return x, y, z


@dataclass(frozen=True)
class AxialExtent:
    """The longest axis of a mask within one axial plane, and the longest chord across it in the same plane.

    Attributes:
        longest_mm: RECIST's longest diameter.
        perpendicular_mm: the short axis, by which lymph nodes are measured.
        slice_index: the axial slice (third array axis) that holds both.
        ends_mm: the two ends of the longest axis, world mm.
    """

    longest_mm: float
    perpendicular_mm: float
    slice_index: int
    ends_mm: tuple[tuple[float, float, float], tuple[float, float, float]]


def axial_extent(mask: Mask, geometry: Geometry) -> AxialExtent:
    """Longest in-plane axis over all axial slices, with its perpendicular.

    Source: Eisenhauer et al. 2009, RECIST 1.1, section 3.2; an empty mask is an `InputError`.

    Example:
        >>> rod = Mask.from_box((32, 8, 8), (2, 2, 2), np.ones((20, 1, 1), bool))
        >>> extent = axial_extent(rod, Geometry.regular((32, 8, 8), (1.0, 2.0, 3.0)))
        >>> round(extent.longest_mm, 6), round(extent.perpendicular_mm, 6)
        (20.0, 2.0)
    """
    _require_voxels(mask)
    plane = _plane_basis(geometry)
    best: tuple[float, int, Points, Points] | None = None
    for slice_index in _slices_by_size(mask, geometry):
        layer = mask.box[:, :, slice_index]
        if best is not None and _diagonal_mm(layer, geometry) <= best[0]:
            break
        hull = _hull(_edge_points(layer, mask.origin) @ plane.T)
        apart = np.linalg.norm(hull[:, None] - hull[None], axis=2)
        first, second = np.unravel_index(np.argmax(apart), apart.shape)
        if best is None or apart[first, second] > best[0] + 1e-9:
            best = float(apart[first, second]), slice_index, hull, hull[[first, second]]
    assert best is not None
    longest, slice_index, hull, ends = best
    voxels = np.c_[ends @ np.linalg.inv(plane).T, [mask.origin[2] + slice_index] * 2]
    world = geometry.world(voxels)
    head, tail = ((float(p[0]), float(p[1]), float(p[2])) for p in world)
    return AxialExtent(longest, _chord_across(hull, ends), mask.origin[2] + slice_index, (head, tail))


def surface_mm2(mask: Mask, geometry: Geometry) -> float:
    """Area of the surface in mm²: the level surface of the smoothed mask that holds the mask's own volume.

    Within 3% for balls, boxes and rods from two voxels across, and within 10% for slices 7 times thicker than a pixel.
    """
    from scipy import ndimage
    from skimage.measure import marching_cubes, mesh_surface_area

    _require_voxels(mask)
    # Each voxel is cut in eight, so that the level lies finely enough between a thin body and its surroundings.
    fine = 2 if mask.box.size <= _FINE_SURFACE_VOXELS else 1
    padded = np.pad(mask.box, _SURFACE_MARGIN).astype(np.float32)
    for axis in range(3):
        padded = padded.repeat(fine, axis=axis)
    smooth = ndimage.gaussian_filter(padded, _SURFACE_SIGMA_VOXELS * fine)
    ranks = smooth.size - mask.voxels * fine**3
    below, above = np.partition(smooth.ravel(), (ranks - 1, ranks))[[ranks - 1, ranks]]
    steps = tuple(step / fine for step in geometry.spacing_mm)
    vertices, faces, _, _ = marching_cubes(smooth, float(below + above) / 2.0, spacing=steps)
    return float(mesh_surface_area(vertices, faces))


def growth_per_day(first_ml: float, second_ml: float, days: float) -> float:
    """Specific growth rate ln(V2 / V1) / Δt, per day; negative when it shrinks."""
    if not (first_ml > 0 and second_ml > 0 and days > 0):
        got = f"{first_ml:g} mL, {second_ml:g} mL, {days:g} days"
        raise InputError("growth", expected="positive volumes and days", got=got, fix="compare two visits that show it")
    return math.log(second_ml / first_ml) / days


def doubling_time_days(first_ml: float, second_ml: float, days: float) -> float | None:
    """Days in which the volume doubles at this rate; None when it does not grow.

    Example:
        >>> doubling_time_days(1.0, 2.0, 100.0)
        100.0
    """
    rate = growth_per_day(first_ml, second_ml, days)
    return math.log(2.0) / rate if rate > 0 else None


def _require_voxels(mask: Mask) -> None:
    if mask.is_empty:
        raise InputError("measurement", expected="a mask with voxels", got="an empty mask", fix="choose a drawn entity")


def _plane_basis(geometry: Geometry) -> Points:
    """(2, 2): in-plane voxel steps to millimetres in an orthonormal frame of the axial plane."""
    first, second = geometry.affine[:3, 0], geometry.affine[:3, 1]
    along = float(np.linalg.norm(first))
    shear = float(first @ second) / along
    return np.array([[along, shear], [0.0, math.sqrt(max(float(second @ second) - shear**2, 0.0))]])


def _slices_by_size(mask: Mask, geometry: Geometry) -> list[int]:
    """Axial slices of the box that hold voxels, the one with the largest diagonal first."""
    filled = [k for k in range(mask.box.shape[2]) if mask.box[:, :, k].any()]
    return sorted(filled, key=lambda k: -_diagonal_mm(mask.box[:, :, k], geometry))


def _diagonal_mm(layer: NDArray[np.bool_], geometry: Geometry) -> float:
    spans = [np.flatnonzero(layer.any(axis=axis)) for axis in (1, 0)]
    sides = [(span[-1] - span[0] + 1) * s for span, s in zip(spans, geometry.spacing_mm[:2], strict=True)]
    # For sheared grids the diagonal is bounded by the sum of the sides; grids are rarely sheared.
    return float(math.hypot(*sides)) if geometry.is_diagonal else float(sum(sides))


def _edge_points(layer: NDArray[np.bool_], origin: tuple[int, int, int]) -> Points:
    """Midpoints of the pixel edges between inside and outside, (N, 2) voxel indices."""
    padded = np.pad(layer, 1)
    along_x = np.argwhere(padded[1:, :] != padded[:-1, :]) + np.array([0.5, 0.0])
    along_y = np.argwhere(padded[:, 1:] != padded[:, :-1]) + np.array([0.0, 0.5])
    return np.asarray(np.concatenate([along_x, along_y]) - 1.0 + origin[:2], dtype=np.float64)


def _hull(points: Points) -> Points:
    from scipy.spatial import ConvexHull

    return np.asarray(points[ConvexHull(points).vertices])


def _chord_across(hull: Points, ends: Points) -> float:
    """Longest chord of a convex polygon at right angles to the line between two of its points."""
    axis = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    along, across = hull @ axis, hull @ np.array([-axis[1], axis[0]])
    start, stop = int(np.argmin(along)), int(np.argmax(along))
    chains = (_walk(start, stop, len(hull)), _walk(stop, start, len(hull))[::-1])
    sides = [np.interp(np.unique(along), along[chain], across[chain]) for chain in chains]
    return float(np.abs(sides[0] - sides[1]).max())


def _walk(start: int, stop: int, size: int) -> list[int]:
    return [index % size for index in range(start, (stop if stop > start else stop + size) + 1)]
