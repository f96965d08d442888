"""Real lesions that no decoder was trained on: twelve sarcomas, claimed where they are and where they are not.

    python benchmarks/sarcoma.py DATA [--places 6]       (DATA: the folder sarcoma_ct)

The decoders know no sarcoma, so each is asked about as the nearest finding that they know, a metastasis. True claims
are the outline under four jitters; hallucinated ones are the same outline 24 to 60 mm away in the body (`auroc`,
`fpr95` of the score against them). `power` of `missing`: with the tumour left out of the parse, its place is among the
regions that the search brings up (a third of overlap, or its centroid inside), `first` where it is the strongest,
`called` where it is beyond chance. Nothing was trained, calibrated or chosen on these cases. Writes faults-
sarcoma.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.benchmark.separation import auroc, fpr95
from synth.decoder import FusedDecoder
from synth.fault import jitter
from synth.fault.move import random_move
from synth.interop import with_tissues
from synth.parse import Circumstance, Entity, Parse
from synth.pipeline.audit import AuditOptions, audit, shipped_model
from synth.pipeline.tiers import tiers_of
from synth.residual.judge import AuditModel
from synth.volume import Mask, Volume, read_labels, read_volume, resample
from synth.volume.tissue import body_mask

HERE = Path(__file__).resolve().parent
ASKED_AS = "metastasis"
JITTERS, AWAY_MM, OVERLAP, INSIDE = 4, (24.0, 60.0), 0.3, 0.8
SPACING_MM, FOUND = 4.0, 1 / 3
METHODS = {1: "tier1", 2: "ours"}


@dataclass
class Case:
    """Of one patient: method -> score of each true and of each hallucinated claim; rank and verdict of the left out."""

    true: dict[str, list[float]] = field(default_factory=dict)
    false: dict[str, list[float]] = field(default_factory=dict)
    found: int = 0  # rank among the regions brought up; 0 for none
    called: bool = False


def main(data: Path, places: int) -> None:
    """All patients, then the file."""
    started = time.monotonic()
    decoder, model = FusedDecoder.from_pretrained(), shipped_model()
    cases = []
    for folder in sorted(p for p in data.iterdir() if p.is_dir()):
        image, mask = read(folder)
        cases.append(one(image, mask, decoder, model, places))
        sys.stderr.write(f"{folder.name}: {cases[-1]}\n")
    result = BenchmarkResult(
        "sarcoma",
        f"python benchmarks/sarcoma.py DATA --places {places}",
        {decoder.name: decoder.weights_sha256},
        time.monotonic() - started,
        tuple(rows(cases)),
    )
    (HERE / "faults-sarcoma.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")


def read(folder: Path) -> tuple[Volume, Mask]:
    """CT and tumour on the decoder's grid."""
    image = read_volume(next(folder.glob("ct*")), modality="CT")
    small = resample(image, image.geometry.with_spacing(SPACING_MM))
    inside = Mask.from_dense(read_labels(next(folder.glob("tumour*"))).labels > 0)
    parse = Parse([Entity(id="t", name=ASKED_AS)], geometry=image.geometry, masks={"t": inside})
    return small, parse.resampled(small.geometry).masks["t"]


def one(image: Volume, mask: Mask, decoder: FusedDecoder, model: AuditModel, places: int) -> Case:
    """Everything about one patient."""
    rng, case, body = np.random.default_rng(0), Case(), body_mask(image)
    tiers = tiers_of(decoder, image, model, None)

    def ask(claimed: Mask, into: dict[str, list[float]]) -> None:
        parse = with_tissues(scene(image, claimed), image)
        for tier in tiers:
            score, seen = tier.ask(parse, "t", model.prior, seed=0)
            into.setdefault(METHODS[tier.number], []).append(score)
        into.setdefault("l1", []).append(-float(seen.evidence.features.get("misfit", np.nan)))
        into.setdefault("histogram", []).append(float(seen.evidence.features["prior_core"]))

    for _ in range(JITTERS):
        ask(jitter(mask, image.geometry, rng), case.true)
    for _ in range(places):
        moved = random_move(mask, image.geometry, body, AWAY_MM, rng, max_overlap=OVERLAP, min_inside=INSIDE)
        if moved is not None:
            ask(moved.mask, case.false)
    report = audit(image, with_tissues(scene(image, None), image), AuditOptions(), decoder=decoder, model=model)
    for rank, (id, region) in enumerate(report.regions.items(), start=1):
        near = region.mask.overlap(mask) > FOUND * mask.voxels or _holds(mask, region.mask)
        if near and not case.found:
            case.found, case.called = rank, any(m.id == id for m in report.missing)
    return case


def scene(image: Volume, claimed: Mask | None) -> Parse:
    """A parse with the tumour claimed, or with nothing."""
    masks = {} if claimed is None else {"t": claimed}
    entities = [Entity(id=i, name=ASKED_AS) for i in masks]
    return Parse(entities, geometry=image.geometry, masks=masks, circumstance=Circumstance(modality="CT"))


def _holds(outer: Mask, inner: Mask) -> bool:
    """Whether the centroid of the region lies in the tumour."""
    x, y, z = (round(v) for v in inner.centroid_voxel())
    return bool(outer.dense()[x, y, z])


def rows(cases: Sequence[Case]) -> Iterator[Row]:
    """Each method's AUROC and FPR95 over all claims, intervals over patients, and the search."""
    about = {"arena": "sarcoma", "family": "hallucinated"}
    for method in cases[0].true:
        for metric, statistic in (("auroc", auroc), ("fpr95", fpr95)):

            def of(drawn: Sequence[Case], method: str = method, statistic: object = statistic) -> float:
                true = [s for c in drawn for s in c.true[method]]
                false = [s for c in drawn for s in c.false.get(method, [])]
                wrong = np.array([False] * len(true) + [True] * len(false))
                return float(statistic(wrong, np.array(true + false)))  # type: ignore[operator]  # one of the two

            interval = bootstrap_interval(cases, of, rng=np.random.default_rng(0))
            count = sum(len(c.true[method]) + len(c.false.get(method, [])) for c in cases)
            yield Row(about, method, metric, of(cases), interval.low, interval.high, count)
    about = {"arena": "sarcoma", "family": "missing"}
    for metric, told in (("power", "found"), ("first", "first"), ("called", "called")):

        def share(drawn: Sequence[Case], told: str = told) -> float:
            hits = {"found": lambda c: c.found > 0, "first": lambda c: c.found == 1, "called": lambda c: c.called}
            return float(np.mean([hits[told](c) for c in drawn]))

        interval = bootstrap_interval(cases, share, rng=np.random.default_rng(0))
        yield Row(about, "ours", metric, share(cases), interval.low, interval.high, len(cases))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--places", type=int, default=6)
    arguments = parser.parse_args()
    main(arguments.data, arguments.places)
