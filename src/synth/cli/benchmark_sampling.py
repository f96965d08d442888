"""`synth benchmark sampling`: quality and seconds by the number of steps, beside MONAI's inferer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synth.cli.output import JsonOption, emit, progress


def register(benchmarks: typer.Typer) -> None:
    """Add the command to the benchmark group."""
    benchmarks.command("sampling")(sampling)


def sampling(
    data: Annotated[Path, typer.Option(help="Folder of cases: */ct.nii.gz with */labels.nii.gz.")],
    steps: Annotated[str, typer.Option(help="Numbers of steps, the most as the reference.")] = "1,2,4,8,30",
    side: Annotated[int, typer.Option(min=16, help="Voxels a side of the cube that is cut from each patient.")] = 64,
    limit: Annotated[int, typer.Option(min=1, help="Only the first so many patients.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="Samples of each patient.")] = 2,
    weights: Annotated[str, typer.Option(help="latent, or a weights folder.")] = "latent",
    lpips: Annotated[Path | None, typer.Option(help="npz of AlexNet and LPIPS weights; without it, no LPIPS.")] = None,
    as_json: JsonOption = False,
) -> None:
    """d_clin, LPIPS and seconds of a render by the number of steps; the same network driven by MONAI's inferer."""
    import time

    from synth.benchmark.perceptual import load_lpips
    from synth.benchmark.result import BenchmarkResult
    from synth.benchmark.sampling import draw_with_steps, rows_of
    from synth.benchmark.subjects import cut, read_subjects
    from synth.decoder import LatentDecoder
    from synth.errors import InputError

    try:
        counts = sorted({int(part) for part in steps.split(",")})
    except ValueError:
        raise InputError("--steps", expected="numbers like 2,4,8", got=repr(steps), fix="separate by commas") from None
    started = time.monotonic()
    decoder = LatentDecoder.from_pretrained(weights)
    if side % decoder.net.multiple:
        got, fix = str(side), "choose another"
        raise InputError("--side", expected=f"a multiple of {decoder.net.multiple}", got=got, fix=fix)
    subjects = [cut(s, side) for s in read_subjects(data, decoder.spacing_mm, limit)]
    measure = load_lpips(lpips) if lpips else None
    total = 3 * len(subjects) * len(counts) * seeds
    with progress("drawing", total=total, as_json=as_json) as advance:
        drawn = draw_with_steps(decoder, subjects, counts, seeds=range(seeds), perceptual=measure, advance=advance)
    options = f"--steps {steps} --side {side} --limit {limit} --seeds {seeds}"
    options += f" --lpips {lpips.name}" if lpips else ""
    result = BenchmarkResult(
        benchmark="sampling",
        command=f"synth benchmark sampling --data {data.name} {options} --json",
        weights={"latent": decoder.weights_sha256, "autoencoder": decoder.autoencoder_sha256},
        seconds=time.monotonic() - started,
        rows=tuple(rows_of(drawn)),
    )
    emit(result.to_json(), as_json, result.table)
