"""A place for findings that a parse names but does not draw: "a cyst in the left kidney" becomes a mask in it.

Everything that the relations of the finding say is kept: it lies in its hosts (`located_in`, `part_of`), touches what
it abuts, surrounds what it encases, and keeps to its side of what it is left of, anterior to, superior to (or the
reverse). Among the places that do, one is drawn at random, and a size that fits there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.errors import InputError
from synth.parse.items import Entity
from synth.parse.kinds import Kind, Presence
from synth.parse.parse import Parse
from synth.volume import Geometry, Mask

MEDIAN_MM, LOG_SPREAD = 18.0, 0.4  # of diameters that are drawn: two thirds between 12 and 27 mm
LEAST_MM, LEAST_VOXELS = 5.0, 2.0  # of a diameter
TRIES = 8  # each with a diameter a fifth smaller
WRAPPED = 0.5  # share of a wall that what encases it covers at least
INSIDE = 0.95  # share of the radius that must lie in the host
APART_MM = 4.0  # between findings
STRETCH = {"round": 0.0, "oval": 0.3, "lobular": 0.12, "irregular": 0.2}
ROUGHNESS = {"lobulated": 0.15, "irregular": 0.22, "spiculated": 0.25, "infiltrative": 0.25}  # share of the radius
_SOLID = (Kind.organ, Kind.substructure, Kind.finding)
HOSTING = ("located_in", "part_of")
_SIDES = {
    "right_of": (0, 1),
    "left_of": (0, -1),
    "anterior_to": (1, 1),
    "posterior_to": (1, -1),
    "superior_to": (2, 1),
    "inferior_to": (2, -1),
}
Bools = NDArray[np.bool_]


def undrawn(parse: Parse) -> tuple[str, ...]:
    """Ids of the present findings without a mask whose host has one.

    Example:
        >>> from synth.phantom import make
        >>> undrawn(make(0, spacing_mm=(8.0, 8.0, 8.0)).parse)
        ()
    """
    return tuple(
        e.id
        for e in parse.entities
        if e.kind is Kind.finding and e.presence is Presence.present and e.id not in parse.masks and _hosts(parse, e.id)
    )


def place_undrawn(parse: Parse, seed: int, *, diameter_mm: float | None = None) -> Parse:
    """The parse with a mask for every finding of `undrawn`; the same seed gives the same masks.

    Args:
        diameter_mm: of all of them, made smaller only where nothing so large fits; drawn for each for None.

    Raises:
        InputError: a finding that fits nowhere, with what was asked of its place.
    """
    for number, id in enumerate(undrawn(parse)):
        rng = np.random.default_rng([seed, number, *id.encode()])
        wanted = float(MEDIAN_MM * np.exp(LOG_SPREAD * rng.standard_normal())) if diameter_mm is None else diameter_mm
        parse = parse.with_mask(id, _placed(parse, parse.entity(id), wanted, rng))
    return parse


def hosts_of(parse: Parse, id: str) -> list[str]:
    """Ids of what an entity is said to lie in or to be part of."""
    return [r.object for r in parse.relations if r.type in HOSTING and r.subject == id]


def _hosts(parse: Parse, id: str) -> list[str]:
    return [i for i in hosts_of(parse, id) if i in parse.masks]


@dataclass(frozen=True, eq=False)
class _Room:
    """Where a finding may lie.

    Attributes:
        inside: (X, Y, Z), what it may cover; between: where nothing is drawn but tissue, which it may bridge to touch.
        low, high: voxels that it may not reach beyond.
        touched: masks that it must touch; wrapped: that it must surround.
    """

    geometry: Geometry
    inside: Bools
    between: Bools
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    touched: tuple[Mask, ...]
    wrapped: tuple[Mask, ...]


def _placed(parse: Parse, entity: Entity, diameter_mm: float, rng: np.random.Generator) -> Mask:
    room = _room(parse, entity.id)
    voxel = max(parse.geometry.spacing_mm)
    least = max(LEAST_MM, LEAST_VOXELS * voxel, *(2 * (_thickness(m, room.geometry) + voxel) for m in room.wrapped))
    for attempt in range(TRIES):
        radius = max(least, diameter_mm * 0.8**attempt) / 2
        centres = _centres(room, radius)
        for spot in rng.permutation(len(centres))[:TRIES]:
            mask = _blob(parse, entity, room, centres[spot], radius, rng)
            touching = all(_share_touched(mask, other) > 0 for other in room.touched)
            if mask.voxels and touching and all(_share_touched(mask, other) >= WRAPPED for other in room.wrapped):
                return mask
    said = "; ".join(f"{r.type} {r.object}" for r in parse.relations if r.subject == entity.id)
    raise InputError(
        f"finding {entity.id!r}",
        expected=f"a place of {least:g} mm that is {said}",
        got="none within the masks",
        fix="correct the relations, or draw the finding",
    )


def _room(parse: Parse, id: str) -> _Room:
    low, high = np.zeros(3), np.asarray(parse.geometry.shape, np.float64) - 1
    touched: list[Mask] = []
    wrapped: list[Mask] = []
    for type, first, mask in _neighbours(parse, id):
        if type in _SIDES:
            axis, sign = _SIDES[type]
            if (sign > 0) == first:
                low[axis] = max(low[axis], mask.slices[axis].stop)
            else:
                high[axis] = min(high[axis], mask.slices[axis].start - 1)
        elif type == "abuts":
            touched.append(mask)
        elif type == "encases" and first:
            wrapped.append(mask)
    inside = _free(parse, id)
    for mask in (*touched, *wrapped):
        inside[mask.slices] &= ~mask.box
    drawn = [e.id for e in parse.entities if e.kind in _SOLID and e.id in parse.masks]
    between = np.ones(parse.geometry.shape, np.bool_)
    for mask in (parse.masks[i] for i in drawn):
        between[mask.slices] &= ~mask.box
    return _Room(parse.geometry, inside, between, low, high, tuple(touched), tuple(wrapped))


def _neighbours(parse: Parse, id: str) -> Iterator[tuple[str, bool, Mask]]:
    """The finding's relations to what is drawn: type, whether it is the subject, the other's mask."""
    for r in parse.relations:
        if r.subject != r.object and id in (r.subject, r.object):
            mask = parse.masks.get(r.object if r.subject == id else r.subject)
            if mask is not None:
                yield r.type, r.subject == id, mask


def _free(parse: Parse, id: str) -> Bools:
    """Inside every host and away from the other findings."""
    inside = np.ones(parse.geometry.shape, np.bool_)
    for host in _hosts(parse, id):
        inside &= parse.masks[host].dense()
    reach = max(1, round(APART_MM / min(parse.geometry.spacing_mm)))
    for other in parse.entities:
        if other.kind is Kind.finding and other.id in parse.masks:
            slices = parse.masks[other.id].padded_slices(reach)
            inside[slices] &= ~ndimage.binary_dilation(parse.masks[other.id].crop(slices), iterations=reach)
    return inside


def _centres(room: _Room, radius: float) -> NDArray[np.int64]:
    """(n, 3) voxels at which a ball of `radius` mm keeps to the room."""
    spacing = np.asarray(room.geometry.spacing_mm)
    voxel = float(spacing.max())
    free = room.inside.copy()
    for mask in room.wrapped:
        free |= mask.dense()  # the ball lies over it
    fits = _depth(free, spacing) >= INSIDE * radius
    for mask in room.touched:
        away = ndimage.distance_transform_edt(~mask.dense(), sampling=spacing)
        # A ball that must touch something beyond its host may press against the host's border.
        fits = (fits | (free & (_depth(free | mask.dense(), spacing) >= INSIDE * radius))) & (
            np.abs(away - radius) <= voxel
        )
    for mask in room.wrapped:
        fits &= mask.dense()
    spots = np.argwhere(fits)
    reach = radius / spacing
    kept = ((spots - reach >= room.low - 0.5) & (spots + reach <= room.high + 0.5)).all(axis=1)
    return np.asarray(spots[kept], np.int64)


def _depth(inside: Bools, spacing: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each voxel lies from what is outside, mm; the grid ends in the open."""
    return np.asarray(ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[1:-1, 1:-1, 1:-1])


