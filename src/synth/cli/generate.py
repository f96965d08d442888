"""`synth generate`: synthetic training pairs; `synth phantom`: one synthetic patient."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from synth.cli.output import JsonOption, emit, progress

SpacingOption = Annotated[
    tuple[float, float, float], typer.Option("--spacing", metavar="X Y Z", help="Voxel size in mm.")
]
ShapeOption = Annotated[
    tuple[int, int, int] | None,
    typer.Option("--shape", metavar="X Y Z", help="Voxels each way; without it the patient's own field of view."),
]


def register(app: typer.Typer) -> None:
    """Add `synth generate` and `synth phantom`."""
    app.command("generate")(run)
    app.command("phantom")(one)


def run(
    count: Annotated[int, typer.Option("--number", "-n", help="How many cases the folder is to hold.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the dataset, new or to be resumed.")],
    seed: Annotated[int, typer.Option(help="Case i is patient SEED + i.")] = 0,
    spacing: SpacingOption = (4.0, 4.0, 4.0),
    shape: ShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write synthetic CTs with their parses, as an nnU-Net v2 raw dataset and as bundles.

    Stopped at any moment, the same command goes on where it was.
    """
    from synth.pipeline.generate import GenerateConfig, generate

    config = GenerateConfig(seed, spacing, shape)
    with progress("generating", total=count, as_json=as_json) as advance:
        done = generate(count, output, config, advance=advance)
    payload = {"folder": str(done.folder), "cases": count, "made": done.made, "kept": done.kept, "synthetic": True}
    emit(payload, as_json, f"{count} synthetic cases in {done.folder} ({done.made} made, {done.kept} there before)")


def one(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    seed: Annotated[int, typer.Option(help="Which patient.")] = 0,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            "--phase", help="Contrast phase; repeat it for several of one anatomy, the first is that of the parse."
        ),
    ] = None,
    absent: Annotated[
        list[str] | None, typer.Option("--absent", help="An organ that was removed; may be repeated.")
    ] = None,
    lesion: Annotated[
        list[str] | None,
        typer.Option(
            "--lesion", metavar="NAME:ORGAN:MM", help="A lesion, in place of the drawn ones; may be repeated."
        ),
    ] = None,
    view: Annotated[str | None, typer.Option(help="torso, abdomen_pelvis, abdomen or chest_abdomen.")] = None,
    spacing: SpacingOption = (4.0, 4.0, 4.0),
    shape: ShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one synthetic patient: the image of each phase and the bundle of the true parse."""
    from synth.phantom import make
    from synth.phantom.asked import asked_spec
    from synth.pipeline.generate import GenerateConfig, save_phantom

    GenerateConfig(seed, spacing, shape)  # refuses a grid that cannot be made
    spec = asked_spec(seed, phases=phase, absent=absent, lesions=lesion, view=view)
    phantom = make(seed, spec=spec, spacing_mm=spacing, shape=shape)
    files = save_phantom(phantom, output)
    payload = {
        "folder": str(output),
        "seed": seed,
        "files": [str(f) for f in files],
        "spec": spec.to_json(),
        "entities": len(phantom.parse.entities),
        "synthetic": True,
    }
    emit(payload, as_json, f"patient {seed}: {len(phantom.parse.entities)} entities in {output}")
