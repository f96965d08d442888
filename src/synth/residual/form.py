"""The form of a region, and where in its organ it lies: a vessel is long, a renal pelvis lies in the middle.

elongation     ln(longest / middle) of the standard deviations of its voxels along their principal axes
flatness       ln(middle / shortest) of them
thickness      radius of the largest ball in it / radius of the ball of its volume       1: a ball
near_finding   exp(-distance to the nearest drawn finding / 8 mm)                        1: touches or lies on one
outside_host   share of the layer around it that lies outside its organ
depth_in_host  mean distance of its voxels from the organ's border, over the largest there is
off_centre     distance of its middle from the organ's, in standard deviations of the organ along its principal axes
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.volume import Geometry, Mask, crop_any

NEAR_MM = 8.0

Spacing = tuple[float, float, float]


def shape_features(mask: Mask, spacing_mm: Spacing) -> dict[str, float]:
    """How long, flat and thick a region is, whatever its size; it has a voxel at least.

    Example:
        >>> tube = Mask.from_box((20, 20, 20), (2, 9, 9), np.ones((16, 3, 3), bool))
        >>> cube = Mask.from_box((20, 20, 20), (7, 7, 7), np.ones((5, 5, 5), bool))
        >>> {k: round(v, 1) for k, v in shape_features(tube, (4.0, 4.0, 4.0)).items()}
        {'elongation': 1.7, 'flatness': 0.0, 'thickness': 0.6}
        >>> {k: round(v, 1) for k, v in shape_features(cube, (4.0, 4.0, 4.0)).items()}
        {'elongation': 0.0, 'flatness': 0.0, 'thickness': 1.0}
    """
    spacing = np.array(spacing_mm)
    at = np.argwhere(mask.box) * spacing
    # A voxel is as wide as it is: one alone has an extent too.
    spread = np.cov(at.T, bias=True) + np.diag(spacing**2 / 12.0)
    short, middle, long = np.sqrt(np.linalg.eigvalsh(spread))
    inner = ndimage.distance_transform_edt(np.pad(mask.box, 1), sampling=spacing_mm).max()
    ball = (3.0 * mask.voxels * spacing.prod() / (4.0 * np.pi)) ** (1.0 / 3.0)
    return {
        "elongation": float(np.log(long / middle)),
        "flatness": float(np.log(middle / short)),
        "thickness": float(inner / ball),
    }


@dataclass(frozen=True, eq=False)
class Within:
    """An organ that regions are placed in; `mask` is not empty."""

    mask: Mask
    spacing_mm: Spacing

    def features(self, region: Mask) -> dict[str, float]:
        """Where a region lies that is a part of the organ."""
        box = region.padded_slices(1)
        own = region.crop(box)
        layer = ndimage.binary_dilation(own) & ~own
        depth, middle, turned = self._frame
        start = [s.start for s in self.mask.slices]
        x, y, z = (slice(s.start - first, s.stop - first) for s, first in zip(region.slices, start, strict=True))
        at = (region.centroid_voxel() - start) * self.spacing_mm - middle
        return {
            "outside_host": float((~self.mask.crop(box))[layer].mean()) if layer.any() else 0.0,
            "depth_in_host": float(depth[x, y, z][region.box].mean()),
            "off_centre": float(np.linalg.norm(at @ turned)),
        }

    @cached_property
    def _frame(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Over the mask's box, depth in units of the largest; the middle, mm in that box; axes over their spread."""
        inside = self.mask.box
        depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=self.spacing_mm)[1:-1, 1:-1, 1:-1]
        spacing = np.array(self.spacing_mm)
        at = np.argwhere(inside) * spacing
        width, axes = np.linalg.eigh(np.cov(at.T, bias=True) + np.diag(spacing**2 / 12.0))
        return depth / depth.max(), at.mean(axis=0), axes / np.sqrt(width)


@dataclass(frozen=True, eq=False)
class Findings:
    """The findings that are drawn already; what a sloppy outline leaves of one stands out beside it."""

    geometry: Geometry
    masks: Iterable[Mask]

    def near(self, region: Mask) -> dict[str, float]:
        """How near the nearest lies; 0 without any."""
        distance = self._distance
        if distance is None:
            return {"near_finding": 0.0}
        return {"near_finding": float(np.exp(-region.values(distance).min() / NEAR_MM))}

    @cached_property
    def _distance(self) -> NDArray[np.float64] | None:
        """Of each voxel, mm."""
        x, y, z = (slice(0, n) for n in self.geometry.shape)
        taken = crop_any(self.masks, (x, y, z))
        if not taken.any():
            return None
        return np.asarray(ndimage.distance_transform_edt(~taken, sampling=self.geometry.spacing_mm))
