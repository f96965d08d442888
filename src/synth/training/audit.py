"""Fitting what the audit knows beside a decoder: intensities of the population, and how the evidence is weighed.

The prior counts the training cases; the fusion and the calibration see held-out cases only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synth.contracts import Decoder, Tiered
from synth.decoder import FusedDecoder, load_decoder
from synth.errors import InputError
from synth.parse import Kind, Parse
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
from synth.residual.calibration import Sample, claims_of, collect_findings, usual_cases, weigh
from synth.residual.drift import FACT
from synth.residual.searching import CandidateSample, Groups, Key, Searched, fit_search
from synth.training.cases import read_set
from synth.training.config import TrainConfig
from synth.volume import Mask, Volume, resample

SEARCH_STREAM = 88_000  # of random numbers: what is searched shares none with the claims
FINDINGS_STREAM = 89_000
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
    log(f"{decoder.name}: {len(collected.samples)} claims on {cases} cases; searching")
    collected.candidates.update(_searches(config, decoder, prior))
    log(f"{decoder.name}: findings")
    collected.findings.extend(_findings(config, decoder, prior))
    said = {"sets": [s.layout for s in config.validation]}
    judges: dict[str, Judge] = {decoder.name: fit_judge(collected, decoder, said)}
    if isinstance(decoder, FusedDecoder):
        # The direct decoder's answers are a part of the fused one's: nothing needs to be asked again.
        judges["direct"] = fit_judge(_without(collected, LATENT), decoder.direct, said)
    judges[NO_DECODER] = fit_judge(_without(collected, DECODERS), decoder, said)
    return _saved(AuditModel(prior, judges), folder)


def fit_search_of(config: TrainConfig, folder: Path, audit: Path, *, log: Callable[[str], None]) -> dict[str, Any]:
    """Write the audit model `audit` with its search for missing findings fitted anew, and nothing else.

    Raises:
        InputError: no case brings up a finding that was left out.
    """
    model = AuditModel.load(audit)
    decoder = load_decoder(str(config.model.get("decoder", "direct")))
    log(f"{decoder.name}: searching")
    groups = _searches(config, decoder, model.prior)
    log(f"{decoder.name}: {sum(map(len, groups.values()))} regions in {len(groups)} searches")
    judges = {name: _searching_anew(judge, _kept_of(groups, name, decoder)) for name, judge in model.judges.items()}
    return _saved(AuditModel(model.prior, judges), folder)


def fit_drift_of(config: TrainConfig, folder: Path, audit: Path, *, log: Callable[[str], None]) -> dict[str, Any]:
    """Write the audit model `audit` with what is usual of a case measured anew for its first tier, and nothing else.

    Raises:
        InputError: it was not calibrated for the config's decoder.
    """
    model = AuditModel.load(audit)
    decoder = load_decoder(str(config.model.get("decoder", "direct")))
    first = decoder.first if isinstance(decoder, Tiered) else decoder
    judge = model.judge(first.name)
    log(f"{first.name}: collecting claims")
    collected, cases = _collect(config, first, model.prior)
    known = usual_cases(collected.samples)
    log(f"{first.name}: {len(known.distances)} of {cases} cases")
    judges = {**model.judges, first.name: replace(judge, facts={**judge.facts, FACT: known.to_json()})}
    return _saved(AuditModel(model.prior, judges), folder)


def fit_findings_of(config: TrainConfig, folder: Path, audit: Path, *, log: Callable[[str], None]) -> dict[str, Any]:
    """Write the audit model `audit` with its findings weighed and calibrated anew, and nothing else.

    Raises:
        InputError: no case has findings to make claims of.
    """
    model = AuditModel.load(audit)
    decoder = load_decoder(str(config.model.get("decoder", "direct")))
    log(f"{decoder.name}: collecting claims of findings")
    samples = _findings(config, decoder, model.prior)
    log(f"{decoder.name}: {len(samples)} claims on {len({s.case for s in samples})} cases")
    judges = {n: _finding_anew(judge, _fewer_of(samples, _left_out(n, decoder))) for n, judge in model.judges.items()}
    return _saved(AuditModel(model.prior, judges), folder)


ANEW = {"search": fit_search_of, "drift": fit_drift_of, "findings": fit_findings_of}
"""What of an audit model can be fitted by itself."""


def _saved(model: AuditModel, folder: Path) -> dict[str, Any]:
    """Write it; returns the facts that are for reading."""
    facts = {name: {k: v for k, v in j.facts.items() if k != FACT} for name, j in model.judges.items()}
    model.save(folder, facts)
    return facts


def _finding_anew(judge: Judge, samples: Sequence[Sample]) -> Judge:
    weighed = weigh(samples)
    if weighed is None:
        expected, fix = "findings that are there, and some that are not", "give cases with findings and room for more"
        raise InputError("findings", expected=expected, got="one kind", fix=fix)
    return replace(judge, findings=weighed, facts={**judge.facts, "findings": claims_of(samples)})


def _searching_anew(judge: Judge, groups: Groups) -> Judge:
    missing, most = fit_search(groups)
    if missing is None:
        expected = "some findings that were left out among the regions, and some regions that are none"
        raise InputError("search", expected=expected, got="one kind", fix="give more cases with findings")
    return replace(judge, missing=missing, most_suspicious=most)


def _kept_of(groups: Groups, judge: str, decoder: Decoder) -> Groups:
    """The features of regions that a judge may read."""
    return _regions_without(groups, _left_out(judge, decoder))


def _left_out(judge: str, decoder: Decoder) -> tuple[str, ...]:
    """What a judge may not read: nothing, what the latent decoder says, or what any decoder says."""
    return () if judge == decoder.name else DECODERS if judge == NO_DECODER else LATENT


def _searches(config: TrainConfig, decoder: Decoder, prior: IntensityPrior) -> dict[Key, list[CandidateSample]]:
    """Every case of the sets that calibrate the search, shared among `workers` processes."""
    chosen = _cases_of(config, config.model.get("search", []))
    deletions = int(config.loss.get("deletions", Plan().deletions))

    def one(number: int) -> dict[Key, list[CandidateSample]]:
        case, stream = _case(config, decoder, chosen[number]), SEARCH_STREAM + number
        generator = torch.Generator().manual_seed(config.seed * 100_003 + stream)
        search = Searched(case.name, decoder, case.encoded, case.body, prior, generator)
        return search.groups(case.parse, np.random.default_rng([config.seed, stream]), deletions)

    found: dict[Key, list[CandidateSample]] = {}
    for part in each(one, range(len(chosen)), int(config.model.get("workers", 1))):
        found.update(part)
    return found


def _findings(config: TrainConfig, decoder: Decoder, prior: IntensityPrior) -> list[Sample]:
    """Claims of findings in every case of the sets named for it, the cases shared among `workers` processes."""
    chosen, plan = _cases_of(config, config.model.get("findings", [])), _plan(config)

    def one(number: int) -> list[Sample]:
        seed = config.seed * 100_003 + FINDINGS_STREAM + number
        return collect_findings(_case(config, decoder, chosen[number]), decoder, prior, seed=seed, plan=plan)

    parts = each(one, range(len(chosen)), int(config.model.get("workers", 1)))
    return [sample for part in parts for sample in part]


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
    findings_only = config.model.get("findings_only", [])
    chosen = _cases_of(config, [s.layout for s in config.validation if s.layout not in findings_only])
    plan = _plan(config)

    def one(number: int) -> Collected:
        case = _case(config, decoder, chosen[number])
        return collect([case], decoder, prior, seed=config.seed + number, plan=plan, search=False)

    merged = Collected()
    for part in each(one, range(len(chosen)), int(config.model.get("workers", 1))):
        merged.samples.extend(part.samples)
    return merged, len(chosen)


def _cases_of(config: TrainConfig, layouts: Sequence[str]) -> list[tuple[str, Volume, Parse]]:
    """Every case of the held-out sets in these layouts."""
    return [case for settings in config.validation if settings.layout in layouts for case in read_set(settings)]


def _plan(config: TrainConfig) -> Plan:
    """How many claims a case."""
    return Plan(**{k: int(v) for k, v in config.loss.items()})


def _case(config: TrainConfig, decoder: Decoder, read: tuple[str, Volume, Parse]) -> CalibrationCase:
    name, image, parse = read
    return CalibrationCase.of(
        name, decoder.encode(resample(image, image.geometry.with_spacing(config.spacing_mm))), parse
    )


def _without(collected: Collected, prefixes: tuple[str, ...]) -> Collected:
    samples, findings = (_fewer_of(part, prefixes) for part in (collected.samples, collected.findings))
    return Collected(samples, findings, _regions_without(collected.candidates, prefixes))


def _fewer_of(samples: Sequence[Sample], prefixes: tuple[str, ...]) -> list[Sample]:
    return [replace(s, features=_fewer(s.features, prefixes)) for s in samples]


def _regions_without(groups: Groups, prefixes: tuple[str, ...]) -> dict[Key, list[CandidateSample]]:
    return {k: [replace(c, features=_fewer(c.features, prefixes)) for c in group] for k, group in groups.items()}


def _fewer(features: Mapping[str, float], prefixes: tuple[str, ...]) -> dict[str, float]:
    return {k: v for k, v in features.items() if not k.startswith(prefixes)}
