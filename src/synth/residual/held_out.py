"""The image that the parse predicts everywhere, each place rendered with its own pixels hidden.

The body is cut into cubes; a pass hides a quarter of them, chosen so that hidden cubes meet at corners only, and
renders them from the parse and the image around. After four passes every voxel has been predicted without having been
seen:

    z(v) = (x(v) - location(v)) / scale(v)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from synth.contracts import Decoder, EncodedImage
from synth.parse import Kind, Parse
from synth.residual.intensity_prior import MOST_UNUSUAL, IntensityPrior
from synth.volume import Mask

Map = NDArray[np.float32]

PASSES = 4
SIDE_VOXELS = (
    6  # 24 mm on a 4 mm grid: wider than what should be noticed, narrow enough for the context to tell the rest
)
SAMPLES = 4  # for a decoder that gives no spread of its own
MIN_SCALE_HU = 8.0  # narrower claims than a CT's noise are not believed


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Location and scale (X, Y, Z) in HU of each voxel inside `body`; the image and zero spread outside."""

    location: Map
    scale: Map
    body: Mask

    def standardised(self, image: Map) -> Map:
        """z, zero outside the body."""
        z = np.zeros(image.shape, np.float32)
        inside = self.body.dense()
        z[inside] = ((image - self.location) / np.maximum(self.scale, MIN_SCALE_HU))[inside]
        return z


def unexplained(image: Map, held_out: HeldOut, parse: Parse, prior: IntensityPrior) -> Map:
    """(X, Y, Z) how far out each voxel is, in standard deviations, signed: the residual and the population together.

    Inside an entity the residual is taken from the entity's own median (an organ that is brighter than rendered all
    over is another contrast phase, not a finding) and averaged with how unusual the voxel is for that entity, where
    the two agree in sign. Gas surprises a decoder that had to guess where in the bowel it lies; it is not a finding.
    """
    z = held_out.standardised(image)
    out = z.copy()
    for entity_id in sorted(parse.present_ids, key=lambda i: -parse.masks[i].voxels):
        entity, mask = parse.entity(entity_id), parse.masks[entity_id]
        if entity.kind is Kind.target or not prior.knows(entity.name):
            continue
        values, residual = image[mask.slices][mask.box], z[mask.slices][mask.box]
        residual = residual - np.median(residual)
        unusual = prior.unusual(entity.name, values - np.median(values))
        both = 0.5 * (np.clip(residual, -MOST_UNUSUAL, MOST_UNUSUAL) + unusual)
        out[mask.slices][mask.box] = np.where(residual * unusual > 0, both, 0.0)
    return out


def render_held_out(
    decoder: Decoder, encoded: EncodedImage, parse: Parse, body: Mask, *, generator: torch.Generator
) -> HeldOut:
    """Render every voxel of the body from the parse and from the image outside its own cube."""
    image = encoded.image.array
    location, scale = image.copy(), np.zeros_like(image)
    for hidden in hidden_cubes(body):
        if hidden.is_empty:
            continue
        drawn = decoder.render(parse, encoded, hidden, n=1, generator=generator)
        if drawn.location is None or drawn.scale is None:
            drawn = decoder.render(parse, encoded, hidden, n=SAMPLES, generator=generator)
            centre, spread = drawn.images.mean(axis=0), drawn.images.std(axis=0)
        else:
            centre, spread = drawn.location, drawn.scale
        window = hidden.slices
        location[window][hidden.box] = centre[window][hidden.box]
        scale[window][hidden.box] = spread[window][hidden.box]
    return HeldOut(location, scale, body)


def hidden_cubes(body: Mask, side: int = SIDE_VOXELS) -> tuple[Mask, ...]:
    """The body in four disjoint parts, each made of cubes that touch at corners only.

    Cubes alternate along each axis, which gives eight parities; a parity and its opposite go together.

    Example:
        >>> body = Mask.from_dense(np.ones((24, 24, 24), bool))
        >>> parts = hidden_cubes(body)
        >>> [part.voxels for part in parts], parts[0].overlap(parts[1])
        ([3456, 3456, 3456, 3456], 0)
    """
    x, y, z = (np.arange(n) // side % 2 for n in body.box.shape)
    # Parity (a, b, c) and its opposite agree in a xor b and in a xor c.
    colour = (x[:, None, None] ^ y[None, :, None]) + 2 * (x[:, None, None] ^ z[None, None, :])
    return tuple(Mask.from_box(body.shape, body.origin, body.box & (colour == k)) for k in range(PASSES))
