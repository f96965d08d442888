"""Which decoder tells true lesions from claimed ones, and at what cost.

    python benchmarks/which_decoder.py [PATIENTS]

Writes `which-decoder-phantoms.json` beside this file. Phantoms that no training drew, each with its lesions (true
claims) and as many lesions claimed where there is none, of the same names, sizes and organs (false claims); all
outlines are jittered. Every claim is hidden and asked about once: with it or without it? `direct` and `latent` are
the evidence of each decoder alone, `histogram` the likelihood of the claimed voxels under what is usual for the name
against what is usual anywhere in a body, `fused` the two decoders' evidence added after each is scaled by its spread
over all claims. `ours` and `tier1` are the scores of the audit with all tiers and with the first, `prior` that
without a decoder; `host` is how far the mean within a claim is from its organ's median, beside the same shape laid
elsewhere in the organ.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import synth
from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.benchmark.separation import auroc, fpr95
from synth.decoder import DirectDecoder, FusedDecoder, LatentDecoder
from synth.fault import FaultSpec, inject, jitter
from synth.parse import Kind, Parse
from synth.phantom import sample_spec
from synth.pipeline.audit import shipped_model
from synth.pipeline.tiers import Tier, tiers_of
from synth.residual import NO_DECODER
from synth.volume import Volume

FIRST_SEED = 30_000
SPACING_MM = 4.0
Statistic = Callable[[np.ndarray, np.ndarray], float]
HERE = Path(__file__).resolve().parent


def cases(count: int) -> list[tuple[str, Volume, Parse, str, bool]]:
    """(patient, image, parse, entity, whether it is there) of every claim."""
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        spec = replace(sample_spec(seed), field_of_view="abdomen")
        made = synth.make_phantom(seed, spec=spec, spacing_mm=(SPACING_MM,) * 3)
        parse = made.parse.without_derived().replace(attributes=())  # only the true ones would have any
        rng = np.random.default_rng(seed)
        for entity in made.parse.entities:
            if entity.kind is not Kind.finding or entity.id not in made.parse.masks:
                continue
            edges = [r for r in parse.relations_of(entity.id) if r.type == "located_in" and r.subject == entity.id]
            organs = [r.object for r in edges if parse.entity(r.object).kind is Kind.organ]
            if not organs:
                continue
            found.append((f"{seed}", made.image, parse, entity.id, True))
            size = 2 * (3 * made.parse.masks[entity.id].voxels * SPACING_MM**3 / (4 * np.pi)) ** (1 / 3)
            plan = FaultSpec("add_lesion", entity=organs[0], name=entity.name, severity_mm=(size, size))
            try:
                planted = inject(parse, plan, rng, image=made.image)
            except synth.InputError:
                continue  # no room for another in this organ
            found.append((f"{seed}", made.image, planted.parse, planted.record.expected[0].entity, False))
    return found


def jittered(parse: Parse, entity: str, rng: np.random.Generator) -> Parse:
    """The parse with this outline drawn a little differently."""
    return parse.with_mask(entity, jitter(parse.masks[entity], parse.geometry, rng))


def main() -> None:
    """Ask both decoders about every claim and write the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    started = time.monotonic()
    claims = cases(count)
    direct, latent = DirectDecoder.from_pretrained(), LatentDecoder.from_pretrained()
    whole, model = FusedDecoder.from_pretrained(), shipped_model()
    prior = model.prior
    methods = ("ours", "tier1", "prior", "host", "direct", "latent", "histogram")
    scores: dict[str, list[float]] = {name: [] for name in methods}
    seconds = {"direct": 0.0, "latent": 0.0}
    encoded: dict[int, dict[str, object]] = {}
    rng = np.random.default_rng(0)
    claims = [(p, image, jittered(parse, e, rng), e, there) for p, image, parse, e, there in claims]
    tiers: dict[int, tuple[Tier, ...]] = {}
    for number, (_, image, parse, entity, _) in enumerate(claims):
        asked = tiers.setdefault(id(image), tiers_of(whole, image, model, None))
        for name, tier in zip(("tier1", "ours"), asked, strict=True):
            score, found = tier.ask(parse, entity, prior, seed=number)
            scores[name].append(score)
        scores["prior"].append(model.judge(NO_DECODER).score(found.evidence.features, found.evidence.name))
        scores["host"].append(found.evidence.features.get("host_z", 0.0))
        for decoder in (direct, latent):
            held = encoded.setdefault(id(image), {})
            if decoder.name not in held:
                held[decoder.name] = decoder.encode(image)
            at = time.perf_counter()
            (contrast,) = decoder.contrast(
                held[decoder.name],
                parse,
                [parse.without(entity)],
                parse.masks[entity],
                draws=1 if decoder is direct else 4,
                generator=torch.Generator().manual_seed(number),
            )
            seconds[decoder.name] += time.perf_counter() - at
            scores[decoder.name].append(contrast.features["evidence"])
        values = parse.masks[entity].values(image.array)
        scores["histogram"].append(float(prior.log_ratio(parse.entity(entity).name, values).mean()))
    standard = {name: np.asarray(scores[name]) / np.std(scores[name]) for name in ("direct", "latent")}
    scores["fused"] = (standard["direct"] + standard["latent"]).tolist()
    truth = np.array([c[4] for c in claims])
    patients = np.array([c[0] for c in claims])
    diameter = np.array([2 * (3 * c[2].masks[c[3]].voxels * SPACING_MM**3 / (4 * np.pi)) ** (1 / 3) for c in claims])
    middle = float(np.median(diameter))
    rows = []
    halves = {"all": diameter > 0, "larger half": diameter >= middle, "smaller half": diameter < middle}
    for size, chosen in halves.items():
        group = {"arena": "phantoms", "family": "hallucinated lesion", "size": size}
        for name, values in scores.items():
            rows.extend(_rows(group, name, np.asarray(values)[chosen], truth[chosen], patients[chosen]))
    for name, total in seconds.items():
        group = {"arena": "phantoms", "family": "hallucinated lesion", "size": "all"}
        rows.append(Row(group, name, "seconds", total / len(claims), np.nan, np.nan, len(claims)))
    result = BenchmarkResult(
        benchmark="which-decoder",
        command=f"python benchmarks/which_decoder.py {count}",
        weights={"direct": direct.weights_sha256, "latent": latent.weights_sha256},
        seconds=time.monotonic() - started,
        rows=tuple(rows),
    )
    (HERE / "which-decoder-phantoms.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def _rows(
    group: dict[str, str], name: str, values: np.ndarray, truth: np.ndarray, patients: np.ndarray
) -> Iterator[Row]:
    units = [(~truth[patients == p], values[patients == p]) for p in np.unique(patients)]
    for metric, statistic in (("auroc", auroc), ("fpr95", fpr95)):

        def of(chosen: Sequence[tuple[np.ndarray, np.ndarray]], statistic: Statistic = statistic) -> float:
            wrong, scores = (np.concatenate([u[k] for u in chosen]) for k in (0, 1))
            return float(statistic(wrong, scores)) if 0 < wrong.sum() < len(wrong) else float("nan")

        interval = bootstrap_interval(units, of, rng=np.random.default_rng(0), draws=500)
        yield Row(group, name, metric, of(units), interval.low, interval.high, len(values))


if __name__ == "__main__":
    main()