def _blob(
    parse: Parse, entity: Entity, room: _Room, centre: NDArray[np.int64], radius: float, rng: np.random.Generator
) -> Mask:
    """An ellipsoid as rough as its margin is said to be, cut to the room, that touches what it should."""
    said = {a.type: str(a.value) for a in parse.attributes_of(entity.id)}
    spacing = np.asarray(room.geometry.spacing_mm)
    stretch = np.exp(rng.normal(0, STRETCH.get(said.get("shape", ""), 0.1), 3))
    radii = radius * stretch / stretch.max()
    reach = np.ceil(1.4 * radius / spacing).astype(int) + 1
    slices = tuple(
        slice(max(0, int(c - r)), min(n, int(c + r) + 1))
        for c, r, n in zip(centre, reach, room.geometry.shape, strict=True)
    )
    axes = [(np.arange(s.start, s.stop) - c) * step for s, c, step in zip(slices, centre, spacing, strict=True)]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    along = np.linalg.norm(offsets @ turn / radii, axis=-1)
    rough = ROUGHNESS.get(said.get("margin", ""), 0.0)
    if rough:
        bumps = ndimage.gaussian_filter(rng.standard_normal(along.shape), 0.35 * radius / spacing)
        along += rough * bumps / max(float(bumps.std()), 1e-6)
    box = (along <= 1) & room.inside[slices]
    for mask in room.touched:  # whatever lies between the two
        box |= _bridge(box, mask.crop(slices), spacing) & (room.inside | room.between)[slices]  # type: ignore[arg-type]  # 3 long
    return Mask.from_box(room.geometry.shape, tuple(s.start for s in slices), box)  # type: ignore[arg-type]  # as above


def _bridge(box: Bools, mask: Bools, spacing: NDArray[np.float64]) -> Bools:
    """The voxels on the shortest way between the two, none where one is empty."""
    if not (box.any() and mask.any()):
        return np.zeros_like(box)
    one, other = (ndimage.distance_transform_edt(~v, sampling=spacing) for v in (box, mask))
    length = one + other
    shortest = float(length[~(box | mask)].min(initial=np.inf))
    return np.asarray((length <= shortest + 0.5 * float(spacing.max())) & ~mask)


def _share_touched(one: Mask, other: Mask) -> float:
    """How much of the other's wall, in the axial slices of the first, the first covers."""
    slices = other.padded_slices(1)
    wall = ndimage.binary_dilation(other.crop(slices)) & ~other.crop(slices)
    start, stop = slices[2].start, slices[2].stop
    low, high = max(start, one.slices[2].start), min(stop, one.slices[2].stop)
    level = slice(max(0, low - start - 1), max(0, high - start + 1))  # one more: it may lie above or below
    count = int(np.count_nonzero(wall[:, :, level]))
    return int(np.count_nonzero((wall & one.crop(slices))[:, :, level])) / count if count else 0.0


def _thickness(mask: Mask, geometry: Geometry) -> float:
    """The radius of the largest ball inside, mm."""
    return float(_depth(mask.box, np.asarray(geometry.spacing_mm)).max())
