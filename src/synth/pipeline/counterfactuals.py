"""The pictures of a finding: what the decoder draws in its place with it and without it.

What stands around a place is known, what stood in it is what is asked. So both images are drawn as if what lies around
went on into it. Of the tissues that the parse does not draw itself, a hidden voxel that no organ or finding covers has
that of the nearest voxel that is seen and that none covers; what reaches into the place is as bright as it is outside,
and what lies in it alone as bright as is usual in the declared contrast phase. Nothing is read from the hidden voxels.
The evidence of a finding is not measured on these images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from synth.contracts import Contrast
from synth.decoder.declared import as_declared
from synth.decoder.holes import MARGIN_VOXELS, paint
from synth.errors import InputError
from synth.interop import with_tissues
from synth.parse import Attribute, Entity, Kind, Parse, Presence, Relation
from synth.parse.attribute_types import ATTRIBUTE_TYPES
from synth.parse.derive.appearance import Region
from synth.pipeline.tiers import Tier
from synth.population import Population
from synth.population.look import MEAN, MOST_SPREAD_HU, declared_means, with_usual_look
from synth.residual.presence import without_entity
from synth.volume import Mask, Volume
from synth.volume.mask import crop_any

LEAST_SEEN = 30  # voxels outside by which something is known
AROUND_VOXELS = 12  # how far away a tissue may go on from
SOFT_TISSUE_HU = 40.0  # stands for what an organ or a finding of the parse covers: no fat, bone or gas
BODY = "body"
COVERING = (Kind.organ, Kind.substructure, Kind.finding)
LOOKING = ATTRIBUTE_TYPES[MEAN].kinds  # that have a mean
Map = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Renders:
    """The image with a place redrawn, under the parse that has the finding and under the one that has not.

    Attributes:
        region: what was redrawn, on the grid of both; outside it they are the image, bit for bit.
    """

    with_entity: Volume
    without_entity: Volume
    region: Mask


def from_contrast(image: Volume, contrast: Contrast) -> Renders | None:
    """What the decoder drew by the way while it was asked, each voxel's mean; None where it drew nothing."""
    if contrast.with_parse is None or contrast.with_alternative is None or not contrast.region.any():
        return None

    with_it, without = (
        image.with_array(paint(image.array, contrast.box, contrast.region, values))
        for values in (contrast.with_parse, contrast.with_alternative)
    )
    whole = np.zeros(image.shape, bool)
    whole[contrast.box] = contrast.region
    return Renders(with_it, without, Mask.from_dense(whole))


@dataclass(frozen=True, eq=False)
class _Drawn:
    """What was drawn in the box of a region."""

    region: Mask
    with_entity: Map
    without_entity: Map

    def on(self, image: Volume) -> Renders:
        """The image that the box is a part of, painted over."""
        with_it, without = (
            image.with_array(paint(image.array, self.region.slices, self.region.box, values))
            for values in (self.with_entity, self.without_entity)
        )
        return Renders(with_it, without, self.region)


class Counterfactuals:
    """Draws the pictures of findings when they are asked for, each once.

    Args:
        tier: the last one of the audit.
        parse: what was audited, on its decoder's grid; what was derived from the image is left out, and so are planning
            volumes.
        population: what is usual.
    """

    def __init__(self, tier: Tier, parse: Parse, population: Population, seed: int) -> None:
        declared = parse.without_derived_entities()
        self.parse = declared.without(*(e.id for e in declared.entities if e.kind is Kind.target))
        self._tier, self._population, self._seed = tier, population, seed
        self._kept: dict[tuple[str, str], _Drawn] = {}

    def of_entity(self, id: str) -> Renders | None:
        """A delineated entity of the parse: the parse, and the parse without it and its parts; None for what is not
        drawn here."""
        if id not in self.parse.present_ids:
            return None
        if ("entity", id) not in self._kept:
            without = without_entity(self.parse, id)
            self._kept["entity", id] = self._drawn(self.parse, without, id, self.parse.masks[id])
        return self._kept["entity", id].on(self._tier.encoded.image)

    def of_region(self, id: str, name: str, mask: Mask, host: str | None = None) -> Renders:
        """What the parse leaves out: the parse with a `name` in `mask`, on the decoder's grid, and the parse.

        `host` is the id of the entity that holds it.
        """
        if ("region", id) not in self._kept:
            denied = [e.id for e in self.parse.by_name(name) if e.presence is Presence.absent]
            added = Entity(id=self.parse.free_id(name), name=name)
            held = [Relation(type="located_in", subject=added.id, object=host)] if host in self.parse else []
            with_it = self.parse.without(*denied).with_entity(added, mask, relations=held)
            self._kept["region", id] = self._drawn(with_it, self.parse, added.id, mask)
        return self._kept["region", id].on(self._tier.encoded.image)

    def _drawn(self, parse: Parse, without: Parse, id: str, mask: Mask) -> _Drawn:
        region = _grown(mask)
        with_it, without_it = (self._one(p, id, region)[region.slices] for p in (parse, without))
        return _Drawn(region, with_it.copy(), without_it.copy())

    def _one(self, parse: Parse, id: str, region: Mask) -> Map:
        """A sample, or the centre of the distribution where a sample is all grain: its voxels drawn independently."""
        encoded, generator = self._tier.encoded, torch.Generator().manual_seed(self._seed)
        whole = as_around(continued(parse, encoded.image, region), encoded.image, region)
        told = with_usual_look(whole, self._population, self._seed)
        drawn = self._tier.decoder.render(told, encoded, region, n=1, generator=generator)
        made = drawn.images[0] if drawn.location is None or drawn.scale is None else drawn.location
        return as_declared(made, _within(told, id, region), drawn=region.dense(), mean_only=True)


