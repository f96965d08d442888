"""Masks moved to where the organ is not: by a vector, by a random distance, or onto a chosen target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from synth.errors import InputError
from synth.volume import Geometry, Index3, Mask

_TRIES = 200


@dataclass(frozen=True, eq=False)
class Moved:
    """A mask after a move, and what the move lost.

    Attributes:
        mask: what is left of it on the grid.
        offset_voxels, distance_mm: how far it went.
        outside_view: fraction of the voxels that fell outside the field of view.
        outside_body: fraction that is outside the view or outside the body (equal to `outside_view` without one).
    """

    mask: Mask
    offset_voxels: Index3
    outside_view: float
    outside_body: float
    distance_mm: float | None = None


def moved(mask: Mask, offset_voxels: Sequence[int], body: Mask | None = None) -> Moved:
    """Shift a mask by whole voxels, clipping it at the borders of the grid.

    Example:
        >>> mask = Mask.from_box((8, 8, 8), (6, 0, 0), np.ones((2, 2, 2), bool))
        >>> result = moved(mask, (1, 0, 0))
        >>> result.mask.origin, result.outside_view
        ((7, 0, 0), 0.5)
    """
    offset = (int(offset_voxels[0]), int(offset_voxels[1]), int(offset_voxels[2]))
    start = [o + d for o, d in zip(mask.origin, offset, strict=True)]
    low = [max(0, -s) for s in start]
    high = [min(n, full - s) for n, full, s in zip(mask.box.shape, mask.shape, start, strict=True)]
    if mask.is_empty or any(a >= b for a, b in zip(low, high, strict=True)):
        return Moved(Mask.empty(mask.shape), offset, 1.0, 1.0)
    box = mask.box[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    kept = Mask.from_box(mask.shape, (start[0] + low[0], start[1] + low[1], start[2] + low[2]), box)
    outside_view = 1.0 - kept.voxels / mask.voxels
    outside_body = outside_view if body is None else 1.0 - kept.overlap(body) / mask.voxels
    return Moved(kept, offset, outside_view, outside_body)


def moved_by_mm(mask: Mask, geometry: Geometry, vector_mm: Sequence[float], body: Mask | None = None) -> Moved:
    """Shift by a vector in world millimetres (right, anterior, superior), rounded to whole voxels."""
    offset = np.rint(np.linalg.solve(geometry.affine[:3, :3], np.asarray(vector_mm, dtype=np.float64))).astype(int)
    return _with_distance(moved(mask, offset.tolist(), body), geometry)


def random_move(
    mask: Mask,
    geometry: Geometry,
    body: Mask,
    distance_mm: tuple[float, float],
    rng: np.random.Generator,
    *,
    avoid: Sequence[Mask] = (),
    max_overlap: float = 0.5,
    min_inside: float = 0.9,
) -> Moved | None:
    """Shift in a direction uniform on the sphere, by a distance (after rounding to voxels) within `distance_mm`.

    Directions are drawn until at least `min_inside` of the voxels lie in the body and in the field of view, and at
    most `max_overlap` of them in any mask of `avoid`. None when 200 draws find no such place.
    """
    low, high = distance_mm
    if not 0 <= low <= high:
        raise InputError("distance", expected="0 <= low <= high mm", got=f"{low}, {high}", fix="give an ordered range")
    to_voxels = np.linalg.inv(geometry.affine[:3, :3])
    for _ in range(_TRIES):
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
        offset = np.rint(to_voxels @ (direction * rng.uniform(low, high))).astype(int)
        length = float(np.linalg.norm(geometry.affine[:3, :3] @ offset))
        if not low <= length <= high or not offset.any():
            continue
        found = moved(mask, offset.tolist(), body)
        if 1.0 - found.outside_body < min_inside:
            continue
        if all(found.mask.overlap(other) <= max_overlap * found.mask.voxels for other in avoid):
            return _with_distance(found, geometry)
    return None


def random_shift(
    mask: Mask,
    geometry: Geometry,
    body: Mask,
    distance_mm: tuple[float, float],
    rng: np.random.Generator,
    *,
    avoid: Sequence[Mask] = (),
    max_overlap: float = 0.5,
    min_inside: float = 0.9,
) -> Mask | None:
    """The mask of `random_move`, or None."""
    found = random_move(
        mask, geometry, body, distance_mm, rng, avoid=avoid, max_overlap=max_overlap, min_inside=min_inside
    )
    return None if found is None else found.mask


def move_onto(
    mask: Mask,
    geometry: Geometry,
    target: Mask,
    body: Mask | None = None,
    *,
    away_from: Sequence[Mask] = (),
    within_mm: float = float("inf"),
) -> Moved:
    """Shift the mask, whole, to the nearest place that is about as good as any for lying on `target`.

    Every place is scored at once by a correlation: +1 a voxel on the target, -1 on the mask's own old place, on
    `away_from` and outside the body. Of the places no further than `within_mm` that score 90% of the best, the
    nearest is taken. Raises InputError when no place has more of the target than of what it should avoid.

    Example:
        >>> mask = Mask.from_box((12, 12, 12), (1, 1, 1), np.ones((3, 3, 3), bool))
        >>> fat = Mask.from_box((12, 12, 12), (7, 1, 1), np.ones((4, 4, 4), bool))
        >>> move_onto(mask, Geometry.regular((12, 12, 12), 2.0), fat).offset_voxels
        (6, 0, 0)
    """
    weights = np.zeros(mask.shape, dtype=np.float32)
    if body is not None:
        weights -= 1.0
        weights[body.slices][body.box] = 0.0
    weights[target.slices][target.box] = 1.0
    for other in (*away_from, mask):
        weights[other.slices][other.box] = -1.0
    scores = np.rint(signal.fftconvolve(weights, mask.box[::-1, ::-1, ::-1].astype(np.float32), mode="valid"))
    distance = _distances(scores.shape, mask.origin, geometry)
    scores[distance > within_mm] = -np.inf
    good = scores >= 0.9 * scores.max()
    best = np.unravel_index(int(np.where(good, distance, np.inf).argmin()), scores.shape)
    if scores[best] <= 0:
        fix = "choose a larger target, or a smaller entity"
        raise InputError("target of the move", expected="room for the mask", got="no such place", fix=fix)
    offset = [int(b) - o for b, o in zip(best, mask.origin, strict=True)]
    return _with_distance(moved(mask, offset, body), geometry)


def _distances(shape: tuple[int, ...], origin: Index3, geometry: Geometry) -> NDArray[np.float64]:
    """Millimetres from `origin` to every place where the box can start."""
    lines = [(np.arange(n) - o) * s for n, o, s in zip(shape, origin, geometry.spacing_mm, strict=True)]
    return np.asarray(
        np.sqrt(lines[0][:, None, None] ** 2 + lines[1][None, :, None] ** 2 + lines[2][None, None, :] ** 2)
    )


def _with_distance(result: Moved, geometry: Geometry) -> Moved:
    distance = float(np.linalg.norm(geometry.affine[:3, :3] @ np.asarray(result.offset_voxels)))
    return Moved(result.mask, result.offset_voxels, result.outside_view, result.outside_body, distance)
