"""A matched filter for what a parse leaves out, beside the audit's search: balls against what is usual in an organ.

    python benchmarks/matched_filter.py

The parses are those of `synth benchmark verdicts --family delete --limit 24`: complete, and with one lesion left out. A
score of a scan is the strongest answer of any ball in any organ that can hold findings: the mean of its voxels within
the organ less the organ's median,

    plain       by itself, HU
    contrast    less the same of the shell around the ball, HU
    noise       the first over the robust spread of such means within the organ (what averaging leaves of the noise)

with the organ's outline closed over the lesion's hole, drawn findings and other entities left out, and `rim` voxels of
the outline peeled off. Answer and rim are chosen on twelve other phantoms of the same setting by AUROC. No decoder is
asked. Writes matched-filter.json beside this file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval
from synth.benchmark.separation import SEPARATIONS
from synth.benchmark.verdict_compared import Compared, pooled
from synth.benchmark.verdict_faults import TRUE, Plan, plant
from synth.benchmark.verdict_phantoms import FIRST_SEED, draw_truth
from synth.parse import Kind, Parse
from synth.phantom.patients import LESIONS_MM
from synth.residual.hosts import has_findings
from synth.volume import Volume, crop_any

HERE = Path(__file__).resolve().parent
TESTED, CHOSEN_ON = 24, 12
FIRST_CHOSEN = FIRST_SEED + 500
RADII_MM = (6.0, 9.0, 13.0)
ANSWERS, RIMS = ("plain", "contrast", "noise"), (0, 1, 2)
CLOSED, MARGIN = 5, 6  # voxels: half of the largest hole; around an organ
MOST_HU, LEAST_HU = 150.0, 3.0
LEAST_SHARE = 0.5  # of a ball within the organ
DRAWS = 1000
Way = tuple[str, int]
Score = dict[Way, float]
Map = NDArray[np.float64]
Zone = NDArray[np.bool_]


@dataclass(frozen=True)
class Scan:
    """The scores of one parse of a patient; `size` is that of the lesion left out, "" where none is."""

    patient: int
    size: str
    scores: Score


def main() -> None:
    """Choose, then score."""
    begin = time.monotonic()
    practice = [scan for seed in range(FIRST_CHOSEN, FIRST_CHOSEN + CHOSEN_ON) for scan in scans_of(seed)]
    ways = [(answer, rim) for answer in ANSWERS for rim in RIMS]
    found = {way: auroc(practice, way) for way in ways}
    best = max(found, key=lambda way: found[way])
    sys.stderr.write("".join(f"{way}: {value:.3f}\n" for way, value in found.items()))
    scans = [scan for seed in range(FIRST_SEED, FIRST_SEED + TESTED) for scan in scans_of(seed)]
    rows = tuple(row for size in (*LESIONS_MM, "all") for row in scored(scans, best, size))
    command = "python benchmarks/matched_filter.py"
    result = BenchmarkResult("matched-filter", command, {}, time.monotonic() - begin, rows)
    (HERE / "matched-filter.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def scans_of(seed: int) -> Iterator[Scan]:
    """The complete parse of a phantom, and the parses without one of its lesions."""
    truth = draw_truth(seed)
    for plan in (TRUE, *(Plan("delete", size) for size in LESIONS_MM)):
        planted = plant(truth, plan)
        if planted is not None:
            yield Scan(seed, "" if plan is TRUE else plan.severity, answers(truth.image, planted.parse))


def answers(image: Volume, parse: Parse) -> Score:
    """The strongest answer of the scan in every way."""
    best: Score = {}
    for id in parse.present_ids:
        entity = parse.entity(id)
        if entity.kind is Kind.organ and has_findings(entity.name):
            for way, value in in_organ(image, parse, id):
                best[way] = max(best.get(way, 0.0), value)
    return best


def in_organ(image: Volume, parse: Parse, organ: str) -> Iterator[tuple[Way, float]]:
    """The strongest answer in one organ in every way."""
    box = parse.masks[organ].padded_slices(MARGIN)
    own = parse.masks[organ].crop(box)
    others = [i for i in parse.present_ids if i != organ and parse.entity(i).kind is not Kind.tissue]
    taken = crop_any([parse.masks[i] for i in others], box)
    findings = crop_any([parse.masks[i] for i in others if parse.entity(i).kind is Kind.finding], box)
    closed = ndimage.binary_fill_holes(ndimage.binary_closing(own, ball(CLOSED)))
    for rim in RIMS:
        zone = ndimage.binary_erosion(closed, iterations=rim) if rim else closed
        zone = zone & ~taken & ~ndimage.binary_dilation(findings)
        if zone.any():
            off = np.clip(image.array[box] - np.median(image.array[box][own]), -MOST_HU, MOST_HU)
            spacing = image.geometry.spacing_mm[0]
            yield from (((answer, rim), value) for answer, value in strongest(off, zone, spacing).items())


def strongest(off: Map, zone: Zone, spacing_mm: float) -> dict[str, float]:
    """The strongest answer of a ball of any size with its centre in the zone."""
    best = dict.fromkeys(ANSWERS, 0.0)
    for radius in RADII_MM:
        inner, outer = ball(radius / spacing_mm), ball(radius / spacing_mm + 2.0)
        mean, share = means(off, zone, inner)
        wider, _ = means(off, zone, outer)
        heard = zone & (share >= LEAST_SHARE)
        if not heard.any():
            continue
        grown = outer.sum() / inner.sum()
        shell = (grown * wider - mean) / (grown - 1)  # the mean of what the wider ball adds
        middle = np.median(mean[heard])
        spread = max(1.4826 * float(np.median(np.abs(mean[heard] - middle))), LEAST_HU)
        said = {"plain": mean, "contrast": mean - shell, "noise": mean / spread}
        best = {answer: max(best[answer], float(np.abs(said[answer][heard]).max())) for answer in ANSWERS}
    return best


def means(off: Map, zone: Zone, template: Zone) -> tuple[Map, Map]:
    """Mean of the zone's voxels under a template laid everywhere, and the share of the template that lies in it."""
    count = signal.fftconvolve(zone.astype(float), template.astype(float), mode="same")
    total = signal.fftconvolve(np.where(zone, off, 0.0), template.astype(float), mode="same")
    return total / np.maximum(count, 0.5), count / template.sum()


