"""`synth benchmark`: every scientific benchmark is one module that adds its command to this group."""

from __future__ import annotations

import importlib

import typer

from synth.cli.groups import group

BENCHMARKS = (
    "benchmark_decision",
    "benchmark_distance",
    "benchmark_faults",
    "benchmark_prediction",
    "benchmark_reconstruction",
    "benchmark_sampling",
    "benchmark_verdicts",
)
"""Modules of `synth.cli`, each with `register(benchmark_app)`."""


def register(app: typer.Typer) -> None:
    """Add `synth benchmark` and the benchmarks in it."""
    benchmarks = group(app, "benchmark", "Measure the toolkit on a folder of cases, each number beside its baselines.")
    for name in BENCHMARKS:
        importlib.import_module(f"synth.cli.{name}").register(benchmarks)
