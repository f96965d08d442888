"""Volumes as text inside a page: NIfTI, compressed, base64, on a grid that keeps the page small."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.pipeline.counterfactuals import Renders
from synth.volume import Geometry, Mask, Volume, resample, resample_labels, write_labels, write_volume

MOST_VOXELS = 3_000_000  # of a volume in the page: about 5 MB as text
COARSER = 1.1
MARGIN_VOXELS = 2


@dataclass(frozen=True)
class Inline:
    """A volume in the page: `data` is base64 of a .nii.gz whose whole numbers times `step` are the intensities."""

    data: str
    step: float

    def to_json(self) -> dict[str, Any]:
        """Plain data for the page."""
        return {"data": self.data, "step": self.step}


def viewer_grid(geometry: Geometry, most: int = MOST_VOXELS) -> Geometry:
    """The same grid where it is small enough, else the finest isotropic one of at most so many voxels.

    Example:
        >>> viewer_grid(Geometry.regular((40, 40, 40), 2.0)).shape
        (40, 40, 40)
        >>> viewer_grid(Geometry.regular((512, 512, 200), (0.8, 0.8, 2.5))).spacing_mm[0] < 4.0
        True
    """
    if np.prod(geometry.shape, dtype=np.int64) <= most:
        return geometry
    spacing = float(np.cbrt(np.prod(geometry.extent_mm) / most))
    while np.prod((grid := geometry.with_spacing(spacing)).shape, dtype=np.int64) > most:
        spacing *= COARSER
    return grid


def inline_volume(volume: Volume, step: float, *, synthetic: str | None = None) -> Inline:
    """A volume rounded to multiples of `step`, at most `MOST_VOXELS` of it."""
    grid = viewer_grid(volume.geometry)
    small = volume if grid == volume.geometry else resample(volume, grid)
    counts = np.clip(np.rint(small.array / step), -(2**15) + 1, 2**15 - 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        write_volume(small.with_array(counts), path, synthetic=synthetic)
        return Inline(_text(path), step)


def inline_labels(masks: Iterable[Mask], geometry: Geometry) -> Inline:
    """Masks as one label map, the n-th as n from 1 up; where they overlap, the later one."""
    labels: NDArray[np.uint16] = np.zeros(geometry.shape, np.uint16)
    for number, mask in enumerate(masks, start=1):
        labels[mask.slices][mask.box] = number
    grid = viewer_grid(geometry)
    small = labels if grid == geometry else resample_labels(labels, geometry, grid)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.nii.gz"
        write_labels(small, grid, path)
        return Inline(_text(path), 1.0)


def step_of(volume: Volume) -> float:
    """One HU; of other units, a two-thousandth of the range that is shown."""
    if volume.unit == "HU":
        return 1.0
    low, high = (float(v) for v in np.percentile(volume.array, (0.1, 99.9)))
    return max(high - low, 1e-6) / 2000.0


def close_up(renders: Renders) -> tuple[Volume, Volume]:
    """The two images of a finding, cut to what was redrawn."""
    around = renders.region.padded_slices(MARGIN_VOXELS)
    return renders.with_entity.cropped(around), renders.without_entity.cropped(around)


def _text(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")
