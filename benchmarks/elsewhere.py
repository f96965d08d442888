"""Masks that the image does not support: of those that are drawn wrongly, and of those that are not there, how many are
said to be wrong in their extent?

    python benchmarks/elsewhere.py DATA [--patients 12]     (DATA: a folder laid out like openkbp/validation)

Each organ is dilated, eroded or moved, one at a time, the other outlines jittered, and asked about by tier 1 as the
audit does (p at most 0.0125, as Benjamini-Hochberg needs for the first of eight at 0.1, and a score against it). Of
those flagged, `wrong_extent` is the share for which another mask is supported, `dice` the overlap with the true one
before and after. `expected` is what the fault is: hallucinated where a moved mask has no overlap left. Writes
elsewhere.json.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.decoder import load_decoder
from synth.errors import InputError
from synth.fault import Family, FaultSpec, inject, jitter, jittered
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Kind, Parse
from synth.pipeline.audit import shipped_model
from synth.pipeline.tiers import tiers_of
from synth.residual.elsewhere import SURE, best_elsewhere
from synth.residual.judge import NO_DECODER
from synth.residual.verdict import MIN_VOXELS
from synth.volume import resample

HERE = Path(__file__).resolve().parent
FLAGGED_P = 0.0125
FAULTS = {
    ("shift", "8-12"): FaultSpec(Family.move, severity_mm=(8.0, 12.0)),
    ("shift", "16-24"): FaultSpec(Family.move, severity_mm=(16.0, 24.0)),
    ("shift", "32-56"): FaultSpec(Family.move, severity_mm=(32.0, 56.0)),
    ("dilate", "8-10"): FaultSpec(Family.dilate, severity_mm=(8.0, 10.0)),
    ("erode", "4-6"): FaultSpec(Family.erode, severity_mm=(4.0, 6.0)),
}


class Claim(NamedTuple):
    """One wrong mask: what it is, whether it was flagged, and then said to be elsewhere; Dice before and after."""

    family: str
    severity: str
    expected: str
    flagged: bool
    elsewhere: bool
    before: float
    after: float


def main(data: Path, patients: int) -> None:
    """All patients, then the file."""
    started = time.monotonic()
    decoder, found = load_decoder("direct"), []
    for folder in patient_folders(data)[:patients]:
        found.append(list(claims(folder, decoder)))
        sys.stderr.write(f"{folder.name}: {len(found[-1])}\n")
    result = BenchmarkResult(
        "elsewhere",
        f"python benchmarks/elsewhere.py DATA --patients {patients}",
        {decoder.name: decoder.weights_sha256},
        time.monotonic() - started,
        tuple(rows(found)),
    )
    (HERE / "elsewhere.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")


def claims(folder: Path, decoder: object) -> Iterator[Claim]:
    """Every organ under every fault."""
    model, patient, rng = shipped_model(), read_patient(folder), np.random.default_rng(0)
    grid = patient.image.geometry.with_spacing(model.prior.spacing_mm)
    image, parse = resample(patient.image, grid), patient.parse.without_derived()
    (tier,) = tiers_of(decoder, image, model, (1,))  # type: ignore[arg-type]  # a decoder
    others = jittered(parse, rng)

    def score(told: Parse, id: str) -> float:
        return tier.ask(told, id, model.prior, seed=0)[0]

    for entity in (e for e in parse.entities if e.kind is Kind.organ and e.id in parse.masks):
        for (family, severity), spec in FAULTS.items():
            asked = FaultSpec(spec.family, entity=entity.id, severity_mm=spec.severity_mm)
            try:
                fault = inject(parse, asked, rng, image=patient.image)
            except InputError:
                continue
            wrong = fault.parse.masks[entity.id]
            told = others.with_mask(entity.id, jitter(wrong, parse.geometry, rng)).resampled(grid)
            drawn = told.masks.get(entity.id)
            if drawn is None or drawn.voxels < MIN_VOXELS:
                continue
            against = score(told, entity.id)
            conformal = tier.judge.calibration.judge(entity.name, drawn.volume_ml(grid), against, needed=80)
            flagged = conformal is not None and conformal.p_value <= FLAGGED_P and against < 0
            best = best_elsewhere(image, told, entity.id, model.prior, model.judge(NO_DECODER)) if flagged else None
            sure = best is not None and score(told.with_mask(entity.id, best.mask), entity.id) > SURE
            true = parse.resampled(grid).masks[entity.id]
            after = best.mask.dice(true) if best is not None and sure else math.nan
            expected = fault.record.expected[0].verdict
            yield Claim(family, severity, expected, flagged, sure, drawn.dice(true), after)


def rows(found: Sequence[Sequence[Claim]]) -> Iterator[Row]:
    """Each family, severity and expected verdict, with intervals over patients."""
    keys = sorted({(c.family, c.severity, c.expected) for each in found for c in each})
    for key in keys:
        about = {"arena": "openkbp", **dict(zip(("family", "severity", "expected"), key, strict=True))}
        mine = [[c for c in each if (c.family, c.severity, c.expected) == key] for each in found]
        flagged = [[c for c in each if c.flagged] for each in mine]
        moved = [[c for c in each if c.elsewhere] for each in mine]
        for metric, cases, value in (
            ("flagged", mine, lambda c: float(c.flagged)),
            ("wrong_extent", flagged, lambda c: float(c.elsewhere)),
            ("dice_before", moved, lambda c: c.before),
            ("dice_after", moved, lambda c: c.after),
        ):

            def mean(drawn: Sequence[Sequence[Claim]], value: object = value) -> float:
                values = [value(c) for each in drawn for c in each]  # type: ignore[operator]
                return float(np.mean(values)) if values else math.nan

            count = sum(map(len, cases))
            if count:
                interval = bootstrap_interval(cases, mean, rng=np.random.default_rng(0))
                yield Row(about, "ours", metric, mean(cases), interval.low, interval.high, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--patients", type=int, default=12)
    arguments = parser.parse_args()
    main(arguments.data, arguments.patients)
