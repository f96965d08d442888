"""Audits of a real abdominal CT, its parse as it came and with each of three planted faults, by a user's commands.

    python benchmarks/audit_real_abdomen.py DATA WORK     (DATA: a folder with example_ct.nii.gz and its segmentation)

Writes audit-real-abdomen.json: ranks, verdicts, seconds and peak memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
IMAGE, LABELS = "example_ct.nii.gz", "example_seg_fast_force_split.nii.gz"
FAULTS: dict[str, tuple[str, ...]] = {
    "kidney_left": ("--to", "fat", "--within", "60"),
    "spleen": ("--to", "bowel"),
    "liver": ("--distance", "20"),
}


def main(data: Path, work: Path) -> None:
    """Import, plant, audit, summarise."""
    work.mkdir(parents=True, exist_ok=True)
    image, case = data / IMAGE, work / "case"
    imported = ("parse", "import", data / LABELS, "--from", "totalsegmentator", "--image", image)
    synth(*imported, "-o", case, "--overwrite")
    rows = [audit(image, case, work / "audit", None)]
    for entity, how in FAULTS.items():
        planted = work / f"moved_{entity}"
        move = ("fault", "move", case, "--entity", entity, *how, "--image", image)
        synth(*move, "-o", planted, "--overwrite")
        rows.append(audit(image, planted, work / f"audit_{entity}", entity))
    result = {
        "command": "python benchmarks/audit_real_abdomen.py DATA/totalsegmentator WORK",
        "cores": len(os.sched_getaffinity(0)),
        "audits": rows,
    }
    (HERE / "audit-real-abdomen.json").write_text(json.dumps(result, indent=1) + "\n")


def audit(image: Path, bundle: Path, out: Path, planted: str | None) -> dict[str, Any]:
    """One audit, and what it said of the planted entity and of the others."""
    seconds, peak_gb = synth("audit", image, bundle, "-o", out, "--overwrite", codes=(0, 1))
    findings = json.loads((out / "findings.json").read_text())
    checked = [e for e in findings["entities"] if e["score"] is not None]
    others = [e for e in checked if e["id"] != planted]
    row: dict[str, Any] = {
        "planted": planted,
        "checked": len(checked),
        "not_checkable": [e["id"] for e in findings["entities"] if e["verdict"] == "not_checkable"],
        "others_supported": sum(e["verdict"] == "supported" for e in others),
        "others": len(others),
        "others_flagged": [e["id"] for e in others if e["verdict"] != "supported"],
        "missing": [m["name"] for m in findings["missing"] or []],
        "seconds": round(seconds, 1),
        "peak_gb": round(peak_gb, 2),
    }
    for e in checked:
        if e["id"] == planted:
            row |= {key: e[key] for key in ("suspicion_rank", "verdict", "score", "p_value")}
    sys.stderr.write(json.dumps(row) + "\n")
    return row


def synth(*arguments: object, codes: tuple[int, ...] = (0,)) -> tuple[float, float]:
    """Run the command; its wall seconds and peak memory in GB (the process with its children, Linux)."""
    started = time.monotonic()
    command = [sys.executable, "-m", "synth", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    if code not in codes:
        sys.exit(f"{' '.join(command)} ended with {code}")
    return time.monotonic() - started, usage.ru_maxrss / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
