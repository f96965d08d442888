"""Fitting what the audit knows beside a decoder: intensities of the population, and how the evidence is weighed.

The prior counts the training cases; the fusion and the calibration see held-out cases only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.contracts import Decoder
from synth.decoder import FusedDecoder, load_decoder
from synth.parse import Kind
from synth.pipeline.parallel import each
from synth.residual import (
    NO_DECODER,
    AuditModel,
    CalibrationCase,
    Collected,
    IntensityPrior,
    Judge,
    Plan,
    collect,
    fit_judge,
)
from synth.training.cases import read_set
from synth.training.config import TrainConfig
from synth.volume import Mask, resample

LATENT = ("decoder_latent",)
DECODERS = ("decoder_", "contrast_", "misfit")  # features that a decoder was asked for


def fit_audit(
    config: TrainConfig, folder: Path, *, log: Callable[[str], None], prior: IntensityPrior | None = None
) -> dict[str, Any]:
    """Fit and write an `AuditModel`; returns what it was fitted on. A `prior` that is given is not counted again."""
    if prior is None:
        log("counting intensities")
        prior = IntensityPrior.fit(_images(config), spacing_mm=config.spacing_mm)
        AuditModel(prior, {}).save(folder)
    decoder = load_decoder(str(config.model.get("decoder", "direct")))
    log(f"{decoder.name}: collecting claims")
    collected, cases = _collect(config, decoder, prior)
    log(f"{decoder.name}: {len(collected.samples)} claims on {cases} cases")
    said = {"sets": [s.layout for s in config.validation]}
    judges: dict[str, Judge] = {decoder.name: fit_judge(collected, decoder, said)}
    if isinstance(decoder, FusedDecoder):
        # The direct decoder's answers are a part of the fused one's: nothing needs to be asked again.
        judges["direct"] = fit_judge(_without(collected, LATENT), decoder.direct, said)
    judges[NO_DECODER] = fit_judge(_without(collected, DECODERS), decoder, said)
    facts: dict[str, Any] = {name: dict(judge.facts) for name, judge in judges.items()}
    AuditModel(prior, judges).save(folder, facts)
    return facts


def _images(config: TrainConfig) -> Iterator[tuple[NDArray[np.float32], dict[str, Mask]]]:
    for settings in config.sets:
        for _, image, parse in read_set(settings):
            grid = image.geometry.with_spacing(config.spacing_mm)
            small = parse.resampled(grid)
            masks: dict[str, Mask] = {}
            for i in small.present_ids:
                entity, mask = small.entity(i), small.masks[i]
                if entity.kind is not Kind.target:
                    masks[entity.name] = masks[entity.name] | mask if entity.name in masks else mask
            yield resample(image, grid).array, masks


def _collect(config: TrainConfig, decoder: Decoder, prior: IntensityPrior) -> tuple[Collected, int]:
    """Claims about every held-out case, the cases shared among `workers` processes."""
    chosen = [(settings.layout, *case) for settings in config.validation for case in read_set(settings)]
    plan = Plan(**{k: int(v) for k, v in config.loss.items()})
    searched = config.model.get("search", [])

    def one(number: int) -> Collected:
        layout, name, image, parse = chosen[number]
        small = resample(image, image.geometry.with_spacing(config.spacing_mm))
        case = CalibrationCase.of(name, decoder.encode(small), parse)
        return collect([case], decoder, prior, seed=config.seed + number, plan=plan, search=layout in searched)

    merged = Collected()
    for part in each(one, range(len(chosen)), int(config.model.get("workers", 1))):
        merged.samples.extend(part.samples)
        merged.candidates.update(part.candidates)
    return merged, len(chosen)


def _without(collected: Collected, prefixes: tuple[str, ...]) -> Collected:
    def kept(features: Mapping[str, float]) -> dict[str, float]:
        return {k: v for k, v in features.items() if not k.startswith(prefixes)}

    return Collected(
        [replace(s, features=kept(s.features)) for s in collected.samples],
        {k: [replace(c, features=kept(c.features)) for c in group] for k, group in collected.candidates.items()},
    )
