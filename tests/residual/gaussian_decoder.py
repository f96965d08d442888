"""A decoder small enough to read in a minute, and real: each entity's name has a mean and a spread of its own.

Where the image is hidden a voxel is Gaussian with the parameters of the smallest entity that claims it, or of the
body. It keeps the contract of `synth.contracts.Decoder` and knows nothing that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from synth.contracts import Contrast, EncodedImage, Render
from synth.parse import VOCABULARY, Kind, Parse
from synth.volume import Mask, Volume, body_mask

AIR = (-1000.0, 20.0)
MARGIN = 2


@dataclass(frozen=True, eq=False)
class GaussianDecoder:
    """Mean and spread in HU by name; `rest` is what no entity claims."""

    moments: Mapping[str, tuple[float, float]]
    rest: tuple[float, float]
    name: str = "gaussian"
    spacing_mm: float = 4.0
    modalities: tuple[str, ...] = ("CT",)
    weights_sha256: str = "0" * 64
    vocabulary: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def fit(cls, cases: Sequence[tuple[Volume, Parse]]) -> GaussianDecoder:
        """Pool the voxels of each name over the cases; those of the body that nothing claims are the rest."""
        values: dict[str, list[NDArray[np.float32]]] = {}
        rest = []
        for image, parse in cases:
            free = body_mask(image).dense()
            for i in parse.present_ids:
                if parse.entity(i).kind is Kind.tissue:
                    continue
                values.setdefault(parse.entity(i).name, []).append(parse.masks[i].values(image.array))
                free[parse.masks[i].slices] &= ~parse.masks[i].box
            rest.append(image.array[free])
        moments = {name: _moments(np.concatenate(v)) for name, v in values.items()}
        return cls(moments, _moments(np.concatenate(rest)), vocabulary=frozenset(moments))

    def encode(self, image: Volume) -> EncodedImage:
        return EncodedImage(image, self.name, None)

    def render(
        self,
        parse: Parse,
        context: EncodedImage | None = None,
        region: Mask | None = None,
        *,
        n: int = 1,
        generator: torch.Generator,
    ) -> Render:
        location, scale = self._field(parse)
        noise = torch.randn((n, *location.shape), generator=generator).numpy()
        images = (location + scale * noise).astype(np.float32)
        if context is not None and region is not None:
            kept = ~region.dense()
            images[:, kept] = context.image.array[kept]
            location, scale = (
                np.where(kept, context.image.array, location),
                np.where(kept, 0.0, scale).astype(np.float32),
            )
        return Render(images, parse.geometry, location, scale, {"decoder": self.name})

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
        box = region.padded_slices(MARGIN)
        x = encoded.image.array[box]
        mean, sd = (a[box] for a in self._field(parse))
        hidden = np.ones(x.shape, bool)
        found = []
        for other in alternatives:
            mean_other, sd_other = (a[box] for a in self._field(other))
            ratio = _log_density(x, mean, sd) - _log_density(x, mean_other, sd_other)
            found.append(Contrast(ratio[None], hidden, region.crop(box), box, "nats", mean, mean_other))
        return tuple(found)

    def _field(self, parse: Parse) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mean = np.full(parse.geometry.shape, self.rest[0], np.float32)
        sd = np.full(parse.geometry.shape, self.rest[1], np.float32)
        for i in sorted(parse.present_ids, key=lambda i: -parse.masks[i].voxels):
            known = VOCABULARY.nearest(parse.entity(i).name, self.moments)
            if known is not None:
                mask = parse.masks[i]
                mean[mask.slices][mask.box], sd[mask.slices][mask.box] = self.moments[known]
        return mean, sd


def _moments(values: NDArray[np.float32]) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) + 5.0


def _log_density(x: NDArray[np.float32], mean: NDArray[np.float32], sd: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(-0.5 * ((x - mean) / sd) ** 2 - np.log(sd), np.float32)
