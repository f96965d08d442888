"""`synth fault`: plant known faults in a parse, to see whether an audit finds them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synth.cli.options import ModalityOption
from synth.cli.output import JsonOption, emit
from synth.errors import InputError

if TYPE_CHECKING:
    from synth.fault import FaultSpec
    from synth.parse import Parse
    from synth.volume import Mask

_FAMILIES = (
    "move, dilate, erode, merge, split, delete, false-absence, add-lesion, false-side, hallucinated-organ, relabel, "
    "swap-sides, flip-attribute or wrong-relation"
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
    name: Annotated[str | None, typer.Option(help="Name of the lesion to add, or of the organ to hallucinate.")] = None,
    attribute: Annotated[str | None, typer.Option(help="Attribute to change.")] = None,
    value: Annotated[str | None, typer.Option(help="Value to change it to.")] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(
            help="A fault more, in another entity: FAMILY, FAMILY:ENTITY or FAMILY:ENTITY:MM; may be repeated."
        ),
    ] = None,
    image: Annotated[Path | None, typer.Option(help="The image, for body and tissues that the parse lacks.")] = None,
    modality: ModalityOption = None,
    seed: Annotated[int, typer.Option(help="What is left open is drawn from this.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Plant one fault in a parse, or several with --also."""
    import numpy as np

    from synth.fault import Family, FaultSpec, inject_several
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
    specs = [spec, *(_further(text) for text in also or ())]
    volume = None if image is None else read_volume(image, modality=modality)
    truth = load_bundle(parse)
    faulted = inject_several(truth, specs, np.random.default_rng(seed), image=volume, places=_places(truth, specs))
    made_by = faulted.parse.circumstance.made_by or "unknown"
    circumstance = faulted.parse.circumstance.changed(made_by=f"{made_by}; synth fault")
    save_bundle(faulted.parse.replace(circumstance=circumstance), output, overwrite=overwrite)
    faults = [record.to_json() for record in faulted.records]
    payload = {"bundle": str(output), "seed": seed, **(faults[0] if len(faults) == 1 else {"faults": faults})}
    write_bytes(output.with_name(f"{output.name}.fault.json"), (json.dumps(payload, indent=2) + "\n").encode())
    said = "; ".join(record.description for record in faulted.records)
    expected = ", ".join(f"{e.entity or e.name}: {e.verdict}" for e in faulted.expected)
    emit(payload, as_json, f"{output}: {said} (an audit should say {expected})")


def _further(text: str) -> FaultSpec:
    """The fault that an --also asks for."""
    from synth.fault import Family, FaultSpec

    family, *rest = text.split(":")
    if len(rest) > 2:
        expected = "FAMILY, FAMILY:ENTITY or FAMILY:ENTITY:MM"
        raise InputError("--also", expected=expected, got=f"'{text}'", fix="write dilate:liver:8, or dilate::8")
    entity, distance = (*rest, "", "")[:2]
    return FaultSpec(Family.named(family), entity=entity or None, severity_mm=_range("--also", distance or None))


def _places(parse: Parse, specs: Sequence[FaultSpec]) -> dict[str, Mask]:
    """Where organs would usually lie that are hallucinated: those asked for, else those declared absent."""
    from synth.fault import Family
    from synth.population import Population, usual_places

    wanted = [spec.name or spec.entity for spec in specs if spec.family is Family.hallucinated_organ]
    if not wanted:
        return {}
    named = [parse.entity(asked).name if asked in parse else asked for asked in wanted if asked is not None]
    population = Population.load()
    absent = usual_places(parse, population) if None in wanted else {}
    return absent | usual_places(parse, population, named)


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
