"""Entities that a parse calls uncertain: which way does the image point where they are right, and where they are not?

    python benchmarks/leaning.py DATA [--patients 16]      (DATA: a folder laid out like openkbp/validation)

The last so many patients, every outline jittered. Each organ by itself is called uncertain, where it is and moved by 16
to 24 mm, and the parse is audited (tier 1, no search). Shares of `speaks_for`, `speaks_against` and `does_not_decide`,
and, where it is right, `flagged`: audits in which anything has a verdict that something is wrong. Reference masks that
are wrong are left out. Writes leaning.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synth.benchmark.faults import read_reference_errors
from synth.benchmark.remembered import remembering
from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.benchmark.verdict_record import FINE
from synth.decoder import load_decoder
from synth.errors import InputError
from synth.fault import FaultSpec, inject, jittered
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Parse, Presence
from synth.pipeline.audit import AuditOptions, audit, shipped_model
from synth.pipeline.parallel import each
from synth.residual.findings import Leaning

HERE = Path(__file__).resolve().parent
MOVED_MM = (16.0, 24.0)
RIGHT, MOVED = "where it is", "moved by 16-24 mm"


@dataclass(frozen=True)
class Said:
    """What was said of one uncertain organ, and whether anything was flagged."""

    condition: str
    leaning: str
    flagged: bool


def main(data: Path, patients: int, workers: int) -> None:
    """All patients, then the file."""
    started = time.monotonic()
    wrong = {(e.patient, e.organ) for e in read_reference_errors(HERE / "openkbp-reference-errors.csv")}
    decoder, model = load_decoder("direct"), shipped_model()

    def one(folder: Path) -> list[Said]:
        patient = read_patient(folder)
        remembered = remembering(decoder)
        truth = jittered(patient.parse, np.random.default_rng(0))
        bad = {e.id for e in truth.entities if (patient.name, e.name) in wrong}
        found = []
        for organ in truth.present_ids:
            if organ in bad:
                continue
            for condition, parse in conditions(truth, organ):
                asked = AuditOptions(remembered.name, (1,), search=False)
                report = audit(patient.image, parse, asked, decoder=remembered, model=model)
                said = next(e for e in report.entities if e.id == organ)
                if said.leaning is None or said.score is None:
                    continue  # too small on the grid
                judged = [e.verdict.value for e in report.entities if e.verdict is not None and e.id not in bad]
                flagged = any(verdict not in FINE for verdict in judged)
                found.append(Said(condition, said.leaning.value, flagged))
        return found

    said = list(each(one, patient_folders(data)[-patients:], workers))
    result = BenchmarkResult(
        "leaning",
        f"python benchmarks/leaning.py DATA --patients {patients}",
        {decoder.name: decoder.weights_sha256, "audit": model.sha256},
        time.monotonic() - started,
        tuple(rows(said)),
    )
    (HERE / "leaning.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")
    sys.stdout.write(result.table() + "\n")


def conditions(truth: Parse, organ: str) -> Iterator[tuple[str, Parse]]:
    """The parse with one organ called uncertain, where it is and elsewhere."""
    yield RIGHT, truth.with_presence(organ, Presence.uncertain)
    rng = np.random.default_rng([1, *organ.encode()])
    try:
        moved = inject(truth, FaultSpec("move", entity=organ, severity_mm=MOVED_MM), rng).parse
    except InputError:  # there is no room
        return
    yield MOVED, moved.with_presence(organ, Presence.uncertain)


def rows(patients: Sequence[Sequence[Said]]) -> Iterator[Row]:
    """Shares with intervals over patients."""
    for condition in (RIGHT, MOVED):
        some = [[s for s in found if s.condition == condition] for found in patients]
        some = [found for found in some if found]
        for metric in (*(way.value for way in Leaning), *(["flagged"] if condition == RIGHT else [])):

            def share(drawn: Sequence[Sequence[Said]], metric: str = metric) -> float:
                told = [s.flagged if metric == "flagged" else s.leaning == metric for found in drawn for s in found]
                return float(np.mean(told))

            interval = bootstrap_interval(some, share, rng=np.random.default_rng(0), draws=1000)
            group = {"arena": "openkbp", "presence": "uncertain", "condition": condition}
            count = sum(map(len, some))
            yield Row(group, "ours", metric, share(some), interval.low, interval.high, count)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--patients", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    main(given.data, given.patients, given.workers)
