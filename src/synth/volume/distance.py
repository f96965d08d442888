"""Signed distance to the surface of a mask, and the growing and shrinking that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.errors import InputError
from synth.volume.geometry import Geometry, Slices3
from synth.volume.mask import Mask


@dataclass(frozen=True, eq=False)
class SignedDistance:
    """Millimetres to the surface, positive inside, over `slices` of the full grid."""

    slices: Slices3
    values: NDArray[np.float32]

    def above(self, mask: Mask, level_mm: float) -> Mask:
        """The mask bounded by the surface at `level_mm` (positive shrinks)."""
        start = (self.slices[0].start, self.slices[1].start, self.slices[2].start)
        return Mask.from_box(mask.shape, start, self.values > level_mm)


def signed_distance(mask: Mask, geometry: Geometry, margin_mm: float = 8.0) -> SignedDistance:
    """Distance of every voxel centre within `margin_mm` of the bounding box to the mask's surface.

    The surface runs between voxel centres, half a voxel from either. Where the field of view cuts the mask there is no
    surface: the organ goes on. Raises InputError for an empty mask.

    Example:
        >>> mask = Mask.from_box((9, 9, 9), (3, 3, 3), np.ones((3, 3, 3), bool))
        >>> field = signed_distance(mask, Geometry.regular((9, 9, 9), 2.0), margin_mm=4.0)
        >>> float(field.values.max()), float(field.values[0, 4, 4])
        (3.0, -5.0)
    """
    if mask.is_empty:
        raise InputError("signed distance", expected="a mask with voxels", got="an empty mask", fix="leave it out")
    sx, sy, sz = geometry.spacing_mm
    margin = (int(margin_mm / sx) + 1, int(margin_mm / sy) + 1, int(margin_mm / sz) + 1)
    window = mask.padded_slices(margin)
    inside = mask.crop(window)
    half = 0.5 * min(geometry.spacing_mm)
    if inside.all():
        return SignedDistance(window, np.full(inside.shape, np.inf, dtype=np.float32))
    within = ndimage.distance_transform_edt(inside, sampling=geometry.spacing_mm)
    without = ndimage.distance_transform_edt(~inside, sampling=geometry.spacing_mm)
    return SignedDistance(window, np.where(inside, within - half, half - without).astype(np.float32))


def dilated(mask: Mask, geometry: Geometry, distance_mm: float) -> Mask:
    """The mask grown by a distance, clipped to the field of view; half a voxel is the least that adds one."""
    return signed_distance(mask, geometry, distance_mm).above(mask, -distance_mm)


def eroded(mask: Mask, geometry: Geometry, distance_mm: float) -> Mask:
    """The mask shrunk by a distance; empty when it is nowhere thick enough."""
    return signed_distance(mask, geometry, 0.0).above(mask, distance_mm)
