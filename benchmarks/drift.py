"""How often the audit warns that a case does not look like those of its calibration.

    python benchmarks/drift.py DATA [--phantoms 12]      (DATA: a folder laid out like openkbp/validation)

`warned`: share of the patients with a warning, with correct parses (`as it is`; `jittered`: every outline) and one
mask moved by 16 to 24 mm, where at most one in twenty should be warned of, and with images that are not like those of
the calibration: calibrated 40 HU off, with noise of 30 HU added, blurred by 1.5 voxels. The first tier is asked, as in
an audit. Writes drift.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from scipy import ndimage, stats

from synth.benchmark.result import BenchmarkResult, Row
from synth.benchmark.verdict_phantoms import draw_truth
from synth.decoder import DirectDecoder, load_decoder
from synth.errors import InputError
from synth.fault import FaultSpec, inject, jittered
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Parse
from synth.pipeline.audit import shipped_model
from synth.pipeline.tiers import tiers_of
from synth.residual.conformal import CalibrationScore
from synth.residual.drift import ALPHA, FACT, Reference, drift_of
from synth.residual.judge import AuditModel
from synth.residual.verdict import cannot_check
from synth.volume import Volume, resample

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM = 97_500
SHIFT_MM = (16.0, 24.0)
OFFSET_HU, NOISE_HU, BLUR_VOXELS = 40.0, 30.0, 1.5
Changed = tuple[Volume, Parse]


def conditions(image: Volume, parse: Parse, rng: np.random.Generator) -> Iterator[tuple[str, Changed]]:
    """The case as it is, and as it might be."""
    hu = image.array
    yield "as it is", (image, parse)
    yield "jittered", (image, jittered(parse, rng))
    with suppress(InputError):  # no organ has room
        yield "one mask moved", (image, inject(parse, FaultSpec("move", severity_mm=SHIFT_MM), rng).parse)
    yield f"{OFFSET_HU:+.0f} HU", (image.with_array(hu + np.float32(OFFSET_HU)), parse)
    yield f"noise of {NOISE_HU:.0f} HU", (image.with_array(hu + noise(hu, rng)), parse)
    yield f"blurred by {BLUR_VOXELS} voxels", (image.with_array(ndimage.gaussian_filter(hu, BLUR_VOXELS)), parse)


def noise(like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise."""
    return rng.normal(0.0, NOISE_HU, like.shape).astype(np.float32)


def warned(image: Volume, parse: Parse, decoder: DirectDecoder, model: AuditModel) -> bool | None:
    """Whether an audit of it would warn; None where it could not tell."""
    (tier,) = tiers_of(decoder, image, model, (1,))
    scores = []
    for entity in parse.entities:
        if entity.id in parse.present_ids and cannot_check(entity, parse, parse, decoder.vocabulary) is None:
            score, found = tier.ask(parse, entity.id, model.prior, seed=0)
            volume = parse.masks[entity.id].voxels * parse.geometry.voxel_ml
            scores.append(CalibrationScore(found.evidence.name, volume, score))
    drift = drift_of(scores, tier.judge.calibration, Reference.from_json(tier.judge.facts[FACT]))
    return None if drift is None else drift.p_value <= ALPHA


def rows(arena: str, said: Mapping[str, list[bool | None]]) -> Iterator[Row]:
    """Shares with exact intervals (Clopper and Pearson)."""
    for condition, each in said.items():
        known = [one for one in each if one is not None]
        interval = stats.binomtest(sum(known), len(known)).proportion_ci()
        share = sum(known) / len(known)
        yield Row(
            {"arena": arena, "condition": condition}, "ours", "warned", share, interval.low, interval.high, len(known)
        )


def main() -> None:
    """Both arenas, then the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=12)
    asked = parser.parse_args()
    started = time.monotonic()
    decoder, model = load_decoder("direct"), shipped_model()
    cases: dict[str, list[Callable[[], Changed]]] = {
        "openkbp": [lambda f=f: patient(f) for f in patient_folders(asked.data)],
        "phantoms": [lambda s=s: phantom(s) for s in range(FIRST_PHANTOM, FIRST_PHANTOM + asked.phantoms)],
    }
    table: list[Row] = []
    for arena, makers in cases.items():
        said: dict[str, list[bool | None]] = {}
        for number, make in enumerate(makers):
            image, parse = make()
            grid = image.geometry.with_spacing(decoder.spacing_mm)
            small, parse = resample(image, grid), parse.without_derived().resampled(grid)
            for condition, changed in conditions(small, parse, np.random.default_rng([3, number])):
                said.setdefault(condition, []).append(warned(*changed, decoder, model))
            sys.stderr.write(f"{arena} {number}\n")
        table += rows(arena, said)
    command = f"python benchmarks/drift.py {asked.data.name} --phantoms {asked.phantoms}"
    weights = {"audit": model.sha256, "direct": decoder.weights_sha256}
    result = BenchmarkResult("drift", command, weights, time.monotonic() - started, tuple(table))
    (HERE / "drift.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def patient(folder: Path) -> Changed:
    """A real one."""
    read = read_patient(folder)
    return read.image, read.parse


def phantom(seed: int) -> Changed:
    """With exact outlines; jitter is a condition of its own."""
    truth = draw_truth(seed)
    return truth.image, truth.outlines


if __name__ == "__main__":
    main()
