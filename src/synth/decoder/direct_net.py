"""The direct network: image around a hole and scene in, a distribution per voxel out, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from synth.conditioning import Codec, EntityEncoder, Scatter, SceneBatch
from synth.contracts import Box
from synth.decoder.intensity import windows
from synth.decoder.mixture import PARAMETERS, Mixture
from synth.decoder.unet import UNet


class DirectNet(nn.Module):
    """p(x_hole | x outside the hole, scene), voxels independent given the network's output.

    The stem halves the resolution, the U-Net works there (8 mm for a 4 mm grid), and the head returns to full
    resolution with the scene's map at hand, so that organ borders stay sharp.

    Args:
        codec: the checkpoint's vocabulary.
        map_channels: per layer (parent, child) of the scattered scene.
        widths: of the U-Net's levels; blocks: residual blocks a level; head_width: of the full-resolution head.

    Attributes:
        multiple: sides of a crop must divide by this (a stride-2 stem, then a pooling between levels): 8 for three.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        token_width: int = 64,
        map_channels: int = 12,
        widths: tuple[int, ...] = (64, 128, 192),
        blocks: int = 1,
        head_width: int = 24,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "token_width": token_width,
            "map_channels": map_channels,
            "widths": list(widths),
            "blocks": blocks,
            "head_width": head_width,
        }
        self.codec = codec
        self.multiple = 2 ** len(widths)
        self.encoder = EntityEncoder(codec, token_width)
        self.scatter = Scatter(token_width, map_channels)
        inputs = 2 + 2 + 2 * map_channels
        self.stem = nn.Conv3d(inputs, widths[0], 2, stride=2)
        self.body = UNet(widths[0], widths, token_width, blocks=blocks)
        self.lift = nn.ConvTranspose3d(widths[0], head_width, 2, stride=2)
        self.head = nn.Sequential(
            nn.Conv3d(head_width + inputs, head_width, 3, padding=1), nn.SiLU(), nn.Conv3d(head_width, PARAMETERS, 1)
        )
        self.evidence = EvidenceHead()

    def forward(
        self, scene: SceneBatch, hu: Tensor, hole: Tensor, inside: Tensor, window: Box | None = None
    ) -> Mixture:
        """hu, hole, inside: (B, 1, X, Y, Z); `inside` is 0 beyond the field of view. Sides divide by `multiple`.

        With a `window`, slices of the crop, the distribution is made there only: the same numbers for less work, since
        the head sees no further than the next voxel.
        """
        tokens, valid = self.encoder(scene)
        painted = self.scatter(tokens, scene)
        shown = (windows(hu) * inside * (1 - hole), hole, inside)
        x = torch.cat([*(v.to(painted.dtype) for v in shown), painted], dim=1)
        x = x.contiguous(memory_format=torch.channels_last_3d)
        features = self.body(self.stem(x), tokens, valid)
        coarse, fine, kept = _windows(x.shape[2:], window)
        near = torch.cat([self.lift(features[coarse]), x[fine]], dim=1)
        return Mixture.from_network(self.head(near)[kept])


Slices5 = tuple[slice, slice, slice, slice, slice]


def _windows(shape: Sequence[int], window: Box | None) -> tuple[Slices5, Slices5, Slices5]:
    """What the head reads of the stem's grid and of the crop to fill a window, and the window within what it made."""
    everything = slice(None)
    coarse, fine, kept = [everything] * 2, [everything] * 2, [everything] * 2
    for size, part in zip(shape, window or [everything] * 3, strict=True):
        start, stop, _ = part.indices(size)
        low, high = max(0, start - 1) // 2, min(size, stop + 2) // 2  # one voxel more, in whole voxels of the stem
        coarse.append(slice(low, high))
        fine.append(slice(2 * low, 2 * high))
        kept.append(slice(start - 2 * low, stop - 2 * low))
    return tuple(coarse), tuple(fine), tuple(kept)  # type: ignore[return-value]  # 5 long


class EvidenceHead(nn.Module):
    """One number per claim from a map of log-likelihood ratios.

    Neighbouring voxels are not independent, so a plain sum over-counts. With n voxels, the mean ratio over the claimed
    mask (core) and over the margin around it (rim) are weighed by n^p, all weights learned from claims known to be true
    or moved.
    """

    def __init__(self, limit_nats: float = 6.0) -> None:
        super().__init__()
        self.limit = limit_nats
        self.weight = nn.Parameter(torch.tensor([0.5, 0.3]))
        self.power = nn.Parameter(torch.tensor([-0.5, -0.5]))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, ratio: Tensor, core: Tensor, rim: Tensor) -> Tensor:
        """ratio, core, rim: (B, X, Y, Z), the last two 0 or 1; returns (B,) logits that the claim is true."""
        bounded = self.limit * torch.tanh(ratio / self.limit)
        logit = self.offset.expand(len(ratio))
        for part, weight, power in zip((core, rim), self.weight, self.power, strict=True):
            count = part.sum(dim=(1, 2, 3))
            mean = (bounded * part).sum(dim=(1, 2, 3)) / count.clamp_min(1)
            logit = logit + torch.nn.functional.softplus(weight) * mean * count.clamp_min(1) ** torch.sigmoid(power)
        return logit
