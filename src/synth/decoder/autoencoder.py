"""The KL autoencoder whose latents the flow decoder works in: MONAI's network behind a space-to-depth stem.

    hu (B, 1, 2x, 2y, 2z)  --encode-->  z (B, C, x, y, z)  --decode-->  hu

The transform is a Haar wavelet's smooth coefficients plus what MONAI's network adds to them. A stem that folds 2x2x2
voxels into channels keeps every convolution at latent resolution, so that a CPU can train it; the rate is C numbers for
8 voxels.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from einops import rearrange
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn

from synth.decoder.intensity import UNIT_HU, clamp_hu

FACTOR = 2  # voxels a side of one latent voxel
START_GAIN = 0.1  # of the learned parts beside the Haar transform
START_STD = 0.1  # of the posterior, of about the noise of a CT


class Autoencoder(nn.Module):
    """HU in, Gaussian latents, HU out.

    Intensities are compressed by asinh(HU / 150), which keeps soft tissue contrasts apart and bone in range.

    Args:
        latent_channels: C; width: of the convolutions; blocks: residual blocks each way.
    """

    def __init__(self, *, latent_channels: int = 4, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"latent_channels": latent_channels, "width": width, "blocks": blocks}
        self.latent_channels = latent_channels
        self.net = AutoencoderKL(
            spatial_dims=3,
            in_channels=FACTOR**3,
            out_channels=FACTOR**3,
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
        # A Haar transform carries most of the image from the first step on; the networks learn what it leaves out.
        haar = haar_filters(latent_channels)
        self.analysis = nn.Conv3d(FACTOR**3, latent_channels, 1, bias=False)
        self.synthesis = nn.Conv3d(latent_channels, FACTOR**3, 1, bias=False)
        with torch.no_grad():
            self.analysis.weight.copy_(haar[:, :, None, None, None])
            self.synthesis.weight.copy_(haar.T[:, :, None, None, None])
        self.gain = nn.Parameter(torch.full((2,), START_GAIN))
        self.register_buffer("scale", torch.ones(latent_channels))
        self.register_buffer("shift", torch.zeros(latent_channels))

    def posterior(self, hu: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (B, C, x, y, z) each, in the network's own units."""
        folded = fold(compress(hu)).contiguous(memory_format=torch.channels_last_3d)
        mean, std = self.net.encode(folded)
        return self.analysis(folded) + self.gain[0] * mean, START_STD * std

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Latents in the network's own units to HU (B, 1, X, Y, Z)."""
        return clamp_hu(expand(self.units(latent)))

    def units(self, latent: Tensor) -> Tensor:
        """Latents in the network's own units to compressed intensities (B, 1, X, Y, Z)."""
        latent = latent.contiguous(memory_format=torch.channels_last_3d)
        return unfold((self.synthesis(latent) + self.gain[1] * self.net.decode(latent)).float())

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


def haar_filters(channels: int) -> Tensor:
    """(channels, 8) orthonormal 2x2x2 Haar filters, smooth ones first; further channels repeat them.

    Example:
        >>> bool(torch.allclose(haar_filters(8) @ haar_filters(8).T, torch.eye(8)))
        True
    """
    one = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / 2**0.5
    order = sorted(itertools.product((0, 1), repeat=3), key=sum)
    rows = [torch.einsum("i,j,k->ijk", one[a], one[b], one[c]).flatten() for a, b, c in order]
    return torch.stack([rows[k % len(rows)] for k in range(channels)])


def compress(hu: Tensor) -> Tensor:
    """HU to network units, (-2.6 .. 3.0)."""
    return torch.asinh(clamp_hu(hu) / (1.5 * UNIT_HU))


def expand(units: Tensor) -> Tensor:
    """Inverse of `compress`."""
    return torch.sinh(units.clamp(-4.0, 4.0)) * (1.5 * UNIT_HU)


def fold(x: Tensor) -> Tensor:
    """(B, 1, 2x, 2y, 2z) to (B, 8, x, y, z)."""
    return rearrange(x, "b 1 (x i) (y j) (z k) -> b (i j k) x y z", i=FACTOR, j=FACTOR, k=FACTOR)


def unfold(x: Tensor) -> Tensor:
    """Inverse of `fold`."""
    return rearrange(x, "b (i j k) x y z -> b 1 (x i) (y j) (z k)", i=FACTOR, j=FACTOR, k=FACTOR)


def _channelwise(values: Tensor) -> Tensor:
    return values[:, None, None, None]
