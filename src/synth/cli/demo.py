"""`synth demo`: a patient with three known mistakes in the parse, audited with the shipped weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synth.cli.output import JsonOption, emit, log, progress

if TYPE_CHECKING:
    from synth.pipeline.demo import Named


def register(app: typer.Typer) -> None:
    """Add `synth demo`."""
    app.command("demo")(run)


def run(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write, a new one.")],
    seed: Annotated[int, typer.Option(help="Which patient.")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier demo in that folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Audit a phantom patient: one kidney removed but claimed, one liver lesion claimed, another not reported.

    Exit codes: 0 all three mistakes were named; 1 one was not; 2 bad input.
    """
    from synth.parse import save_bundle
    from synth.pipeline.audit import audit
    from synth.pipeline.demo import make_case, named
    from synth.report import save_report
    from synth.report.folder import check_free
    from synth.volume import write_volume

    check_free(output / "audit", overwrite=overwrite)
    with progress("making a patient", as_json=as_json) as advance:
        case = make_case(seed)
        write_volume(case.image, output / "ct.nii.gz", synthetic=f"phantom, seed {seed}")
        save_bundle(case.parse, output / "parse", overwrite=overwrite)
        report = audit(case.image, case.parse, advance=advance)
        save_report(report, output / "audit", overwrite=overwrite)
    told = named(report, case)
    page = output / "audit" / "report.html"
    payload = {"report": str(page), "seed": seed, "mistakes": [n.to_json() for n in told]}
    emit(payload, as_json, lambda: _text(told, page))
    if not all(n.found for n in told):
        log("the audit did not name every mistake")
        raise typer.Exit(1)


def _text(told: tuple[Named, ...], page: Path) -> str:
    lines = [f"  {'named ' if n.found else 'MISSED'}  {n.mistake}: {n.answer}" for n in told]
    return "\n".join(["Mistakes planted in the parse:", *lines, f"Open {page.resolve()} in a browser."])
