"""Would the image look any different without an entity? Where the parse itself says no, the image cannot decide."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from synth.parse import VOCABULARY, Entity, Kind, Parse
from synth.residual.attributes import host_hu
from synth.residual.intensity_prior import CORE, IntensityPrior
from synth.residual.relations import SHARE
from synth.volume import Volume

MEAN = "mean_attenuation"
ALIKE_HU = 5.0  # the clinical distance has the same for a mean
ALIKE_SHARE = 0.15  # of voxels; segments of the liver differ from it by 0.01 to 0.10


def looks_like_its_organ(entity: Entity, parse: Parse, prior: IntensityPrior, known: Collection[str]) -> str | None:
    """Why a part of an organ, within an outline of the whole, would not stand out from it, in words; else None.

    The decoder draws both as one, or the population has the same intensities in both: without the part nothing would
    change. `known` are the names that the decoder was trained on.
    """
    whole = VOCABULARY.whole(entity.name)
    if whole is None or not _looks_like(entity.name, whole, prior, known):
        return None
    own = parse.masks[entity.id]
    for other in parse.by_name(whole):
        if other.id in parse.present_ids and own.overlap(parse.masks[other.id]) >= SHARE * own.voxels:
            part, organ = (name.replace("_", " ") for name in (entity.name, whole))
            return f"no contrast expected: a {part} looks like the {organ} that it lies in"
    return None


def _looks_like(part: str, whole: str, prior: IntensityPrior, known: Collection[str]) -> bool:
    """Drawn as the same, or with the same intensities by the total variation between their histograms."""
    if VOCABULARY.nearest(part, known) == VOCABULARY.nearest(whole, known):
        return True
    if not (prior.knows(part) and prior.knows(whole)):
        return False
    one, other = (np.exp(prior.log_density(name)[CORE]) for name in (part, whole))
    return float(np.abs(one / one.sum() - other / other.sum()).sum()) / 2 <= ALIKE_SHARE


def declared_like_its_organ(image: Volume, entity: Entity, parse: Parse) -> str | None:
    """Why a finding would not stand out, in words, where its declared mean is within 5 HU of its organ's; else None.

    `image` and `parse` share a grid, HU. Where the image shows it nevertheless, the declared mean is what is wrong.
    """
    if entity.kind is not Kind.finding:
        return None
    for said in parse.attributes_of(entity.id):
        here = said.phase is None or said.phase is parse.circumstance.phase
        if said.type != MEAN or said.derived or not here or isinstance(said.value, str):
            continue
        around = host_hu(image, parse, entity)
        if around is not None and abs(said.value - around) <= ALIKE_HU:
            return f"no contrast expected: declared {said.value:.0f} HU, and the organ around it has {around:.0f}"
    return None
