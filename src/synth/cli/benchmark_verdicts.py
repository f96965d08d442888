"""`synth benchmark verdicts`: every family of faults, on phantoms or real patients, and what each is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from synth.cli.options import AuditModelOption, DecoderOption
from synth.cli.output import JsonOption, emit, progress


def register(benchmarks: typer.Typer) -> None:
    """Add the command to the benchmark group."""
    benchmarks.command("verdicts")(verdicts)


def verdicts(
    data: Annotated[
        Path | None, typer.Option(help="Real patients with reference outlines instead of phantoms.")
    ] = None,
    arena: Annotated[
        Literal["openkbp", "labelled"],
        typer.Option(
            help="Of --data. openkbp: a folder of cases; labelled: one, ct.nii.gz, labels.nii.gz, labels.txt."
        ),
    ] = "openkbp",
    limit: Annotated[
        int | None, typer.Option(help="Only the first so many patients; of phantoms 10 by default.")
    ] = None,
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
    scanner: Annotated[
        str | None,
        typer.Option(help="Images as another scanner would have made them: brighter, darker, noisy, soft or sharp."),
    ] = None,
    jitters: Annotated[int, typer.Option(help="Of each patient's outlines; everything is planted under each.")] = 1,
    reference_errors: Annotated[
        Path | None,
        typer.Option(help="CSV of patient, organ, reason: reference masks known to be wrong; adds rows without them."),
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="Only this family of faults; can be given again. All by default.")
    ] = None,
    audit_model: AuditModelOption = None,
    decoder: DecoderOption = "fused",
    seed: Annotated[int, typer.Option(help="Of the faults and the audits.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that share the patients.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Power, detection and AUROC by family and severity; false alarms, FDR, what was called what."""
    import time
    from contextlib import ExitStack
    from tempfile import TemporaryDirectory

    from synth.benchmark.faults import read_reference_errors
    from synth.benchmark.result import BenchmarkResult
    from synth.benchmark.scanners import OtherScanner, known_scanner, of_scanner
    from synth.benchmark.verdict_patients import Patients, Phantoms, Referenced
    from synth.benchmark.verdict_scores import rows_of
    from synth.benchmark.verdicts import VerdictOptions, run_verdicts
    from synth.cli.audit import parse_tiers
    from synth.decoder import load_decoder
    from synth.errors import InputError
    from synth.pipeline.audit import shipped_model
    from synth.residual import AuditModel

    started = time.monotonic()
    if unseen and data is not None:
        raise InputError("--unseen", expected="phantoms", got=f"--data {data}", fix="leave one of them out")
    errors = [] if reference_errors is None else read_reference_errors(reference_errors)
    patients: Patients = (
        Phantoms(10 if limit is None else limit, unseen) if data is None else Referenced(data, arena, limit)
    )
    if scanner is not None:
        patients = OtherScanner(patients, known_scanner(scanner))
    asked = None if tiers == "all" else parse_tiers(tiers)
    options = VerdictOptions(asked, seed=seed, jitters=jitters, families=tuple(family) if family else None)
    loaded, model = load_decoder(decoder), shipped_model() if audit_model is None else AuditModel.load(audit_model)
    with ExitStack() as stack:
        kept = folder or Path(stack.enter_context(TemporaryDirectory())) / "run"
        count = len(patients.names)
        advance = stack.enter_context(progress("planting faults", total=count, as_json=as_json))
        lines = run_verdicts(kept, patients, options, loaded, model, workers=workers, advance=advance)
    command = "synth benchmark verdicts"
    command += f" --limit {count}" if data is None else f" --data {data.resolve().name} --arena {arena}"
    command += f" --limit {limit}" if data is not None and limit else ""
    command += f" --tiers {tiers} --seed {seed} --jitters {jitters}"
    command += " --unseen" if unseen else ""
    command += f" --scanner {scanner}" if scanner else ""
    command += f" --decoder {decoder}" if decoder != "fused" else ""
    command += f" --audit-model {audit_model.name}" if audit_model else ""
    command += f" --reference-errors {reference_errors.name}" if reference_errors else ""
    command += "".join(f" --family {name}" for name in family or ())
    result = BenchmarkResult(
        benchmark="verdicts",
        command=f"{command} --json",
        weights={loaded.name: loaded.weights_sha256, "audit": model.sha256},
        seconds=time.monotonic() - started,
        rows=of_scanner(rows_of(lines, arena=patients.arena, seed=seed, errors=errors), scanner),
    )
    emit(result.to_json(), as_json, result.table)
