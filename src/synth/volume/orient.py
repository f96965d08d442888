"""Turn arrays so that their axes run closest to right, anterior, superior; obliqueness stays in the affine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.volume.geometry import Float64, Geometry, closest_axes

LPS_TO_RAS: Float64 = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Oriented:
    """An array whose axes are closest to RAS+, its affine, and the axis codes it came in."""

    array: NDArray[Any]
    affine: Float64
    original_codes: str


def to_ras(array: NDArray[Any], affine: ArrayLike) -> Oriented:
    """Permute and flip `array` (X, Y, Z); every voxel keeps its place in the world.

    Example:
        >>> turned = to_ras(np.arange(8).reshape(2, 2, 2), np.diag([-1.0, 1.0, 1.0, 1.0]))
        >>> turned.original_codes, turned.array[0, 0, 0], turned.affine[0, 3]
        ('LAS', np.int64(4), np.float64(-1.0))
    """
    matrix = np.array(affine, dtype=np.float64)
    axes = closest_axes(matrix)
    order = [axes.world_axis.index(world) for world in range(3)]
    turned = array.transpose(order)
    new = matrix.copy()
    new[:, :3] = matrix[:, order]
    for axis, source in enumerate(order):
        if axes.sign[source] < 0:
            turned = np.flip(turned, axis)
            new[:, 3] += new[:, axis] * (turned.shape[axis] - 1)
            new[:, axis] *= -1
    return Oriented(turned, new, axes.codes)


def flipped_axes(image: Geometry, other: Geometry) -> tuple[str, ...]:
    """World axes along which one of two grids of equal shape and spacing was written with the wrong sign.

    Such a file, turned to RAS, lies a whole field of view (less one voxel) away from where it should be.

    Example:
        >>> good = Geometry((10, 10, 10), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> bad = np.diag([2.0, 2.0, 2.0, 1.0])
        >>> bad[0, 3] = -18.0
        >>> flipped_axes(good, Geometry((10, 10, 10), bad))
        ('left-right',)
    """
    if image.shape != other.shape or not np.allclose(image.affine[:3, :3], other.affine[:3, :3], atol=1e-3):
        return ()
    offset = np.abs(image.voxel(other.affine[:3, 3]))
    whole = np.asarray(image.shape) - 1
    turned = np.abs(offset - whole) < 0.1
    if not turned.any() or np.any(~turned & (offset > 0.1)):
        return ()
    names = ("left-right", "front-back", "head-foot")
    return tuple(name for name, each in zip(names, turned, strict=True) if each)
