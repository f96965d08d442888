"""Organs that the parse declares absent, looked for where they would lie.

    bed       where the organs around point to (`synth.population.usual_place`)
    outline   the connected region there that looks like the organ, or like the middle of the bed where that is no fat,
              and that no drawn organ covers

An outline of a plausible size is then asked about as any claim is: is the image explained better with the organ there?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.parse import Entity, Kind, Parse, Presence
from synth.population import Population, usual_place
from synth.population.place import FILLED_BY_FAT
from synth.residual.intensity_prior import CLIP_NATS, CORE, SURROUND, IntensityPrior, bins_of
from synth.volume import Mask, Volume

NEAR_VOXELS = 3  # around the bed, in which the outline may lie
SIZES = (0.4, 2.2)  # of the outline, against the bed
LEAST_VOXELS = 20
FAT_HU = -30.0  # a bed with a darker middle holds fat
SPREADS, SPREAD_HU = 2.5, (10.0, 30.0)  # how far from the middle's HU the organ goes, and the bounds of its spread
SMOOTH = (0.8, 0.6)  # voxels: of the likelihood ratio, of the image
Map = NDArray[np.float32]
Zone = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Denied:
    """An organ that is declared absent, and an outline of what may be it."""

    entity: Entity
    bed: Mask
    mask: Mask


def denied_organs(
    image: Volume,
    parse: Parse,
    prior: IntensityPrior,
    population: Population,
    beds: Mapping[str, Mask] | None = None,
) -> Mapping[str, tuple[Denied, ...]]:
    """Absent organ -> its outlines, for those whose bed is in the image; image, parse and beds share a grid.

    `beds` are the places of a prior visit, by id: what no drawn organ covers of one is an outline itself.
    """
    found: dict[str, tuple[Denied, ...]] = {}
    for entity in parse.entities:
        if entity.presence is not Presence.absent or not prior.knows(entity.name):
            continue
        seen = (beds or {}).get(entity.id)
        usual = usual_place(parse, entity.name, population) if entity.name in FILLED_BY_FAT else None
        places = [bed for bed in (seen, usual) if bed is not None]
        masks = [] if seen is None else [Denied(entity, seen, mask) for mask in _uncovered(parse, seen)]
        masks += [Denied(entity, b, mask) for b in places for mask in outlines(image, parse, b, entity.name, prior)]
        if places:
            found[entity.id] = tuple(masks)
    return found


def _uncovered(parse: Parse, bed: Mask) -> Iterator[Mask]:
    """What is left of a bed beside the organs that are drawn, where that is an outline of a plausible size."""
    left = bed
    for id in parse.present_ids:
        if parse.entity(id).kind is not Kind.tissue:
            left = left - parse.masks[id]
    if left.voxels >= max(LEAST_VOXELS, SIZES[0] * bed.voxels):
        yield left


def outlines(image: Volume, parse: Parse, bed: Mask, name: str, prior: IntensityPrior) -> Iterator[Mask]:
    """The regions in a bed that may be the organ: by the population's intensities, and by those of its middle."""
    window = bed.padded_slices(NEAR_VOXELS + 2)
    hu, inside = image.array[window], bed.crop(window)
    near = ndimage.binary_dilation(inside, iterations=NEAR_VOXELS)
    for entity in parse.entities:
        if entity.kind is not Kind.tissue and entity.id in parse.masks:
            near &= ~parse.masks[entity.id].crop(window)
    table = prior.log_density(name)
    ratio = np.clip((table[CORE] - table[SURROUND])[bins_of(hu)], -CLIP_NATS, CLIP_NATS)
    alike = [ndimage.gaussian_filter(ratio, SMOOTH[0]) > 0]
    eroded = ndimage.binary_erosion(inside)
    middle = hu[eroded if np.count_nonzero(eroded) >= LEAST_VOXELS else inside]
    centre = float(np.median(middle))
    if centre > FAT_HU:
        spread = np.clip(1.48 * np.median(np.abs(middle - centre)), *SPREAD_HU)
        alike.append(np.abs(ndimage.gaussian_filter(hu, SMOOTH[1]) - centre) < SPREADS * spread)
    for zone in alike:
        found = _connected(ndimage.binary_opening(zone & near), inside)
        if found is not None and SIZES[0] <= np.count_nonzero(found) / bed.voxels <= SIZES[1]:
            yield Mask.from_box(bed.shape, tuple(s.start for s in window), found)


def _connected(zone: Zone, inside: Zone) -> Zone | None:
    """The part that lies most in the bed, without holes; None where it is too small."""
    labels, _ = ndimage.label(zone)
    counts = np.bincount(labels[inside], minlength=1)
    counts[0] = 0
    best = int(counts.argmax())
    if counts[best] == 0:
        return None
    part = labels == best
    whole: Zone = ndimage.binary_fill_holes(part | ndimage.binary_closing(part))
    return whole if np.count_nonzero(whole) >= LEAST_VOXELS else None