def as_around(parse: Parse, image: Volume, region: Mask) -> Parse:
    """The parse with the mean attenuation, as it is outside, of everything that reaches from there into `region`.

    Parse, image and region share a grid. What has a declared mean, hardly a voxel outside, or no one brightness, such
    as gut with gas in it, stays as it is.
    """
    said = declared_means(parse)
    found = []
    for id in parse.present_ids:
        entity = parse.entity(id)
        if id in said or entity.name == BODY or entity.kind not in LOOKING or not parse.masks[id].overlap(region):
            continue
        seen = parse.masks[id] - region
        if seen.voxels >= LEAST_SEEN:
            outside = Region.of(parse.with_mask(id, seen), entity)
            hu = image.array[outside.slices][outside.core]
            if hu.std() <= MOST_SPREAD_HU:
                found.append(Attribute(entity=id, type=MEAN, value=round(float(hu.mean()), 1)))
    return parse.replace(attributes=[*parse.attributes, *found])


def _within(parse: Parse, id: str, region: Mask) -> Parse:
    """What of the parse lies in the region and has a mean, cut so that nothing overlaps: findings come first, then the
    entity in question, parts before organs, organs before tissues, the smaller before the larger."""
    said = declared_means(parse)
    taken, parts = Mask.empty(region.shape), dict[str, Mask]()
    for each in sorted(parse.present_ids, key=lambda i: _precedence(parse, i, id)):
        if each in said or parse.entity(each).kind is Kind.finding:
            part = (parse.masks[each] & region) - taken
            if not part.is_empty:
                parts[each], taken = part, taken | part
    kept = parse.without(*(e.id for e in parse.entities if e.id not in parts))
    return kept.replace(masks=parts)


def _precedence(parse: Parse, id: str, first: str) -> tuple[int, bool, int]:
    kinds = (Kind.finding, Kind.substructure, Kind.organ)
    kind = parse.entity(id).kind
    rank = kinds.index(kind) if kind in kinds else len(kinds)
    return (min(rank, 1) if id == first else rank, id != first, parse.masks[id].voxels)


def continued(parse: Parse, image: Volume, region: Mask) -> Parse:
    """The parse with the tissues that it does not draw itself, inside `region` as they go on from around it.

    Parse, image and region share a grid. Where nothing but air is around, none are added.
    """
    near = region.padded_slices(AROUND_VOXELS)
    hidden = region.crop(near)
    covered = crop_any([parse.masks[i] for i in parse.present_ids if parse.entity(i).kind in COVERING], near)
    hu = image.array.copy()
    window = hu[near]
    seen = ~hidden & ~covered
    if seen.any():
        nearest = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
        window[hidden] = window[tuple(nearest)][hidden]
    window[hidden & (covered | ~seen.any())] = SOFT_TISSUE_HU
    try:
        return with_tissues(parse, image.with_array(hu))
    except InputError:  # the region is the whole body
        return parse


def _grown(mask: Mask) -> Mask:
    window = mask.padded_slices(MARGIN_VOXELS)
    ball = ndimage.generate_binary_structure(3, 1)
    grown = ndimage.binary_dilation(mask.crop(window), ball, iterations=MARGIN_VOXELS)
    x, y, z = (s.start for s in window)
    return Mask.from_box(mask.shape, (x, y, z), grown)
