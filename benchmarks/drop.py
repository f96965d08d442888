"""What our scores lose in a setting that nothing was trained on: AUROC on known phantoms less that on unseen ones.

    python benchmarks/drop.py

Reads verdicts-phantoms.json and verdicts-phantoms-unseen.json beside this file, the rows of ours of whole families, and
writes drop.json. The patients of the two are independent, so the interval follows from those of the two values (the
square-and-add of Zou and Donner, 2008, Stat Med 27:1693), each with known k in (k_low, k_high), unseen u:

    k - u - sqrt((k - k_low)^2 + (u_high - u)^2)    to    k - u + sqrt((k_high - k)^2 + (u - u_low)^2)

An AUROC of 1 has no width in a bootstrap, and gives none here. `n` is of the unseen setting.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synth.benchmark.result import BenchmarkResult, Interval, Row, mean_finite

HERE = Path(__file__).resolve().parent
Rows = Mapping[tuple[str, str], Mapping[str, Any]]  # by family and task


def main() -> None:
    """Read, subtract, write."""
    begin = time.monotonic()
    stored = [json.loads((HERE / f"verdicts-{name}.json").read_text()) for name in ("phantoms", "phantoms-unseen")]
    rows = tuple(drops(*(by_family(one["rows"]) for one in stored)))
    weights = {f"{setting}: {name}": sha for setting, one in zip(("known", "unseen"), stored, strict=True)
               for name, sha in one["weights"].items()}  # fmt: skip
    result = BenchmarkResult("drop", "python benchmarks/drop.py", weights, time.monotonic() - begin, rows)
    (HERE / "drop.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


def by_family(rows: list[dict[str, Any]]) -> Rows:
    """AUROC of ours, the last row of each family: all severities together."""
    chosen = (r for r in rows if (r["metric"], r["method"]) == ("auroc", "ours"))
    return {(r["group"]["family"], r["group"].get("task", "")): r for r in chosen}


def drops(known: Rows, unseen: Rows) -> Iterator[Row]:
    """Of each family in both, and their mean without an interval."""
    found = [(key, difference(known[key], unseen[key]), unseen[key]["n"]) for key in known if key in unseen]
    for (family, task), (value, interval), n in found:
        group = {"family": family, **({"task": task} if task else {})}
        yield Row(group, "ours", "auroc_drop", value, interval.low, interval.high, n)
    alone = [value for (_, task), (value, _), _ in found if not task]
    yield Row({"family": "all"}, "ours", "auroc_drop", mean_finite(alone), math.nan, math.nan, len(alone))


def difference(known: Mapping[str, Any], unseen: Mapping[str, Any]) -> tuple[float, Interval]:
    """Known less unseen."""
    value = known["value"] - unseen["value"]
    below = math.hypot(known["value"] - known["low"], unseen["high"] - unseen["value"])
    above = math.hypot(known["high"] - known["value"], unseen["value"] - unseen["low"])
    return value, Interval(value - below, value + above)


if __name__ == "__main__":
    main()
