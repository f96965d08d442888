"""Where a tumour is at the next visit, on real image pairs: python benchmarks/pairs.py DATA.

DATA holds `brain_tumor_progression` and `ms_flair_pairs`. Writes `prediction-pairs.json` beside this file.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from synth.benchmark.pairs import run
from synth.benchmark.result import BenchmarkResult

HERE = Path(__file__).resolve().parent
SETS = ("brain_tumor_progression", "ms_flair_pairs")


def main() -> None:
    """Run both sets and store their rows as one result."""
    data = Path(sys.argv[1] if sys.argv[1:] else "../shared/data")
    made = [_named(name, run(data / name)) for name in SETS]
    result = BenchmarkResult(
        "prediction-pairs",
        "python benchmarks/pairs.py DATA",
        made[0].weights,
        sum(each.seconds for each in made),
        tuple(row for each in made for row in each.rows),
    )
    (HERE / "prediction-pairs.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def _named(name: str, result: BenchmarkResult) -> BenchmarkResult:
    rows = tuple(replace(row, group={"arena": name, **row.group}) for row in result.rows)
    return replace(result, rows=rows)


if __name__ == "__main__":
    main()
