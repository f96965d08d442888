"""Move images, masks and label maps from one grid to another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.errors import InputError
from synth.volume.geometry import Float64, Geometry, Index3, Slices3
from synth.volume.image import Volume
from synth.volume.mask import Mask

# A Gaussian whose full width at half maximum grows from one source voxel to one target voxel:
# sigma = sqrt(f² - 1) / (2 sqrt(2 ln 2)) source voxels (Cardoso et al., MICCAI 2015, "Scale factor point spread").
_FWHM = 2.0 * np.sqrt(2.0 * np.log(2.0))


@dataclass(frozen=True, eq=False)
class _Pull:
    """Target index to source index: source = matrix @ target + offset."""

    matrix: Float64
    offset: Float64

    @classmethod
    def between(cls, source: Geometry, target: Geometry) -> _Pull:
        both = np.linalg.inv(source.affine) @ target.affine
        matrix = np.where(np.abs(both[:3, :3]) < 1e-9, 0.0, both[:3, :3])
        return cls(matrix, both[:3, 3])

    @property
    def is_diagonal(self) -> bool:
        return not np.any(self.matrix - np.diag(np.diag(self.matrix)))

    def shifted(self, source_start: Sequence[int], target_start: Sequence[int]) -> _Pull:
        """The same map for crops that start at these indices."""
        return _Pull(self.matrix, self.matrix @ np.asarray(target_start) + self.offset - np.asarray(source_start))

    def factors(self) -> Float64:
        """Source voxels per target voxel along each source axis: above one means downsampling."""
        return np.asarray(np.abs(self.matrix).max(axis=1))

    def sample(self, array: NDArray[np.float32], shape: Index3, order: int, mode: str) -> NDArray[np.float32]:
        matrix = np.diag(self.matrix) if self.is_diagonal else self.matrix
        out = np.empty(shape, dtype=np.float32)
        ndimage.affine_transform(array, matrix, self.offset, output=out, order=order, mode=mode, cval=0.0)
        return out


def resample(volume: Volume, geometry: Geometry, *, order: int = 1, fill: float | None = None) -> Volume:
    """The image on another grid, smoothed first along axes that lose resolution.

    `order` 0 takes the nearest voxel, 1 interpolates linearly, 3 by cubic spline. Voxels beyond the source's field
    of view get `fill` (air in CT, else 0).

    Example:
        >>> image = Volume(np.ones((8, 8, 8)), Geometry.regular((8, 8, 8), 2.0))
        >>> resample(image, image.geometry.with_spacing(4.0)).shape
        (4, 4, 4)
    """
    if geometry.matches(volume.geometry, atol=1e-6):
        return volume
    if order not in (0, 1, 2, 3):
        raise InputError("resample order", expected="0, 1, 2 or 3", got=str(order), fix="use 1 for images")
    pull = _Pull.between(volume.geometry, geometry)
    array = volume.array
    if order > 0:
        array = _smoothed(array, pull.factors())
    out = pull.sample(array, geometry.shape, order, "nearest")
    outside = _outside(pull, volume.shape, geometry.shape)
    if outside is not None:
        out[outside] = volume.fill_value if fill is None else fill
    return Volume(out, geometry, volume.modality, volume.unit, volume.meta)


def resample_mask(mask: Mask, source: Geometry, target: Geometry) -> Mask:
    """The voxels of `target` that the mask fills by half or more.

    A mask too thin to fill voxels by half (less than half of its volume would be left) keeps its volume instead:
    as many voxels as that volume needs, the fullest first, at least one while any of it is in the field of view.
    """
    _check_grid("mask", mask.shape, source)
    if mask.is_empty or source.matches(target, atol=1e-6):
        return Mask.from_box(target.shape, mask.origin, mask.box)
    occupied = _occupancy(mask, _Pull.between(source, target), target.shape)
    if occupied is None:
        return Mask.empty(target.shape)
    box = occupied.values >= 0.5
    # Volume that is really in the target's field of view: fractions summed, not voxels counted.
    wanted = max(1, round(float(occupied.values.sum())))
    if np.count_nonzero(box) < wanted / 2 and occupied.values.max() > 1e-3:
        box = _fullest(occupied.values, wanted)
    start = (occupied.slices[0].start, occupied.slices[1].start, occupied.slices[2].start)
    return Mask.from_box(target.shape, start, box)


def resample_labels(labels: NDArray[Any], source: Geometry, target: Geometry) -> NDArray[Any]:
    """A label map on another grid: each voxel takes the label (or background) that fills most of it.

    `labels` are non-negative integers (X, Y, Z); the result has their type.
    """
    _check_grid("labels", labels.shape, source)
    pull = _Pull.between(source, target)
    out = np.zeros(target.shape, dtype=labels.dtype)
    best = np.zeros(target.shape, dtype=np.float32)
    background = np.ones(target.shape, dtype=np.float32)
    for value, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        start = (box[0].start, box[1].start, box[2].start)
        mask = Mask.from_box(source.shape, start, labels[box] == value)
        occupied = _occupancy(mask, pull, target.shape)
        if occupied is None:
            continue
        wins = occupied.values > best[occupied.slices]
        out[occupied.slices][wins] = value
        best[occupied.slices][wins] = occupied.values[wins]
        background[occupied.slices] -= occupied.values
    out[background > best] = 0
    return out


@dataclass(frozen=True, eq=False)
class _Occupancy:
    slices: Slices3
    values: NDArray[np.float32]


def _occupancy(mask: Mask, pull: _Pull, shape: Index3) -> _Occupancy | None:
    """How full the mask makes each target voxel around it, in [0, 1]; None when none is in the field of view."""
    factors = pull.factors()
    margin = [int(np.ceil(f)) + 1 for f in factors]
    grown = [slice(s.start - m, s.stop + m) for s, m in zip(mask.slices, margin, strict=True)]
    window = _target_window(pull, grown, shape)
    if window is None:
        return None
    padded = np.pad(mask.box, [(m, m) for m in margin]).astype(np.float32)
    padded = _box_average(padded, factors)
    local = pull.shifted([g.start for g in grown], [w.start for w in window])
    size = (window[0].stop - window[0].start, window[1].stop - window[1].start, window[2].stop - window[2].start)
    return _Occupancy(window, local.sample(padded, size, 1, "constant"))


def _target_window(pull: _Pull, source: Sequence[slice], shape: Index3) -> Slices3 | None:
    corners = np.array(list(itertools.product(*[(s.start, s.stop - 1) for s in source])), dtype=np.float64)
    there = (corners - pull.offset) @ np.linalg.inv(pull.matrix).T
    low = np.maximum(0, np.floor(there.min(axis=0)).astype(int))
    high = np.minimum(shape, np.ceil(there.max(axis=0)).astype(int) + 1)
    if np.any(low >= high):
        return None
    x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return x, y, z


def _smoothed(array: NDArray[np.float32], factors: Float64) -> NDArray[np.float32]:
    sigma = np.sqrt(np.maximum(factors**2 - 1.0, 0.0)) / _FWHM
    if sigma.max() < 0.1:
        return array
    return np.asarray(ndimage.gaussian_filter(array, sigma, mode="nearest", truncate=3.0))


def _box_average(array: NDArray[np.float32], factors: Float64) -> NDArray[np.float32]:
    """Mean over a box of `factor` voxels (any real number ≥ 1) along each axis: what a target voxel covers."""
    for axis, factor in enumerate(factors):
        if factor > 1.0:
            array = ndimage.correlate1d(array, _box_weights(float(factor)), axis=axis, mode="constant")
    return array


def _box_weights(factor: float) -> Float64:
    """Box of width `factor` less the unit width that linear interpolation adds back, odd length, sum one."""
    width = max(factor - 1.0, 1e-6)
    half = int(np.ceil((width - 1.0) / 2.0)) if width > 1.0 else 0
    edges = np.arange(-half, half + 2) - 0.5
    inside = np.clip(np.minimum(edges[1:], width / 2) - np.maximum(edges[:-1], -width / 2), 0.0, None)
    return np.asarray(inside / inside.sum())


def _outside(pull: _Pull, source_shape: Index3, shape: Index3) -> NDArray[np.bool_] | None:
    """Target voxels whose centre lies beyond the source's outermost voxel faces; None when there are none."""
    if pull.is_diagonal:
        lines = [np.diag(pull.matrix)[a] * np.arange(shape[a]) + pull.offset[a] for a in range(3)]
        out = [(line < -0.5) | (line > n - 0.5) for line, n in zip(lines, source_shape, strict=True)]
        if not any(o.any() for o in out):
            return None
        return np.asarray(out[0][:, None, None] | out[1][None, :, None] | out[2][None, None, :])
    index = np.ogrid[: shape[0], : shape[1], : shape[2]]
    outside = np.zeros(shape, dtype=bool)
    for a in range(3):
        line = sum(pull.matrix[a, b] * index[b] for b in range(3)) + pull.offset[a]
        outside |= (line < -0.5) | (line > source_shape[a] - 0.5)
    return outside


def _fullest(values: NDArray[np.float32], count: int) -> NDArray[np.bool_]:
    order = np.argsort(-values, axis=None, kind="stable")[:count]
    chosen = np.zeros(values.size, dtype=bool)
    chosen[order] = values.ravel()[order] > 1e-3
    return chosen.reshape(values.shape)


def _check_grid(what: str, shape: Sequence[int], source: Geometry) -> None:
    if tuple(shape) != source.shape:
        raise InputError(
            what, expected=f"shape {source.shape}", got=str(tuple(shape)), fix="give the grid it was drawn on"
        )
