"""What the benchmarks that train small networks share: their options, and how they log."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synth.benchmark.result import BenchmarkResult, Row
from synth.training.config import TrainConfig

HERE = Path(__file__).resolve().parent


def options(told: str, *, work: str, steps: int) -> argparse.Namespace:
    """The command line of one of them.

    Args:
        told: its module's docstring; work: folder of the trainings; steps: of each.
    """
    parser = argparse.ArgumentParser(description=told.split("\n")[0])
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--phantoms", default="runs/phantoms")
    parser.add_argument("--cases", help="folder in which cases are prepared once")
    parser.add_argument("--work", type=Path, default=Path(work))
    parser.add_argument("--steps", type=int, default=steps)
    asked = parser.parse_args()
    asked.started = time.monotonic()
    return asked


def config_of(name: str, asked: argparse.Namespace) -> TrainConfig:
    """An experiment file of the 4 mm decoder."""
    places = {"data": asked.data, "phantoms": asked.phantoms}
    return TrainConfig.read(HERE.parent / "configs" / "ct-4mm" / name, places)


def log(name: str, row: Mapping[str, Any]) -> None:
    """One line of a training's log."""
    sys.stderr.write(f"{name} {dict(row)}\n")


def write(name: str, asked: argparse.Namespace, weights: Mapping[str, str], rows: Sequence[Row]) -> None:
    """`NAME.json` beside the scripts, and the table on the screen."""
    command = f"python benchmarks/{name}.py --data DATA --phantoms PHANTOMS --steps {asked.steps}"
    result = BenchmarkResult(name, command, dict(weights), time.monotonic() - asked.started, tuple(rows))
    (HERE / f"{name}.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")
