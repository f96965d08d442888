"""Whole verdicts on the same real patients as other scanners would have made the images, with moved organs and without.

    python benchmarks/scanners.py DATA WORK      (DATA: a folder laid out like openkbp/validation)

Runs `synth benchmark verdicts --data DATA --family move` once as the images are and once for each `--scanner`, the fast
tier, keeps the audits under WORK, and puts what was found, missed and falsely flagged into verdicts-scanners.json.
Reference masks that are wrong are left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from synth.benchmark.scanners import SCANNERS

HERE = Path(__file__).resolve().parent
AS_IT_IS = "as it is"
RATES = ("false_alarms", "parses_flagged", "fdr", "false_findings")
SHARES = ("power", "detected", "auroc")


def main(data: Path, work: Path) -> None:
    """One run for each, then the file."""
    runs = {scanner: verdicts(data, work, scanner) for scanner in (AS_IT_IS, *SCANNERS)}
    rows = [shown for scanner, run in runs.items() for row in run["rows"] if (shown := said(row, scanner)) is not None]
    told = {
        "benchmark": "scanners",
        "command": f"python benchmarks/scanners.py {data.name} WORK",
        "weights": runs[AS_IT_IS]["weights"],
        "seconds": sum(run["seconds"] for run in runs.values()),
        "rows": rows,
    }
    (HERE / "verdicts-scanners.json").write_text(json.dumps(told, indent=1) + "\n")


def verdicts(data: Path, work: Path, scanner: str) -> dict[str, Any]:
    """The command of a user; audits that are there are not made again."""
    command = [sys.executable, "-m", "synth", "benchmark", "verdicts", "--data", str(data), "--family", "move"]
    command += ["--tiers", "1", "--reference-errors", str(HERE / "openkbp-reference-errors.csv"), "--json"]
    command += ["--folder", str(work / scanner.replace(" ", "-"))]
    command += [] if scanner == AS_IT_IS else ["--scanner", scanner]
    made: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    sys.stderr.write(f"{scanner}: {made['seconds']:.0f} s\n")
    return made


def said(row: dict[str, Any], scanner: str) -> dict[str, Any] | None:
    """The row with its scanner, if it is one that is shown."""
    group = row["group"]
    if group.get("reference") != "checked" or row["method"] != "ours":
        return None
    rate = row["metric"] in RATES and group.get("verdict") in ("all", "hallucinated", "wrong_extent", "missing")
    share = row["metric"] in SHARES and group.get("family") in ("shift", "moved_away")
    return {**row, "group": {**group, "scanner": scanner}} if rate or share else None


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
