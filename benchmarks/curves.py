"""Curves of the self-check on moved organs: ROC, reliability, FDR against alpha, risk against coverage, size.

    python benchmarks/curves.py DATA [--patients 32] [--workers 2]    (DATA: a folder laid out like openkbp/validation)

The claims of `synth benchmark faults` drawn twice, jittered masks alone (every organ where it is, against the same
moved by 8-12, 16-24 and 32-56 mm), scored by tier 1 and judged with the shipped calibration; the masks of
openkbp-reference-errors.csv are left out. For FDR and power a parse is made of each moved mask and the jittered true
ones of all other organs of the patient, and judged as the audit judges one; both are means over parses, with 95%
intervals over patients.

    reliability     observed share of true masks against 1 / (1 + exp(-score)), both kinds weighing the same; ece is
                    the mean distance over ten bins, weighted by their masks
    valid           share of true masks with a p-value at most u: at most u where the calibration holds
    aurc, augrc     masks ordered by |score|, the surest first; risk is the share of wrong signs among those kept,
                    its mean over coverage, and the mean of risk x coverage (Traub et al. 2024, NeurIPS)
    sensitivity     of moved masks at the threshold that 5% of the true ones fail, by thirds of the volume

Writes curves-openkbp.json and curves-openkbp.png.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from synth.benchmark.fault_methods import Ours
from synth.benchmark.faults import read_reference_errors
from synth.benchmark.moved import DISTANCES_MM, SMALLEST_VOXELS, SURFACES, TRUE, claims_about
from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval, mean_finite
from synth.benchmark.selective import SELECTIVE, coverage_risk
from synth.benchmark.separation import Measure
from synth.decoder import load_decoder
from synth.interop.openkbp import patient_folders, read_patient
from synth.pipeline.audit import shipped_model
from synth.pipeline.parallel import each
from synth.residual import AuditModel
from synth.residual.findings import Verdict
from synth.residual.verdict import Scored, judge

HERE = Path(__file__).resolve().parent
ALPHAS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
METHODS = ("ours", "histogram", "l1")
JITTERED = SURFACES[1]
FALSE_ALARMS = 0.05
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Mask:
    """A scored mask: whose, where, how large, and its scores by method."""

    patient: str
    organ: str
    condition: str
    volume_ml: float
    scores: dict[str, float]


@dataclass(frozen=True)
class Parse:
    """One judged at one alpha: whether the moved mask is flagged, and the share of the flags that is false."""

    patient: str
    distance: str
    alpha: float
    found: float
    false: float


def main(data: Path, patients: int, workers: int) -> None:
    """Score, judge, count, draw."""
    started = time.monotonic()
    decoder, model = load_decoder("direct"), shipped_model()
    wrong = {(e.patient, e.organ) for e in read_reference_errors(HERE / "openkbp-reference-errors.csv")}
    method = Ours(decoder, model)

    def one(folder: Path) -> list[Mask]:
        patient = read_patient(folder).resampled(decoder.spacing_mm)
        score, found = method.of(patient.image), []
        for claim in claims_about(patient, repeats=2):
            if claim.surface == JITTERED:
                mask = claim.parse.masks[claim.entity]
                volume = mask.volume_ml(claim.parse.geometry)
                if mask.voxels >= SMALLEST_VOXELS and (patient.name, claim.name) not in wrong:
                    found.append(Mask(patient.name, claim.name, claim.condition, volume, dict(score(claim))))
        return found

    masks = [m for found in each(one, patient_folders(data)[:patients], workers) for m in found]
    parses = list(judged(masks, model))
    result = BenchmarkResult(
        "curves",
        f"python benchmarks/curves.py DATA --patients {patients}",
        {decoder.name: decoder.weights_sha256, "audit": model.sha256},
        time.monotonic() - started,
        tuple(rows_of(masks, parses, model)),
    )
    (HERE / "curves-openkbp.json").write_text(json.dumps(result.to_json(), indent=1) + "\n")
    draw(masks, parses, model, HERE / "curves-openkbp.png")


def scored(mask: Mask, model: AuditModel) -> Scored:
    """As the audit judges it."""
    return Scored(mask.organ, mask.volume_ml, mask.scores["ours"], model.judge("direct").calibration)


def judged(masks: Sequence[Mask], model: AuditModel) -> Iterator[Parse]:
    """Every moved mask among the true ones of its patient's other organs, at every alpha."""
    true: dict[str, list[Mask]] = {}
    for mask in masks:
        if mask.condition == TRUE and mask.organ not in {m.organ for m in true.get(mask.patient, ())}:
            true.setdefault(mask.patient, []).append(mask)
    for mask in (m for m in masks if m.condition != TRUE):
        others = [m for m in true.get(mask.patient, ()) if m.organ != mask.organ]
        claims = [scored(m, model) for m in (mask, *others)]
        for alpha in ALPHAS:
            flags = [j.verdict is Verdict.hallucinated for j in judge(claims, alpha)]
            false = sum(flags[1:]) / max(1, sum(flags))
            yield Parse(mask.patient, mask.condition, alpha, float(flags[0]), false)


