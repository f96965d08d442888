"""The latent diffusion decoder: rectified flow in the latents of a KL autoencoder, conditioned on the scene."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import repeat
from numpy.typing import NDArray
from torch import Tensor

from synth.conditioning import Scene, collate
from synth.contracts import Contrast, EncodedImage, Render
from synth.decoder.autoencoder import FACTOR, Autoencoder
from synth.decoder.checkpoint import Checkpoint, load_checkpoint, weights_folder
from synth.decoder.config import DecoderConfig, build, network_arguments
from synth.decoder.flow import Velocity, interpolate, mean_of_data, sample, velocity_target
from synth.decoder.grid import check_encoded, check_grid, check_region, whole_box
from synth.decoder.holes import Hole, hole_around, put_back, take
from synth.decoder.intensity import AIR_HU
from synth.decoder.latent_net import Condition, FlowNet, blank, to_latent
from synth.decoder.tiles import Window, blended, windows_over
from synth.errors import InputError
from synth.parse import Parse
from synth.volume import Mask, Volume

WINDOW, OVERLAP = 32, 8  # latent voxels; smaller windows can lie wholly in air, which no crop of the training did
TIMES = (0.2, 0.7)  # where two scenes are told apart; nearer 0 and 1 the error says little about the scene


class LatentDecoder:
    """Tier 2 of the audit, and the one whose renders are pictures.

    The autoencoder normalises over whatever it is given (group norm), so the box of a question is encoded by itself, as
    crops were in training; latents cut out of those of the whole image would be others. The image around a hole is
    encoded with the hole blanked, for the encoder sees beyond its own voxel.

    Args:
        checkpoint: a weights folder of `synth train flow`; autoencoder: the one it was trained in.
        steps: of the sampler.
    """

    name = "latent"

    def __init__(self, checkpoint: Checkpoint, autoencoder: Checkpoint, *, steps: int = 8) -> None:
        trained_in = str(checkpoint.config.get("autoencoder_sha256"))
        if trained_in != autoencoder.sha256:
            raise InputError(
                "autoencoder",
                expected=f"weights {trained_in[:12]}",
                got=autoencoder.sha256[:12],
                fix="use the autoencoder that the flow was trained in",
            )
        config = DecoderConfig.of(checkpoint, "latent decoder")
        self.codec, self.spacing_mm, self.modalities = config.codec, config.spacing_mm, config.modalities
        self.vocabulary = frozenset(self.codec.trained)
        self.weights_sha256, self.autoencoder_sha256 = checkpoint.sha256, autoencoder.sha256
        self.steps = steps
        arguments = network_arguments(autoencoder, "autoencoder")
        self.autoencoder = build(lambda: Autoencoder(**arguments), autoencoder, "autoencoder")
        self.net = build(lambda: FlowNet(config.codec, **config.network), checkpoint, "latent decoder")
        if self.net.latent_channels != self.autoencoder.latent_channels:
            raise InputError(
                "latent decoder",
                expected=f"{self.autoencoder.latent_channels} latent channels, as its autoencoder has",
                got=str(self.net.latent_channels),
                fix="fetch the weights again",
            )
        self.net.to(memory_format=torch.channels_last_3d)
        self._last: Scene | None = None

    @classmethod
    def from_pretrained(cls, path: str | Path = "latent") -> LatentDecoder:
        """Load by name (shipped weights) or by folder; the autoencoder is named in its config."""
        checkpoint = load_checkpoint(weights_folder(str(path)))
        return cls(checkpoint, load_checkpoint(weights_folder(str(checkpoint.config.get("autoencoder")))))

    def encode(self, image: Volume) -> EncodedImage:
        """Check the grid; latents are made for each box that is asked about."""
        check_grid(image.geometry, self.spacing_mm, "image")
        return EncodedImage(image, self.name, None)

    @torch.inference_mode()
    def reconstruct(self, image: Volume) -> NDArray[np.float32]:
        """The image through the autoencoder and back, (X, Y, Z) HU: the ceiling of every render."""
        hole = whole_box(image.geometry.shape, FACTOR)
        with torch.autocast("cpu", torch.bfloat16):
            back = self.autoencoder.decode(self.autoencoder.encode(_cube(take(image.array, hole.box, AIR_HU))))
        _, within = put_back(hole.box, image.geometry.shape)
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
        hole, seen = whole_box(shape, self.net.multiple), None
        if region is not None:
            check_region(region, parse.geometry)
            if context is not None:
                hole, seen = hole_around(region, margin=0, multiple=self.net.multiple), context
        base = np.full(shape, AIR_HU, np.float32) if context is None else context.image.array
        around, hidden, inside = self._images(hole, shape, seen)[1:]
        velocity = self._velocity(self._scene(parse), hole, around, hidden, inside)
        inner, within = put_back(hole.box, shape)
        keep = hole.hidden[within]

        def placed(latents: Tensor) -> NDArray[np.float32]:
            joined = latents * hidden + around * (1 - hidden)
            hu = self.autoencoder.decode(joined)[0, 0].float().numpy()
            image = base.copy()
            image[inner][keep] = hu[within][keep]
            return image

        images = []
        with torch.autocast("cpu", torch.bfloat16):
            for _ in range(n):
                noise = torch.randn(around.shape, generator=generator)
                images.append(placed(sample(velocity, noise, self.steps)))
            location = placed(mean_of_data(velocity, torch.randn(around.shape, generator=generator)))
        return Render(
            images=np.stack(images),
            geometry=parse.geometry,
            location=location,
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
        check_region(region, parse.geometry)
        hole = hole_around(region, multiple=self.net.multiple)
        scenes = [self._scene(p) for p in (parse, *alternatives)]
        condition, data, around, hidden, inside = self._inputs(scenes, hole, shape, encoded)
        seen = (hidden * inside)[0, 0]
        given = (condition, around, hidden, inside)
        maps = torch.stack([self._errors(data, given, d, draws, generator) for d in range(draws)])
        contrasts = []
        for k in range(1, len(scenes)):
            difference = (maps[:, k] - maps[:, 0]) * seen
            evidence = float(self.net.evidence(difference.mean(dim=0)[None], seen[None]))
            mean = float(difference.mean(dim=0).sum() / seen.sum().clamp_min(1))
            fine = repeat(difference, "d x y z -> d (x i) (y j) (z k)", i=FACTOR, j=FACTOR, k=FACTOR).numpy()
            region_fine = repeat(seen > 0, "x y z -> (x i) (y j) (z k)", i=FACTOR, j=FACTOR, k=FACTOR).numpy()
            features = {"evidence": evidence, "mean": mean}
            contrasts.append(Contrast(fine, region_fine, hole.core, hole.box, "flow-matching error", features=features))
        return tuple(contrasts)

    def _velocity(self, scene: Scene, hole: Hole, around: Tensor, hidden: Tensor, inside: Tensor) -> Velocity:
        """The velocity over the hole's box, seen through windows of the size that the network was trained on."""

        def part(window: Window) -> Velocity:
            starts = [s.start for s in hole.box]
            box = tuple(slice(o + FACTOR * w.start, o + FACTOR * w.stop) for o, w in zip(starts, window, strict=True))
            at = (slice(None), slice(None), *window)
            with torch.autocast("cpu", torch.bfloat16):
                condition = self.net.condition(collate([scene.crop(box)]))  # type: ignore[arg-type]  # 3 long
            given = (condition, around[at], hidden[at], inside[at])
            return lambda x, t: self.net.velocity(x, t, *given)

        return blended([(w, part(w)) for w in windows_over(around.shape[2:], WINDOW, OVERLAP)])

    def _errors(
        self,
        data: Tensor,
        given: tuple[Condition, Tensor, Tensor, Tensor],
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
                v = self.net.velocity(x, t.expand(len(data)), *given)
            total += ((v.float() - velocity_target(data, e)) ** 2).mean(dim=1) / 2
        return total

    def _inputs(
        self, scenes: Sequence[Scene], hole: Hole, shape: tuple[int, ...], context: EncodedImage | None
    ) -> tuple[Condition, Tensor, Tensor, Tensor, Tensor]:
        """Condition, latents of the box, the same with the hole blanked, hole and field of view: one row per scene."""
        with torch.autocast("cpu", torch.bfloat16):
            condition = self.net.condition(collate([s.crop(hole.box) for s in scenes]))
        rows = len(scenes)
        data, around, hidden, inside = (v.expand(rows, -1, -1, -1, -1) for v in self._images(hole, shape, context))
        return condition, data, around, hidden, inside

    def _images(
        self, hole: Hole, shape: tuple[int, ...], context: EncodedImage | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents of the box, the same with the hole blanked, hole and field of view: (1, C, x, y, z) each."""
        hidden = to_latent(_cube(hole.hidden.astype(np.float32)))
        outside = 1 - take(np.ones(shape, np.float32), hole.box, 0.0)
        inside = 1 - to_latent(_cube(outside))
        if context is None:
            data = around = torch.zeros(1, self.autoencoder.latent_channels, *hidden.shape[2:])
        else:
            hu = _cube(take(context.image.array, hole.box, AIR_HU))
            with torch.autocast("cpu", torch.bfloat16):
                data, around = (self.autoencoder.encode(v).float() for v in (hu, blank(hu, hidden)))
        return data, around, hidden, inside

    def _scene(self, parse: Parse) -> Scene:
        """The parse in the checkpoint's indices; masks shared with the parse before are not measured again."""
        self._last = Scene.from_parse(parse, self.codec, like=self._last)
        return self._last


def _cube(array: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))[None, None]
