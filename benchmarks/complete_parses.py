"""Parses of which nothing is wrong: what does the audit say against them all the same?

    python benchmarks/complete_parses.py [--phantoms 40] [--workers 2]

Phantoms that nothing was fitted on, upper abdomens with three lesions and whole patients as they are sampled, every
outline jittered. All tiers, an alpha of 0.1. `flagged_entities`: of all that were judged; `flagged_parses`: with any
entity flagged; `false_missing`: parses with a region called missing. Intervals are exact ones over parses, of
`flagged_entities` a bootstrap over parses. Writes complete-parses.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lung_nodules import mean_of
from scipy.stats import binomtest

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.benchmark.verdict_phantoms import draw_truth
from synth.benchmark.verdict_record import FINE
from synth.decoder import load_decoder
from synth.fault import jittered
from synth.parse import Parse
from synth.phantom import make, sample_spec
from synth.pipeline.audit import AuditOptions, audit, shipped_model
from synth.pipeline.parallel import each
from synth.volume import Volume

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM, SPACING_MM = 92_000, 4.0  # no other program draws these
PATIENTS = ("upper abdomen", "whole")

Asked = tuple[str, int]
"""One of `PATIENTS`, and the seed."""


@dataclass(frozen=True)
class Said:
    """Of one parse: for each entity that was judged, whether it was flagged; regions called missing."""

    of: Asked
    flagged: tuple[bool, ...]
    missing: int


def drawn(patients: str, seed: int) -> tuple[Volume, Parse]:
    """The image, and a parse that is right but for a jitter of every outline."""
    if patients == "upper abdomen":
        truth = draw_truth(seed, spacing_mm=SPACING_MM)
        return truth.image, truth.parse
    made = make(seed, spec=sample_spec(seed), spacing_mm=(SPACING_MM,) * 3)
    return made.image, jittered(made.parse, np.random.default_rng([seed, 7]))


def said(of: Asked) -> Said:
    """The audit of one parse."""
    image, parse = drawn(*of)
    findings = audit(image, parse, AuditOptions()).findings
    judged = tuple(e.verdict not in FINE for e in findings.entities if e.score is not None)
    out = Said(of, judged, len(findings.missing or ()))
    sys.stderr.write(f"{' '.join(map(str, of))}: {sum(judged)} of {len(judged)} flagged, {out.missing} missing\n")
    return out


def rows_of(group: dict[str, str], parses: Sequence[Said]) -> list[Row]:
    """The three rates of some parses."""
    flagged = [p.flagged for p in parses]
    ends = bootstrap_interval(flagged, mean_of, rng=np.random.default_rng(0))
    entities = sum(map(len, flagged))
    rows = [Row(group, "ours", "flagged_entities", mean_of(flagged), ends.low, ends.high, entities)]
    for metric, hit in (
        ("flagged_parses", [any(p.flagged) for p in parses]),
        ("false_missing", [p.missing > 0 for p in parses]),
    ):
        exact = binomtest(sum(hit), len(hit)).proportion_ci()
        rows.append(Row(group, "ours", metric, float(np.mean(hit)), float(exact.low), float(exact.high), len(hit)))
    return rows


def main() -> None:
    """Audit, count, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    args, begin = parser.parse_args(), time.monotonic()
    asked = [(patients, FIRST_PHANTOM + k) for k in range(args.phantoms) for patients in PATIENTS]
    weights = {"fused": load_decoder("fused").weights_sha256, "audit": shipped_model().sha256}
    done = list(each(said, asked, args.workers))
    rows = []
    for patients in PATIENTS:
        rows += rows_of({"arena": "phantoms", "patients": patients}, [s for s in done if s.of[0] == patients])
    command = f"python benchmarks/complete_parses.py --phantoms {args.phantoms}"
    result = BenchmarkResult("complete_parses", command, weights, time.monotonic() - begin, tuple(rows))
    (HERE / "complete-parses.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


if __name__ == "__main__":
    main()
