"""A direct decoder that does not answer the same question twice: many audits of one image, each with one claim changed.

What the direct network is shown of a parse is its crop around the region, so two questions with equal crops have equal
answers, bit for bit. Most entities lie far from a planted fault, and what was said of them before holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import torch

from synth.conditioning import Scene, SceneCrop
from synth.contracts import Contrast, Decoder, EncodedImage
from synth.decoder import DirectDecoder, FusedDecoder
from synth.decoder.holes import hole_around
from synth.parse import Parse
from synth.volume import Mask

MOST = 160  # answers kept, about 2 MB each: those about one image's correct parse, which come first


class RememberingDecoder(DirectDecoder):
    """The decoder given, with an empty memory for one image."""

    def __init__(self, decoder: DirectDecoder) -> None:
        vars(self).update(vars(decoder))
        self._known: dict[bytes, tuple[Contrast, ...]] = {}
        self._scene_before: Scene | None = None

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
        """As of the decoder, from memory where the same was asked; it draws nothing, so `generator` stays as it is."""
        key = self._question(encoded, (parse, *alternatives), region)
        if key in self._known:
            return self._known[key]
        found = super().contrast(encoded, parse, alternatives, region, draws=draws, generator=generator)
        if len(self._known) < MOST:
            self._known[key] = found
        return found

    def _question(self, encoded: EncodedImage, parses: Sequence[Parse], region: Mask) -> bytes:
        """A digest of everything that the network is shown."""
        hole = hole_around(region, multiple=self.net.multiple)
        digest = hashlib.blake2b(repr((id(encoded.image), hole.box)).encode())
        digest.update(np.packbits(hole.core).tobytes())
        for parse in parses:
            self._scene_before = Scene.from_parse(parse, self.codec, like=self._scene_before)
            _add(digest, self._scene_before.crop(hole.box))
        return digest.digest()


def remembering(decoder: Decoder) -> Decoder:
    """The decoder with a memory where it has a direct part, else as it is; make a new one for each image."""
    if isinstance(decoder, FusedDecoder):
        return FusedDecoder(RememberingDecoder(decoder.direct), decoder.latent)
    return RememberingDecoder(decoder) if isinstance(decoder, DirectDecoder) else decoder


def _add(digest: hashlib.blake2b, crop: SceneCrop) -> None:
    for field in fields(crop):
        value = np.asarray(getattr(crop, field.name))
        digest.update(repr((field.name, value.shape)).encode())
        digest.update(np.ascontiguousarray(value).tobytes())
