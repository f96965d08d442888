"""In which order a body shrinks: the voxels of a mask from its core to its rim."""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import reconstruction

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

BULB = 0.35  # a bulb whose neck is thinner than its core by this share survives as a part of its own
_EDGE = 1e-3  # mm of depth for each mm from the core: of voxels as deep as each other the inner one lasts longer


def core_to_rim(inside: Bools, spacing_mm: tuple[float, float, float]) -> NDArray[np.int64]:
    """Flat indices (N,) of a mask's voxels (X, Y, Z), the one that lasts longest first.

    A flood from the deepest points outwards, deepest voxel first. Any first n of them are what is left at that size:
    the smaller are contained in the larger, and each part grows from a core of its own, so that nothing crumbles. A
    dumbbell has two cores, and falls apart when its neck is gone.

    Example:
        >>> core_to_rim(np.ones((5, 1, 1), bool), (1.0, 1.0, 1.0)).tolist()
        [2, 1, 3, 0, 4]
    """
    depth = _depth(inside, spacing_mm)
    cores = _cores(depth, inside)
    labels, count = ndimage.label(cores)
    spots = [_peak(depth, labels == k) for k in range(1, count + 1)]
    away = np.ones(inside.shape, np.bool_)
    away.flat[spots] = False
    priority = depth - _EDGE * ndimage.distance_transform_edt(away, sampling=spacing_mm)
    return _flood(np.pad(inside, 1), np.pad(priority, 1), spots, inside.shape)


def _depth(inside: Bools, spacing_mm: tuple[float, float, float]) -> Floats:
    """Distance to the surface, smoothed by a voxel within the mask: a binary surface has steps that it has not."""
    padded = np.pad(inside, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=spacing_mm)
    smooth = ndimage.gaussian_filter(depth, 0.7)
    return np.asarray(np.where(padded, smooth, 0.0)[1:-1, 1:-1, 1:-1])


def _cores(depth: Floats, inside: Bools) -> Bools:
    """The tops of the bulbs: maxima of the depth that a neck sets apart by the share `BULB` of their own depth."""
    level = reconstruction(np.where(inside, (1.0 - BULB) * depth, 0.0), depth)
    lowered = np.where(inside, depth - level, -1.0)
    tops = inside & (lowered >= BULB * depth - 1e-9)
    parts, count = ndimage.label(inside)  # a part that is too thin for a top of its own keeps its deepest voxel
    for part in range(1, count + 1):
        if not tops[parts == part].any():
            tops.flat[_peak(depth, parts == part)] = True
    return tops


def _peak(depth: Floats, where: Bools) -> int:
    """Flat index of the deepest voxel there, the first of equals."""
    return int(np.argmax(np.where(where, depth, -np.inf)))


def _flood(inside: Bools, priority: Floats, spots: list[int], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The voxels in the order in which the flood takes them; `inside` and `priority` have a rim of one voxel."""
    index = np.pad(np.arange(int(np.prod(shape))).reshape(shape), 1).ravel().tolist()
    steps = (inside.shape[1] * inside.shape[2], inside.shape[2], 1)
    where, height = inside.ravel().copy(), priority.ravel().tolist()
    starts = np.ravel_multi_index(tuple(np.array(np.unravel_index(spots, shape)) + 1), inside.shape).tolist()
    waiting = [(-height[spot], spot) for spot in starts]
    where[starts] = False
    open_ = where.tolist()
    heapq.heapify(waiting)
    taken: list[int] = []
    while waiting:
        _, here = heapq.heappop(waiting)
        taken.append(index[here])
        for step in steps:
            for near in (here - step, here + step):
                if open_[near]:
                    open_[near] = False
                    heapq.heappush(waiting, (-height[near], near))
    return np.asarray(taken, np.int64)
