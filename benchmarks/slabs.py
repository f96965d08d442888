"""Whole verdicts in slabs of one real CT: small fields of view, which cut most of what they hold.

    python benchmarks/slabs.py CASE WORK [--workers N]      (CASE: ct.nii.gz, labels.nii.gz, labels.txt)

Slabs of 90 and of 168 mm, each an image of its own with the labels that are left in it. Audited by the first tier under
a jitter of every outline, as they are and with organs moved, by the code of `synth benchmark verdicts --family move`;
audits that are under WORK are not made again. All are of one patient: rates are of these slabs, and intervals are not
those of patients. Writes slabs.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from synth.benchmark.result import BenchmarkResult
from synth.benchmark.verdict_patients import Referenced
from synth.benchmark.verdict_scores import rows_of
from synth.benchmark.verdict_truth import Truth
from synth.benchmark.verdicts import VerdictOptions, run_verdicts
from synth.decoder import load_decoder
from synth.pipeline.audit import shipped_model

HERE = Path(__file__).resolve().parent
HEIGHTS_MM = (90.0, 168.0)
STEPS = 2  # slabs to a height: each overlaps half of the one before


@dataclass(frozen=True)
class Slabs:
    """Slabs of one labelled case, from the bottom up."""

    folder: Path
    slices: int
    spacing_mm: float
    arena: str = "slabs"

    @property
    def parts(self) -> Sequence[tuple[int, int]]:
        """First slice and number of slices of each slab; the last of a height ends with the image."""
        out = []
        for height in HEIGHTS_MM:
            count = min(round(height / self.spacing_mm), self.slices)
            last = self.slices - count
            out += [(first, count) for first in (*range(0, last, count // STEPS), last)]
        return out

    @property
    def names(self) -> Sequence[str]:
        """By their first slice and their number of slices."""
        return [f"{first}-{count}" for first, count in self.parts]

    @property
    def about(self) -> str:
        """The folder's own name."""
        return f"slabs {self.folder.resolve().name}"

    def truth(self, number: int, spacing_mm: float, *, drawn: int = 0) -> Truth:
        """One slab; outlines are jittered before they are cut."""
        whole = Referenced(self.folder, "labelled").truth(0, spacing_mm, drawn=drawn)
        first, count = self.parts[number]
        box = slice(None), slice(None), slice(first, first + count)
        image = whole.image.cropped(box)
        outlines, parse = (z.cropped(box).of_image(image) for z in (whole.outlines, whole.parse))
        return replace(
            whole, name=self.names[number], seed=whole.seed + number, image=image, outlines=outlines, parse=parse
        )


def main() -> None:
    """Audit the slabs, score them, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    given, begin = parser.parse_args(), time.monotonic()
    decoder, model = load_decoder("fused"), shipped_model()
    image = Referenced(given.case, "labelled").truth(0, decoder.spacing_mm).image
    slabs = Slabs(given.case, image.shape[2], image.geometry.spacing_mm[2])
    lines = run_verdicts(given.work, slabs, VerdictOptions(families=("move",)), decoder, model, workers=given.workers)
    rows = tuple(rows_of(lines, arena=slabs.arena, seed=0, errors=[]))
    weights = {decoder.name: decoder.weights_sha256, "audit": model.sha256}
    command = f"python benchmarks/slabs.py {given.case.resolve().name} WORK"
    result = BenchmarkResult("slabs", command, weights, time.monotonic() - begin, rows)
    (HERE / "slabs.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


if __name__ == "__main__":
    main()
