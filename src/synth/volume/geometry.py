"""Where voxels are: the shape of an array and the affine that takes its indices to millimetres."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synth.errors import InputError

Index3 = tuple[int, int, int]
Slices3 = tuple[slice, slice, slice]
Float64 = NDArray[np.float64]

_CODES = (("L", "R"), ("P", "A"), ("I", "S"))
_SPACING_LIMITS_MM = (0.01, 100.0)


@dataclass(frozen=True, slots=True)
class AxisMap:
    """For each array axis, the closest world axis (0 = right, 1 = anterior, 2 = superior) and its sign."""

    world_axis: Index3
    sign: Index3

    @property
    def codes(self) -> str:
        """One letter an axis, such as 'RAS'."""
        return "".join(_CODES[axis][(sign + 1) // 2] for axis, sign in zip(self.world_axis, self.sign, strict=True))


def closest_axes(affine: ArrayLike) -> AxisMap:
    """The assignment of array axes to world axes that loses the least, whatever the obliqueness.

    Example:
        >>> closest_axes(np.diag([-1.0, -1.0, 2.0, 1.0])).codes
        'LPS'
    """
    columns = np.asarray(affine, dtype=np.float64)[:3, :3]
    cosines = columns / np.linalg.norm(columns, axis=0)
    best = max(itertools.permutations(range(3)), key=lambda p: sum(abs(cosines[p[j], j]) for j in range(3)))
    sign = [1 if cosines[best[j], j] >= 0 else -1 for j in range(3)]
    return AxisMap((best[0], best[1], best[2]), (sign[0], sign[1], sign[2]))


@dataclass(frozen=True, eq=False)
class Geometry:
    """Shape (X, Y, Z) and affine (4, 4), voxel index to millimetres, right-anterior-superior positive.

    Raises InputError for an affine that is not finite, not invertible or has an absurd spacing.

    Example:
        >>> g = Geometry((96, 96, 64), np.diag([4.0, 4.0, 5.0, 1.0]))
        >>> g.spacing_mm, g.axis_codes, g.extent_mm
        ((4.0, 4.0, 5.0), 'RAS', (384.0, 384.0, 320.0))
    """

    shape: Index3
    affine: Float64

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(
                "geometry shape", expected="three positive sizes", got=str(shape), fix="give one 3-D volume"
            )
        affine = np.array(self.affine, dtype=np.float64)
        _check_affine(affine)
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def regular(cls, shape: Index3, spacing_mm: float | Sequence[float], *, centred: bool = True) -> Geometry:
        """RAS grid of a stated spacing, its centre (or else its first voxel) at the world origin."""
        spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), (3,))
        affine = np.diag([*spacing, 1.0])
        if centred:
            affine[:3, 3] = -spacing * (np.asarray(shape) - 1) / 2
        return cls(shape, affine)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each array axis."""
        x, y, z = (float(s) for s in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z

    @cached_property
    def axes(self) -> AxisMap:
        """Which way each array axis runs."""
        return closest_axes(self.affine)

    @property
    def axis_codes(self) -> str:
        """Which way each array axis runs, as letters: 'RAS' for everything read by this package."""
        return self.axes.codes

    @cached_property
    def is_diagonal(self) -> bool:
        """Array axes run along the world's, so that axial planes are true axial planes."""
        off = self.affine[:3, :3] - np.diag(np.diag(self.affine[:3, :3]))
        return bool(np.abs(off).max() <= 1e-6 * max(self.spacing_mm))

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size of the field of view, outer face to outer face."""
        x, y, z = (n * s for n, s in zip(self.shape, self.spacing_mm, strict=True))
        return x, y, z

    @cached_property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    @cached_property
    def _inverse(self) -> Float64:
        return np.asarray(np.linalg.inv(self.affine), dtype=np.float64)

    def brought(self, matrix: ArrayLike) -> Geometry:
        """The same grid in another world; `matrix` (4, 4) takes millimetres of that world to those of this one."""
        return Geometry(self.shape, np.linalg.inv(np.asarray(matrix, np.float64)) @ self.affine)

    def world(self, ijk: ArrayLike) -> Float64:
        """Voxel indices (..., 3) to millimetres (..., 3)."""
        return np.asarray(np.asarray(ijk, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def voxel(self, xyz: ArrayLike) -> Float64:
        """Millimetres (..., 3) to fractional voxel indices (..., 3)."""
        return np.asarray(np.asarray(xyz, dtype=np.float64) @ self._inverse[:3, :3].T + self._inverse[:3, 3])

    def corners_mm(self) -> Float64:
        """The eight outer corners of the field of view, (8, 3) mm: voxel faces, not centres."""
        ends = [(-0.5, n - 0.5) for n in self.shape]
        return self.world(np.array(list(itertools.product(*ends))))

    def matches(self, other: Geometry, atol: float = 1e-3) -> bool:
        """Same shape, and every voxel within `atol` mm of its namesake."""
        if self.shape != other.shape:
            return False
        return bool(np.abs(self.corners_mm() - other.corners_mm()).max() <= atol)

    def describe_difference(self, other: Geometry, atol: float = 1e-3) -> str | None:
        """In words, how `other` differs from this one; None when it does not."""
        if self.shape != other.shape:
            return f"shape {other.shape} instead of {self.shape}"
        if self.matches(other, atol):
            return None
        if self.axes != other.axes:
            return f"axes {other.axis_codes} instead of {self.axis_codes}"
        if not np.allclose(self.spacing_mm, other.spacing_mm, atol=1e-4):
            return f"spacing {_millimetres(other.spacing_mm)} instead of {_millimetres(self.spacing_mm)}"
        if not np.allclose(self.affine[:3, :3], other.affine[:3, :3], atol=1e-4):
            return "axes rotated against each other"
        return f"origin off by {_millimetres(other.affine[:3, 3] - self.affine[:3, 3])}"

    def with_spacing(self, spacing_mm: float | Sequence[float]) -> Geometry:
        """RAS grid of exactly that spacing over the same field of view, centred on it (ends within half a voxel)."""
        spacing = np.broadcast_to(np.asarray(spacing_mm, dtype=np.float64), (3,))
        corners = self.corners_mm()
        low, high = corners.min(axis=0), corners.max(axis=0)
        shape = np.maximum(1, np.rint((high - low) / spacing)).astype(int)
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = (low + high) / 2 - spacing * (shape - 1) / 2
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def cropped(self, slices: Slices3) -> Geometry:
        """The geometry of `array[slices]`; slices have step one."""
        starts, stops = zip(*(s.indices(n)[:2] for s, n in zip(slices, self.shape, strict=True)), strict=True)
        affine = self.affine.copy()
        affine[:3, 3] = self.world(starts)
        size = [stop - start for start, stop in zip(starts, stops, strict=True)]
        return Geometry((size[0], size[1], size[2]), affine)

    def to_json(self) -> dict[str, Any]:
        """Plain lists; floats survive the round trip exactly."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Geometry:
        """Inverse of `to_json`; raises InputError for anything else."""
        try:
            shape, affine = [int(n) for n in data["shape"]], np.array(data["affine"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            got = f"{type(error).__name__}: {error}"
            raise InputError(
                "geometry", expected="shape [3] and affine [4][4]", got=got, fix="export it again"
            ) from None
        if len(shape) != 3:
            raise InputError("geometry.shape", expected="3 sizes", got=str(shape), fix="give one 3-D volume")
        return cls((shape[0], shape[1], shape[2]), affine)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape == other.shape and bool(np.array_equal(self.affine, other.affine))

    def __hash__(self) -> int:
        return hash((self.shape, self.affine.tobytes()))


def _check_affine(affine: Float64) -> None:
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        got = f"shape {affine.shape}" if affine.shape != (4, 4) else "values that are not finite"
        raise InputError("affine", expected="a finite 4x4 matrix", got=got, fix="write the orientation again")
    if not np.allclose(affine[3], (0, 0, 0, 1)):
        raise InputError(
            "affine", expected="last row 0 0 0 1", got=str(affine[3].tolist()), fix="write the orientation again"
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = _SPACING_LIMITS_MM
    if spacing.min() < low or spacing.max() > high:
        expected = f"{low} to {high} mm between voxels"
        raise InputError(
            "voxel spacing", expected=expected, got=_millimetres(spacing), fix="check the unit of the header"
        )
    if abs(np.linalg.det(affine[:3, :3])) < 1e-3 * spacing.prod():
        raise InputError(
            "affine", expected="three independent axes", got="a flat grid", fix="write the orientation again"
        )


def _millimetres(values: ArrayLike) -> str:
    return "x".join(f"{v:.3g}" for v in np.asarray(values)) + " mm"
