"""The KL autoencoder whose latents the flow decoder works in: MONAI's network behind a space-to-depth stem.

    hu (B, 1, fx, fy, fz)  --encode-->  z (B, C, x, y, z)  --decode-->  hu

The transform is the smooth coefficients of a cosine transform of f x f x f voxels (for f = 2 a Haar wavelet) plus what
MONAI's network adds to them. A stem that folds those voxels into channels keeps every convolution at latent resolution,
so that a CPU can train it; the rate is C numbers for f³ voxels.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from einops import rearrange
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn

from synth.decoder.intensity import clamp_hu, compress, expand

START_GAIN = 0.1  # of the learned parts beside the cosine transform
START_STD = 0.1  # of the posterior, of about the noise of a CT


class Autoencoder(nn.Module):
    """HU in, Gaussian latents, HU out.

    Intensities are compressed by asinh(HU / 150), which keeps soft tissue contrasts apart and bone in range.

    Args:
        latent_channels: C; width: of the convolutions; blocks: residual blocks each way; factor: f, voxels a side of
            one latent voxel.

    Attributes:
        activations: numbers a latent voxel that a pass holds in one layer.
    """

    def __init__(self, *, latent_channels: int = 4, width: int = 64, blocks: int = 2, factor: int = 2) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_channels": latent_channels,
            "width": width,
            "blocks": blocks,
            "factor": factor,
        }
        self.latent_channels, self.factor, self.activations = latent_channels, factor, width
        self.net = AutoencoderKL(
            spatial_dims=3,
            in_channels=factor**3,
            out_channels=factor**3,
            channels=(width,),
            num_res_blocks=blocks,
            latent_channels=latent_channels,
            attention_levels=(False,),
            norm_num_groups=8,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.scale: Tensor
        self.shift: Tensor
        # The smooth coefficients carry most of the image from the first step on; the networks learn the rest.
        smooth = cosine_filters(latent_channels, factor)
        self.analysis = nn.Conv3d(factor**3, latent_channels, 1, bias=False)
        self.synthesis = nn.Conv3d(latent_channels, factor**3, 1, bias=False)
        with torch.no_grad():
            self.analysis.weight.copy_(smooth[:, :, None, None, None])
            self.synthesis.weight.copy_(smooth.T[:, :, None, None, None])
        self.gain = nn.Parameter(torch.full((2,), START_GAIN))
        self.register_buffer("scale", torch.ones(latent_channels))
        self.register_buffer("shift", torch.zeros(latent_channels))

    def posterior(self, hu: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (B, C, x, y, z) each, in the network's own units."""
        folded = fold(compress(hu), self.factor).contiguous(memory_format=torch.channels_last_3d)
        mean, std = self.net.encode(folded)
        return self.analysis(folded) + self.gain[0] * mean, START_STD * std

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Latents in the network's own units to HU (B, 1, X, Y, Z)."""
        return clamp_hu(expand(self.units(latent)))

    def units(self, latent: Tensor) -> Tensor:
        """Latents in the network's own units to compressed intensities (B, 1, X, Y, Z)."""
        latent = latent.contiguous(memory_format=torch.channels_last_3d)
        return unfold((self.synthesis(latent) + self.gain[1] * self.net.decode(latent)).float(), self.factor)

    def encode(self, hu: Tensor) -> Tensor:
        """Latents normalised to about zero mean and unit variance per channel."""
        return (self.posterior(hu)[0].float() - _channelwise(self.shift)) / _channelwise(self.scale)

    def decode(self, latent: Tensor) -> Tensor:
        """Inverse of `encode`, HU."""
        return self.reconstruct(latent * _channelwise(self.scale) + _channelwise(self.shift))

    @torch.no_grad()
    def fit_scale(self, batches: list[Tensor]) -> None:
        """Set the normalisation from images (B, 1, X, Y, Z) in HU."""
        means = torch.cat([rearrange(self.posterior(b)[0].float(), "b c x y z -> (b x y z) c") for b in batches])
        self.shift.copy_(means.mean(dim=0))
        self.scale.copy_(means.std(dim=0).clamp_min(1e-3))


def cosine_filters(channels: int, factor: int = 2) -> Tensor:
    """(channels, factor³) orthonormal 3D cosine filters (DCT-II), smooth ones first; further channels repeat them.

    Example:
        >>> bool(torch.allclose(cosine_filters(8) @ cosine_filters(8).T, torch.eye(8), atol=1e-6))
        True
    """
    place = torch.arange(factor) + 0.5
    one = torch.stack([torch.cos(math.pi * k * place / factor) for k in range(factor)])
    one = one / one.norm(dim=1, keepdim=True)
    order = sorted(itertools.product(range(factor), repeat=3), key=sum)
    rows = [torch.einsum("i,j,k->ijk", one[a], one[b], one[c]).flatten() for a, b, c in order]
    return torch.stack([rows[k % len(rows)] for k in range(channels)])


def fold(x: Tensor, factor: int = 2) -> Tensor:
    """(B, 1, fx, fy, fz) to (B, f³, x, y, z)."""
    return rearrange(x, "b 1 (x i) (y j) (z k) -> b (i j k) x y z", i=factor, j=factor, k=factor)


def unfold(x: Tensor, factor: int = 2) -> Tensor:
    """Inverse of `fold`."""
    return rearrange(x, "b (i j k) x y z -> b 1 (x i) (y j) (z k)", i=factor, j=factor, k=factor)


def _channelwise(values: Tensor) -> Tensor:
    return values[:, None, None, None]
