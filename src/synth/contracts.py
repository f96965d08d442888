"""What the layers promise each other: read this file first.

A *decoder* turns a parse into an image. It answers two questions, and the audit and the dynamics know only these:

    render(parse, context, region)              -> what would the image look like?            p(x | z [, context])
    contrast(encoded, parse, alternatives, ...) -> which of these parses explains it better?  log p(x|z) - log p(x|z')

Both work on the decoder's own grid (`Decoder.spacing_mm`); `synth.pipeline` resamples to it and back.
Arrays are (X, Y, Z) RAS+, images in HU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from synth.parse import Parse
    from synth.volume import Geometry, Mask, Volume

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class EncodedImage:
    """An image prepared once by one decoder and asked many times.

    Attributes:
        image: the volume on the decoder's grid.
        decoder: name of the decoder that made it; another decoder refuses it.
        payload: what the decoder keeps (normalised tensor, latents); opaque to everyone else.
    """

    image: Volume
    decoder: str
    payload: Any


@dataclass(frozen=True, eq=False)
class Render:
    """Images drawn from p(x | z [, context]).

    Attributes:
        images: (n, X, Y, Z) float32, HU.
        location: (X, Y, Z) float32 HU, the centre of the distribution, where the decoder gives one in closed form.
        scale: (X, Y, Z) float32 HU, its spread (standard deviation), where given.
        geometry: the grid of the arrays.
        provenance: decoder, weights hash, seed and whatever makes the same image again.
    """

    images: NDArray[np.float32]
    geometry: Geometry
    location: NDArray[np.float32] | None = None
    scale: NDArray[np.float32] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Contrast:
    """How much better the image is explained by the parse than by one alternative, voxel by voxel.

    Attributes:
        ratio: (draws, x, y, z) float32 over `box`; positive speaks for the parse. Zero outside `region`.
        region: (x, y, z) bool over `box`: where image evidence was hidden from the decoder and compared.
        core: (x, y, z) bool over `box`: the part of the region claimed by the entity in question.
        box: slices of the decoder's grid that the arrays cover.
        unit: "nats" for a log-likelihood ratio, "flow-matching error" for a paired difference of squared errors.
        with_parse, with_alternative: (x, y, z) float32 HU, the two renders where the decoder has them at hand; what
            they hold outside `region` means nothing.
        features: named scalars that summarise the map, the input of a calibrated fusion.
    """

    ratio: NDArray[np.float32]
    region: NDArray[np.bool_]
    core: NDArray[np.bool_]
    box: Box
    unit: str
    with_parse: NDArray[np.float32] | None = None
    with_alternative: NDArray[np.float32] | None = None
    features: Mapping[str, float] = field(default_factory=dict)

    def total(self) -> float:
        """Sum over the region, mean over the draws, in `unit`."""
        return float(self.ratio.mean(axis=0)[self.region].sum()) if self.region.any() else 0.0

    def mean(self) -> float:
        """`total()` per voxel of the region."""
        return self.total() / max(int(self.region.sum()), 1)


@runtime_checkable
class Decoder(Protocol):
    """The one contract of every decoder; a better decoder is a new file that keeps it.

    Attributes:
        name: key in the decoder registry ("direct", "latent").
        spacing_mm: the isotropic grid it works on.
        modalities: what it can render.
        vocabulary: entity names that it was trained on.
        weights_sha256: hash of the weights file, for provenance.
    """

    name: str
    spacing_mm: float
    modalities: tuple[str, ...]
    vocabulary: frozenset[str]
    weights_sha256: str

    def encode(self, image: Volume) -> EncodedImage:
        """Prepare an image on the decoder's grid, once."""
        ...

    def render(
        self,
        parse: Parse,
        context: EncodedImage | None = None,
        region: Mask | None = None,
        *,
        n: int = 1,
        generator: torch.Generator,
    ) -> Render:
        """Draw n images of the parse; with context, only `region` is drawn and the rest is the context, bit for bit."""
        ...

    def contrast(
        self,
        encoded: EncodedImage,
        parse: Parse,
        alternatives: Sequence[Parse],
        region: Mask,
        *,
        draws: int = 1,
        generator: torch.Generator,
    ) -> tuple[Contrast, ...]:
        """Compare the parse with each alternative where `region` hides the image.

        `region` is the place in question (an entity's mask, say); the decoder hides that and a margin of its own
        choice, sees the image around it, and scores the image inside under each parse. One `Contrast` per alternative.
        """
        ...


@runtime_checkable
class Tiered(Decoder, Protocol):
    """A decoder whose answers hold those of a cheaper one, so that the cheaper one can be asked first."""

    @property
    def first(self) -> Decoder:
        """The cheaper decoder."""
        ...

    def for_first(self, encoded: EncodedImage) -> EncodedImage:
        """The image as the cheaper decoder prepared it, out of this decoder's."""
        ...


@runtime_checkable
class Refining(Tiered, Protocol):
    """A tiered decoder that need not ask the cheaper one a second time."""

    def refine(
        self,
        first: Sequence[Contrast],
        encoded: EncodedImage,
        parse: Parse,
        alternatives: Sequence[Parse],
        region: Mask,
        *,
        draws: int = 1,
        generator: torch.Generator,
    ) -> tuple[Contrast, ...]:
        """What `contrast` gives, where the cheaper decoder has answered the same question with `first` already."""
        ...
