"""The pictures of a finding: what the decoder draws in its place with it and without it.

What stands around a place is known, what stood in it is what is asked. So both images are drawn as if what lies around
went on into it. A hidden voxel that no organ or finding of the parse covers is fat, bone, gas or soft tissue as the
nearest voxel is that is seen and that none covers; what reaches into the place is as bright as it is outside, and what
lies in it alone as bright as is usual in the declared contrast phase. Nothing is read from the hidden voxels. The
evidence of a finding is not measured on these images.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from synth.contracts import Contrast
from synth.decoder.declared import as_declared
from synth.interop import with_tissues
from synth.parse import Attribute, Entity, Kind, Parse, Presence, Relation
from synth.parse.derive.appearance import measured_appearance
from synth.pipeline.tiers import Tier
from synth.population import Population
from synth.population.look import MEAN, MOST_SPREAD_HU, with_usual_look
from synth.residual.missing import free_id
from synth.residual.presence import without_entity
from synth.volume import Mask, Volume
from synth.volume.mask import crop_any

MARGIN_VOXELS = 2  # redrawn around an outline
LEAST_SEEN = 30  # voxels outside by which something is known
AROUND_VOXELS = 12  # how far away a tissue may go on from
SOFT_TISSUE_HU = 40.0  # stands for what an organ or a finding of the parse covers: no fat, bone or gas
BODY = "body"
COVERING = (Kind.organ, Kind.substructure, Kind.finding)


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

    def painted(values: NDArray[np.float32]) -> Volume:
        array = image.array.copy()
        array[contrast.box][contrast.region] = values[contrast.region]
        return image.with_array(array)

    whole = np.zeros(image.shape, bool)
    whole[contrast.box] = contrast.region
    return Renders(painted(contrast.with_parse), painted(contrast.with_alternative), Mask.from_dense(whole))


@dataclass(eq=False)
class Counterfactuals:
    """Draws the pictures of findings when they are asked for, each once.

    Args:
        tier: the last one of the audit; parse: what was audited, on its decoder's grid; population: what is usual.
    """

    tier: Tier
    parse: Parse
    population: Population
    seed: int
    _kept: dict[str, Renders] = field(default_factory=dict)

    def of_entity(self, id: str) -> Renders:
        """A delineated entity of the parse: the parse, and the parse without it and its parts."""
        if id not in self._kept:
            self._kept[id] = self._drawn(self.parse, without_entity(self.parse, id), id, self.parse.masks[id])
        return self._kept[id]

    def of_region(self, id: str, name: str, mask: Mask, host: str | None = None) -> Renders:
        """What the parse leaves out: the parse with a `name` in `mask`, on the decoder's grid, and the parse.

        `host` is the id of the entity that holds it.
        """
        key = f"region {id}"
        if key not in self._kept:
            denied = [e.id for e in self.parse.by_name(name) if e.presence is Presence.absent]
            without = self.parse.without(*denied)
            added = Entity(id=free_id(without), name=name)
            held = [Relation(type="located_in", subject=added.id, object=host)] if host in without else []
            with_it = without.with_entity(added, mask, relations=held)
            self._kept[key] = self._drawn(with_it, without, added.id, mask)
        return self._kept[key]

    def _drawn(self, parse: Parse, without: Parse, id: str, mask: Mask) -> Renders:
        image, region = self.tier.encoded.image, _grown(mask)
        with_it, without_it = (self._one(continued(p, image, region), id, region) for p in (parse, without))
        return Renders(image.with_array(with_it), image.with_array(without_it), region)

    def _one(self, parse: Parse, id: str, region: Mask) -> NDArray[np.float32]:
        """A sample, or the centre of the distribution where a sample is all grain: its voxels drawn independently."""
        told = with_usual_look(as_around(parse, self.tier.encoded.image, region), self.population, self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        drawn = self.tier.decoder.render(told, self.tier.encoded, region, n=1, generator=generator)
        made = drawn.images[0] if drawn.location is None or drawn.scale is None else drawn.location
        return as_declared(made, _within(told, id, region), drawn=region.dense(), mean_only=True)


def as_around(parse: Parse, image: Volume, region: Mask) -> Parse:
    """The parse with the mean attenuation, as it is outside, of everything that reaches from there into `region`.

    Parse, image and region share a grid. What has a declared mean, hardly a voxel outside, or no one brightness, such
    as gut with gas in it, stays as it is.
    """
    open_ = {i for i in parse.present_ids if parse.entity(i).name != BODY and parse.masks[i].overlap(region)}
    open_ -= {a.entity for a in parse.attributes if a.type == MEAN}
    found = []
    for id in sorted(open_):
        seen = parse.masks[id] - region
        if seen.voxels >= LEAST_SEEN:
            look = measured_appearance(parse.with_mask(id, seen), parse.entity(id), image)
            if look["attenuation_spread"] <= MOST_SPREAD_HU:
                found.append(Attribute(entity=id, type=MEAN, value=round(look[MEAN], 1)))
    return parse.replace(attributes=[*parse.attributes, *found])


def _within(parse: Parse, id: str, region: Mask) -> Parse:
    """What of the parse lies in the region; where the entity in question lies, it lies alone, or in its organ."""
    parts = {i: parse.masks[i] & region for i in parse.present_ids}
    if id in parts and parse.entity(id).kind is not Kind.finding:
        parts = {i: mask if i == id else mask - parts[id] for i, mask in parts.items()}
    kept = parse.without(*(e.id for e in parse.entities if e.id not in parts or parts[e.id].is_empty))
    return kept.replace(masks={i: parts[i] for i in kept.masks})


def continued(parse: Parse, image: Volume, region: Mask) -> Parse:
    """The parse with the tissues that it does not draw itself, inside `region` as they go on from around it.

    Parse, image and region share a grid.
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
    return with_tissues(parse, image.with_array(hu))


def _grown(mask: Mask) -> Mask:
    window = mask.padded_slices(MARGIN_VOXELS)
    ball = ndimage.generate_binary_structure(3, 1)
    grown = ndimage.binary_dilation(mask.crop(window), ball, iterations=MARGIN_VOXELS)
    x, y, z = (s.start for s in window)
    return Mask.from_box(mask.shape, (x, y, z), grown)
