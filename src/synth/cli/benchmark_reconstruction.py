"""`synth benchmark reconstruction`: renders beside the image, with ceiling and floor in the same table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from synth.cli.output import JsonOption, emit, progress

Arena = Literal["openkbp", "phantoms"]
PHANTOMS = 8


def register(benchmarks: typer.Typer) -> None:
    """Add the command to the benchmark group."""
    benchmarks.command("reconstruction")(reconstruction)


def reconstruction(
    data: Annotated[
        Path | None, typer.Option(help="openkbp: folder of cases, */ct.nii.gz with */labels.nii.gz.")
    ] = None,
    arena: Annotated[Arena, typer.Option(help="openkbp, or phantoms made for it.")] = "openkbp",
    training: Annotated[
        Path | None, typer.Option(help="Training cases in the same layout, for the nearest-patient control.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the latent decoder's noise.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    limit: Annotated[int | None, typer.Option(help="Only the first so many patients.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Of the latent decoder, for the worst of them.")] = 1,
    lpips: Annotated[
        Path | None,
        typer.Option(help="npz of AlexNet and LPIPS weights; without it, neither LPIPS nor Fréchet."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """PSNR, SSIM and error of each organ's mean HU: render, autoencoder, mean-HU fill, nearest training patient."""
    import time

    from synth.benchmark.looks import frechet_rows
    from synth.benchmark.perceptual import load_lpips
    from synth.benchmark.reconstruction import Methods, rows_of, score_subjects
    from synth.benchmark.result import BenchmarkResult
    from synth.benchmark.subjects import read_phantoms, read_subjects
    from synth.decoder import DirectDecoder, LatentDecoder
    from synth.errors import InputError

    started = time.monotonic()
    direct, latent = DirectDecoder.from_pretrained(), LatentDecoder.from_pretrained()
    if arena == "phantoms":
        subjects = read_phantoms(latent.spacing_mm, limit or PHANTOMS)
    elif data is None:
        raise InputError("--data", expected="a folder of cases", got="none", fix="give one, or --arena phantoms")
    else:
        subjects = read_subjects(data, latent.spacing_mm, limit)
    others = read_subjects(training, latent.spacing_mm) if training else []
    methods = Methods(direct, latent, subjects, others, seed, samples)
    perceptual = load_lpips(lpips) if lpips else None
    with progress("rendering", total=len(subjects), as_json=as_json) as advance:
        scores, looks = score_subjects(methods, perceptual=perceptual, workers=workers, advance=advance)
    options = (
        (f"--data {data.name}" if data else f"--arena {arena}")
        + f" --seed {seed}"
        + (f" --training {training.name}" if training else "")
        + (f" --limit {limit}" if limit else "")
        + (f" --samples {samples}" if samples > 1 else "")
        + (f" --lpips {lpips.name}" if lpips else "")
    )
    result = BenchmarkResult(
        benchmark="reconstruction",
        command=f"synth benchmark reconstruction {options} --json",
        weights={
            "direct": direct.weights_sha256,
            "latent": latent.weights_sha256,
            "autoencoder": latent.autoencoder_sha256,
        },
        seconds=time.monotonic() - started,
        rows=(*rows_of(scores, arena=arena, seed=seed), *frechet_rows(looks, arena=arena, seed=seed)),
    )
    emit(result.to_json(), as_json, result.table)
