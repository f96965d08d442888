"""Images of a parse: the whole volume, or one region redrawn within an image that stays as it is elsewhere.

1 grid      parse (and context) to the decoder's grid
2 draw      n samples of p(image | parse [, context])
3 back      with context, the redrawn region goes back to the image's own grid; all else is the image, bit for bit
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synth import __version__
from synth.contracts import Decoder, Render
from synth.errors import InputError
from synth.parse import Parse
from synth.volume import Geometry, Mask, Volume, resample, resample_mask

MOST = 64  # images in one call: each is a whole volume in memory


@dataclass(frozen=True, eq=False)
class RenderedImages:
    """Synthetic images of one parse, and what makes them again."""

    images: tuple[Volume, ...]
    provenance: Mapping[str, Any]

    @property
    def mark(self) -> str:
        """What the header of each image says about its origin."""
        p = self.provenance
        return f"synth {p['package']} {p['decoder']} {str(p['weights_sha256'])[:8]} seed {p['seed']}"


def render(
    parse: Parse,
    *,
    decoder: str | Decoder = "direct",
    context: Volume | None = None,
    region: str | Mask | None = None,
    n: int = 1,
    seed: int = 0,
) -> RenderedImages:
    """Draw n images of a parse.

    With `context`, only `region` is redrawn: the id of a delineated entity, or a mask on the grid of the context.

    Raises:
        InputError: a context without region or the reverse, grids that differ, an id without a mask, n out of range.
    """
    if not 1 <= n <= MOST:
        raise InputError("number of images", expected=f"1 to {MOST}", got=str(n), fix="draw the rest with another seed")
    if (context is None) != (region is None):
        got = "only the region" if context is None else "only the image"
        raise InputError(
            "render", expected="an image together with the region to redraw", got=got, fix="give both or none"
        )
    drawing = _decoder(decoder)
    generator = torch.Generator().manual_seed(seed)
    if context is None or region is None:
        grid = parse.geometry.with_spacing(drawing.spacing_mm)
        drawn = drawing.render(_on(parse, grid), n=n, generator=generator)
        images = [Volume(array, grid, drawing.modalities[0], "HU") for array in drawn.images]  # type: ignore[arg-type] # a modality
    else:
        images = _within(parse, context, _region(parse, region, context.geometry), drawing, n, generator)
    provenance = {
        "package": __version__,
        "decoder": drawing.name,
        "weights_sha256": drawing.weights_sha256,
        "seed": seed,
        "context_sha256": None if context is None else context.sha256(),
    }
    return RenderedImages(tuple(images), provenance)


def _within(
    parse: Parse, context: Volume, region: Mask, decoder: Decoder, n: int, generator: torch.Generator
) -> list[Volume]:
    """The context with the region redrawn.

    On the decoder's grid the region is drawn; what goes back to the finer grid is the change that it makes, so that
    nothing is blurred where nothing is redrawn.
    """
    grid = context.geometry.with_spacing(decoder.spacing_mm)
    small = resample(context, grid)
    hidden = resample_mask(region, context.geometry, grid)
    drawn: Render = decoder.render(_on(parse, grid), decoder.encode(small), hidden, n=n, generator=generator)
    inside = region.dense()
    return [context.with_array(_pasted(context, Volume(array, grid), inside)) for array in drawn.images]


def _pasted(context: Volume, drawn: Volume, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    fine = resample(drawn, context.geometry)
    return np.where(inside, np.rint(fine.array), context.array).astype(np.float32)


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
    return parse if grid.matches(parse.geometry, atol=1e-6) else parse.resampled(grid)


def _decoder(decoder: str | Decoder) -> Decoder:
    if not isinstance(decoder, str):
        return decoder
    from synth.decoder.registry import load_decoder

    return load_decoder(decoder)
