"""`synth benchmark prediction`: how lesions change, ours beside carry-forward, laws and boosting."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from synth.cli.output import JsonOption, emit, progress

Kind = Literal["recist", "pdxe", "ffcd", "phantoms"]


def register(benchmarks: typer.Typer) -> None:
    """Add the command to the benchmark group."""
    benchmarks.command("prediction")(prediction)


def prediction(
    kind: Annotated[
        Kind | None, typer.Option(help="recist, pdxe: a table; ffcd: its folder; phantoms: made for it.")
    ] = None,
    series: Annotated[
        Path | None, typer.Option(help="Table of growth series (.csv, .csv.gz), or the folder of ffcd.")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="Instead of a kind: folder of image pairs, a folder a patient.")
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Learn from this one and test on all of --series, instead of folds.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Folds of patients.")] = 5,
    patients: Annotated[int, typer.Option(min=100, help="phantoms: how many.")] = 1500,
    seed: Annotated[int, typer.Option(min=0, help="Of folds, trees, phantoms and bootstrap.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Errors, skill over carry-forward, coverage, progression and new lesions, with intervals over patients."""
    import time

    from synth.benchmark.prediction_kinds import run_kind
    from synth.benchmark.result import BenchmarkResult
    from synth.errors import InputError

    if (kind is None) == (pairs is None):
        got = "neither" if kind is None else "both"
        raise InputError("prediction", expected="--kind or --pairs", got=got, fix="give one of the two")
    if kind is None:
        _pairs(pairs, seed, as_json)
        return
    if kind != "phantoms" and series is None:
        raise InputError("--series", expected=f"the {kind} series", got="none", fix="give a path")
    started = time.monotonic()
    size = patients if kind == "phantoms" else folds
    with progress(f"prediction, {kind}", as_json=as_json) as advance:
        rows = run_kind(kind, series, train, size=size, seed=seed, advance=advance)
    words = ["synth", "benchmark", "prediction", "--kind", kind]
    words += ["--series", series.name] if series else ["--patients", str(patients)]
    words += ["--train", train.name] if train else [] if kind == "phantoms" else ["--folds", str(folds)]
    result = BenchmarkResult(
        benchmark="prediction",
        command=shlex.join([*words, "--seed", str(seed), "--json"]),
        seconds=time.monotonic() - started,
        rows=tuple(rows),
    )
    emit(result.to_json(), as_json, result.table)


def _pairs(folder: Path | None, seed: int, as_json: bool) -> None:
    """Shapes and new lesions on two visits of each patient, leaving one out."""
    from synth.benchmark.pairs import run

    assert folder is not None  # else there is a kind
    command = shlex.join(["synth", "benchmark", "prediction", "--pairs", folder.name, "--seed", str(seed), "--json"])
    with progress("prediction, pairs", as_json=as_json) as advance:
        result = run(folder, seed=seed, command=command, advance=advance)
    emit(result.to_json(), as_json, result.table)
