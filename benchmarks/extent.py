"""Outlines that are right, jittered, against outlines that are shifted, dilated, eroded, merged or split.

    python benchmarks/extent.py DATA [--phantoms 10]      (DATA: a folder laid out like openkbp/validation)

Every outline is planted on the parse's own grid, jittered, and measured on the grid of the audit. `auroc` of the
score; `power`: share of the wrong ones called wrong; `false_alarms`: of the right ones. Called wrong `alone` is
p <= 0.01 and a score of -1 or less; `in the parse` is what the audit does at alpha = 0.1, where the p-value has to
stand among those of all entities of the parse; `by names` is the rule about two entities of one name that touch.
`direction`: of the wrong ones that are called so, how often the side named first is one on which they are wrong, and in
that way. Baselines: how unusual one number alone is for the name. Writes `extent.json` beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from extent_fit import chosen
from numpy.typing import NDArray

from synth.benchmark.extents import FAULTS, TRUE, ExtentClaim, extent_claims
from synth.benchmark.faults import read_reference_errors
from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.benchmark.separation import auroc
from synth.decoder.checkpoint import weights_folder
from synth.interop.openkbp import patient_folders, read_patient
from synth.phantom import make
from synth.residual.border import SIDES
from synth.residual.conformal import scores_needed
from synth.residual.extent import AGAINST_NATS, MOST, ExtentJudge
from synth.residual.judge import AuditModel

HERE = Path(__file__).resolve().parent
FIRST_PHANTOM = 81_000
ENTITIES = 10
ALPHA = 0.1
BASELINES = ("thickness", "gradient_border", "nearby_best")
AXES = {name: (k % 3, 1.0 if k < 3 else -1.0) for k, name in enumerate(SIDES)}


@dataclass(frozen=True)
class Scored:
    """One claim, scored: higher is more believable; whether it is called wrong, and whether the side named is right."""

    case: str
    name: str
    family: str
    severity: str
    scores: Mapping[str, float]
    alone: bool
    audit: bool
    rule: bool
    side: float


def scored(claim: ExtentClaim, judge: ExtentJudge) -> Scored:
    """What the judge and the baselines say of a claim."""
    name = claim.entity.name
    each = judge.scored(claim.measured, claim.entity, claim.volume_ml)
    known = judge.usual(name)
    z = {b: -abs(claim.measured.features.get(b, math.nan) - known[b][0]) / known[b][1] for b in BASELINES}

    def called(level: float, needed: int) -> bool:
        found = each.conformal(max(needed, scores_needed(1, MOST)))
        return found is not None and each.score <= -AGAINST_NATS and found.p_value <= min(level, MOST)

    # The strictest step of Benjamini-Hochberg, that of the only wrong one among them.
    among = called(ALPHA / claim.among, scores_needed(claim.among, ALPHA))
    return Scored(
        claim.case, name, claim.family, claim.severity, {"ours": each.score, **z}, called(MOST, 0), among,
        claim.fragment, side(claim, judge),
    )  # fmt: skip


def side(claim: ExtentClaim, judge: ExtentJudge) -> float:
    """1 where the side named first is right, 0 where it is not, NaN where none is named or there is no right one."""
    reaches = claim.measured.reaches(judge.usual(claim.entity.name))
    if not reaches or claim.family not in ("shift", "dilate", "erode"):
        return math.nan
    first = reaches[0]
    if claim.family != "shift":
        return float((first.mm > 0) == (claim.family == "dilate"))
    axis, sign = AXES[first.side]
    along = sign * claim.moved_mm[axis]
    return float((along > 0) == (first.mm > 0) and abs(along) > 0)


def rows_of(arena: Mapping[str, str], found: Sequence[Scored]) -> Iterator[Row]:
    """Every family and severity, pooled over the entities; then the right outlines; then AUROC by organ."""
    true = [s for s in found if s.family == TRUE]
    for family, severity in (*FAULTS, ("all", "all")):
        pooled = (family, severity) == ("all", "all")
        wrong = [s for s in found if s.family != TRUE and (pooled or (s.family, s.severity) == (family, severity))]
        about = {**arena, "family": family, "severity": severity}
        if not wrong:
            continue
        for method in ("ours", *BASELINES):
            yield row({**about, "entity": "all"}, method, "auroc", [*true, *wrong])
        for how in ("alone", "audit"):
            yield row({**about, "decided": HOW[how]}, "ours", "power", wrong, how)
        if family == "split":
            yield row({**about, "decided": "by names"}, "ours", "power", wrong, "rule")
        named = [s for s in wrong if s.alone and not math.isnan(s.side)]
        if named:
            yield row({**about, "decided": HOW["alone"]}, "ours", "direction", named, "side")
    for how in ("alone", "audit", "rule"):
        yield row({**arena, "family": TRUE, "decided": HOW[how]}, "ours", "false_alarms", true, how)
    if arena["arena"] == "openkbp":
        for name in sorted({s.name for s in found}):
            own = [s for s in found if s.name == name]
            yield row({**arena, "family": "all", "severity": "all", "entity": name}, "ours", "auroc", own)


HOW = {"alone": "alone", "audit": "in the parse", "rule": "by names"}


def row(group: dict[str, str], method: str, metric: str, found: Sequence[Scored], field: str = "") -> Row:
    """One number with its interval over cases."""
    wrong = np.array([s.family != TRUE for s in found])
    value = np.array([-s.scores[method] if metric == "auroc" else float(getattr(s, field)) for s in found])
    case, known = np.array([s.case for s in found]), ~np.isnan(value)
    cases = [np.flatnonzero(known & (case == name)) for name in np.unique(case)]

    def measure(some: Sequence[NDArray[np.int64]]) -> float:
        pick = np.concatenate(some) if some else np.zeros(0, int)
        if metric == "auroc":
            return auroc(wrong[pick], -value[pick]) if wrong[pick].any() and not wrong[pick].all() else math.nan
        return float(value[pick].mean()) if pick.size else math.nan

    ends = bootstrap_interval(cases, measure, rng=np.random.default_rng(0), draws=300)
    return Row(group, method, metric, measure(cases), ends.low, ends.high, int(wrong.sum()) or len(found))


def main() -> None:
    """Measure, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--phantoms", type=int, default=10)
    asked = parser.parse_args()
    started = time.monotonic()
    model = AuditModel.load(weights_folder("audit"))
    judge = ExtentJudge.shipped_for(model.prior)
    if judge is None:
        raise SystemExit("extent.json was fitted with another population: python benchmarks/extent_fit.py")
    real, made = [], []
    for number, folder in enumerate(patient_folders(asked.data)):
        patient, rng = read_patient(folder), np.random.default_rng([21, number])
        ids = patient.parse.present_ids
        claims = extent_claims(patient.name, patient.image, patient.parse, model.prior, rng, ids=ids)
        real += [scored(c, judge) for c in claims]
        sys.stderr.write(f"{patient.name}\n")
    for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + asked.phantoms):
        phantom, rng = make(seed), np.random.default_rng([22, seed])
        ids = chosen(phantom.parse, rng, ENTITIES)
        claims = extent_claims(f"phantom {seed}", phantom.image, phantom.parse, model.prior, rng, ids=ids)
        made += [scored(c, judge) for c in claims]
        sys.stderr.write(f"phantom {seed}\n")
    errors = {(e.patient, e.organ) for e in read_reference_errors(HERE / "openkbp-reference-errors.csv")}
    right = [s for s in real if (s.case, s.name) not in errors]
    rows = [
        *rows_of({"arena": "openkbp"}, real),
        *rows_of({"arena": "openkbp", "reference": "checked"}, right),
        *rows_of({"arena": "phantoms"}, made),
    ]
    command = f"python benchmarks/extent.py {asked.data.name} --phantoms {asked.phantoms}"
    result = BenchmarkResult("extent", command, {"audit": model.sha256}, time.monotonic() - started, tuple(rows))
    (HERE / "extent.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


if __name__ == "__main__":
    main()
