"""Shapes of a lesion at any volume: a front that starts at its surface, ranked voxel by voxel.

The level is set by counting: the mask of n voxels holds the first n of one order, so the volume is exact to a voxel, a
larger mask contains a smaller one, and at the size it has now it is the mask that it is now.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.arrival import arrival_mm
from synth.dynamics.barriers import Barriers, Room
from synth.dynamics.core import core_to_rim
from synth.errors import InputError
from synth.volume import Geometry, Mask, Slices3, signed_distance

LEAST_MARGIN_MM = 6.0
MOST_WINDOW = (
    30_000_000  # voxels around a lesion that are ranked: some GB of memory; what lies farther counts as no room
)

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shape:
    """A lesion at every volume up to a largest one.

    Attributes:
        now: its mask as it is.
        order: (M,) flat indices into `window`: the voxels that it holds now, core first, then those it grows into.
        window: the part of the grid that the order covers.
        broken: how many voxels it can hold before it breaks out of its host.
    """

    now: Mask
    order: Indices
    window: Slices3
    broken: int

    @property
    def room(self) -> int:
        """The most voxels it can have: those asked for, or all that barriers leave."""
        return int(self.order.size)

    def at(self, voxels: int) -> Mask:
        """The mask of exactly so many voxels; more than there is room for gives all the room."""
        if voxels < 0:
            raise InputError("volume", expected="no less than nothing", got=f"{voxels} voxels", fix="check the rate")
        if voxels == self.now.voxels:
            return self.now
        return self._mask(self.order[:voxels])

    def without(self, taken: Mask, voxels: int) -> Mask:
        """The first so many voxels that `taken` leaves free: it grows around what is there already."""
        free = self.order[~taken.crop(self.window).ravel()[self.order]]
        return self._mask(free[:voxels])

    def _mask(self, chosen: Indices) -> Mask:
        box = np.zeros([s.stop - s.start for s in self.window], np.bool_)
        box.flat[chosen] = True
        x, y, z = self.window
        return Mask.from_box(self.now.shape, (x.start, y.start, z.start), box)


def shape_of(
    mask: Mask,
    geometry: Geometry,
    most_voxels: int,
    barriers: Barriers | None = None,
    speed: NDArray[np.float64] | None = None,
) -> Shape:
    """Rank the voxels of a lesion and those around it.

    Outwards by the arrival of a front, |∇T| · speed = 1, that barriers stop: first where it may grow, then, when that
    is full, where it breaks in. Inwards from rim to core.

    Args:
        mask: the lesion now; most_voxels: the largest size that will be asked for.
        barriers: what confines it (`synth.dynamics.barriers`); None for the field of view alone.
        speed: (X, Y, Z) relative speed of the front over the whole grid, positive; None for the same everywhere.

    Raises:
        InputError: an empty mask.

    Example:
        >>> ball = Mask.from_box((9, 9, 9), (3, 3, 3), np.ones((3, 3, 3), bool))
        >>> shape = shape_of(ball, Geometry.regular((9, 9, 9), 2.0), most_voxels=60)
        >>> shape.at(27) == ball, shape.at(41).voxels, shape.at(5).voxels, shape.at(0).is_empty
        (True, 41, 5, True)
    """
    if mask.is_empty:
        raise InputError("shape", expected="a mask with voxels", got="an empty mask", fix="leave it out")
    confined = barriers or Barriers()
    margin, farthest = _first_margin(mask, geometry, most_voxels), _farthest(mask, geometry)
    while True:
        margin = min(margin, farthest)
        grown = _grown(mask, geometry, most_voxels, _Reach(margin, confined, speed, margin == farthest))
        if grown is not None:
            return grown
        margin *= 1.7


@dataclass(frozen=True, eq=False)
class _Reach:
    """How far to look for room, what stands in the way, and whether there is no looking farther."""

    margin_mm: float
    barriers: Barriers
    speed: NDArray[np.float64] | None
    final: bool


def _first_margin(mask: Mask, geometry: Geometry, most_voxels: int) -> float:
    """Twice the growth of the radius of a ball of this volume, two voxels at least."""
    now, then = (3.0 * n * geometry.voxel_ml * 1000.0 / (4.0 * np.pi) for n in (mask.voxels, most_voxels))
    growth = max(0.0, float(np.cbrt(then) - np.cbrt(now)))
    return max(LEAST_MARGIN_MM, 2.0 * growth, 2.0 * max(geometry.spacing_mm))


def _farthest(mask: Mask, geometry: Geometry) -> float:
    """The margin at which the window around the mask has `MOST_WINDOW` voxels, or holds the whole grid."""
    margin = float(np.linalg.norm(geometry.extent_mm))
    while margin > LEAST_MARGIN_MM:
        x, y, z = (int(margin / step) + 1 for step in geometry.spacing_mm)
        if np.prod([s.stop - s.start for s in mask.padded_slices((x, y, z))], dtype=np.float64) <= MOST_WINDOW:
            break
        margin *= 0.9
    return margin


def _grown(mask: Mask, geometry: Geometry, most: int, reach: _Reach) -> Shape | None:
    """The shape, or None where the margin was too small to be sure of the order."""
    field = signed_distance(mask, geometry, reach.margin_mm)
    inside, near = mask.crop(field.slices), field.values >= -reach.margin_mm
    whole = reach.final or (bool(near.all()) and inside.shape == geometry.shape)
    room = reach.barriers.room(field.slices)
    speed = np.ones(inside.shape) if reach.speed is None else reach.speed[field.slices]
    limit = np.inf if whole else (reach.margin_mm - max(geometry.spacing_mm)) / float(speed.max())
    kept = core_to_rim(inside, geometry.spacing_mm)
    wanted = max(most - kept.size, 0)
    outer, first = _outwards(inside, Room(room.free & near, room.beyond & near), speed, geometry, (wanted, limit))
    if outer is None:
        return None
    order = np.concatenate([kept, outer[:wanted]])
    return Shape(mask, order, field.slices, kept.size + first)


def _outwards(
    inside: NDArray[np.bool_],
    room: Room,
    speed: NDArray[np.float64],
    geometry: Geometry,
    need: tuple[int, float],
) -> tuple[Indices | None, int]:
    """Flat indices outside the mask by arrival, and how many of them lie in the free part.

    None where more are needed than arrive before the limit: the margin may hide a nearer one.
    """
    wanted, limit = need
    if wanted == 0:
        return np.zeros(0, np.int64), 0
    order, late = _ranked(inside, np.where(room.free, speed, 0.0), geometry, limit)
    if order.size >= wanted or late:
        return (order if order.size >= wanted else None), order.size
    held = inside.copy()
    held.flat[order] = True
    further, late = _ranked(held, np.where(room.beyond, speed, 0.0), geometry, limit)
    enough = order.size + further.size >= wanted or not late
    return (np.concatenate([order, further]) if enough else None), order.size


def _ranked(
    inside: NDArray[np.bool_], speed: NDArray[np.float64], geometry: Geometry, limit: float
) -> tuple[Indices, bool]:
    """The voxels that are reached within the limit, soonest first, and whether others are reached after it."""
    times = arrival_mm(inside, speed, geometry.spacing_mm).ravel()
    reached = np.flatnonzero(np.isfinite(times) & ~inside.ravel())
    order = reached[np.argsort(times[reached], kind="stable")]
    within = int(np.searchsorted(times[order], limit, side="right"))
    return order[:within], within < order.size
