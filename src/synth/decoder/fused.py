"""Both decoders as one: the direct decoder's answer, with the latent decoder's evidence beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from synth.contracts import Contrast, EncodedImage, Render
from synth.decoder.direct import DirectDecoder
from synth.decoder.grid import check_encoded
from synth.decoder.latent import LatentDecoder
from synth.errors import InputError
from synth.parse import Parse
from synth.volume import Mask, Volume


class FusedDecoder:
    """Tiers 1 and 2 of the audit under the one contract.

    Renders and the map in nats are the direct decoder's; `features` gains the latent decoder's flow-matching evidence
    as `latent_*`, which a calibrated fusion weighs. `weights_sha256` is both hashes, joined by "+".

    Raises InputError when the two work on different grids.
    """

    name = "fused"

    def __init__(self, direct: DirectDecoder, latent: LatentDecoder) -> None:
        if direct.spacing_mm != latent.spacing_mm:
            got = f"{direct.spacing_mm:g} and {latent.spacing_mm:g} mm"
            raise InputError("decoders to fuse", expected="one spacing", got=got, fix="train both on one grid")
        self.direct, self.latent = direct, latent
        self.spacing_mm = direct.spacing_mm
        self.modalities = direct.modalities
        self.vocabulary = direct.vocabulary & latent.vocabulary
        self.weights_sha256 = f"{direct.weights_sha256}+{latent.weights_sha256}"

    @classmethod
    def from_pretrained(cls, path: str | Path = "fused") -> FusedDecoder:
        """The shipped pair, or a folder with both: one named `direct`, one named `latent`."""
        if str(path) == cls.name:
            return cls(DirectDecoder.from_pretrained(), LatentDecoder.from_pretrained())
        parts = [Path(path) / name for name in (DirectDecoder.name, LatentDecoder.name)]
        missing = [p for p in parts if not p.is_dir()]
        if missing:
            raise InputError(
                "fused decoder",
                expected=f"{cls.name!r}, or a folder with {' and '.join(p.name for p in parts)} in it",
                got=str(path),
                fix="name a direct or latent folder",
            )
        return cls(DirectDecoder.from_pretrained(parts[0]), LatentDecoder.from_pretrained(parts[1]))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write both weights folders into one."""
        self.direct.save_pretrained(Path(folder) / self.direct.name)
        self.latent.save_pretrained(Path(folder) / self.latent.name)

    def to(self, device: str | torch.device) -> FusedDecoder:
        """Move both. Raises InputError for a device that is not there."""
        self.direct.to(device)
        self.latent.to(device)
        return self

    @property
    def first(self) -> DirectDecoder:
        """The cheaper of the two."""
        return self.direct

    def for_first(self, encoded: EncodedImage) -> EncodedImage:
        """The direct decoder's part of an image that this one encoded."""
        first: EncodedImage = encoded.payload[0]
        return first

    def encode(self, image: Volume) -> EncodedImage:
        """Encode with both; the payload holds both."""
        return EncodedImage(image, self.name, (self.direct.encode(image), self.latent.encode(image)))

    def render(
        self,
        parse: Parse,
        context: EncodedImage | None = None,
        region: Mask | None = None,
        *,
        n: int = 1,
        generator: torch.Generator,
    ) -> Render:
        """As the direct decoder."""
        if context is not None:
            check_encoded(context, self.name, parse.geometry)
            context = self.for_first(context)
        return self.direct.render(parse, context, region, n=n, generator=generator)

    def contrast(
        self,
        encoded: EncodedImage,
        parse: Parse,
        alternatives: Sequence[Parse],
        region: Mask,
        *,
        draws: int = 4,
        generator: torch.Generator,
    ) -> tuple[Contrast, ...]:
        """The direct decoder's contrast, with `latent_*` features from `draws` antithetic pairs of the flow."""
        check_encoded(encoded, self.name, parse.geometry)
        first = self.direct.contrast(self.for_first(encoded), parse, alternatives, region, generator=generator)
        return self.refine(first, encoded, parse, alternatives, region, draws=draws, generator=generator)

    def refine(
        self,
        first: Sequence[Contrast],
        encoded: EncodedImage,
        parse: Parse,
        alternatives: Sequence[Parse],
        region: Mask,
        *,
        draws: int = 4,
        generator: torch.Generator,
    ) -> tuple[Contrast, ...]:
        """The same, the direct decoder's answers at hand: it draws nothing, so they are what it would say again."""
        check_encoded(encoded, self.name, parse.geometry)
        second = encoded.payload[1]
        latent = self.latent.contrast(second, parse, alternatives, region, draws=draws, generator=generator)
        return tuple(
            replace(d, features={**d.features, **{f"latent_{k}": v for k, v in f.features.items()}})
            for d, f in zip(first, latent, strict=True)
        )
