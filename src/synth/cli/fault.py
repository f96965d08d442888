"""`synth fault`: plant a known fault in a parse, to see whether an audit finds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from synth.cli.options import ModalityOption
from synth.cli.output import JsonOption, emit
from synth.errors import InputError

_FAMILIES = (
    "move, dilate, erode, merge, split, delete, false-absence, add-lesion, false-side, relabel, swap-sides, "
    "flip-attribute or wrong-relation"
)


def register(app: typer.Typer) -> None:
    """Add `synth fault`."""
    app.command("fault")(run)


def run(
    family: Annotated[str, typer.Argument(help=f"What goes wrong: {_FAMILIES}.")],
    parse: Annotated[Path, typer.Argument(help="Bundle to take the parse from; it is not changed.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Bundle to write; OUTPUT.fault.json says what was done.")
    ],
    entity: Annotated[str | None, typer.Option(help="Id or name of the entity; drawn at random when left out.")] = None,
    distance: Annotated[
        str | None, typer.Option(help="Millimetres moved, grown or shrunk, or diameter of a lesion: 20 or 16,24.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Move by this vector in mm: right,anterior,superior.")] = None,
    to: Annotated[
        str | None, typer.Option(help="Move onto this (an entity, bowel, fat, ...), relabel as this, or merge with it.")
    ] = None,
    within: Annotated[float | None, typer.Option(help="Move no further than this many mm towards --to.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the lesion to add.")] = None,
    attribute: Annotated[str | None, typer.Option(help="Attribute to change.")] = None,
    value: Annotated[str | None, typer.Option(help="Value to change it to.")] = None,
    image: Annotated[Path | None, typer.Option(help="The image, for body and tissues that the parse lacks.")] = None,
    modality: ModalityOption = None,
    seed: Annotated[int, typer.Option(help="What is left open is drawn from this.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Plant one fault in a parse."""
    import numpy as np

    from synth.fault import Family, FaultSpec, inject
    from synth.parse import load_bundle, save_bundle
    from synth.volume import read_volume, write_bytes

    spec = FaultSpec(
        family=Family.named(family),
        entity=entity,
        severity_mm=_range("--distance", distance),
        vector_mm=_vector("--by", by),
        to=to,
        within_mm=float("inf") if within is None else within,
        name=name,
        attribute=attribute,
        value=_value(value),
    )
    volume = None if image is None else read_volume(image, modality=modality)
    faulted = inject(load_bundle(parse), spec, np.random.default_rng(seed), image=volume)
    made_by = faulted.parse.circumstance.made_by or "unknown"
    circumstance = faulted.parse.circumstance.changed(made_by=f"{made_by}; synth fault")
    save_bundle(faulted.parse.replace(circumstance=circumstance), output, overwrite=overwrite)
    payload = {"bundle": str(output), "seed": seed, **faulted.record.to_json()}
    write_bytes(output.with_name(f"{output.name}.fault.json"), (json.dumps(payload, indent=2) + "\n").encode())
    expected = ", ".join(f"{e.entity or e.name}: {e.verdict}" for e in faulted.record.expected)
    emit(payload, as_json, f"{output}: {faulted.record.description} (an audit should say {expected})")


def _numbers(option: str, text: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        expected = " or ".join(str(count) for count in counts)
        raise InputError(option, expected=f"{expected} numbers with commas between", got=f"'{text}'", fix="write 16,24")
    return numbers


def _range(option: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    numbers = _numbers(option, text, (1, 2))
    return numbers[0], numbers[-1]


def _vector(option: str, text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    right, anterior, superior = _numbers(option, text, (3,))
    return right, anterior, superior


def _value(text: str | None) -> float | str | None:
    try:
        return text if text is None else float(text)
    except ValueError:
        return text
