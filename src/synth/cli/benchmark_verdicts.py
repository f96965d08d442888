"""`synth benchmark verdicts`: every family of faults on phantoms, and whether each is called what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synth.cli.options import DecoderOption
from synth.cli.output import JsonOption, emit, progress


def register(benchmarks: typer.Typer) -> None:
    """Add the command to the benchmark group."""
    benchmarks.command("verdicts")(verdicts)


def verdicts(
    limit: Annotated[int, typer.Option(help="Phantoms.")] = 10,
    folder: Annotated[
        Path | None,
        typer.Option(help="Keep each audit here; the same command goes on where it was. Else nothing is kept."),
    ] = None,
    tiers: Annotated[
        str, typer.Option(help="Tiers that the audits may ask, with commas between, or all; 1 is fast.")
    ] = "1",
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Phantoms of a setting that nothing was trained on.")
    ] = False,
    family: Annotated[
        list[str] | None, typer.Option(help="Only this family of faults; can be given again. All by default.")
    ] = None,
    decoder: DecoderOption = "fused",
    seed: Annotated[int, typer.Option(help="Of the faults and the audits.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that share the phantoms.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Power, detection and AUROC by family and severity; false alarms, FDR, what was called what."""
    import time
    from contextlib import ExitStack
    from tempfile import TemporaryDirectory

    from synth.benchmark.result import BenchmarkResult
    from synth.benchmark.verdict_scores import rows_of
    from synth.benchmark.verdicts import VerdictOptions, run_verdicts
    from synth.cli.audit import parse_tiers
    from synth.decoder import load_decoder
    from synth.pipeline.audit import shipped_model

    started = time.monotonic()
    asked = None if tiers == "all" else parse_tiers(tiers)
    options = VerdictOptions(asked, seed=seed, unseen=unseen, families=tuple(family) if family else None)
    loaded, model = load_decoder(decoder), shipped_model()
    with ExitStack() as stack:
        kept = folder or Path(stack.enter_context(TemporaryDirectory())) / "run"
        advance = stack.enter_context(progress("planting faults", total=limit, as_json=as_json))
        lines = run_verdicts(kept, limit, options, loaded, model, workers=workers, advance=advance)
    command = f"synth benchmark verdicts --limit {limit} --tiers {tiers} --seed {seed}"
    command += " --unseen" if unseen else ""
    command += "".join(f" --family {name}" for name in family or ())
    result = BenchmarkResult(
        benchmark="verdicts",
        command=f"{command} --json",
        weights={loaded.name: loaded.weights_sha256, "audit": model.sha256},
        seconds=time.monotonic() - started,
        rows=tuple(rows_of(lines, arena="phantoms_unseen" if unseen else "phantoms", seed=seed)),
    )
    emit(result.to_json(), as_json, result.table)
