"""The latent diffusion decoder: rectified flow in the latents of a KL autoencoder, conditioned on the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import repeat
from numpy.typing import NDArray
from torch import Tensor

from synth.conditioning import Codec, Scene, collate
from synth.contracts import Box, Contrast, EncodedImage, Render
from synth.decoder.autoencoder import FACTOR, Autoencoder
from synth.decoder.checkpoint import Checkpoint, fill, load_checkpoint, weights_folder
from synth.decoder.flow import interpolate, sample, velocity_target
from synth.decoder.grid import check_encoded, check_grid, whole_box
from synth.decoder.holes import Hole, hole_around, put_back, take
from synth.decoder.intensity import AIR_HU
from synth.decoder.latent_net import MULTIPLE, FlowNet, to_latent
from synth.errors import InputError
from synth.parse import Parse
from synth.volume import Mask, Volume

PAD = 32  # voxels of air around an encoded image: more than any hole's margin and context
TIMES = (0.2, 0.7)  # where two scenes are told apart; nearer 0 and 1 the error says little about the scene


@dataclass(frozen=True, eq=False)
class Latents:
    """(1, C, x, y, z) latents of an image padded by `PAD` voxels of air on every side (more at the far end)."""

    values: Tensor


class LatentDecoder:
    """Tier 2 of the audit, and the one whose renders are pictures.

    Args:
        checkpoint: a weights folder of `synth train flow`; autoencoder: the one it was trained in.
        steps: of the sampler.
    """

    name = "latent"

    def __init__(self, checkpoint: Checkpoint, autoencoder: Checkpoint, *, steps: int = 8) -> None:
        config = checkpoint.config
        if config["autoencoder_sha256"] != autoencoder.sha256:
            raise InputError(
                "autoencoder",
                expected=f"weights {config['autoencoder_sha256'][:12]}",
                got=autoencoder.sha256[:12],
                fix="use the autoencoder that the flow was trained in",
            )
        self.codec = Codec.from_json(config["codec"])
        self.spacing_mm = float(config["spacing_mm"])
        self.modalities = tuple(config["modalities"])
        self.vocabulary = frozenset(self.codec.trained)
        self.weights_sha256 = checkpoint.sha256
        self.steps = steps
        self.autoencoder = Autoencoder(**autoencoder.config["network"])
        fill(self.autoencoder, autoencoder, "autoencoder")
        network = {k: tuple(v) if isinstance(v, list) else v for k, v in config["network"].items()}
        self.net = FlowNet(self.codec, **network)
        fill(self.net, checkpoint, "latent decoder")
        self.net.to(memory_format=torch.channels_last_3d)
        self._last: Scene | None = None

    @classmethod
    def from_pretrained(cls, path: str | Path = "latent") -> LatentDecoder:
        """Load by name (shipped weights) or by folder; the autoencoder is named in its config."""
        checkpoint = load_checkpoint(weights_folder(str(path)))
        return cls(checkpoint, load_checkpoint(weights_folder(checkpoint.config["autoencoder"])))

    @torch.inference_mode()
    def encode(self, image: Volume) -> EncodedImage:
        check_grid(image.geometry, self.spacing_mm, "image")
        box = _padded(image.geometry.shape)
        with torch.autocast("cpu", torch.bfloat16):
            latents = self.autoencoder.encode(_cube(take(image.array, box, AIR_HU)))
        return EncodedImage(image, self.name, Latents(latents.float()))

    @torch.inference_mode()
    def reconstruct(self, image: Volume) -> NDArray[np.float32]:
        """The image through the autoencoder and back, (X, Y, Z) HU: the ceiling of every render."""
        hole = whole_box(image.geometry.shape, FACTOR)
        with torch.autocast("cpu", torch.bfloat16):
            back = self.autoencoder.decode(self.autoencoder.encode(_cube(take(image.array, hole.box, AIR_HU))))
        inner, within = put_back(hole.box, image.geometry.shape)
        return np.ascontiguousarray(back[0, 0].float().numpy()[within])

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
        if context is not None:
            check_encoded(context, self.name, parse.geometry)
        whole = context is None or region is None
        hole = whole_box(shape, MULTIPLE) if whole else _even(hole_around(region, margin=0))  # type: ignore[arg-type]
        base = np.full(shape, AIR_HU, np.float32) if context is None else context.image.array
        condition, around, hidden, inside = self._inputs([self._scene(parse)], hole, shape, None if whole else context)
        inner, within = put_back(hole.box, shape)
        keep = hole.hidden[within]
        images = []
        for _ in range(n):
            noise = torch.randn(around.shape, generator=generator)
            with torch.autocast("cpu", torch.bfloat16):
                latents = sample(
                    lambda x, t: self.net.velocity(x, t, condition, around, hidden, inside), noise, self.steps
                )
                blended = latents * hidden + around * (1 - hidden)
                hu = self.autoencoder.decode(blended)[0, 0].float().numpy()
            image = base.copy()
            image[inner][keep] = hu[within][keep]
            images.append(image)
        return Render(
            images=np.stack(images),
            geometry=parse.geometry,
            provenance={
                "decoder": self.name,
                "weights_sha256": self.weights_sha256,
                "seed": int(generator.initial_seed()),
                "steps": self.steps,
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
        draws: int = 4,
        generator: torch.Generator,
    ) -> tuple[Contrast, ...]:
        """Paired difference of flow-matching errors, alternative minus parse, at the same noise and times.

        Each draw is an antithetic pair (e, -e) at one time, the times stratified over `TIMES`.
        """
        check_encoded(encoded, self.name, parse.geometry)
        shape = parse.geometry.shape
        hole = _even(hole_around(region))
        scenes = [self._scene(p) for p in (parse, *alternatives)]
        condition, data, hidden, inside = self._inputs(scenes, hole, shape, encoded)
        seen = (hidden * inside)[0, 0]
        maps = torch.stack([self._errors(condition, data, hidden, inside, d, draws, generator) for d in range(draws)])
        contrasts = []
        for k in range(1, len(scenes)):
            difference = (maps[:, k] - maps[:, 0]) * seen
            evidence = float(self.net.evidence(difference.mean(dim=0)[None], seen[None]))
            mean = float(difference.mean(dim=0).sum() / seen.sum().clamp_min(1))
            fine = repeat(difference, "d x y z -> d (x i) (y j) (z k)", i=FACTOR, j=FACTOR, k=FACTOR).numpy()
            region_fine = repeat(seen > 0, "x y z -> (x i) (y j) (z k)", i=FACTOR, j=FACTOR, k=FACTOR).numpy()
            features = {"evidence": evidence, "mean": mean}
            contrasts.append(
                Contrast(fine, region_fine, hole.core, hole.box, "flow-matching error", features=features)
            )
        return tuple(contrasts)

    def _errors(
        self,
        condition: tuple[Tensor, Tensor, Tensor],
        data: Tensor,
        hidden: Tensor,
        inside: Tensor,
        draw: int,
        draws: int,
        generator: torch.Generator,
    ) -> Tensor:
        """(scenes, x, y, z) squared velocity errors of one antithetic pair."""
        low, high = TIMES
        t = low + (high - low) * (draw + torch.rand(1, generator=generator)) / draws
        noise = torch.randn(data[:1].shape, generator=generator)
        total = torch.zeros(len(data), *data.shape[2:])
        for e in (noise, -noise):
            x = interpolate(data, e.expand_as(data), t.expand(len(data)))
            with torch.autocast("cpu", torch.bfloat16):
                v = self.net.velocity(x, t.expand(len(data)), condition, data, hidden, inside)
            total += ((v.float() - velocity_target(data, e)) ** 2).mean(dim=1) / 2
        return total

    def _inputs(
        self, scenes: Sequence[Scene], hole: Hole, shape: tuple[int, ...], context: EncodedImage | None
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor, Tensor]:
        """Condition, latents of the box, hole and field of view at latent resolution, one row per scene."""
        rows = len(scenes)
        with torch.autocast("cpu", torch.bfloat16):
            condition = self.net.condition(collate([s.crop(hole.box) for s in scenes]))
        hidden = to_latent(_cube(hole.hidden.astype(np.float32)))
        outside = 1 - take(np.ones(shape, np.float32), hole.box, 0.0)
        inside = 1 - to_latent(_cube(outside))
        if context is None:
            data = torch.zeros(1, self.autoencoder.latent_channels, *hidden.shape[2:])
        else:
            payload = context.payload
            assert isinstance(payload, Latents)
            data = payload.values[(..., *(slice((s.start + PAD) // FACTOR, (s.stop + PAD) // FACTOR) for s in hole.box))]
        return condition, *(v.expand(rows, -1, -1, -1, -1) for v in (data, hidden, inside))  # type: ignore[return-value]  # star loses the length

    def _scene(self, parse: Parse) -> Scene:
        """The parse in the checkpoint's indices; masks shared with the parse before are not measured again."""
        self._last = Scene.from_parse(parse, self.codec, like=self._last)
        return self._last


def _cube(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))[None, None]


def _padded(shape: tuple[int, ...]) -> Box:
    x, y, z = (slice(-PAD, n + n % FACTOR + PAD) for n in shape)
    return x, y, z


def _even(hole: Hole) -> Hole:
    """The hole in a box that starts on a latent voxel and keeps its size; one plane may be lost at the far end."""
    shift = [s.start % FACTOR for s in hole.box]
    box = tuple(slice(s.start - d, s.stop - d) for s, d in zip(hole.box, shift, strict=True))

    def moved(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        out = np.zeros_like(mask)
        x, y, z = shift
        nx, ny, nz = mask.shape
        out[x:, y:, z:] = mask[: nx - x, : ny - y, : nz - z]
        return out

    return Hole(box, moved(hole.core), moved(hole.hidden))  # type: ignore[arg-type]  # 3 long
