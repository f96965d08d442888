"""Lung nodules that a parse leaves out: are they brought up, in which place, and are they called missing?

    python benchmarks/lung_nodules.py [--phantoms 6]

Phantoms of chest and abdomen with a nodule of 16, 20 and 24 mm in three lobes, the lung itself not drawn, as
TotalSegmentator has it. Audited by the first tier under a jitter of every outline, complete and without the three.
`brought_up`: share of the nodules that a region lies on; `first`: of them, those before every region that is not one;
`missing`: share called so; `false_findings`: regions called missing a complete scan. The search was fitted on lesions
of livers and kidneys alone. Writes lung-nodules.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.benchmark.verdicts import found_at, judged_regions
from synth.decoder import load_decoder
from synth.fault import jittered
from synth.phantom import LesionSpec, make, sample_spec
from synth.pipeline.audit import AuditOptions, audit, shipped_model

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM, SPACING_MM = 87_000, 4.0
NODULES = (("lung_upper_lobe_left", 16.0), ("lung_middle_lobe_right", 20.0), ("lung_lower_lobe_right", 24.0))
TIER_1 = AuditOptions(tiers=(1,))


@dataclass(frozen=True)
class Scan:
    """Of each nodule of a phantom: was it brought up, first, called? False regions of its complete parse."""

    brought_up: tuple[bool, ...]
    first: tuple[bool, ...]
    missing: tuple[bool, ...]
    false: int


def scanned(seed: int) -> Scan:
    """The two audits of one phantom."""
    lesions = tuple(LesionSpec("lung_nodule", lobe, size) for lobe, size in NODULES)
    spec = replace(sample_spec(seed), field_of_view="chest_abdomen", lesions=lesions)
    made = make(seed, spec=spec, spacing_mm=(SPACING_MM,) * 3)
    parse = jittered(made.parse, np.random.default_rng([seed, 7]))
    nodules = [i for i in made.parse.present_ids if made.parse.entity(i).name == "lung_nodule"]
    complete, lacking = (audit(made.image, z, TIER_1) for z in (parse, parse.without(*nodules)))
    regions = [region.id for region in judged_regions(lacking)]
    hits = [[found_at(lacking.regions[r].mask, made.parse.masks[i]) for r in regions] for i in nodules]
    right = np.any(hits, axis=0) if regions else np.zeros(0, bool)
    before = int(np.argmin(right)) if not right.all() else len(regions)  # regions before the first that is none
    called = {m.id for m in lacking.findings.missing or ()}
    return Scan(
        tuple(any(own) for own in hits),
        tuple(any(own[:before]) for own in hits),
        tuple(any(hit and r in called for hit, r in zip(own, regions, strict=True)) for own in hits),
        len(complete.findings.missing or ()),
    )


def main() -> None:
    """Audit, count, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=6)
    count, begin = parser.parse_args().phantoms, time.monotonic()
    scans = []
    for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + count):
        scans.append(scanned(seed))
        sys.stderr.write(f"{seed}: {scans[-1]}\n")
    rows = []
    for metric in ("brought_up", "first", "missing", "false_findings"):
        values = [(s.false,) if metric == "false_findings" else getattr(s, metric) for s in scans]
        ends = bootstrap_interval(values, mean_of, rng=np.random.default_rng(0))
        rows.append(
            Row({"arena": "phantoms"}, "ours", metric, mean_of(values), ends.low, ends.high, sum(map(len, values)))
        )
    weights = {"fused": load_decoder("fused").weights_sha256, "audit": shipped_model().sha256}
    command = f"python benchmarks/lung_nodules.py --phantoms {count}"
    result = BenchmarkResult("lung_nodules", command, weights, time.monotonic() - begin, tuple(rows))
    (HERE / "lung-nodules.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def mean_of(groups: Sequence[Sequence[float]]) -> float:
    """Mean over everything in all groups."""
    return float(np.mean([value for group in groups for value in group]))


if __name__ == "__main__":
    main()