def ball(radius: float) -> Zone:
    """Voxels within a radius, voxels."""
    reach = int(np.ceil(radius))
    axis = np.arange(-reach, reach + 1)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return x**2 + y**2 + z**2 <= radius**2


def auroc(scans: Sequence[Scan], way: Way) -> float:
    """Of parses that lack a lesion against complete ones."""
    return pooled(SEPARATIONS["auroc"], compared(scans, way, LESIONS_MM))


def compared(scans: Sequence[Scan], way: Way, sizes: Collection[str]) -> list[Compared]:
    """Of each patient the scores without a lesion of one of these sizes, and those of the complete parse."""
    out = []
    for patient in sorted({scan.patient for scan in scans}):
        own = [scan for scan in scans if scan.patient == patient]
        lacking = [-scan.scores[way] for scan in own if scan.size in sizes]
        complete = [-scan.scores[way] for scan in own if not scan.size]
        out.append(Compared(np.array(lacking, float), np.array(complete, float)))
    return out


def scored(scans: Sequence[Scan], way: Way, size: str) -> Iterator[Row]:
    """AUROC, AUPR and FPR95 with intervals over patients."""
    parts = compared(scans, way, LESIONS_MM if size == "all" else (size,))
    lacking = sum(len(part.wrong) for part in parts)
    of = {"arena": "phantoms", "family": "delete", "severity": size, "task": "scan"}
    group = {**of, "way": f"{way[0]}, rim {way[1]}"}
    for metric, measure in SEPARATIONS.items():
        statistic = partial(pooled, measure)
        interval = bootstrap_interval(parts, statistic, rng=np.random.default_rng(0), draws=DRAWS)
        yield Row(group, "matched_filter", metric, statistic(parts), interval.low, interval.high, lacking)


if __name__ == "__main__":
    main()
