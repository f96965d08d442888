"""Where an organ would lie that is not drawn: in cases seen before, brought onto this patient by the organs of both.

For each case, scale and shift along each axis are fitted to the centroids of the organs that both have, those near the
wanted one counting most, and an ellipsoid with the covariance of its organ follows. The place is the median of theirs,
the ellipsoid their mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.parse import Entity, Kind, Parse, Presence
from synth.population.record import Place, Population, Triple
from synth.volume import Geometry, Mask

LEAST_SHARED = 4  # organs that a case and the patient must share
NEAR_MM = 80.0  # how far from the wanted organ others still count much
SCALES = (0.7, 1.4)
SOLID_ELLIPSOID = 5.0  # (x - c)ᵀ C⁻¹ (x - c) at the surface of a solid ellipsoid with covariance C
FILLED_BY_FAT = (
    "kidney_left",
    "kidney_right",
    "spleen",
    "gallbladder",
    "pancreas",
    "adrenal_gland_left",
    "adrenal_gland_right",
    "urinary_bladder",
    "prostate",
    "uterus",
    "thyroid_gland",
)
"""Organs in whose bed fat lies when they have been taken out or never were."""
FAT = "fat"
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """Where an organ would lie: its centroid (3,) mm and the covariance (3, 3) mm² of its voxels."""

    centre: Floats
    covariance: Floats

    @property
    def half_axes_mm(self) -> Floats:
        """Half its length along each of its own axes (3,), the shortest first."""
        return np.sqrt(SOLID_ELLIPSOID * np.linalg.eigvalsh(self.covariance))

    @property
    def ml(self) -> float:
        """Its volume."""
        return float(4 / 3 * np.pi * np.prod(self.half_axes_mm) / 1000)

    def mask(self, grid: Geometry, share: float = 1.0) -> Mask | None:
        """What of it, or of the same with `share` of its squared half axes, lies on a grid; None for nothing."""
        to_world = np.asarray(grid.affine)
        middle = np.linalg.solve(to_world[:3, :3], self.centre - to_world[:3, 3])
        step = np.linalg.inv(to_world[:3, :3])
        reach = np.ceil(np.sqrt(share * SOLID_ELLIPSOID * np.diag(step @ self.covariance @ step.T))).astype(int) + 1
        low = np.clip(np.floor(middle).astype(int) - reach, 0, grid.shape)
        high = np.clip(np.ceil(middle).astype(int) + reach + 1, 0, grid.shape)
        if (high <= low).any():
            return None
        index = np.stack(
            np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1
        )
        offset = (index - middle) @ to_world[:3, :3].T
        inside = np.einsum("...i,ij,...j->...", offset, np.linalg.inv(self.covariance), offset)
        x, y, z = (int(v) for v in low)
        found = Mask.from_box(grid.shape, (x, y, z), inside <= share * SOLID_ELLIPSOID)
        return None if found.is_empty else found


def usual_place(parse: Parse, name: str, population: Population) -> Mask | None:
    """Where an organ of this name would lie in the patient, cut to what no drawn organ covers.

    None where too few organs are drawn to tell, no case has the name, or nothing of it is in the field of view.

    Example:
        >>> from synth.phantom import make
        >>> truth = make(3, spacing_mm=(8.0, 8.0, 8.0)).parse
        >>> guess = usual_place(truth.without("spleen"), "spleen", Population.load())
        >>> guess is not None and guess.dice(truth.masks["spleen"]) > 0.3
        True
    """
    found = usual_centre(centres_of(parse), name, population)
    place = None if found is None else Ellipsoid(*found).mask(parse.geometry)
    return None if place is None else _uncovered(parse, place)


def usual_places(parse: Parse, population: Population, names: Iterable[str] | None = None) -> dict[str, Mask]:
    """Name -> `usual_place` of those of the names that have one; without names, of the organs declared absent.

    Example:
        >>> from synth.phantom import make
        >>> truth = make(3, spacing_mm=(8.0, 8.0, 8.0)).parse.with_presence("spleen", "absent")
        >>> "spleen" in usual_places(truth, Population.load()), usual_places(truth, Population.load(), [])
        (True, {})
    """
    if names is None:
        names = [e.name for e in parse.entities if e.presence is Presence.absent and e.kind is Kind.organ]
    found = {name: usual_place(parse, name, population) for name in names}
    return {name: place for name, place in found.items() if place is not None}


def usual_centre(own: Mapping[str, Triple], name: str, population: Population) -> tuple[Floats, Floats] | None:
    """Centroid (mm) and covariance (mm²) that an organ of this name would have among organs with the centroids `own`,
    of which one of the same name is not asked; None where too few are shared with any case that has the name."""
    guesses = [
        guess
        for donor in population.donors
        if name in donor.places and (guess := _mapped(donor.places, own, name)) is not None
    ]
    if not guesses:
        return None
    return np.median([g[0] for g in guesses], axis=0), np.mean([g[1] for g in guesses], axis=0)


def with_absences(parse: Parse, population: Population) -> Parse:
    """The parse with fat drawn in the beds of the organs it declares absent; itself where it draws its fat already."""
    if any(e.id in parse.masks for e in parse.by_name(FAT)):
        return parse
    beds = [
        usual_place(parse, entity.name, population)
        for entity in parse.entities
        if entity.presence is Presence.absent and entity.name in FILLED_BY_FAT
    ]
    drawn = [bed for bed in beds if bed is not None]
    if not drawn:
        return parse
    mask = drawn[0]
    for bed in drawn[1:]:
        mask = mask.union(bed)
    return parse.with_entity(Entity(id=parse.free_id(FAT), name=FAT), mask)


def centres_of(parse: Parse) -> dict[str, Triple]:
    """Name -> centroid, mm, of organs that are drawn whole."""
    found: dict[str, Triple] = {}
    for entity in parse.entities:
        whole = entity.kind is Kind.organ and entity.id in parse.masks and not entity.truncated
        if whole and not parse.masks[entity.id].is_empty:
            found[entity.name] = centre_of(parse, entity.id)
    return found


def centre_of(parse: Parse, id: str) -> Triple:
    """Centroid of a drawn entity, mm."""
    x, y, z = (float(v) for v in parse.masks[id].centroid_mm(parse.geometry))
    return x, y, z


def _mapped(donor: Mapping[str, Place], own: Mapping[str, Triple], name: str) -> tuple[Floats, Floats] | None:
    shared = sorted(own.keys() & donor.keys() - {name})
    if len(shared) < LEAST_SHARED:
        return None
    there, here = np.array([donor[n].centre for n in shared]), np.array([own[n] for n in shared])
    centre = np.array(donor[name].centre)
    weight = np.exp(-np.linalg.norm(there - centre, axis=1) / NEAR_MM)
    weight /= weight.sum()
    mean_there, mean_here = weight @ there, weight @ here
    spread = weight @ (there - mean_there) ** 2
    along = weight @ ((there - mean_there) * (here - mean_here))
    scale = np.clip(along / np.maximum(spread, 1.0), *SCALES)
    xx, yy, zz, xy, xz, yz = donor[name].covariance
    covariance = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return mean_here + scale * (centre - mean_there), covariance * np.outer(scale, scale)


def _uncovered(parse: Parse, place: Mask) -> Mask | None:
    """What of a place no organ and no finding covers; None where that is nothing."""
    for entity in parse.entities:
        if entity.kind is not Kind.tissue and entity.id in parse.masks:
            place = place - parse.masks[entity.id]
    return None if place.is_empty else place
