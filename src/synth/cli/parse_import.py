"""`synth parse import`: another tool's segmentation becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synth.cli.groups import group
from synth.cli.options import ModalityOption
from synth.cli.output import JsonOption, emit, log, progress


def register(app: typer.Typer) -> None:
    """Add `synth parse import`."""
    group(app, "parse", "Import, check, measure and compare parses.").command("import")(run)


def run(
    labels: Annotated[Path, typer.Argument(help="Label map (.nii.gz, .nrrd), or a folder of masks NAME.nii.gz.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Bundle to write, a new folder.")],
    source: Annotated[str, typer.Option("--from", help="totalsegmentator, nnunet, or names.")] = "totalsegmentator",
    names: Annotated[
        Path | None, typer.Option("--names", help="dataset.json of nnU-Net, or a table of label values and names.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option("--image", help="The image it was made from: hash, modality and appearance go in.")
    ] = None,
    modality: ModalityOption = None,
    tissues: Annotated[bool, typer.Option("--tissues", help="Add body, fat, bone and air from the image.")] = False,
    derive: Annotated[
        bool, typer.Option(help="Derive relations from the masks, and appearance from the image.")
    ] = True,
    assume_absent: Annotated[
        bool, typer.Option("--assume-absent", help="A class without voxels is absent, rather than not assessed.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Import a segmentation as a parse."""
    from synth.interop import import_labels
    from synth.parse import save_bundle
    from synth.pipeline.preflight import preflight, require
    from synth.volume import read_volume

    with progress("importing", total=3, as_json=as_json) as advance:
        volume = None if image is None else read_volume(image, modality=modality)
        if volume is not None:
            require(preflight(volume))
        advance(message="reading labels")
        parse = import_labels(
            labels,
            source=source,  # type: ignore[arg-type]  # checked there, with an error that lists the choices
            names=names,
            image=volume,
            derive=derive,
            tissues=tissues,
            assume_absent=assume_absent,
        )
        advance(message="writing")
        save_bundle(parse, output, overwrite=overwrite)
    remarks = [] if volume is None else [f for f in preflight(volume, parse) if f.severity != "info"]
    for finding in remarks:
        log(f"{finding.severity}: {finding.message}")
    drawn, entities = len(parse.masks), len(parse.entities)
    payload = {
        "bundle": str(output),
        "entities": entities,
        "delineated": drawn,
        "attributes": len(parse.attributes),
        "relations": len(parse.relations),
        "findings": [finding.to_json() for finding in remarks],
    }
    facts = f"{len(parse.attributes)} attributes, {len(parse.relations)} relations"
    emit(payload, as_json, f"{output}: {entities} entities, {drawn} of them delineated; {facts}")
