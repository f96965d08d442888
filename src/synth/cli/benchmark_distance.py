"""`synth benchmark distance`: d_clin beside SSIM, PSNR and LPIPS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synth.cli.output import JsonOption, emit, progress


def register(benchmarks: typer.Typer) -> None:
    """Add the command to the benchmark group."""
    benchmarks.command("distance")(distance)


def distance(
    data: Annotated[Path, typer.Option(help="Folder of cases: */ct.nii.gz with */labels.nii.gz.")],
    lpips: Annotated[Path | None, typer.Option(help="npz of AlexNet and LPIPS weights; without it, no LPIPS.")] = None,
    spacing_mm: Annotated[float, typer.Option(min=0.5, help="Grid.")] = 4.0,
    seed: Annotated[int, typer.Option(help="Of the changes.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Only the first so many patients.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Clinical changes of known size against noise, kernel, shift and calibration: does d_clin tell them apart?"""
    import time

    from synth.benchmark.distance import read_cases, rows_of, score_pairs
    from synth.benchmark.perceptual import load_lpips
    from synth.benchmark.result import BenchmarkResult

    started = time.monotonic()
    measure = load_lpips(lpips) if lpips else None
    cases = read_cases(data, spacing_mm, limit)
    with progress("changing entities", total=len(cases), as_json=as_json) as advance:
        pairs = score_pairs(cases, lpips=measure, seed=seed, workers=workers, advance=advance)
    options = f"--spacing-mm {spacing_mm:g} --seed {seed}"
    options += (f" --limit {limit}" if limit else "") + (f" --lpips {lpips.name}" if lpips else "")
    result = BenchmarkResult(
        benchmark="distance",
        command=f"synth benchmark distance --data {data.name} {options} --json",
        seconds=time.monotonic() - started,
        rows=tuple(rows_of(pairs, seed=seed)),
    )
    emit(result.to_json(), as_json, result.table)
