"""The flow network: noisy latents, latents around the hole and the scene in, a velocity out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synth.conditioning import Codec, EntityEncoder, Scatter, SceneBatch
from synth.decoder.autoencoder import fold
from synth.decoder.sketch import Sketch
from synth.decoder.unet import UNet

AROUND_START = 0.5  # spread of the latents around what the sketch says of them


class Condition(NamedTuple):
    """What a network is told about the scene.

    Attributes:
        tokens: (B, 1 + E, W), the global one first; valid: (B, 1 + E).
        painted: (B, 2 M, x, y, z) the scattered tokens, averaged over each latent voxel.
        fine: (B, C, x, y, z) features of the scattered tokens within each latent voxel.
        sketch: (B, 1, X, Y, Z) the image that the scene declares, in compressed intensities; None in networks without.
        start: (B, latent channels, x, y, z) what the sketch says of the latents; None likewise.
        spacing_mm: (B, 3) of the grid, for networks that are told apart from the tokens.
    """

    tokens: Tensor
    valid: Tensor
    painted: Tensor
    fine: Tensor
    sketch: Tensor | None = None
    start: Tensor | None = None
    spacing_mm: Tensor | None = None


class FlowNet(nn.Module):
    """v(x_t, t | latents outside the hole, scene).

    Args:
        codec: the checkpoint's vocabulary; latent_channels: of the autoencoder; map_channels: per layer of the scatter.
        widths: of the U-Net's levels; blocks: residual blocks a level.
        factor: of the autoencoder, voxels a side of one latent voxel.
        sketch: start from the image that the scene declares (`synth.decoder.sketch`); edges, frame: of the encoder.

    Attributes:
        multiple: sides of a crop, in voxels of the image, must divide by this: 8 for three levels.
        condition_channels: numbers a latent voxel that a condition holds.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        latent_channels: int = 4,
        token_width: int = 64,
        map_channels: int = 16,
        widths: tuple[int, ...] = (64, 128, 192),
        blocks: int = 1,
        factor: int = 2,
        sketch: bool = False,
        edges: bool = False,
        frame: bool = False,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_channels": latent_channels,
            "token_width": token_width,
            "map_channels": map_channels,
            "widths": list(widths),
            "blocks": blocks,
            "factor": factor,
            "sketch": sketch,
            "edges": edges,
            "frame": frame,
        }
        self.codec, self.latent_channels, self.factor = codec, latent_channels, factor
        self.multiple = factor * 2 ** (len(widths) - 1)
        self.encoder = EntityEncoder(codec, token_width, edges=edges, frame=frame)
        self.scatter = Scatter(token_width, map_channels)
        self.entry = nn.Conv3d(2 * latent_channels + 2 + 2 * map_channels, widths[0], 3, padding=1)
        # Where inside a latent voxel a border runs: latents hold it, the pooled map does not.
        self.fine = nn.Conv3d(2 * map_channels, widths[0], factor, stride=factor)
        nn.init.zeros_(self.fine.weight)
        nn.init.zeros_(self.fine.bias)  # type: ignore[arg-type]  # it has one
        self.sketch = Sketch(codec, token_width) if sketch else None
        if self.sketch is not None:
            self.sketched = nn.Conv3d(factor**3 + self.sketch.told, widths[0], 3, padding=1)
            self.start = nn.Conv3d(factor**3, latent_channels, 1)
            for part in (self.sketched, self.start):
                nn.init.zeros_(part.weight)
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]  # both have one
        self.body = UNet(widths[0], widths, token_width, blocks=blocks, time=True)
        self.exit = nn.Conv3d(widths[0], latent_channels, 3, padding=1)
        self.evidence = ErrorEvidence()
        kept = 2 * map_channels + widths[0]
        self.condition_channels = kept + (latent_channels + factor**3 if sketch else 0)

    def condition(self, scene: SceneBatch) -> Condition:
        """What the scene says, computed once for all times."""
        tokens, valid = self.encoder(scene)
        painted = self.scatter(tokens, scene).contiguous(memory_format=torch.channels_last_3d)
        pooled, fine = F.avg_pool3d(painted, self.factor), self.fine(painted)
        if self.sketch is None:
            return Condition(tokens, valid, pooled, fine)
        sketch, said = self.sketch(tokens, scene)
        folded = fold(sketch, self.factor)
        both = torch.cat([folded, F.avg_pool3d(said, self.factor)], dim=1).contiguous(
            memory_format=torch.channels_last_3d
        )
        return Condition(tokens, valid, pooled, fine + self.sketched(both), sketch, self.start(folded))

    def velocity(
        self,
        x: Tensor,
        t: Tensor,
        condition: Condition,
        context: Tensor,
        hole: Tensor,
        inside: Tensor,
    ) -> Tensor:
        """x, context: (B, C, x, y, z) latents; hole, inside: (B, 1, x, y, z); t: (B,)."""
        stacked = torch.cat([x, context * (1 - hole) * inside, hole, inside, condition.painted], dim=1)
        entered = self.entry(stacked.contiguous(memory_format=torch.channels_last_3d)) + condition.fine
        velocity = self.exit(self.body(entered, condition.tokens, condition.valid, t)).float()
        if condition.start is None:
            return velocity
        return velocity - trust(t)[:, None, None, None, None] * condition.start.float()

    def forward(self, x: Tensor, t: Tensor, scene: SceneBatch, context: Tensor, hole: Tensor, inside: Tensor) -> Tensor:
        return self.velocity(x, t, self.condition(scene), context, hole, inside)


class ErrorEvidence(nn.Module):
    """One number per claim from the paired difference of flow-matching errors, weighed by the size of the hole."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.power = nn.Parameter(torch.tensor(-0.5))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, difference: Tensor, hole: Tensor) -> Tensor:
        """difference (error without - error with), hole: (B, x, y, z); returns (B,) logits that the claim is true."""
        count = hole.sum(dim=(1, 2, 3)).clamp_min(1)
        mean = (difference * hole).sum(dim=(1, 2, 3)) / count
        return self.offset + F.softplus(self.weight) * mean * count ** torch.sigmoid(self.power)


def trust(t: Tensor) -> Tensor:
    """How much of the start enters the velocity: t / ((1 - t)² s² + t²) for data that spreads by s around it.

    For such Gaussian data this is the exact factor: all of the start at t = 1, where x_t tells nothing, none at t = 0.

    Example:
        >>> trust(torch.tensor([1.0, 0.0]))
        tensor([1., 0.])
    """
    return t / ((1 - t) ** 2 * AROUND_START**2 + t**2)


def to_latent(mask: Tensor, factor: int) -> Tensor:
    """(B, 1, X, Y, Z) 0/1 voxels to latent voxels that hold any of them."""
    return F.max_pool3d(mask, factor)


def blank(hu: Tensor, hole: Tensor, factor: int) -> Tensor:
    """The image (B, 1, X, Y, Z) HU with 0 HU in every voxel of the hole's latent voxels (B, 1, x, y, z).

    An encoder sees beyond its own voxel: what a hole hides must be gone before the image around is encoded.
    """
    return hu * (1 - F.interpolate(hole, scale_factor=factor))
