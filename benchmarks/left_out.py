"""Lesions that a parse leaves out, by how much they differ from their organ: visible ones and those that are not.

    synth benchmark verdicts --family delete --limit 24 --tiers all --folder AUDITS --json
    python benchmarks/left_out.py AUDITS

Reads the audits of that run, draws its phantoms again for the contrast of each lesion, scores them as the benchmark
does, and writes `left-out.json` beside this file. Visible: the mean of the lesion is 15 HU or more from the median of
its organ outside all findings.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from synth.benchmark.result import BenchmarkResult, Row
from synth.benchmark.verdict_phantoms import draw_truth
from synth.benchmark.verdict_record import AuditLine, read_lines
from synth.benchmark.verdict_scores import rows_of
from synth.benchmark.verdict_truth import Truth
from synth.parse import Kind

HERE = Path(__file__).resolve().parent
VISIBLE_HU = 15.0
VISIBLE, FAINT = f">= {VISIBLE_HU:g} HU", f"< {VISIBLE_HU:g} HU"
METRICS = ("detected", "top3", "power", "auroc", "aupr")


def main(folder: Path) -> None:
    """Read, measure, write."""
    begin = time.monotonic()
    lines: dict[str, list[AuditLine]] = {"all": [], VISIBLE: [], FAINT: []}
    for path in sorted(folder.glob("phantom-*.jsonl")):
        truth = draw_truth(int(path.stem.removeprefix("phantom-")))
        for line in read_lines(path):
            for contrast in contrasts_of(line, truth):
                lines[contrast].append(line)
    rows = tuple(row for contrast, some in lines.items() for row in scored(contrast, some))
    command = "python benchmarks/left_out.py AUDITS, of synth benchmark verdicts --family delete --limit 24 --tiers all"
    result = BenchmarkResult("left-out", command, {}, time.monotonic() - begin, rows)
    (HERE / "left-out.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def contrasts_of(line: AuditLine, truth: Truth) -> tuple[str, ...]:
    """The groups that an audit is in: correct parses are compared with everything."""
    if not line.place:
        return ("all", VISIBLE, FAINT)
    return ("all", VISIBLE if abs(contrast_hu(truth.lesions[line.severity], truth)) >= VISIBLE_HU else FAINT)


def contrast_hu(lesion: str, truth: Truth) -> float:
    """Mean of a lesion less the median of its organ outside all findings, HU."""
    outlines, image = truth.outlines, truth.image.array
    (host,) = (r.object for r in outlines.relations if r.type == "located_in" and r.subject == lesion)
    free = outlines.masks[host]
    for entity in outlines.entities:
        if entity.kind is Kind.finding and entity.id in outlines.masks:
            free = free - outlines.masks[entity.id]
    return float(outlines.masks[lesion].values(image).mean() - np.median(free.values(image)))


def scored(contrast: str, lines: Sequence[AuditLine]) -> list[Row]:
    """Shares, AUROC and AUPR of what was left out, by size; of whole scans those of the residual as well."""
    chosen = (r for r in rows_of(lines) if r.group.get("family") == "delete" and r.metric in METRICS)
    asked = (r for r in chosen if r.method == "ours" or "task" in r.group)
    return [replace(r, group={**r.group, "contrast": contrast}) for r in asked]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
