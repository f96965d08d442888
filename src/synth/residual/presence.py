"""The counterfactual of presence: the parse against the same parse without one entity, its place hidden."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from synth.contracts import Contrast, Decoder, EncodedImage, Refining
from synth.parse import VOCABULARY, Kind, Parse
from synth.residual.evidence import EntityEvidence, entity_features, with_features_of
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import Judge
from synth.residual.on_grid import on_grid
from synth.volume import Volume

PART_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class Examined:
    """The evidence about one entity and the map it was read from."""

    evidence: EntityEvidence
    contrast: Contrast


def examine(
    decoder: Decoder,
    encoded: EncodedImage,
    parse: Parse,
    entity_id: str,
    prior: IntensityPrior,
    *,
    draws: int = 2,
    first: Examined | None = None,
    generator: torch.Generator,
) -> Examined:
    """Ask the decoder about one present, delineated entity and measure its answer.

    `first` is what the cheaper of two tiers has said already, of the same parse and entity; it is not asked again, and
    a map that was taken over is not measured again.
    """
    question = encoded, parse, [without_entity(parse, entity_id)], parse.masks[entity_id]
    if first is not None and isinstance(decoder, Refining):
        (contrast,) = decoder.refine([first.contrast], *question, draws=draws, generator=generator)
        if contrast.ratio is first.contrast.ratio:
            return Examined(with_features_of(contrast, first.evidence), contrast)
    else:
        (contrast,) = decoder.contrast(*question, draws=draws, generator=generator)
    contrast = on_grid(contrast, encoded.image.shape)
    return Examined(entity_features(contrast, prior, encoded.image, parse, entity_id), contrast)


def unaided(image: Volume, parse: Parse, entity_id: str, prior: IntensityPrior, judge: Judge) -> float:
    """The score of one present, delineated entity by the population alone, nats: a hundredth of a second.

    Image and parse share the prior's grid; `judge` is the one that is told nothing by a decoder.
    """
    found = entity_features(None, prior, image, parse, entity_id)
    return judge.score(found.features, found.name)


def without_entity(parse: Parse, entity_id: str) -> Parse:
    """The parse without an entity and without its parts: a liver that is not there has no segments."""
    return parse.without(entity_id, *parts_of(parse, entity_id))


def parts_of(parse: Parse, entity_id: str) -> tuple[str, ...]:
    """Ids of the delineated substructures of this entity that lie mostly within it."""
    whole, mask = parse.entity(entity_id), parse.masks[entity_id]
    found = []
    for other in parse.present_ids:
        entity = parse.entity(other)
        if other == entity_id or entity.kind is not Kind.substructure or VOCABULARY.whole(entity.name) != whole.name:
            continue
        if parse.masks[other].overlap(mask) > PART_OVERLAP * parse.masks[other].voxels:
            found.append(other)
    return tuple(found)
