"""MONAI's MAISI networks behind the interfaces of our own, for volumes at a millimetre.

The autoencoder and the diffusion network are MONAI's (Guo et al. 2024, "MAISI", arXiv:2409.11169), with the names of
their parameters, so that a checkpoint of theirs fits. The scene enters by a control branch (Zhang et al. 2023,
"ControlNet"): what is drawn of it in space, its sketch and the image around the hole are embedded from the image's
resolution, and the branch attends to the entity tokens. The branch ends in convolutions that start at zero, so that the
network begins as the checkpoint it started from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.apps.generation.maisi.networks.autoencoderkl_maisi import AutoencoderKlMaisi
from monai.apps.generation.maisi.networks.controlnet_maisi import ControlNetMaisi
from monai.apps.generation.maisi.networks.diffusion_model_unet_maisi import DiffusionModelUNetMaisi
from torch import Tensor, nn
from torch.nn import functional as F

from synth.conditioning import FRAME_MM, Codec, EntityEncoder, Scatter, SceneBatch
from synth.decoder.latent_net import Condition, ErrorEvidence
from synth.decoder.sketch import Sketch

LOW_HU, HIGH_HU = -1000.0, 1000.0  # what MAISI maps to 0 and 1
TIMES = 1000.0  # MAISI's time of pure noise
CT = 1  # MAISI's class of CT
SPACING_UNITS = 100.0  # a millimetre in MAISI's spacing input


class MaisiAutoencoder(nn.Module):
    """HU in, latents, HU out; the interface of `synth.decoder.Autoencoder`.

    Args:
        latent_channels, num_channels, num_res_blocks, norm_num_groups: as in MAISI's `autoencoder_def`.
        scale_factor: that the diffusion network was trained with; latents are multiplied by it.
        num_splits: parts that a layer is computed in, along one axis.
    """

    def __init__(
        self,
        *,
        latent_channels: int = 4,
        num_channels: Sequence[int] = (64, 128, 256),
        num_res_blocks: Sequence[int] = (2, 2, 2),
        norm_num_groups: int = 32,
        scale_factor: float = 1.0,
        num_splits: int = 1,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "kind": "maisi",
            "latent_channels": latent_channels,
            "num_channels": list(num_channels),
            "num_res_blocks": list(num_res_blocks),
            "norm_num_groups": norm_num_groups,
            "scale_factor": scale_factor,
            "num_splits": num_splits,
        }
        self.latent_channels, self.scale_factor = latent_channels, scale_factor
        self.factor = 2 ** (len(num_channels) - 1)
        self.activations = num_channels[0] * self.factor**3
        self.net = AutoencoderKlMaisi(
            spatial_dims=3,
            in_channels=1,
            out_channels=1,
            latent_channels=latent_channels,
            num_channels=tuple(num_channels),
            num_res_blocks=tuple(num_res_blocks),
            norm_num_groups=norm_num_groups,
            norm_eps=1e-6,
            attention_levels=(False,) * len(num_channels),
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
            num_splits=num_splits,
            dim_split=1,
            norm_float16=False,
            save_mem=False,
        )

    def encode(self, hu: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) HU to (B, C, x, y, z), the means of the posterior."""
        units = (hu.clamp(LOW_HU, HIGH_HU) - LOW_HU) / (HIGH_HU - LOW_HU)
        mean = self.net.encode(units)[0]
        return mean.float() * self.scale_factor

    def decode(self, latent: Tensor) -> Tensor:
        """Inverse of `encode`, HU."""
        units = self.net.decode(latent / self.scale_factor).float()
        return units.clamp(0.0, 1.0) * (HIGH_HU - LOW_HU) + LOW_HU


