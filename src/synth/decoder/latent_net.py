"""The flow network: noisy latents, latents around the hole and the scene in, a velocity out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synth.conditioning import Codec, EntityEncoder, Scatter, SceneBatch
from synth.decoder.autoencoder import FACTOR
from synth.decoder.unet import UNet


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
        self.body = UNet(widths[0], widths, token_width, blocks=blocks, time=True)
        self.exit = nn.Conv3d(widths[0], latent_channels, 3, padding=1)
        self.evidence = ErrorEvidence()

    def condition(self, scene: SceneBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, their validity, and the scene's map at latent resolution: computed once for all times."""
        tokens, valid = self.encoder(scene)
        return tokens, valid, self.scatter(tokens, scene, pool=FACTOR)

    def velocity(
        self,
        x: Tensor,
        t: Tensor,
        condition: tuple[Tensor, Tensor, Tensor],
        context: Tensor,
        hole: Tensor,
        inside: Tensor,
    ) -> Tensor:
        """x, context: (B, C, x, y, z) latents; hole, inside: (B, 1, x, y, z); t: (B,)."""
        tokens, valid, painted = condition
        stacked = torch.cat([x, context * (1 - hole) * inside, hole, inside, painted], dim=1)
        stacked = stacked.contiguous(memory_format=torch.channels_last_3d)
        return self.exit(self.body(self.entry(stacked), tokens, valid, t)).float()

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
