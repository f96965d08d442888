"""The flow network: noisy latents, latents around the hole and the scene in, a velocity out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synth.conditioning import Codec, EntityEncoder, Scatter, SceneBatch
from synth.decoder.autoencoder import FACTOR
from synth.decoder.unet import UNet


class Condition(NamedTuple):
    """What a network is told about the scene.

    Attributes:
        tokens: (B, 1 + E, W), the global one first; valid: (B, 1 + E).
        painted: (B, 2 M, x, y, z) the scattered tokens, averaged over each latent voxel.
        fine: (B, C, x, y, z) features of the scattered tokens within each latent voxel.
    """

    tokens: Tensor
    valid: Tensor
    painted: Tensor
    fine: Tensor


class FlowNet(nn.Module):
    """v(x_t, t | latents outside the hole, scene).

    Args:
        codec: the checkpoint's vocabulary; latent_channels: of the autoencoder; map_channels: per layer of the scatter.
        widths: of the U-Net's levels; blocks: residual blocks a level.

    Attributes:
        multiple: sides of a crop, in voxels of the image, must divide by this: 8 for three levels.
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
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_channels": latent_channels,
            "token_width": token_width,
            "map_channels": map_channels,
            "widths": list(widths),
            "blocks": blocks,
        }
        self.codec, self.latent_channels = codec, latent_channels
        self.multiple = FACTOR * 2 ** (len(widths) - 1)
        self.encoder = EntityEncoder(codec, token_width)
        self.scatter = Scatter(token_width, map_channels)
        self.entry = nn.Conv3d(2 * latent_channels + 2 + 2 * map_channels, widths[0], 3, padding=1)
        # Where inside a latent voxel a border runs: latents hold it, the pooled map does not.
        self.fine = nn.Conv3d(2 * map_channels, widths[0], FACTOR, stride=FACTOR)
        nn.init.zeros_(self.fine.weight)
        nn.init.zeros_(self.fine.bias)  # type: ignore[arg-type]  # it has one
        self.body = UNet(widths[0], widths, token_width, blocks=blocks, time=True)
        self.exit = nn.Conv3d(widths[0], latent_channels, 3, padding=1)
        self.evidence = ErrorEvidence()

    def condition(self, scene: SceneBatch) -> Condition:
        """What the scene says, computed once for all times."""
        tokens, valid = self.encoder(scene)
        painted = self.scatter(tokens, scene).contiguous(memory_format=torch.channels_last_3d)
        return Condition(tokens, valid, F.avg_pool3d(painted, FACTOR), self.fine(painted))

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
        return self.exit(self.body(entered, condition.tokens, condition.valid, t)).float()

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


def to_latent(mask: Tensor) -> Tensor:
    """(B, 1, X, Y, Z) 0/1 voxels to latent voxels that hold any of them."""
    return F.max_pool3d(mask, FACTOR)


def blank(hu: Tensor, hole: Tensor) -> Tensor:
    """The image (B, 1, X, Y, Z) HU with 0 HU in every voxel of the hole's latent voxels (B, 1, x, y, z).

    An encoder sees beyond its own voxel: what a hole hides must be gone before the image around is encoded.
    """
    return hu * (1 - F.interpolate(hole, scale_factor=FACTOR))
