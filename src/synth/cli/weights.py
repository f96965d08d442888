"""`synth weights convert`: checkpoints from elsewhere, made weights folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from synth.cli.groups import group
from synth.cli.output import JsonOption, emit


def register(app: typer.Typer) -> None:
    """Add `synth weights`."""
    group(app, "weights", "Bring weights from elsewhere.").command("convert")(run)


def run(
    file: Annotated[Path, typer.Argument(help="Checkpoint (.pt) of MONAI's MAISI.")],
    kind: Annotated[str, typer.Option("--as", help="maisi-autoencoder or maisi-unet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write: config.json and safetensors.")],
    network: Annotated[
        Path | None, typer.Option(help="JSON with the network's arguments, where they are not the published ones.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a folder that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a checkpoint to safetensors; nothing in it is executed, every tensor is checked."""
    from synth.decoder.convert import convert
    from synth.errors import InputError

    if output.exists() and not overwrite:
        raise InputError(str(output), expected="a new folder", got="one that is there", fix="add --overwrite")
    arguments = {}
    if network is not None:
        try:
            arguments = json.loads(network.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(str(network), expected="a JSON object", got=str(error), fix="correct the file") from None
        if not isinstance(arguments, dict):
            raise InputError(str(network), expected="a JSON object", got=repr(arguments)[:40], fix="correct the file")
    config = convert(file, output, kind, arguments)
    emit({"weights": str(output), "config": config}, as_json, f"{output}: {config['decoder']}, from {file.name}")
