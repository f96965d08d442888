"""The direct decoder: one pass of an image-space network answers both questions of the contract."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synth.conditioning import Scene, SceneBatch, collate
from synth.contracts import Box, Contrast, EncodedImage, Render
from synth.decoder.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, weights_folder
from synth.decoder.config import DecoderConfig, build
from synth.decoder.declared import as_declared
from synth.decoder.device import device_named
from synth.decoder.direct_net import DirectNet
from synth.decoder.grid import check_encoded, check_grid, check_region, whole_box
from synth.decoder.holes import Hole, hole_around, paint, put_back, take
from synth.decoder.intensity import AIR_HU
from synth.decoder.mixture import Mixture
from synth.parse import Parse
from synth.volume import Mask, Volume
from synth.volume.mask import bounding_slices


class DirectDecoder:
    """Tier 1 of the audit: a location and a scale per voxel, given the image around the region.

    Args:
        checkpoint: a weights folder of `synth train direct`, read.
    """

    name = "direct"

    def __init__(self, checkpoint: Checkpoint) -> None:
        config = DecoderConfig.of(checkpoint, "direct decoder")
        self.codec, self.spacing_mm, self.modalities = config.codec, config.spacing_mm, config.modalities
        self.vocabulary = frozenset(self.codec.trained)
        self.weights_sha256 = checkpoint.sha256
        self.net = build(lambda: DirectNet(config.codec, **config.network), checkpoint, "direct decoder")
        self.net.to(memory_format=torch.channels_last_3d)
        self.device = torch.device("cpu")
        self._last: Scene | None = None
        self._config = checkpoint.config
        self.declared = True

    @classmethod
    def from_pretrained(cls, path: str | Path = "direct") -> DirectDecoder:
        """Load by name (shipped weights) or by folder."""
        return cls(load_checkpoint(weights_folder(str(path))))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a weights folder that `from_pretrained` reads."""
        save_checkpoint(Path(folder), self.net, self._config)

    def to(self, device: str | torch.device) -> DirectDecoder:
        """Move the network; noise is drawn on the CPU all the same. Raises InputError for an unknown device."""
        self.device = device_named(device)
        self.net.to(self.device)
        return self

    def with_declared(self, holds: bool) -> DirectDecoder:
        """The same decoder, whose images are brought to the declared numbers, or left as the network has them."""
        other = copy.copy(self)
        other.declared = holds
        return other

    def encode(self, image: Volume) -> EncodedImage:
        check_grid(image.geometry, self.spacing_mm, "image")
        return EncodedImage(image, self.name, None)

    @torch.inference_mode()
    def render(
        self,
        parse: Parse,
        context: EncodedImage | None = None,
        region: Mask | None = None,
        *,
        n: int = 1,
        generator: torch.Generator,
    ) -> Render:
        check_grid(parse.geometry, self.spacing_mm, "parse")
        shape = parse.geometry.shape
        if region is not None:
            check_region(region, parse.geometry)
        multiple = self.net.multiple
        hole = whole_box(shape, multiple)
        base = np.full(shape, AIR_HU, np.float32)
        if context is not None:
            check_encoded(context, self.name, parse.geometry)
            base = context.image.array
            if region is not None:
                hole = hole_around(region, margin=0, multiple=multiple)
        seen = _on_grid(hole, shape)
        window = bounding_slices(seen)
        assert window is not None  # a region has voxels, and so has a grid
        mixture = self._mixture(base, [self._scene(parse)], hole, window)
        inner: Box = tuple(slice(b.start + w.start, b.start + w.stop) for b, w in zip(hole.box, window, strict=True))  # type: ignore[assignment]  # 3 long
        keep = seen[window]
        location, scale = mixture.mean_hu()[0].numpy(), mixture.std_hu()[0].numpy()
        drawn = paint(np.zeros(shape, np.bool_), inner, keep, keep)
        part = seen.shape, window
        samples = [paint(base, inner, keep, mixture.sample_hu(generator, part)[0].numpy()) for _ in range(n)]
        centre = paint(base, inner, keep, location)
        if self.declared:
            samples = [as_declared(image, parse, drawn=drawn) for image in samples]
            centre = as_declared(centre, parse, drawn=drawn, mean_only=True)
        return Render(
            images=np.stack(samples),
            geometry=parse.geometry,
            location=centre,
            scale=paint(np.zeros(shape, np.float32), inner, keep, scale),
            provenance={
                "decoder": self.name,
                "weights_sha256": self.weights_sha256,
                "seed": int(generator.initial_seed()),
                "context": context is not None,
            },
        )

    @torch.inference_mode()
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
        """One pass for the parse and all its alternatives; deterministic, so `draws` and `generator` change nothing."""
        check_encoded(encoded, self.name, parse.geometry)
        check_region(region, parse.geometry)
        hole = hole_around(region, multiple=self.net.multiple)
        scenes = [self._scene(p) for p in (parse, *alternatives)]
        window = bounding_slices(hole.hidden)
        assert window is not None  # a region has voxels
        mixture = self._mixture(encoded.image.array, scenes, hole, window)
        hu = take(encoded.image.array, hole.box, AIR_HU)
        log_prob = torch.zeros(len(scenes), *hu.shape)
        log_prob[(slice(None), *window)] = mixture.log_prob(_cube(hu[window]))
        drawn = np.stack([hu] * len(scenes))
        drawn[(slice(None), *window)] = mixture.mean_hu().numpy()
        hidden = _on_grid(hole, parse.geometry.shape)
        core = hole.core & hidden
        return tuple(
            self._contrast(log_prob[0] - log_prob[k], hidden, core, hole.box, drawn[0], drawn[k])
            for k in range(1, len(scenes))
        )

    def _contrast(
        self,
        ratio: Tensor,
        hidden: NDArray[np.bool_],
        core: NDArray[np.bool_],
        box: Box,
        with_parse: NDArray[np.float32],
        with_alternative: NDArray[np.float32],
    ) -> Contrast:
        rim = hidden & ~core
        parts = [torch.from_numpy(m.astype(np.float32))[None] for m in (core, rim)]
        values = ratio.numpy()
        features = {
            "evidence": float(self.net.evidence(*(v.to(self.device) for v in (ratio[None], *parts)))),
            "core": float(values[core].mean()) if core.any() else 0.0,
            "rim": float(values[rim].mean()) if rim.any() else 0.0,
        }
        return Contrast((values * hidden)[None], hidden, core, box, "nats", with_parse, with_alternative, features)

    def _mixture(
        self, array: NDArray[np.float32], scenes: Sequence[Scene], hole: Hole, window: Box | None = None
    ) -> Mixture:
        hu = _cube(take(array, hole.box, AIR_HU))
        inside = _cube(take(np.ones_like(array), hole.box, 0.0))
        hidden = _cube(hole.hidden.astype(np.float32))
        batch: SceneBatch = collate([s.crop(hole.box) for s in scenes])
        rows = len(scenes)
        cubes = (v.to(self.device).expand(rows, -1, -1, -1, -1) for v in (hu, hidden, inside))
        with torch.autocast(self.device.type, torch.bfloat16):
            mixture = self.net(batch.to(self.device), *cubes, window)
        assert isinstance(mixture, Mixture)
        return mixture.cpu()

    def _scene(self, parse: Parse) -> Scene:
        """The parse in the checkpoint's indices; masks shared with the parse before are not measured again."""
        self._last = Scene.from_parse(parse, self.codec, like=self._last)
        return self._last


def _on_grid(hole: Hole, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """(x, y, z) bool over the hole's box: what is hidden, as far as it lies on the grid."""
    _, within = put_back(hole.box, shape)
    hidden = np.zeros(hole.hidden.shape, bool)
    hidden[within] = hole.hidden[within]
    return hidden


def _cube(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))[None, None]
