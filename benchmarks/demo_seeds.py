"""The demo on ten patients, and which planted mistakes are named: python benchmarks/demo_seeds.py [WORKERS]."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from synth.benchmark.verdict_record import FINE
from synth.decoder import load_decoder
from synth.pipeline.audit import shipped_model

HERE = Path(__file__).resolve().parent
SEEDS = range(10)


MISTAKES = ("removed kidney claimed", "lesion claimed", "lesion not reported")


def main(workers: int) -> None:
    """Write demo-seeds.json."""
    with ThreadPoolExecutor(workers) as pool:
        rows = list(pool.map(demo, SEEDS))
    result = {
        "command": "python benchmarks/demo_seeds.py",
        "weights": {"audit": shipped_model().sha256, "fused": load_decoder("fused").weights_sha256},
        "seeds": len(rows),
        "named": {m: sum(row["named"][m] for row in rows) for m in MISTAKES},
        "all_named": sum(all(row["named"].values()) for row in rows),
        "true_entities": sum(row["true_entities"] for row in rows),
        "true_entities_flagged": sum(len(row["flagged"]) for row in rows),
        "runs": rows,
    }
    (HERE / "demo-seeds.json").write_text(json.dumps(result, indent=1) + "\n")


def demo(seed: int) -> dict[str, Any]:
    """One demo by its command."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "synth", "demo", "-o", out, "--overwrite", "--seed", str(seed), "--json"]
        said = json.loads(subprocess.run(command, check=False, capture_output=True, text=True).stdout)["mistakes"]
        findings = json.loads((Path(out) / "audit" / "findings.json").read_text())
    planted = " ".join(m["mistake"] for m in said)
    true = [e for e in findings["entities"] if e["score"] is not None and f"({e['id']})" not in planted]
    row = {
        "seed": seed,
        "named": {name: m["found"] for name, m in zip(MISTAKES, said, strict=True)},
        "answers": [m["answer"] for m in said],
        "true_entities": len(true),
        "flagged": [e["id"] for e in true if e["verdict"] not in FINE],
    }
    sys.stderr.write(json.dumps(row) + "\n")
    return row


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1)
