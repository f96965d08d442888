"""Where around a mask its evidence lies: core, rim, the layer just outside by direction, and the wider surroundings.

A population knows what the core of a kidney looks like, and also what lies behind it and in front of it: a mask that
was moved off its organ breaks the second before the first. All distances are in voxels of the grid in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.volume import Mask, Slices3

RIM_VOXELS = 1.5  # the layer of voxels that touch the border, diagonals included
REACH_VOXELS = 6.0  # how far the surroundings go: 24 mm on a 4 mm grid
MIN_CORE_SHARE = 0.25  # a thinner structure has no interior to speak of: its core is all of it
SECTORS = 6  # outward directions: right, anterior, superior, left, posterior, inferior


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """The zones of one mask over a box around it.

    Attributes:
        box: slices of the full grid that the arrays cover.
        inside: (x, y, z) bool, the mask.
        core, rim: its interior (all of it where it is thin) and its outermost layer.
        outer: the first layer outside.
        surround: what lies further out, up to `REACH_VOXELS`.
        sector: (x, y, z) int8, the outward direction 0..5 of the border nearest to a voxel of rim or outer.
        cut: the axes along which the grid cuts the mask: it may go on there.
    """

    box: Slices3
    inside: NDArray[np.bool_]
    core: NDArray[np.bool_]
    rim: NDArray[np.bool_]
    outer: NDArray[np.bool_]
    surround: NDArray[np.bool_]
    sector: NDArray[np.int8]
    cut: frozenset[int]

    @classmethod
    def of(cls, mask: Mask) -> Neighbourhood:
        """Zones of a mask; those beyond the border of the grid are cut off.

        Example:
            >>> cube = np.zeros((20, 20, 20), bool)
            >>> cube[7:13, 7:13, 7:13] = True
            >>> zones = Neighbourhood.of(Mask.from_dense(cube))
            >>> int(zones.inside.sum()), int(zones.core.sum()), int(zones.rim.sum())
            (216, 64, 152)
        """
        box = mask.padded_slices(int(REACH_VOXELS) + 1)
        inside = mask.crop(box)
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1, 1:-1]
        height = ndimage.distance_transform_edt(~inside)
        rim = inside & (depth <= RIM_VOXELS)
        core = inside & ~rim
        if core.sum() < MIN_CORE_SHARE * inside.sum():
            core = inside
        outer = (height > 0) & (height <= RIM_VOXELS)
        surround = (height > RIM_VOXELS) & (height <= REACH_VOXELS)
        cut = frozenset(axis for axis, _ in mask.border_faces)
        return cls(box, inside, core, rim, outer, surround, _sectors(inside), cut)


def _sectors(inside: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Dominant outward direction: the largest component of minus the gradient of the smoothed mask."""
    smooth = ndimage.gaussian_filter(inside.astype(np.float32), 1.0, mode="nearest")
    if min(smooth.shape) < 2:
        return np.zeros(inside.shape, np.int8)
    outward = -np.stack(np.gradient(smooth))
    axis = np.abs(outward).argmax(axis=0)
    negative = np.take_along_axis(outward, axis[None], axis=0)[0] < 0
    return (axis + 3 * negative).astype(np.int8)
