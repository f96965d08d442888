"""What a calibration of one's own repairs where the scanner is unlike the training: phantoms of the unseen setting.

    python benchmarks/unseen_own.py WORK [--workers N]

Twenty accepted cases of that setting are written, `synth calibrate` refits on them, and eight other patients of it are
audited with and without planted lesions and organs, by the shipped calibration and by the new one (tier 1, the same
commands as a user's). Writes `verdicts-phantoms-unseen-own.json` beside this file; what WORK holds already is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from synth.benchmark.result import BenchmarkResult, Row
from synth.benchmark.verdict_phantoms import draw_truth
from synth.parse import save_bundle
from synth.volume import write_volume

HERE = Path(__file__).resolve().parent
FIRST, CASES = 97_000, 20  # of the seeds of the verdicts benchmark, far behind the patients that are audited
PATIENTS = 8
FAMILIES = ("add_lesion", "hallucinated_organ")


def main() -> None:
    """Write the cases, calibrate, audit twice, join."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    begin, work, workers = time.monotonic(), given.work, str(given.workers)
    accepted, own = work / "accepted", work / "own"
    write_cases(accepted)
    if not own.is_dir():
        run("calibrate", accepted, "-o", own, "--decoder", "direct", "--workers", workers)
    rows: list[Row] = []
    weights: dict[str, str] = {}
    for method, model in (("ours", ()), ("own_calibration", ("--audit-model", own))):
        told = verdicts(work / method, workers, *map(str, model))
        rows += [replace(row, method=method) for row in rows_of(told)]
        weights |= {f"{method}: {name}": sha for name, sha in told["weights"].items()}
    command = "python benchmarks/unseen_own.py WORK"
    result = BenchmarkResult("verdicts", command, weights, time.monotonic() - begin, tuple(rows))
    (HERE / "verdicts-phantoms-unseen-own.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")


def write_cases(folder: Path) -> None:
    """The accepted cases, each a CT and a bundle with jittered outlines, as a reader would have drawn them."""
    for seed in range(FIRST, FIRST + CASES):
        case = folder / f"case-{seed}"
        if not (case / "bundle").is_dir():
            truth = draw_truth(seed, unseen=True)
            case.mkdir(parents=True, exist_ok=True)
            write_volume(truth.image, case / "ct.nii.gz")
            save_bundle(truth.parse, case / "bundle")


def verdicts(folder: Path, workers: str, *more: str) -> dict[str, Any]:
    """What `synth benchmark verdicts` prints of the patients."""
    families = [part for family in FAMILIES for part in ("--family", family)]
    settings = ("--unseen", "--decoder", "direct", "--tiers", "1", "--limit", str(PATIENTS), "--workers", workers)
    said = run("benchmark", "verdicts", *settings, *families, "--folder", folder, *more, "--json")
    found: dict[str, Any] = json.loads(said)
    return found


def rows_of(told: dict[str, Any]) -> Iterator[Row]:
    """Those of our own audits."""
    for row in told["rows"]:
        if row["method"] == "ours":
            numbers = {key: math.nan if row[key] is None else row[key] for key in ("value", "low", "high")}
            yield Row(**{**row, **numbers})


def run(*arguments: object) -> str:
    """Run the command, and return what it printed."""
    command = [sys.executable, "-m", "synth", *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


if __name__ == "__main__":
    main()