class MaisiFlowNet(nn.Module):
    """v(x_t, t | latents outside the hole, scene); the interface of `synth.decoder.latent_net.FlowNet`.

    MAISI's rectified flow predicts data minus noise at times up to 1000; ours is noise minus data at times up to 1.

    Args:
        codec: the checkpoint's vocabulary; token_width, map_channels: of the scene.
        latent_channels, num_channels, attention_levels, num_head_channels, num_res_blocks, norm_num_groups,
            num_class_embeds: as in MAISI's `diffusion_unet_def`; its spacing input is always there.
        embedding_channels: of the control branch, from the image's resolution to the latents'.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        latent_channels: int = 4,
        token_width: int = 128,
        map_channels: int = 16,
        num_channels: Sequence[int] = (64, 128, 256, 512),
        attention_levels: Sequence[bool] = (False, False, True, True),
        num_head_channels: Sequence[int] = (0, 0, 32, 32),
        num_res_blocks: int = 2,
        norm_num_groups: int = 32,
        num_class_embeds: int = 128,
        embedding_channels: Sequence[int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "kind": "maisi",
            "latent_channels": latent_channels,
            "token_width": token_width,
            "map_channels": map_channels,
            "num_channels": list(num_channels),
            "attention_levels": list(attention_levels),
            "num_head_channels": list(num_head_channels),
            "num_res_blocks": num_res_blocks,
            "norm_num_groups": norm_num_groups,
            "num_class_embeds": num_class_embeds,
            "embedding_channels": list(embedding_channels),
        }
        self.codec, self.latent_channels = codec, latent_channels
        self.factor = 2 ** (len(embedding_channels) - 1)
        self.multiple = self.factor * 2 ** (len(num_channels) - 1)
        self.encoder = EntityEncoder(codec, token_width, edges=True, frame=True)
        self.scatter = Scatter(token_width, map_channels)
        self.sketch = Sketch(codec, token_width)
        shared: dict[str, Any] = {
            "spatial_dims": 3,
            "in_channels": latent_channels,
            "num_channels": tuple(num_channels),
            "attention_levels": tuple(attention_levels),
            "num_head_channels": tuple(num_head_channels),
            "num_res_blocks": num_res_blocks,
            "norm_num_groups": norm_num_groups,
            "num_class_embeds": num_class_embeds,
        }
        self.unet = DiffusionModelUNetMaisi(out_channels=latent_channels, include_spacing_input=True, **shared)
        drawn = 2 * map_channels + 1 + self.sketch.told + latent_channels + 2
        self.control = ControlNetMaisi(
            with_conditioning=True,
            cross_attention_dim=token_width,
            conditioning_embedding_in_channels=drawn,
            conditioning_embedding_num_channels=tuple(embedding_channels),
            use_checkpointing=False,
            **shared,
        )
        self.evidence = ErrorEvidence()
        self.condition_channels = (2 * map_channels + 1 + self.sketch.told) * self.factor**3

    def condition(self, scene: SceneBatch) -> Condition:
        """What the scene says, at the image's resolution, computed once for all times."""
        tokens, valid = self.encoder(scene)
        sketch, said = self.sketch(tokens, scene)
        painted = torch.cat([self.scatter(tokens, scene), said], dim=1)
        voxel_mm, _ = FRAME_MM
        spacing = voxel_mm * torch.exp2(scene.frame[:, :1]).expand(-1, 3)
        return Condition(tokens, valid, painted, sketch, sketch, spacing_mm=spacing)

    def velocity(
        self, x: Tensor, t: Tensor, condition: Condition, context: Tensor, hole: Tensor, inside: Tensor
    ) -> Tensor:
        """x, context: (B, C, x, y, z) latents; hole, inside: (B, 1, x, y, z); t: (B,)."""
        around = torch.cat([context * (1 - hole) * inside, hole, inside], dim=1)
        fine = F.interpolate(around.float(), scale_factor=self.factor)
        drawn = torch.cat([condition.painted, condition.fine, fine], dim=1)
        asked = condition.tokens * condition.valid[..., None]
        times = TIMES * t.float()
        labels = torch.full((len(x),), CT, device=x.device)
        down, middle = self.control(x, times, drawn, context=asked, class_labels=labels)
        assert condition.spacing_mm is not None  # `condition` always gives it
        velocity = self.unet(
            x,
            times,
            class_labels=labels,
            down_block_additional_residuals=tuple(down),
            mid_block_additional_residual=middle,
            spacing_tensor=SPACING_UNITS * condition.spacing_mm,
        )
        return -velocity.float()

    def forward(self, x: Tensor, t: Tensor, scene: SceneBatch, context: Tensor, hole: Tensor, inside: Tensor) -> Tensor:
        return self.velocity(x, t, self.condition(scene), context, hole, inside)
