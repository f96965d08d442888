"""The latent diffusion decoder: rectified flow in the latents of a KL autoencoder, conditioned on the scene."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import repeat
from numpy.typing import NDArray
from torch import Tensor

from synth.conditioning import Scene, collate
from synth.contracts import Contrast, EncodedImage, Render
from synth.decoder.checkpoint import Checkpoint, load_checkpoint, part_of, save_checkpoint, weights_folder
from synth.decoder.config import DecoderConfig, build, network_arguments
from synth.decoder.declared import as_declared
from synth.decoder.device import device_named
from synth.decoder.flow import Velocity, guided, interpolate, mean_of_data, sample, velocity_target
from synth.decoder.grid import check_encoded, check_grid, check_region, whole_box
from synth.decoder.holes import Hole, hole_around, paint, put_back, take
from synth.decoder.intensity import AIR_HU
from synth.decoder.latent_net import Condition, blank, to_latent
from synth.decoder.networks import AnyAutoencoder, AnyFlowNet, make_autoencoder, make_flow
from synth.decoder.tiles import Window, blended, mapped, windows_over
from synth.errors import InputError
from synth.parse import Parse
from synth.volume import Mask, Volume

WINDOW, OVERLAP = 32, 8  # latent voxels; smaller windows can lie wholly in air, which no crop of the training did
LEAST_TILE, TILE_OVERLAP = 16, 4  # latent voxels; of the autoencoder
LEAST_MEMORY_GB = 0.25
TILE_SHARE, KEPT_SHARE = 0.4, 0.3  # of the memory, for the autoencoder's activations and for kept conditions
LAYERS = 8  # layers of the autoencoder that are in memory at once; measured, see benchmarks/large_volumes.py
TIMES = (0.2, 0.7)  # where two scenes are told apart; nearer 0 and 1 the error says little about the scene


@dataclass(frozen=True)
class Sampling:
    """How images are drawn.

    Attributes:
        steps: of the sampler; each takes two evaluations of the network, the last one.
        corrected: Heun's method; without it each step takes one evaluation (Euler).
        temperature: of the noise that an image begins as. With 1 images differ by all that the network does not know;
            with less they are nearer to the mean, less patchy and less various.
        guidance: weight of classifier-free guidance; 1 for none, more for pictures that follow the parse more closely.
        location: give the mean image as well.
        declared: bring what is drawn to what the parse declares in numbers (`synth.decoder.declared`).
        max_memory_gb: bound for what a render holds beside images and masks; None for none.
        advance: called after every step.
    """

    steps: int = 4
    corrected: bool = True
    temperature: float = 0.5
    guidance: float = 1.0
    location: bool = True
    declared: bool = True
    max_memory_gb: float | None = None
    advance: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        bounds = (
            ("steps", self.steps, 1, 1000),
            ("temperature", self.temperature, 0.0, 2.0),
            ("guidance", self.guidance, 0.0, 20.0),
            ("max_memory_gb", 1.0 if self.max_memory_gb is None else self.max_memory_gb, LEAST_MEMORY_GB, math.inf),
        )
        for what, value, low, high in bounds:
            if not low <= value <= high:
                raise InputError(what, expected=f"from {low:g} to {high:g}", got=f"{value:g}", fix="correct the value")

    def tile(self, autoencoder: AnyAutoencoder) -> int | None:
        """Latent voxels a side that the autoencoder may take at once; None for any number."""
        if self.max_memory_gb is None:
            return None
        voxels = TILE_SHARE * self.max_memory_gb * 2**30 / (4 * LAYERS * autoencoder.activations)
        return max(LEAST_TILE, int(voxels ** (1 / 3)) // 4 * 4)

    def conditions_kept(self, net: AnyFlowNet, windows: Sequence[Window]) -> int:
        """Of how many windows the condition may be kept."""
        if self.max_memory_gb is None:
            return len(windows)
        largest = max(math.prod(s.stop - s.start for s in w) for w in windows)
        each = 4 * largest * net.condition_channels
        return min(len(windows), int(KEPT_SHARE * self.max_memory_gb * 2**30 / each))


class LatentDecoder:
    """Tier 2 of the audit, and the one whose renders are pictures.

    The autoencoder normalises over whatever it is given (group norm), so the box of a question is encoded by itself, as
    crops were in training; latents cut out of those of the whole image would be others. The image around a hole is
    encoded with the hole blanked, for the encoder sees beyond its own voxel.

    Args:
        checkpoint: a weights folder of `synth train flow`; autoencoder: the one it was trained in.
        sampling: how images are drawn; `with_sampling` changes it.
    """

    name = "latent"

    def __init__(self, checkpoint: Checkpoint, autoencoder: Checkpoint, *, sampling: Sampling | None = None) -> None:
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
        self.sampling = sampling or Sampling()
        self._configs = checkpoint.config, autoencoder.config
        arguments = network_arguments(autoencoder, "autoencoder")
        self.autoencoder = build(lambda: make_autoencoder(arguments), autoencoder, "autoencoder")
        self.net = build(lambda: make_flow(config.codec, config.network), checkpoint, "latent decoder")
        made, own = ((n.latent_channels, n.factor) for n in (self.net, self.autoencoder))
        if made != own:
            raise InputError(
                "latent decoder",
                expected=f"{own[0]} latent channels of {own[1]} voxels a side, as its autoencoder has",
                got=f"{made[0]} of {made[1]}",
                fix="fetch the weights again",
            )
        self.factor = self.net.factor
        self.device = torch.device("cpu")
        self.net.to(memory_format=torch.channels_last_3d)
        self._last: Scene | None = None

    @classmethod
    def from_pretrained(cls, path: str | Path = "latent") -> LatentDecoder:
        """Load by name (shipped weights) or by folder; its config names the autoencoder, a folder in or beside it."""
        folder = weights_folder(str(path))
        checkpoint = load_checkpoint(folder)
        return cls(checkpoint, load_checkpoint(part_of(folder, str(checkpoint.config.get("autoencoder")))))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a weights folder, the autoencoder inside it; `from_pretrained` reads it anywhere."""
        own, autoencoder = self._configs
        save_checkpoint(Path(folder) / str(own["autoencoder"]), self.autoencoder, autoencoder)
        save_checkpoint(Path(folder), self.net, own)

    def to(self, device: str | torch.device) -> LatentDecoder:
        """Move the networks; noise is drawn on the CPU all the same, so that a seed means one image everywhere.

        Raises InputError for a device that is not there.
        """
        self.device = device_named(device)
        self.autoencoder.to(self.device)
        self.net.to(self.device)
        return self

    def with_sampling(self, **changes: Any) -> LatentDecoder:
        """The same decoder, drawing otherwise: fields of `Sampling`. Raises InputError for one out of range."""
        other = copy.copy(self)
        other.sampling = replace(self.sampling, **changes)
        return other

    def with_declared(self, holds: bool) -> LatentDecoder:
        """The same decoder, whose images are brought to the declared numbers, or left as the network has them."""
        return self.with_sampling(declared=holds)

    def encode(self, image: Volume) -> EncodedImage:
        """Check the grid; latents are made for each box that is asked about."""
        check_grid(image.geometry, self.spacing_mm, "image")
        return EncodedImage(image, self.name, None)

    @torch.inference_mode()
    def reconstruct(self, image: Volume) -> NDArray[np.float32]:
        """The image through the autoencoder and back, (X, Y, Z) HU: the ceiling of every render."""
        hole = whole_box(image.geometry.shape, self.factor)
        with self._autocast():
            back = self._decode(self._encode(self._cube(take(image.array, hole.box, AIR_HU))))
        _, within = put_back(hole.box, image.geometry.shape)
        return np.ascontiguousarray(back[within])

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
        scene = self._scene(parse)
        told = self._velocity(scene, hole, around, hidden, inside)
        velocity = told
        if self.sampling.guidance != 1.0:
            velocity = guided(
                told, self._velocity(scene.select([]), hole, around, hidden, inside), self.sampling.guidance
            )
        inner, within = put_back(hole.box, shape)
        keep = hole.hidden[within]

        def placed(latents: Tensor, *, mean: bool = False) -> NDArray[np.float32]:
            hu = self._decode(latents * hidden + around * (1 - hidden))[within]
            image = paint(base, inner, keep, hu)
            if not self.sampling.declared:
                return image
            drawn = paint(np.zeros(shape, np.bool_), inner, keep, keep)
            return as_declared(image, parse, drawn=drawn, mean_only=mean)

        images, location = [], None
        with self._autocast():
            for _ in range(n):
                noise = self.sampling.temperature * torch.randn(around.shape, generator=generator).to(self.device)
                settings = self.sampling
                latents = sample(
                    velocity, noise, settings.steps, corrected=settings.corrected, advance=settings.advance
                )
                images.append(placed(latents))
            if self.sampling.location:
                noise = torch.randn(around.shape, generator=generator).to(self.device)
                location = placed(mean_of_data(told, noise), mean=True)
        return Render(
            images=np.stack(images),
            geometry=parse.geometry,
            location=location,
            provenance={
                "decoder": self.name,
                "weights_sha256": self.weights_sha256,
                "seed": int(generator.initial_seed()),
                "steps": self.sampling.steps,
                "temperature": self.sampling.temperature,
                "guidance": self.sampling.guidance,
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
            f = self.factor
            fine = repeat(difference, "d x y z -> d (x i) (y j) (z k)", i=f, j=f, k=f).cpu().numpy()
            region_fine = repeat(seen > 0, "x y z -> (x i) (y j) (z k)", i=f, j=f, k=f).cpu().numpy()
            features = {"evidence": evidence, "mean": mean}
            contrasts.append(Contrast(fine, region_fine, hole.core, hole.box, "flow-matching error", features=features))
        return tuple(contrasts)

    def _velocity(self, scene: Scene, hole: Hole, around: Tensor, hidden: Tensor, inside: Tensor) -> Velocity:
        """The velocity over the hole's box, seen through windows of the size that the network was trained on.

        What the scene says of each window is kept between the steps, as far as the memory allows.
        """
        windows = windows_over(around.shape[2:], WINDOW, OVERLAP)
        starts, f = [s.start for s in hole.box], self.factor
        kept = self.sampling.conditions_kept(self.net, windows)

        def condition_of(window: Window) -> Condition:
            box = tuple(slice(o + f * w.start, o + f * w.stop) for o, w in zip(starts, window, strict=True))
            with self._autocast():
                return self.net.condition(collate([scene.crop(box)]).to(self.device))  # type: ignore[arg-type]  # 3 long

        def part(window: Window, condition: Condition | None) -> Velocity:
            at = (slice(None), slice(None), *window)
            given = (around[at], hidden[at], inside[at])
            return lambda x, t: self.net.velocity(x, t, condition or condition_of(window), *given)

        held = [condition_of(w) if k < kept else None for k, w in enumerate(windows)]
        return blended([(w, part(w, condition)) for w, condition in zip(windows, held, strict=True)])

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16)

    def _encode(self, hu: Tensor) -> Tensor:
        """Latents of (1, 1, X, Y, Z) HU, in tiles where the memory is bounded."""
        side, f = self.sampling.tile(self.autoencoder), self.factor
        if side is None or max(hu.shape[2:]) <= f * side:
            return self.autoencoder.encode(hu).float()
        return mapped(self.autoencoder.encode, hu, f * side, f * TILE_OVERLAP, factor=1 / f)

    def _decode(self, latents: Tensor) -> NDArray[np.float32]:
        """(X, Y, Z) HU of (1, C, x, y, z) latents, in tiles where the memory is bounded."""
        side = self.sampling.tile(self.autoencoder)
        if side is None or max(latents.shape[2:]) <= side:
            made = self.autoencoder.decode(latents).float()
        else:
            made = mapped(self.autoencoder.decode, latents, side, TILE_OVERLAP, factor=float(self.factor))
        return np.asarray(made[0, 0].cpu().numpy())

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
        t = low + (high - low) * (draw + torch.rand(1, generator=generator).to(self.device)) / draws
        noise = torch.randn(data[:1].shape, generator=generator).to(self.device)
        total = torch.zeros(len(data), *data.shape[2:], device=self.device)
        for e in (noise, -noise):
            x = interpolate(data, e.expand_as(data), t.expand(len(data)))
            with self._autocast():
                v = self.net.velocity(x, t.expand(len(data)), *given)
            total += ((v.float() - velocity_target(data, e)) ** 2).mean(dim=1) / 2
        return total

    def _inputs(
        self, scenes: Sequence[Scene], hole: Hole, shape: tuple[int, ...], context: EncodedImage | None
    ) -> tuple[Condition, Tensor, Tensor, Tensor, Tensor]:
        """Condition, latents of the box, the same with the hole blanked, hole and field of view: one row per scene."""
        with self._autocast():
            condition = self.net.condition(collate([s.crop(hole.box) for s in scenes]).to(self.device))
        rows = len(scenes)
        data, around, hidden, inside = (v.expand(rows, -1, -1, -1, -1) for v in self._images(hole, shape, context))
        return condition, data, around, hidden, inside

    def _images(
        self, hole: Hole, shape: tuple[int, ...], context: EncodedImage | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latents of the box, the same with the hole blanked, hole and field of view: (1, C, x, y, z) each."""
        hidden = to_latent(self._cube(hole.hidden.astype(np.float32)), self.factor)
        outside = 1 - take(np.ones(shape, np.float32), hole.box, 0.0)
        inside = 1 - to_latent(self._cube(outside), self.factor)
        if context is None:
            data = around = torch.zeros(1, self.autoencoder.latent_channels, *hidden.shape[2:], device=self.device)
        else:
            hu = self._cube(take(context.image.array, hole.box, AIR_HU))
            with self._autocast():
                data, around = (self._encode(v) for v in (hu, blank(hu, hidden, self.factor)))
        return data, around, hidden, inside

    def _cube(self, array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array))[None, None].to(self.device)

    def _scene(self, parse: Parse) -> Scene:
        """The parse in the checkpoint's indices; masks shared with the parse before are not measured again."""
        self._last = Scene.from_parse(parse, self.codec, like=self._last)
        return self._last