def rows_of(masks: Sequence[Mask], parses: Sequence[Parse], model: AuditModel) -> Iterator[Row]:
    """Every number, with intervals over patients."""
    names = sorted({m.patient for m in masks})
    by_parse = {n: [p for p in parses if p.patient == n] for n in names}
    for distance in (*DISTANCES_MM, "all"):
        for alpha in ALPHAS:
            about = {"distance": distance, "alpha": f"{alpha:g}"}
            for metric, value in (("fdr", lambda p: p.false), ("power", lambda p: p.found)):

                def mean(drawn: Sequence[str], about=about, value=value) -> float:  # type: ignore[no-untyped-def] # bound here
                    chosen = (p for n in drawn for p in by_parse[n] if f"{p.alpha:g}" == about["alpha"])
                    return mean_finite(value(p) for p in chosen if about["distance"] in ("all", p.distance))

                yield row(about, metric, mean, names, len(parses) // len(ALPHAS))
    by_mask = {n: [m for m in masks if m.patient == n] for n in names}

    def pooled(statistic: Callable[[list[Mask]], float]) -> Callable[[Sequence[str]], float]:
        return lambda drawn: statistic([m for n in drawn for m in by_mask[n]])

    for u in ALPHAS:
        yield row({"u": f"{u:g}"}, "valid", pooled(lambda some, u=u: valid(some, model, u)), names, len(masks))  # type: ignore[misc] # bound here
    yield row({}, "ece", pooled(lambda some: expected_error(*reliability(some))), names, len(masks))
    for metric, measure in SELECTIVE.items():
        yield row({}, metric, pooled(partial(selected, measure)), names, len(masks))
    for distance in DISTANCES_MM:
        for name, low, high in thirds(masks):
            group = {"distance": distance, "volume": name}
            chosen = pooled(lambda some, d=distance, a=low, b=high: sensitivity(some, d, a, b))  # type: ignore[misc] # bound here
            yield row(group, "sensitivity", chosen, names, sum(m.condition == distance for m in masks) // 3)


def row(
    group: dict[str, str], metric: str, statistic: Callable[[Sequence[str]], float], names: Sequence[str], n: int
) -> Row:
    """One number of the patients named."""
    found = bootstrap_interval(names, statistic, rng=np.random.default_rng(0), draws=300)
    return Row({"arena": "openkbp", **group}, "ours", metric, statistic(names), found.low, found.high, n)


def valid(masks: Sequence[Mask], model: AuditModel, u: float) -> float:
    """Share of true masks with a p-value at most u."""
    found = [scored(m, model).conformal(69) for m in masks if m.condition == TRUE]
    return mean_finite(float(c.p_value <= u) for c in found if c is not None)


def reliability(masks: Sequence[Mask]) -> tuple[Float, Float, Float]:
    """(said, observed, weight) by bins of the probability that the mask is true, at even odds."""
    score = np.array([m.scores["ours"] for m in masks])
    true = np.array([m.condition == TRUE for m in masks])
    weight = np.where(true, 0.5 / max(1, true.sum()), 0.5 / max(1, (~true).sum()))
    said = 1.0 / (1.0 + np.exp(-np.clip(score, -30, 30)))
    bins = np.minimum((said * 10).astype(int), 9)
    total = np.bincount(bins, weight, 10).astype(np.float64)
    kept = total > 0
    mean = [np.bincount(bins, w, 10)[kept] / total[kept] for w in (weight * said, weight * true)]
    return mean[0], mean[1], total[kept]


def expected_error(said: Float, observed: Float, weight: Float) -> float:
    """Mean distance of said and observed."""
    return float((np.abs(said - observed) * weight).sum() / weight.sum())


def selected(measure: Measure, masks: Sequence[Mask]) -> float:
    """AURC or AUGRC."""
    return measure(*signs(masks))


def signs(masks: Sequence[Mask]) -> tuple[NDArray[np.bool_], Float]:
    """Which masks were moved, and their scores."""
    return np.array([m.condition != TRUE for m in masks]), np.array([m.scores["ours"] for m in masks])


def thirds(masks: Sequence[Mask]) -> list[tuple[str, float, float]]:
    """Name, least and most mL."""
    low, high = np.quantile([m.volume_ml for m in masks if m.condition == TRUE], (1 / 3, 2 / 3))
    names = f"up to {low:.0f} mL", f"{low:.0f}-{high:.0f} mL", f"over {high:.0f} mL"
    return list(zip(names, (0.0, low, high), (low, high, math.inf), strict=True))


def sensitivity(masks: Sequence[Mask], distance: str, low: float, high: float) -> float:
    """Of moved masks of a size, where 5% of all true ones are flagged."""
    limit = np.quantile([m.scores["ours"] for m in masks if m.condition == TRUE], FALSE_ALARMS)
    chosen = [m for m in masks if m.condition == distance and low < m.volume_ml <= high]
    return mean_finite(float(m.scores["ours"] < limit) for m in chosen)


def draw(masks: Sequence[Mask], parses: Sequence[Parse], model: AuditModel, path: Path) -> None:
    """All curves on one page."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 8), constrained_layout=True)
    roc, said, error, risk, size, p = axes.flat
    for distance, colour in zip(DISTANCES_MM, ("tab:red", "tab:orange", "tab:green"), strict=True):
        chosen = [m for m in masks if m.condition in (TRUE, distance)]
        for method, style in zip(METHODS, ("-", "--", ":"), strict=True):
            false, true, _ = roc_curve([m.condition != TRUE for m in chosen], [-m.scores[method] for m in chosen])
            roc.plot(false, true, style, color=colour, label=f"{distance} mm, {method}")
        found = [mean_finite(q.found for q in parses if (q.distance, q.alpha) == (distance, a)) for a in ALPHAS]
        error.plot(ALPHAS, found, "--o", ms=3, color=colour, label=f"power, {distance} mm")
        bins = thirds(masks)
        size.plot([b[0] for b in bins], [sensitivity(masks, distance, *b[1:]) for b in bins], "o-", color=colour)
    roc.set(xlabel="share of true masks flagged", ylabel="share of moved masks flagged", title="ROC")
    roc.legend(fontsize=6)
    error.plot(ALPHAS, [mean_finite(q.false for q in parses if q.alpha == a) for a in ALPHAS], "k-o", ms=3, label="FDR")
    error.plot([0, 0.5], [0, 0.5], "k:", lw=1)
    error.set(xlabel="alpha", title="realised FDR and power")
    error.legend(fontsize=7)
    x, y, weight = reliability(masks)
    said.plot([0, 1], [0, 1], "k:", lw=1)
    said.scatter(x, y, s=2000 * weight)
    said.set(xlabel="said probability of a true mask", ylabel="observed share", title="reliability, even odds")
    cover = np.arange(1, len(masks) + 1) / len(masks)
    risk.plot(cover, coverage_risk(*signs(masks)))
    risk.set(xlabel="coverage", ylabel="share of wrong signs", title="risk against coverage")
    size.set(ylabel="share flagged", ylim=(0, 1.02), title="sensitivity at 5% false alarms, by size")
    grid = np.linspace(0.005, 0.5, 100)
    p.plot(grid, [valid(masks, model, u) for u in grid])
    p.plot([0, 0.5], [0, 0.5], "k:", lw=1)
    p.set(xlabel="u", ylabel="true masks with p at most u", title="validity of the p-values")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--patients", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    main(arguments.data, arguments.patients, arguments.workers)
