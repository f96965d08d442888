"""`synth audit-cohort`: audits of a folder or a list of cases, with a table of them all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synth.cli.options import (
    AlphaOption,
    AuditModelOption,
    DecoderOption,
    DeviceOption,
    ModalityOption,
    NamesOption,
    ParserWeightOption,
    SeedOption,
    SourceOption,
    TiersOption,
)
from synth.cli.output import FINDINGS_EXIT, JsonOption, emit, log, progress

if TYPE_CHECKING:
    from synth.report.cohort import Cohort


def register(app: typer.Typer) -> None:
    """Add `synth audit-cohort`."""
    app.command("audit-cohort")(run)


def run(
    cases: Annotated[
        Path, typer.Argument(help="Folder of cases, or a CSV with columns image, parse and, if wanted, id.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write, new or to go on with.")],
    source: SourceOption = None,
    names: NamesOption = None,
    modality: ModalityOption = None,
    decoder: DecoderOption = "fused",
    device: DeviceOption = "cpu",
    audit_model: AuditModelOption = None,
    tiers: TiersOption = None,
    alpha: AlphaOption = 0.1,
    seed: SeedOption = 0,
    parser_weight: ParserWeightOption = 0.5,
    search: Annotated[bool, typer.Option(help="Look for what the parses leave out.")] = True,
    workers: Annotated[int, typer.Option(help="Processes that share the cases.")] = 1,
    fail_on_findings: Annotated[
        bool, typer.Option("--fail-on-findings", help=f"Exit with {FINDINGS_EXIT} when something is wrong in a case.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Audit many cases; stopped at any moment, the same command goes on where it was.

    Exit codes: 0 every case was audited; 1 some could not be, each is a row with its error; 2 bad input; 3 findings,
    under --fail-on-findings.
    """
    from synth.cli.audit import parse_tiers
    from synth.pipeline.audit import AuditOptions
    from synth.pipeline.cases import Reading
    from synth.report.cohort import CohortOptions, audit_cohort

    each = AuditOptions(decoder, parse_tiers(tiers), alpha, seed, search, device, parser_weight)
    options = CohortOptions(each, Reading(modality, source, names), audit_model, workers)
    with progress("reading", as_json=as_json) as advance:
        done = audit_cohort(cases, output, options, advance=advance)
    payload = {
        "folder": str(done.folder), "cases": len(done.rows), "kept": done.kept, "failed": len(done.failed),
        "flagged": len(done.flagged), "rows": [row.to_json() for row in done.rows],
    }  # fmt: skip
    emit(payload, as_json, lambda: _text(done))
    if done.failed:
        log(f"{len(done.failed)} of {len(done.rows)} cases could not be audited")
        raise typer.Exit(1)
    if fail_on_findings and done.flagged:
        raise typer.Exit(FINDINGS_EXIT)


def _text(done: Cohort) -> str:
    lines = [f"{len(done.rows)} cases, {done.kept} of them done before, {len(done.flagged)} with findings"]
    lines += [f"  {row.id}: {row.said}; {', '.join(row.flagged) or 'left out'}" for row in done.flagged[:10]]
    lines += [f"  {row.id}: failed ({row.error})" for row in done.failed[:10]]
    return "\n".join([*lines, f"table: {done.folder / 'cohort.html'}"])
