"""Lesions that a parse leaves out, by how much they differ from their organ: visible ones and those that are not.

    synth benchmark verdicts --family delete --limit 24 --tiers all --folder AUDITS --json
    python benchmarks/left_out.py AUDITS

Reads the audits of that run, draws its phantoms again for the contrast of each lesion, and writes `left-out.json`
beside this file. Visible: the mean of the lesion is 15 HU or more from the median of its organ outside all findings.
AUROC: the score of the region on the lesion, lowest where there is none, against the strongest region of each correct
parse.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from synth.benchmark.result import BenchmarkResult, Row
from synth.benchmark.verdict_faults import TRUE
from synth.benchmark.verdict_phantoms import draw_truth
from synth.benchmark.verdict_record import AuditLine, SaidRegion, read_lines
from synth.benchmark.verdict_truth import Truth
from synth.parse import Kind

HERE = Path(__file__).resolve().parent
VISIBLE_HU, DRAWS = 15.0, 1000
SIZES = ("12-16 mm", "16-24 mm", "24-36 mm")
NOWHERE = -1e6


@dataclass(frozen=True)
class Lesion:
    """One that was left out: the patient, how it differs from its organ, and the regions of the audit."""

    patient: str
    size: str
    contrast_hu: float
    regions: tuple[SaidRegion, ...]

    @property
    def visible(self) -> bool:
        """Whether it differs enough."""
        return abs(self.contrast_hu) >= VISIBLE_HU

    @property
    def score(self) -> float:
        """Of the strongest region on it."""
        return strongest(r for r in self.regions if r.hit)


def main(folder: Path) -> None:
    """Read, measure, write."""
    begin = time.monotonic()
    lesions: list[Lesion] = []
    correct: dict[str, float] = {}
    for path in sorted(folder.glob("phantom-*.jsonl")):
        truth = draw_truth(int(path.stem.removeprefix("phantom-")))
        for line in read_lines(path):
            if line.family == "delete" and line.place:
                lesions.append(lesion_of(line, truth))
            elif line.family == TRUE.family and line.searched:
                correct[line.patient] = strongest(line.regions)
    rows = tuple(row for group, chosen in cells(lesions) for row in rows_of(group, chosen, correct))
    command = "python benchmarks/left_out.py AUDITS, of synth benchmark verdicts --family delete --limit 24 --tiers all"
    result = BenchmarkResult("left-out", command, {}, time.monotonic() - begin, rows)
    (HERE / "left-out.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def lesion_of(line: AuditLine, truth: Truth) -> Lesion:
    """The line with the contrast of what it left out."""
    id, image = truth.lesions[line.severity], truth.image.array
    outlines = truth.outlines
    (host,) = (r.object for r in outlines.relations if r.type == "located_in" and r.subject == id)
    free = outlines.masks[host]
    for entity in outlines.entities:
        if entity.kind is Kind.finding and entity.id in outlines.masks:
            free = free - outlines.masks[entity.id]
    contrast = outlines.masks[id].values(image).mean() - np.median(free.values(image))
    return Lesion(line.patient, line.severity, float(contrast), line.regions)


def strongest(regions: Iterator[SaidRegion] | Sequence[SaidRegion]) -> float:
    """The highest score of a region, as the audit weighs it."""
    return max((r.scores.get("presence", NOWHERE) for r in regions), default=NOWHERE)


def cells(lesions: Sequence[Lesion]) -> Iterator[tuple[dict[str, str], list[Lesion]]]:
    """All, by contrast, and the visible ones by size."""
    for contrast, sees in (("all", (True, False)), (">= 15 HU", (True,)), ("< 15 HU", (False,))):
        chosen = [each for each in lesions if each.visible in sees]
        yield {"contrast": contrast, "severity": "all"}, chosen
        for size in SIZES:
            yield {"contrast": contrast, "severity": size}, [each for each in chosen if each.size == size]


def rows_of(group: dict[str, str], lesions: Sequence[Lesion], correct: dict[str, float]) -> Iterator[Row]:
    """Shares and AUROC with intervals over patients."""
    if not lesions:
        return
    names = sorted(correct)
    rng = np.random.default_rng(0)
    draws = [rng.choice(names, len(names)) for _ in range(DRAWS)]
    for metric in ("detected", "top3", "power", "auroc"):
        found = [measured(metric, lesions, correct, draw) for draw in draws]
        low, high = np.nanquantile(found, (0.025, 0.975))
        value = measured(metric, lesions, correct, names)
        yield Row(group, "ours", metric, value, float(low), float(high), len(lesions))


def measured(metric: str, lesions: Sequence[Lesion], correct: dict[str, float], names: Sequence[str]) -> float:
    """One number over a draw of patients."""
    own: dict[str, list[Lesion]] = {}
    for each in lesions:
        own.setdefault(each.patient, []).append(each)
    chosen = [each for name in names for each in own.get(name, [])]
    if not chosen:  # none in this draw
        return math.nan
    if metric == "auroc":
        scores = [*(each.score for each in chosen), *(correct[name] for name in names)]
        return float(roc_auc_score([1] * len(chosen) + [0] * len(names), scores))
    hits = {
        "detected": lambda each: any(r.hit for r in each.regions),
        "top3": lambda each: any(r.hit for r in each.regions[:3]),
        "power": lambda each: any(r.hit and r.missing for r in each.regions),
    }
    return float(np.mean([hits[metric](each) for each in chosen]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
