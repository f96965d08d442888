"""A binary mask kept as its bounding box, so that 117 organs of a 512³ scan fit in memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.errors import InputError
from synth.volume.geometry import Float64, Geometry, Index3, Slices3

Bool3 = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Mask:
    """The voxels of one entity: full `shape`, `origin` of the tight bounding box, and the `box` itself.

    An empty mask has a box of shape (0, 0, 0) at the origin. Build with `Mask.from_dense` or `Mask.from_box`.

    Example:
        >>> dense = np.zeros((8, 8, 8), bool); dense[2:4, 3:6, 1] = True
        >>> m = Mask.from_dense(dense)
        >>> m.origin, m.box.shape, m.voxels, bool((m.dense() == dense).all())
        ((2, 3, 1), (2, 3, 1), 6, True)
    """

    shape: Index3
    origin: Index3
    box: Bool3

    @classmethod
    def from_dense(cls, dense: ArrayLike) -> Mask:
        """Crop a full (X, Y, Z) array of booleans (or of 0 and 1) to its bounding box."""
        array = _as_bool(dense)
        return cls.from_box((array.shape[0], array.shape[1], array.shape[2]), (0, 0, 0), array)

    @classmethod
    def from_box(cls, shape: Index3, origin: Index3, box: ArrayLike) -> Mask:
        """A box of booleans placed at `origin` within `shape`; the box is trimmed to what is set.

        Raises InputError when the box sticks out of the shape.
        """
        array = _as_bool(box)
        if any(o < 0 or o + n > s for o, n, s in zip(origin, array.shape, shape, strict=True)):
            got = f"{array.shape} at {tuple(origin)}"
            raise InputError("mask box", expected=f"inside {tuple(shape)}", got=got, fix="clip the box first")
        tight = bounding_slices(array)
        if tight is None:
            return cls.empty(shape)
        kept = array[tight].copy()
        kept.flags.writeable = False
        start = [int(o) + s.start for o, s in zip(origin, tight, strict=True)]
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), (start[0], start[1], start[2]), kept)

    @classmethod
    def empty(cls, shape: Index3) -> Mask:
        """A mask with nothing set."""
        box = np.zeros((0, 0, 0), dtype=bool)
        box.flags.writeable = False
        return cls((int(shape[0]), int(shape[1]), int(shape[2])), (0, 0, 0), box)

    @cached_property
    def slices(self) -> Slices3:
        """The bounding box as slices of the full array."""
        x, y, z = (slice(o, o + n) for o, n in zip(self.origin, self.box.shape, strict=True))
        return x, y, z

    @cached_property
    def voxels(self) -> int:
        """How many voxels are set."""
        return int(np.count_nonzero(self.box))

    @property
    def is_empty(self) -> bool:
        """Nothing is set."""
        return self.voxels == 0

    @property
    def touches_border(self) -> bool:
        """The mask reaches the first or last voxel of some axis: it may be cut by the field of view."""
        return bool(self.border_faces)

    @property
    def border_faces(self) -> frozenset[tuple[int, str]]:
        """Which faces of the volume the mask reaches: axis, and "first" or "last"; none for an empty mask."""
        if self.is_empty:
            return frozenset()
        pairs = list(enumerate(zip(self.slices, self.shape, strict=True)))
        first = {(axis, "first") for axis, (s, _) in pairs if s.start == 0}
        return frozenset(first | {(axis, "last") for axis, (s, n) in pairs if s.stop == n})

    def dense(self) -> Bool3:
        """The full (X, Y, Z) array, newly allocated."""
        full = np.zeros(self.shape, dtype=bool)
        full[self.slices] = self.box
        return full

    def padded_slices(self, margin: int | Index3) -> Slices3:
        """The bounding box grown by `margin` voxels on every side, clipped to the volume."""
        m = (margin,) * 3 if isinstance(margin, int) else margin
        x, y, z = (
            slice(max(0, s.start - g), min(n, s.stop + g)) for s, g, n in zip(self.slices, m, self.shape, strict=True)
        )
        return x, y, z

    def crop(self, slices: Slices3) -> Bool3:
        """What `dense()[slices]` would give, without the full array; slices have step one."""
        window = [s.indices(n)[:2] for s, n in zip(slices, self.shape, strict=True)]
        out = np.zeros([max(0, stop - start) for start, stop in window], dtype=bool)
        here, there = [], []
        for (start, stop), own in zip(window, self.slices, strict=True):
            low, high = max(start, own.start), min(stop, own.stop)
            if low >= high:
                return out
            here.append(slice(low - start, high - start))
            there.append(slice(low - own.start, high - own.start))
        out[tuple(here)] = self.box[tuple(there)]
        return out

    def cropped(self, slices: Slices3) -> Mask:
        """The mask within `slices`, its shape that of the crop."""
        return Mask.from_dense(self.crop(slices))

    def indices(self) -> NDArray[np.int64]:
        """Voxel indices (N, 3), in C order."""
        return np.asarray(np.argwhere(self.box) + np.asarray(self.origin))

    def values(self, array: NDArray[Any]) -> NDArray[Any]:
        """The values (N,) of a full (X, Y, Z) array inside the mask."""
        if array.shape[:3] != self.shape:
            raise InputError(
                "array", expected=f"shape {self.shape}", got=str(array.shape), fix="resample to the mask's grid"
            )
        return np.asarray(array[self.slices][self.box])

    def centroid_voxel(self) -> Float64:
        """Mean voxel index (3,); raises InputError for an empty mask."""
        if self.is_empty:
            raise InputError(
                "centroid", expected="a mask with voxels", got="an empty mask", fix="drop the entity's mask"
            )
        sums = [self.box.sum(axis=other).astype(np.float64) for other in ((1, 2), (0, 2), (0, 1))]
        return np.array(
            [(np.arange(s.size) * s).sum() / self.voxels + o for s, o in zip(sums, self.origin, strict=True)]
        )

    def centroid_mm(self, geometry: Geometry) -> Float64:
        """Mean position of the voxel centres, (3,) mm."""
        return geometry.world(self.centroid_voxel())

    def volume_ml(self, geometry: Geometry) -> float:
        """Voxels times the volume of one."""
        return self.voxels * geometry.voxel_ml

    def overlap(self, other: Mask) -> int:
        """Number of voxels in both."""
        self._check_same_shape(other)
        common = _common(self.slices, other.slices)
        if common is None:
            return 0
        return int(np.count_nonzero(self.crop(common) & other.crop(common)))

    def dice(self, other: Mask) -> float:
        """2 |A ∩ B| / (|A| + |B|); two empty masks agree (1)."""
        total = self.voxels + other.voxels
        return 2.0 * self.overlap(other) / total if total else 1.0

    def __and__(self, other: Mask) -> Mask:
        self._check_same_shape(other)
        common = _common(self.slices, other.slices)
        if common is None:
            return Mask.empty(self.shape)
        return Mask.from_box(self.shape, _starts(common), self.crop(common) & other.crop(common))

    def __or__(self, other: Mask) -> Mask:
        self._check_same_shape(other)
        if self.is_empty or other.is_empty:
            return other if self.is_empty else self
        x, y, z = (
            slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(self.slices, other.slices, strict=True)
        )
        return Mask.from_box(self.shape, _starts((x, y, z)), self.crop((x, y, z)) | other.crop((x, y, z)))

    def __sub__(self, other: Mask) -> Mask:
        self._check_same_shape(other)
        return Mask.from_box(self.shape, self.origin, self.box & ~other.crop(self.slices))

    def intersection(self, other: Mask) -> Mask:
        """Voxels in both."""
        return self & other

    def union(self, other: Mask) -> Mask:
        """Voxels in either."""
        return self | other

    def difference(self, other: Mask) -> Mask:
        """Voxels of this mask that the other does not hold."""
        return self - other

    def _check_same_shape(self, other: Mask) -> None:
        if self.shape != other.shape:
            raise InputError(
                "mask", expected=f"shape {self.shape}", got=str(other.shape), fix="resample it to the same grid"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        same_place = self.shape == other.shape and self.origin == other.origin
        return same_place and bool(np.array_equal(self.box, other.box))

    def __hash__(self) -> int:
        return hash((self.shape, self.origin, self.box.shape, np.packbits(self.box).tobytes()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Mask.from_box, (self.shape, self.origin, self.box)


def bounding_slices(array: Bool3) -> Slices3 | None:
    """The tight bounding box of a boolean (X, Y, Z) array, None when nothing is set.

    One logical-or over the first axis leaves a plane for the other two; the first axis is then searched inside
    that rectangle only.
    """
    if array.size == 0:
        return None
    plane = np.logical_or.reduce(array, axis=0)
    y, z = _span(plane.any(axis=1)), _span(plane.any(axis=0))
    if y is None or z is None:
        return None
    x = _span(np.logical_or.reduce(np.logical_or.reduce(array[:, y, z], axis=1), axis=1))
    return None if x is None else (x, y, z)


def crop_any(masks: Iterable[Mask], slices: Slices3) -> Bool3:
    """Where any of these masks is, within slices of their grid."""
    out = np.zeros([s.stop - s.start for s in slices], dtype=bool)
    for mask in masks:
        out |= mask.crop(slices)
    return out


def _span(line: NDArray[np.bool_]) -> slice | None:
    hits = np.flatnonzero(line)
    return slice(int(hits[0]), int(hits[-1]) + 1) if hits.size else None


def _starts(slices: Slices3) -> Index3:
    return slices[0].start, slices[1].start, slices[2].start


def _common(a: Slices3, b: Slices3) -> Slices3 | None:
    x, y, z = (slice(max(s.start, t.start), min(s.stop, t.stop)) for s, t in zip(a, b, strict=True))
    return (x, y, z) if all(s.start < s.stop for s in (x, y, z)) else None


def _as_bool(values: ArrayLike) -> Bool3:
    array = np.asarray(values)
    if array.ndim != 3:
        raise InputError("mask", expected="a 3-D array", got=f"{array.ndim} dimensions", fix="give one (X, Y, Z) mask")
    if array.dtype == bool:
        return array
    as_bool = array != 0
    if not np.array_equal(as_bool, array):
        raise InputError("mask", expected="values 0 and 1", got="other values", fix="read label maps with read_labels")
    return np.asarray(as_bool)
