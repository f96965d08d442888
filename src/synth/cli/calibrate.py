"""`synth calibrate`: a site's own accepted cases as the audit's calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synth.cli.options import DecoderOption, DeviceOption, ModalityOption, NamesOption, SourceOption
from synth.cli.output import JsonOption, emit, log, progress

if TYPE_CHECKING:
    from synth.report.calibrate import SiteCalibration


def register(app: typer.Typer) -> None:
    """Add `synth calibrate`."""
    app.command("calibrate")(run)


def run(
    cases: Annotated[
        Path, typer.Argument(help="Folder of accepted cases, or a CSV with columns image, parse and, if wanted, id.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write, a new one.")],
    source: SourceOption = None,
    names: NamesOption = None,
    modality: ModalityOption = None,
    decoder: DecoderOption = "fused",
    device: DeviceOption = "cpu",
    audit_model: Annotated[Path | None, typer.Option(help="Calibration to begin from, not the shipped one.")] = None,
    jitters: Annotated[int, typer.Option(help="Further scores of each entity, its outline jittered.")] = 2,
    search: Annotated[bool, typer.Option(help="Calibrate the search for what parses leave out, too.")] = True,
    seed: Annotated[int, typer.Option(help="Of the jitters and draws.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that share the cases.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Refit p-values on cases that this site has accepted; synth audit --audit-model takes the result."""
    from synth.pipeline.cases import Reading
    from synth.report.calibrate import CalibrateOptions, calibrate

    reading = Reading(modality, source, names)
    options = CalibrateOptions(decoder, device, reading, jitters, search, audit_model, seed, workers)
    with progress("reading", as_json=as_json) as advance:
        found = calibrate(cases, output, options, advance=advance)
    for id, why in found.left_out.items():
        log(f"left out: {id}: {why}")
    emit({"weights": str(output), **found.to_json()}, as_json, lambda: _text(found))


def _text(found: SiteCalibration) -> str:
    whole = found.cells[0]
    lines = [f"{len(found.cases)} cases, {whole.scores} scores; {found.entities} entities are judged together"]
    for alpha, needed in whole.needed.items():
        more = whole.more_cases[alpha]
        lines.append(f"  alpha {alpha}: {needed} scores needed, {f'about {more} more cases' if more else 'enough'}")
    for name, rows in found.alarms.items():
        told = ", ".join(f"{a.shipped} to {a.own} at {a.alpha:g}" for a in rows)
        lines.append(f"  accepted entities flagged by {name}: {told}")
    return "\n".join([*lines, f"report: {found.folder / 'calibration.html'}"])
