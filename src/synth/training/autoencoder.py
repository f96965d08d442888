"""Training the KL autoencoder on crops of every image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synth.conditioning import Codec
from synth.decoder.autoencoder import Autoencoder
from synth.decoder.checkpoint import save_checkpoint
from synth.decoder.holes import take
from synth.decoder.intensity import AIR_HU, clamp_hu, compress
from synth.parse import VOCABULARY
from synth.training.cases import load_cases
from synth.training.config import TrainConfig
from synth.training.direct import device_of
from synth.training.prepared import Case

RANGE_HU = 2000.0  # the window -1000..1000 HU of the reported PSNR


class AutoencoderTask:
    """Loss = L1 + MSE of the compressed intensities + kl x KL to the unit Gaussian."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        codec = Codec.for_names(VOCABULARY.names)
        self.sets = [load_cases(s, codec, config.spacing_mm, config.cache) for s in config.sets]
        weights = np.array([s.weight for s in config.sets])
        self.chance = weights / weights.sum()
        self.held_out = [load_cases(s, codec, config.spacing_mm, config.cache) for s in config.validation]
        torch.manual_seed(config.seed)
        self.model: nn.Module = Autoencoder(**config.model)

    def place(self, device: torch.device) -> None:
        """Nothing beside the model."""

    def batch(self, rng: np.random.Generator) -> Tensor:
        which = int(rng.choice(len(self.sets), p=self.chance))
        settings = self.config.sets[which]
        crops = [_random_crop(self.sets[which], settings.crop, rng) for _ in range(settings.batch)]
        return torch.from_numpy(np.stack(crops)[:, None])

    def loss(self, model: nn.Module, batch: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, Autoencoder)
        mean, std = model.posterior(batch)
        noise = torch.randn(mean.shape, generator=rng, dtype=torch.float32, device=mean.device)
        latent = mean.float() + std.float() * noise
        decoded = model.units(latent)
        with torch.autocast(batch.device.type, enabled=False):
            error = decoded - compress(batch)
            variance = std.float() ** 2
            kl = 0.5 * (mean.float() ** 2 + variance - 1 - variance.clamp_min(1e-8).log()).mean()
            total = error.abs().mean() + 4 * (error**2).mean() + self.config.loss.get("kl", 1e-4) * kl
        return total, {"l1": float(error.abs().mean().detach()), "kl": float(kl.detach())}

    @torch.no_grad()
    def validate(self, model: nn.Module, batches: int) -> dict[str, float]:
        assert isinstance(model, Autoencoder)
        model.eval()
        rng = np.random.default_rng(5)
        model.fit_scale([self.batch(rng).to(device_of(model)) for _ in range(8)])
        scores = {}
        for cases, settings in zip(self.held_out, self.config.validation, strict=True):
            errors = []
            for k in range(batches):
                draw = np.random.default_rng([7, k])
                hu = torch.from_numpy(np.stack([_random_crop(cases, settings.crop, draw) for _ in range(4)])[:, None])
                hu = hu.to(device_of(model))
                back = model.decode(model.encode(hu)).float()
                errors.append(((back.clamp(-1000, 1000) - clamp_hu(hu).clamp(-1000, 1000)) ** 2).mean())
            scores[f"{settings.layout}/psnr"] = float(10 * torch.log10(RANGE_HU**2 / torch.stack(errors).mean()))
        model.train()
        return scores

    def export(self, model: nn.Module, folder: Path, facts: Mapping[str, Any]) -> None:
        assert isinstance(model, Autoencoder)
        rng = np.random.default_rng(5)
        with torch.no_grad():
            model.eval()
            model.fit_scale([self.batch(rng).to(device_of(model)) for _ in range(8)])
        sets = [[s.layout, len(c)] for s, c in zip(self.config.sets, self.sets, strict=True)]
        config = {
            "decoder": "autoencoder",
            "spacing_mm": self.config.spacing_mm,
            "network": model.config,
            "training": dict(facts) | {"sets": sets},
        }
        save_checkpoint(folder, model, config)


def _random_crop(cases: Sequence[Case], side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    case = cases[int(rng.integers(len(cases)))]
    centre = case.body.indices()[rng.integers(case.body.voxels)]
    starts = [
        int(np.clip(c - side // 2, min(0, n - side), max(0, n - side)))
        for c, n in zip(centre, case.hu.shape, strict=True)
    ]
    box = (slice(starts[0], starts[0] + side), slice(starts[1], starts[1] + side), slice(starts[2], starts[2] + side))
    return take(case.hu, box, AIR_HU)
