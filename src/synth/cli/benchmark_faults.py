"""`synth benchmark faults`: moved organs on real CT, ours beside the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from synth.cli.output import JsonOption, emit, progress

if TYPE_CHECKING:
    from synth.decoder import LatentDecoder
    from synth.volume import Volume


def register(benchmarks: typer.Typer) -> None:
    """Add the command to the benchmark group."""
    benchmarks.command("faults")(faults)


def faults(
    data: Annotated[Path, typer.Option(help="Folder of cases: */ct.nii.gz with */labels.nii.gz.")],
    arena: Annotated[
        Literal["openkbp", "labelled"],
        typer.Option(help="openkbp: a folder of cases; labelled: one case, ct.nii.gz, labels.nii.gz and labels.txt."),
    ] = "openkbp",
    decoder: Annotated[str, typer.Option(help="direct (tier 1), latent, or fused (both).")] = "fused",
    seed: Annotated[int, typer.Option(help="Of the jitters, moves and draws.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Only the first so many patients.")] = None,
    repeats: Annotated[int, typer.Option(help="Jitters and moves of each organ.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that share the patients.")] = 2,
    through_autoencoder: Annotated[
        bool, typer.Option(help="Pass every image through the autoencoder first: what do latents lose?")
    ] = False,
    scanner: Annotated[
        list[str] | None,
        typer.Option(
            help="Images as another scanner would have made them: brighter, darker, noisy, soft or sharp. Can be given "
            "again; the claims are the same for each."
        ),
    ] = None,
    reference_errors: Annotated[
        Path | None,
        typer.Option(help="CSV of patient, organ, reason: reference masks known to be wrong; adds rows without them."),
    ] = None,
    baselines: Annotated[
        Literal["fast", "all", "alone"],
        typer.Option(help="fast: L1 and histogram, which ours reads too; all: and those below; alone: only those."),
    ] = "fast",
    training: Annotated[
        Path | None, typer.Option(help="Cases in the same layout, on which the baselines of all and alone are fitted.")
    ] = None,
    fitted: Annotated[int, typer.Option(help="So many of these, spread evenly over their numbers.")] = 60,
    as_json: JsonOption = False,
) -> None:
    """AUROC and FPR95 of true organ masks (untouched and jittered) against the same moved by 8-12, 16-24, 32-56 mm."""
    import time
    from functools import partial

    from synth.benchmark.fault_methods import Method, Ours, fit_baselines, read_training
    from synth.benchmark.faults import read_cases, read_reference_errors, rows_of, score_claims
    from synth.benchmark.result import BenchmarkResult, Row
    from synth.benchmark.scanners import as_scanned, known_scanner, of_scanner
    from synth.decoder import DirectDecoder, LatentDecoder, load_decoder
    from synth.decoder.checkpoint import weights_folder
    from synth.errors import InputError
    from synth.residual import AuditModel

    started = time.monotonic()
    if training is not None and baselines == "fast":
        fix = "add --baselines all"
        raise InputError("--training", expected="baselines that are fitted", got="--baselines fast", fix=fix)
    if scanner and through_autoencoder:
        raise InputError(
            "--scanner", expected="the image alone changed", got="--through-autoencoder", fix="leave one out"
        )
    asked: list[str | None] = [known_scanner(name) for name in scanner] if scanner else [None]
    practice = [] if baselines == "fast" else read_training(training, fitted)
    errors = [] if reference_errors is None else read_reference_errors(reference_errors)
    loaded, model = load_decoder(decoder), AuditModel.load(weights_folder("audit"))
    latent = LatentDecoder.from_pretrained() if through_autoencoder else None
    methods: list[Method] = []
    weights: dict[str, str] = {}
    if baselines != "alone":
        methods.append(Ours(loaded, model, seed=seed))
        weights |= {loaded.name: loaded.weights_sha256, "audit": model.sha256}
    if baselines != "fast":
        shipped = DirectDecoder.from_pretrained(), LatentDecoder.from_pretrained()
        methods += fit_baselines(practice, *shipped, seed=seed)
        weights |= {each.name: each.weights_sha256 for each in shipped}
    patients = read_cases(data, arena, limit)
    rows: list[Row] = []
    with progress(f"{arena}: moving organs", total=len(patients) * len(asked), as_json=as_json) as advance:
        for made_by in asked:
            through = None if made_by is None else partial(as_scanned, scanner=made_by)
            if latent is not None:
                through = partial(_reconstructed, latent)
            claims = score_claims(
                patients,
                methods,
                loaded.spacing_mm,
                seed=seed,
                repeats=repeats,
                workers=workers,
                through=through,
                advance=advance,
            )
            rows += of_scanner(rows_of(claims, arena=arena, seed=seed, errors=errors), made_by)
    options = f"--arena {arena} --decoder {decoder} --seed {seed} --repeats {repeats}"
    options += f" --limit {limit}" if limit else ""
    options += " --through-autoencoder" if through_autoencoder else ""
    options += "".join(f" --scanner {name}" for name in scanner or ())
    options += f" --reference-errors {reference_errors.name}" if reference_errors else ""
    if training is not None and baselines != "fast":
        options += f" --baselines {baselines} --training {training.name} --fitted {fitted}"
    result = BenchmarkResult(
        benchmark="faults",
        command=f"synth benchmark faults --data {data.name} {options} --json",
        weights=weights | ({} if latent is None else {"autoencoder": latent.autoencoder_sha256}),
        seconds=time.monotonic() - started,
        rows=tuple(rows),
    )
    emit(result.to_json(), as_json, result.table)


def _reconstructed(latent: LatentDecoder, image: Volume) -> Volume:
    return image.with_array(latent.reconstruct(image))
