"""d_clin: how far apart two images of one patient are, to somebody who reads them entity by entity.

    d(e) = sqrt(sum over terms of cost²),   d_clin = mean over entities of d(e)

Noise, a reconstruction kernel and a shift of a voxel cost nothing; an organ that changed its size, density, texture or
border costs a lot, however small it is in the image.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from synth.distance import terms
from synth.distance.border import Border
from synth.distance.relations import relations
from synth.distance.terms import Look, Term
from synth.errors import InputError
from synth.parse import Kind, Parse
from synth.volume import Geometry, Volume

MARGIN = 6  # voxels
READ = (Kind.organ, Kind.substructure, Kind.finding)
ENOUGH = 1.0
"""An entity at most this far away counts as the same."""


@dataclass(frozen=True)
class EntityDistance:
    """One entity in two images.

    Attributes:
        entity_id, name: whose; terms: what could be measured.
    """

    entity_id: str
    name: str
    terms: tuple[Term, ...]

    def value(self, without: Collection[str] = ()) -> float:
        """d(e), over all terms but those of these names."""
        return math.sqrt(sum(t.cost**2 for t in self.terms if t.name not in without))


@dataclass(frozen=True)
class ClinicalDistance:
    """Every entity that was compared."""

    entities: tuple[EntityDistance, ...]

    def mean(self, without: Collection[str] = ()) -> float:
        """Over entities; NaN without any."""
        return float(np.mean([e.value(without) for e in self.entities])) if self.entities else math.nan

    def share_within(self, limit: float = ENOUGH, without: Collection[str] = ()) -> float:
        """Share of entities that are no farther than `limit`; NaN without any."""
        return float(np.mean([e.value(without) <= limit for e in self.entities])) if self.entities else math.nan


def clinical_distance(
    reference: Volume,
    other: Volume,
    parse: Parse,
    *,
    other_parse: Parse | None = None,
    phases: Mapping[str, tuple[Volume, Volume]] | None = None,
    entities: Collection[str] | None = None,
) -> ClinicalDistance:
    """Compare two images under a parse of the first.

    Args:
        reference, other: HU, on the parse's grid.
        parse: present, delineated organs, substructures and findings are compared.
        other_parse: of the other image, same ids; without it each border is followed in both images from the mask of
            `parse`, three voxels far.
        phases: name -> the same two patients in a further contrast phase, for the enhancement.
        entities: only these ids.

    Raises InputError where the grids differ.

    Example:
        >>> from synth.phantom import make
        >>> p = make(0, spacing_mm=(8.0, 8.0, 8.0))
        >>> clinical_distance(p.image, p.image, p.parse).mean()
        0.0
    """
    grids = [("reference", reference.geometry), ("other", other.geometry), *_named(phases)]
    if other_parse is not None:
        grids.append(("other parse", other_parse.geometry))
    for what, grid in grids:
        difference = parse.geometry.describe_difference(grid)
        if difference is not None:
            raise InputError(what, expected="the grid of the parse", got=difference, fix="resample one to the other")
    found = []
    for entity in parse.entities:
        chosen = entities is None or entity.id in entities
        if chosen and entity.kind in READ and entity.id in parse.present_ids:
            found.append(
                EntityDistance(
                    entity.id, entity.name, tuple(_terms(reference, other, parse, entity.id, other_parse, phases or {}))
                )
            )
    return ClinicalDistance(tuple(found))


def _terms(
    reference: Volume,
    other: Volume,
    parse: Parse,
    entity: str,
    other_parse: Parse | None,
    phases: Mapping[str, tuple[Volume, Volume]],
) -> list[Term]:
    mask = parse.masks[entity]
    if other_parse is not None and entity not in other_parse.present_ids:
        return [Term("presence", 1.0, 0.0)]
    voxel_ml = parse.geometry.voxel_ml
    border = Border.of(mask)
    steep = border.steepness(reference.array[border.box])
    seen = border.seen(steep)
    sharp = border.sharpness(steep, seen)
    if other_parse is None:
        box = border.box
        there = border.steepness(other.array[box])
        moved = border.moved(steep, there, seen)
        extents = border.inside, border.extent(moved)
        found = terms.extent(border, moved, seen, voxel_ml)
        found += terms.edges(sharp, border.sharpness(there, seen, moved))
    else:
        box = mask.union(other_parse.masks[entity]).padded_slices(MARGIN)
        extents = mask.crop(box), other_parse.masks[entity].crop(box)
        found = [*terms.overlap(*extents, voxel_ml), *relations(parse, other_parse, entity)]
        own = Border.of(other_parse.masks[entity])
        there = own.steepness(other.array[own.box])
        found += terms.edges(sharp, own.sharpness(there, ~own.cut))
    one, two = (Look(v.array[box], e) for v, e in zip((reference, other), extents, strict=True))
    further = [{name: Look(pair[k].array[box], extents[k]) for name, pair in phases.items()} for k in (0, 1)]
    found += [*terms.attenuation(one, two), *terms.texture(one, two)]
    return [*found, *terms.enhancement(further[0], further[1], (one, two))]


def _named(phases: Mapping[str, tuple[Volume, Volume]] | None) -> list[tuple[str, Geometry]]:
    return [(f"phase {name}", volume.geometry) for name, pair in (phases or {}).items() for volume in pair]
