"""Cuts through volumes and masks as a radiologist expects them: patient right on the viewer's left, feet down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from synth.volume import Geometry, Mask, Volume

Image2 = NDArray[np.float32]
Point = tuple[float, float, float]

AXIAL, CORONAL, SAGITTAL = "axial", "coronal", "sagittal"
PLANES = (AXIAL, CORONAL, SAGITTAL)
# For each plane the world axis across (columns) and down (rows), both running against the axis, and the one it cuts.
_AXES = {AXIAL: (0, 1, 2), CORONAL: (0, 2, 1), SAGITTAL: (1, 2, 0)}
_EDGES = {AXIAL: ("R", "A"), CORONAL: ("R", "S"), SAGITTAL: ("A", "S")}


@dataclass(frozen=True)
class Plane:
    """A rectangle in one of the three world planes.

    Attributes:
        name: axial, coronal or sagittal; at_mm: position along the axis that it cuts.
        left_mm, top_mm: world coordinate of its first column and row; both fall from there on.
        columns, rows: its size in pixels of `pixel_mm`.
    """

    name: str
    at_mm: float
    left_mm: float
    top_mm: float
    columns: int
    rows: int
    pixel_mm: float

    @classmethod
    def through(cls, name: str, point: Point, low: Point, high: Point, pixel_mm: float) -> Plane:
        """The plane through a point that covers the box from `low` to `high`, in mm."""
        across, down, cut = _AXES[name]
        columns = max(2, round((high[across] - low[across]) / pixel_mm))
        rows = max(2, round((high[down] - low[down]) / pixel_mm))
        return cls(name, point[cut], high[across], high[down], columns, rows, pixel_mm)

    @property
    def edges(self) -> tuple[str, str]:
        """Letters of the left and the top edge."""
        return _EDGES[self.name]

    def points_mm(self) -> NDArray[np.float64]:
        """(rows, columns, 3) world position of each pixel."""
        across, down, cut = _AXES[self.name]
        points = np.empty((self.rows, self.columns, 3))
        points[..., across] = self.left_mm - (np.arange(self.columns) + 0.5) * self.pixel_mm
        points[..., down] = (self.top_mm - (np.arange(self.rows) + 0.5) * self.pixel_mm)[:, None]
        points[..., cut] = self.at_mm
        return points

    def pixel_of(self, point: Point) -> tuple[float, float]:
        """Column and row, in pixels from the corner, of the foot of a point on the plane."""
        across, down, _ = _AXES[self.name]
        return (self.left_mm - point[across]) / self.pixel_mm, (self.top_mm - point[down]) / self.pixel_mm


def cut(volume: Volume, plane: Plane, *, fill: float) -> Image2:
    """(rows, columns) values on the plane, interpolated linearly; `fill` outside the volume."""
    return _sample(volume.array, volume.geometry, plane, fill)


def outline(mask: Mask, geometry: Geometry, plane: Plane) -> tuple[NDArray[np.float64], ...]:
    """Closed curves (N, 2), column and row in pixels, where the mask's surface meets the plane."""
    if mask.is_empty:
        return ()
    window = mask.padded_slices(2)
    part = np.pad(mask.crop(window).astype(np.float32), 1)
    start = np.array([s.start - 1 for s in window])
    affine = geometry.affine.copy()
    affine[:3, 3] = geometry.world(start)
    level = _sample(part, Geometry(part.shape, affine), plane, 0.0)
    if level.max() <= 0.5:
        return ()
    curves = measure.find_contours(np.pad(level, 1), 0.5)
    return tuple(curve[:, ::-1] - 0.5 for curve in curves if len(curve) > 3)


def _sample(array: NDArray[np.float32], geometry: Geometry, plane: Plane, fill: float) -> Image2:
    voxels = geometry.voxel(plane.points_mm().reshape(-1, 3)).T
    values = ndimage.map_coordinates(array, voxels, order=1, mode="nearest", output=np.float32)
    size = np.array(array.shape)[:, None]
    outside = ((voxels < -0.5) | (voxels > size - 0.5)).any(axis=0)
    values[outside] = fill
    return np.asarray(values.reshape(plane.rows, plane.columns))
