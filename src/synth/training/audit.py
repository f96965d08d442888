"""Fitting what the audit knows beside a decoder: intensities of the population, and how the evidence is weighed.

The prior counts the training cases; the fusion and the calibration see held-out cases only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.contracts import Decoder
from synth.decoder import load_decoder
from synth.parse import Kind
from synth.residual import AuditModel, CalibrationCase, IntensityPrior, Judge, Plan, collect, fit_judge
from synth.training.cases import read_set
from synth.training.config import TrainConfig
from synth.volume import Mask, resample


def fit_audit(
    config: TrainConfig, folder: Path, *, log: Callable[[str], None], prior: IntensityPrior | None = None
) -> dict[str, Any]:
    """Fit and write an `AuditModel`; returns what it was fitted on. A `prior` that is given is not counted again."""
    if prior is None:
        log("counting intensities")
        prior = IntensityPrior.fit(_images(config), spacing_mm=config.spacing_mm)
        AuditModel(prior, {}).save(folder)
    judges: dict[str, Judge] = {}
    for name in config.model.get("decoders", ["direct"]):
        decoder = load_decoder(name)
        log(f"{name}: collecting claims")
        judges[name] = _judge(config, decoder, prior, log)
    facts: dict[str, Any] = {name: dict(judge.facts) for name, judge in judges.items()}
    AuditModel(prior, judges).save(folder, facts)
    return facts


def _images(config: TrainConfig) -> Iterator[tuple[NDArray[np.float32], dict[str, Mask]]]:
    for settings in config.sets:
        for _, image, parse in read_set(settings):
            grid = image.geometry.with_spacing(config.spacing_mm)
            small = parse.resampled(grid)
            masks = {small.entity(i).name: small.masks[i] for i in small.present_ids if small.entity(i).kind is not Kind.target}
            yield resample(image, grid).array, masks


def _judge(config: TrainConfig, decoder: Decoder, prior: IntensityPrior, log: Callable[[str], None]) -> Judge:
    cases = []
    for settings in config.validation:
        for name, image, parse in read_set(settings):
            grid = image.geometry.with_spacing(config.spacing_mm)
            cases.append(CalibrationCase.of(name, decoder.encode(resample(image, grid)), parse))
    plan = Plan(**{k: int(v) for k, v in config.loss.items()})
    collected = collect(cases, decoder, prior, seed=config.seed, plan=plan, search=bool(config.model.get("search", True)))
    log(f"{decoder.name}: {len(collected.samples)} claims on {len(cases)} cases")
    return fit_judge(collected, decoder, {"sets": [s.layout for s in config.validation]})
