"""`synth audit`: which entities of a parse the image does not support, and what the parse leaves out."""

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
    from synth.pipeline.audit import AuditReport
    from synth.pipeline.prior_alignment import PriorVisit


def register(app: typer.Typer) -> None:
    """Add `synth audit`."""
    app.command("audit")(run)


def run(
    image: Annotated[Path, typer.Argument(help="The image: .nii, .nii.gz, .nrrd, or a DICOM folder.")],
    parse: Annotated[Path, typer.Argument(help="A bundle, or with --from a label map or a folder of masks.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write, a new one.")],
    source: SourceOption = None,
    names: NamesOption = None,
    modality: ModalityOption = None,
    decoder: DecoderOption = "fused",
    audit_model: AuditModelOption = None,
    device: DeviceOption = "cpu",
    tiers: TiersOption = None,
    alpha: AlphaOption = 0.1,
    seed: SeedOption = 0,
    parser_weight: ParserWeightOption = 0.5,
    search: Annotated[bool, typer.Option(help="Look for what the parse leaves out.")] = True,
    prior_visit: Annotated[
        Path | None, typer.Option("--prior-visit", help="Bundle of an earlier visit: what it drew is looked for.")
    ] = None,
    prior_image: Annotated[
        Path | None, typer.Option("--prior-image", help="Its image: the visits are registered by their images.")
    ] = None,
    fail_on_findings: Annotated[
        bool, typer.Option("--fail-on-findings", help=f"Exit with {FINDINGS_EXIT} when something is wrong.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier audit in that folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a parse against its image, entity by entity.

    Writes findings.json, report.html, residual.nii.gz, render.nii.gz and the outlines of what is missing.

    Exit codes: 0 done, also with findings; 2 bad input; 3 findings, under --fail-on-findings.
    """
    from synth.pipeline.audit import AuditOptions
    from synth.pipeline.audit_files import audit
    from synth.pipeline.cases import Reading
    from synth.report import save_report
    from synth.report.folder import check_free

    options = AuditOptions(decoder, parse_tiers(tiers), alpha, seed, search, device, parser_weight)
    check_free(output, overwrite=overwrite)
    with progress("reading", as_json=as_json) as advance:
        reading = Reading(modality, source, names)
        before = _prior(prior_visit, prior_image, modality)
        report = audit(image, parse, options, model=audit_model, advance=advance, reading=reading, prior_visit=before)
        advance(0, message="report")
        findings = save_report(report, output, overwrite=overwrite)
    for message in findings.preflight:
        if message.severity != "info":
            log(f"{message.severity}: {message.message}")
    emit(findings.model_dump(mode="json"), as_json, lambda: summary(report, output))
    if fail_on_findings and findings.count:
        raise typer.Exit(FINDINGS_EXIT)


def _prior(bundle: Path | None, image: Path | None, modality: str | None) -> PriorVisit | None:
    from synth.errors import InputError
    from synth.pipeline.prior_alignment import PriorVisit

    if bundle is None and image is not None:
        fix = "give the bundle of that visit"
        raise InputError("--prior-image", expected="--prior-visit beside it", got="the image alone", fix=fix)
    return None if bundle is None else PriorVisit.read(bundle, image, modality)


def summary(report: AuditReport, folder: Path) -> str:
    """The result in a few lines, the most suspicious first."""
    from synth.residual.findings import PriorOutcome

    found = report.findings
    lines = [f"{len(found.checked)} of {len(found.entities)} entities checked at alpha {found.alpha:g}"]
    lines += [f"  {e.verdict}: {e.id} ({e.reason})" for e in found.flagged]
    lines += [f"  missing: {m.name} ({m.reason})" for m in found.missing or ()]
    lines += [f"  uncertain: {e.id} ({e.reason})" for e in found.uncertain]
    before = found.prior_visit.tried if found.prior_visit else ()
    lines += [f"  prior visit: {t.id} ({t.reason})" for t in before if t.outcome is not PriorOutcome.missing]
    if not found.count:
        lines.append("  nothing in the parse is contradicted by the image")
    return "\n".join([*lines, f"report: {folder / 'report.html'}"])


def parse_tiers(text: str | None) -> tuple[int, ...] | None:
    """`--tiers 1,2` as numbers, None for all; raises InputError for anything else."""
    from synth.errors import InputError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise InputError("tiers", expected="numbers with commas between", got=f"'{text}'", fix="use --tiers 1")
    return tuple(sorted({int(part) for part in parts}))
