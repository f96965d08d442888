"""Images of a parse: the whole volume, or one region redrawn within an image that stays as it is elsewhere.

1 place     findings that the parse names without drawing them get masks where their relations allow, other ones a seed
            without context, fat where organs are absent, and usual means where the parse leaves them open
2 grid      parse (and context) to the decoder's grid
3 draw      a sample of p(image | parse [, context]) for each seed
4 back      with context, the redrawn region goes back to the image's own grid; all else is the image, bit for bit
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synth import __version__
from synth.contracts import Decoder, EncodedImage, Render
from synth.errors import InputError
from synth.parse import Modality, Parse
from synth.parse.place import place_undrawn
from synth.population import Population, completed
from synth.volume import Geometry, Mask, Volume, resample, resample_mask

OF_VOXELS = ("attenuation_spread", "edge_sharpness")  # noise and blur, both other on coarser voxels
DRAWN_BY = ("steps", "temperature", "guidance")
MOST = 64  # images in one call: each is a whole volume in memory


@dataclass(frozen=True, eq=False)
class RenderedImages:
    """Synthetic images of one parse, and what makes them again.

    Attributes:
        images: one volume for each seed; seeds: `seed=s, n=1` makes the image of s alone.
        parses: what each image shows: the parse, with the findings placed that it did not draw and, without context,
            with what it left open filled in (`source` "population"); on the images' grid.
        mean: the mean of all such images, where it was asked for.
        provenance: package, decoder, hash of its weights, first seed, how it was drawn, hash of the context or, without
            one, of the population.
    """

    images: tuple[Volume, ...]
    seeds: tuple[int, ...]
    parses: tuple[Parse, ...]
    provenance: Mapping[str, Any]
    mean: Volume | None = None

    @property
    def mark(self) -> str:
        """What the header of each image says about its origin."""
        p = self.provenance
        return f"synth {p['package']} {p['decoder']} {str(p['weights_sha256'])[:8]} seed {p['seed']}"


class RenderPipeline:
    """A decoder with everything around it: grids, seeds, regions of an image, progress, provenance.

    Args:
        decoder: any that keeps the contract of `synth.contracts`.
        population: what is usual where the parse leaves it open; the shipped one for None.

    Example:
        >>> import synth
        >>> pipeline = RenderPipeline.from_pretrained("direct")
        >>> phantom = synth.make_phantom(0, spacing_mm=(8.0, 8.0, 8.0))
        >>> drawn = pipeline(phantom.parse, n=2, seed=7)
        >>> drawn.seeds, drawn.images[0].unit
        ((7, 8), 'HU')
    """

    def __init__(self, decoder: Decoder, population: Population | None = None) -> None:
        self.decoder = decoder
        self.population = population

    @classmethod
    def from_pretrained(cls, path: str | Path = "latent", *, device: str = "cpu") -> RenderPipeline:
        """A shipped decoder by name, or a weights folder, on a device; no network is used.

        Raises InputError for anything else.
        """
        from synth.decoder.registry import load_decoder

        return cls(load_decoder(str(path), device))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the decoder's weights to a folder that `from_pretrained` reads.

        Raises InputError for a decoder that has none to write.
        """
        save = getattr(self.decoder, "save_pretrained", None)
        if save is None:
            raise InputError("decoder", expected="one with weights", got=self.decoder.name, fix="save another")
        save(folder)

    def __call__(
        self,
        parse: Parse,
        *,
        context: Volume | None = None,
        region: str | Mask | None = None,
        n: int = 1,
        seed: int = 0,
        steps: int | None = None,
        temperature: float | None = None,
        guidance: float | None = None,
        max_memory_gb: float | None = None,
        mean: bool = False,
        progress: bool = False,
    ) -> RenderedImages:
        """Draw n images of a parse.

        Args:
            context, region: with an image only the region in it is redrawn: the id of an entity with a mask, or of a
                finding that gets one by its relations; or a mask on the grid of the image.
            seed: of the first image; the next take the numbers that follow.
            steps, temperature, guidance, max_memory_gb: of decoders that sample (`synth.decoder.Sampling`); None for
                their own.
            mean: give the mean image as well, where the decoder has one.
            progress: show a bar on stderr or in the notebook.

        Raises:
            InputError: a context without region or the reverse, grids that differ, an id without a mask, n out of
                range, steps for a decoder that takes none, a finding that fits nowhere, a parse of another modality.
        """
        _check_modality(parse, self.decoder)
        if not 1 <= n <= MOST:
            got, fix = str(n), "draw the rest with another seed"
            raise InputError("number of images", expected=f"1 to {MOST}", got=got, fix=fix)
        if (context is None) != (region is None):
            got = "only the region" if context is None else "only the image"
            raise InputError(
                "render", expected="an image together with the region to redraw", got=got, fix="give both or none"
            )
        settings = {
            "steps": steps,
            "temperature": temperature,
            "guidance": guidance,
            "max_memory_gb": max_memory_gb,
        }
        asked = {name: value for name, value in settings.items() if value is not None}
        seeds = tuple(range(seed, seed + n))
        with _bar(n, progress) as advance:
            decoder = _sampling(self.decoder, asked, mean, advance)
            shown = _on(parse, parse.geometry.with_spacing(decoder.spacing_mm)) if context is None else parse
            scenes = tuple(place_undrawn(shown, number) for number in seeds)  # `shown` itself where all are drawn
            # An image around tells what is usual for the patient.
            population = None if context is not None else self.population or Population.load()
            if population is not None:
                scenes = tuple(completed(z, population, s) for z, s in zip(scenes, seeds, strict=True))
            images, centre, place = [], None, None
            for number, scene in zip(seeds, scenes, strict=True):
                if context is not None and region is not None and (place is None or scene is not scenes[0]):
                    place = _Place.of(context, region, scene, decoder)
                given: tuple[EncodedImage | None, Mask | None] = (None, None) if place is None else place.given
                fit = scene if place is None else _on(scene, place.grid)
                generator = torch.Generator().manual_seed(number)
                drawn = decoder.render(fit, *given, n=1, generator=generator)
                images.append(_volume(drawn.images[0], drawn, place, decoder))
                if mean and centre is None and drawn.location is not None:
                    centre = _volume(drawn.location, drawn, place, decoder)
                advance(None)
        provenance = {
            "package": __version__,
            "decoder": decoder.name,
            "weights_sha256": decoder.weights_sha256,
            "seed": seed,
            "context_sha256": None if context is None else context.sha256(),
            "population_sha256": None if population is None else population.sha256,
            **{name: value for name, value in drawn.provenance.items() if name in DRAWN_BY},
        }
        return RenderedImages(tuple(images), seeds, scenes, provenance, centre)


