"""`synth render`: images of a parse, marked as synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synth.cli.options import DeviceOption, ModalityOption
from synth.cli.output import JsonOption, emit, progress

if TYPE_CHECKING:
    from synth.parse import Parse
    from synth.volume import Mask, Volume


def register(app: typer.Typer) -> None:
    """Add `synth render`."""
    app.command("render")(run)


def run(
    parse: Annotated[Path, typer.Argument(help="The bundle to draw.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Image to write (.nii.gz); with -n, NAME_1.nii.gz, ...")
    ],
    context: Annotated[Path | None, typer.Option("--context", help="Image to redraw a region of.")] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="What to redraw in it: id of an entity, or a mask file.")
    ] = None,
    modality: ModalityOption = None,
    decoder: Annotated[str, typer.Option(help="direct, latent, or a weights folder.")] = "direct",
    device: DeviceOption = "cpu",
    n: Annotated[int, typer.Option("-n", help="How many images.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the first image; the next take the numbers that follow.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Of the latent decoder's sampler.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="1 for all variety of the latent decoder, less for plainer images.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="More than 1 follows the parse more closely (latent decoder).")
    ] = None,
    max_memory: Annotated[
        float | None, typer.Option("--max-memory", help="GB beside images and masks (latent decoder).")
    ] = None,
    parses: Annotated[
        Path | None,
        typer.Option(help="Folder for the parse of each image, in which findings without a mask have their place."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Draw images of a parse; with --context and --region, redraw one place of an image."""
    from synth.errors import InputError
    from synth.parse import load_bundle, save_bundle
    from synth.pipeline.render import render
    from synth.volume import read_volume, write_volume

    paths = _paths(output, n)
    bundles = () if parses is None else tuple(parses / path.name.split(".nii")[0] for path in paths)
    there = [path for path in (*paths, *bundles) if path.exists()]
    if there and not overwrite:
        raise InputError(str(there[0]), expected="a new file", got="one that is there", fix="add --overwrite")
    drawn_from = load_bundle(parse)
    image = None if context is None else read_volume(context, modality=modality)
    with progress("drawing", as_json=as_json):
        made = render(
            drawn_from,
            decoder=decoder,
            device=device,
            context=image,
            region=_region(region, drawn_from, image),
            n=n,
            seed=seed,
            steps=steps,
            temperature=temperature,
            guidance=guidance,
            max_memory_gb=max_memory,
        )
        for path, volume in zip(paths, made.images, strict=True):
            write_volume(volume, path, synthetic=made.mark)
        for bundle, scene in zip(bundles, made.parses, strict=False):
            save_bundle(scene, bundle, overwrite=overwrite)
    names = [str(path) for path in paths]
    emit({"images": names, **made.provenance}, as_json, f"{', '.join(names)}: synthetic, {made.mark}")


def _paths(output: Path, n: int) -> tuple[Path, ...]:
    from synth.errors import InputError

    suffix = next((s for s in (".nii.gz", ".nii") if output.name.endswith(s)), None)
    if suffix is None:
        raise InputError(str(output), expected="a name that ends in .nii.gz", got=output.name, fix="add .nii.gz")
    if n == 1:
        return (output,)
    stem = output.name.removesuffix(suffix)
    return tuple(output.with_name(f"{stem}_{k}{suffix}") for k in range(1, n + 1))


def _region(region: str | None, parse: Parse, image: Volume | None) -> str | Mask | None:
    """A mask where the text is a file, else the id of an entity."""
    from synth.errors import InputError
    from synth.volume import read_mask

    if region is None or region in parse:
        return region
    if not Path(region).exists():
        return parse.entity(region).id  # raises the error that lists the nearest ids
    mask, geometry = read_mask(region)
    difference = None if image is None else image.geometry.describe_difference(geometry)
    if difference:
        raise InputError(region, expected="the grid of the image", got=difference, fix="resample the mask to the image")
    return mask