def _check_modality(parse: Parse, decoder: Decoder) -> None:
    told = parse.circumstance.modality
    if told is not Modality.unknown and told.value not in decoder.modalities:
        expected = f"{' or '.join(decoder.modalities)}, which {decoder.name!r} draws"
        raise InputError(
            "modality of the parse", expected=expected, got=told.value, fix="use a decoder of that modality"
        )


def render(parse: Parse, *, decoder: str | Decoder = "direct", device: str = "cpu", **arguments: Any) -> RenderedImages:
    """`RenderPipeline` in one call: with a decoder, or with the name or weights folder of one, on a device."""
    if isinstance(decoder, str):
        return RenderPipeline.from_pretrained(decoder, device=device)(parse, **arguments)
    return RenderPipeline(decoder)(parse, **arguments)


@dataclass(frozen=True, eq=False)
class _Place:
    """A region of an image, on its own grid and on the decoder's.

    What goes back to the finer grid is the change that the decoder makes, so that nothing is blurred where nothing is
    redrawn.
    """

    context: Volume
    inside: NDArray[np.bool_]
    grid: Geometry
    given: tuple[EncodedImage, Mask]

    @classmethod
    def of(cls, context: Volume, region: str | Mask, parse: Parse, decoder: Decoder) -> _Place:
        mask = _region(parse, region, context.geometry)
        grid = context.geometry.with_spacing(decoder.spacing_mm)
        hidden = resample_mask(mask, context.geometry, grid)
        return cls(context, mask.dense(), grid, (decoder.encode(resample(context, grid)), hidden))


def _sampling(
    decoder: Decoder, asked: Mapping[str, Any], mean: bool, advance: Callable[[float | None], None]
) -> Decoder:
    """The decoder, told how to draw; raises InputError where it draws in one way only."""
    change = getattr(decoder, "with_sampling", None)
    if change is None:
        if asked:
            got = f"{', '.join(asked)} for {decoder.name!r}, which draws in one pass"
            raise InputError("render", expected="a decoder that samples", got=got, fix="use the latent decoder")
        return decoder
    steps = int(asked.get("steps", decoder.sampling.steps))  # type: ignore[attr-defined]  # it changes its sampling
    changed: Decoder = change(**asked, location=mean, advance=lambda: advance(0.99 / steps))
    return changed


@contextmanager
def _bar(total: int, shown: bool) -> Iterator[Callable[[float | None], None]]:
    """A progress bar over images; what is handed out moves on by a part of one, or, with None, to the next whole."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("drawing", total=total)
        done = [0.0]

        def advance(part: float | None) -> None:
            done[0] = math.floor(done[0]) + 1.0 if part is None else done[0] + part
            bar.update(task, completed=done[0])

        yield advance


def _volume(array: NDArray[np.float32], drawn: Render, place: _Place | None, decoder: Decoder) -> Volume:
    """The image on the decoder's grid, or, with a place, the context with the region redrawn."""
    if place is None:
        return Volume(array, drawn.geometry, decoder.modalities[0], "HU")  # type: ignore[arg-type]  # a modality
    fine = resample(Volume(array, place.grid), place.context.geometry)
    return place.context.with_array(np.where(place.inside, np.rint(fine.array), place.context.array).astype(np.float32))


def _region(parse: Parse, region: str | Mask, geometry: Geometry) -> Mask:
    """The region on the grid of the image."""
    difference = geometry.describe_difference(parse.geometry)
    if difference:
        raise InputError(
            "parse grid", expected="that of the image", got=difference, fix="resample the parse to the image"
        )
    mask = parse.mask(region) if isinstance(region, str) else region
    if mask.shape != geometry.shape:
        raise InputError(
            "region", expected=f"shape {geometry.shape}", got=str(mask.shape), fix="resample it to the image"
        )
    if mask.is_empty:
        raise InputError(
            "region", expected="a mask with voxels", got="an empty mask", fix="draw what should be redrawn"
        )
    return mask


def _on(parse: Parse, grid: Geometry) -> Parse:
    """The parse on another grid, without what was measured on its own and holds for its voxels only."""
    if grid.matches(parse.geometry, atol=1e-6):
        return parse
    kept = [a for a in parse.attributes if not (a.derived and a.type in OF_VOXELS)]
    return parse.replace(attributes=kept).resampled(grid)
