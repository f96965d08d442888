"""Training the flow decoder: flow matching in the autoencoder's latents, and telling true claims from moved ones.

Each example is a crop whose hole is rendered given the latents around it, or, a third of the time, the whole crop from
the scene alone, with tissue entities or without. The scene that explains the image (with a true claim, without a moved
one) trains the velocity; the difference of the errors of both scenes, at the same noise and times, trains the evidence.
At t = 1, where the velocity gives the mean of all images, that mean is compared with the image in HU as well; at any t
the one-step estimate of the image must have each entity's mean attenuation: the term of the clinical distance that a
loss can hold (`synth.distance`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synth.conditioning import Codec
from synth.decoder.autoencoder import FACTOR, Autoencoder
from synth.decoder.checkpoint import fill, load_checkpoint, save_checkpoint, weights_folder
from synth.decoder.flow import interpolate, velocity_target
from synth.decoder.latent_net import FlowNet, blank, to_latent
from synth.parse import VOCABULARY
from synth.training.cases import load_cases
from synth.training.claims import MOVED, NOTHING, ClaimSampler
from synth.training.config import TrainConfig
from synth.training.direct import ClaimBatch, claims_auroc, device_of, renamed_codec, stack, tuples

FROM_SCENE = 0.1  # share of claims that are rendered without context
EMPTY, WHOLE = 0.5, 0.7  # examples without a claim, and those of them rendered from the scene alone
FROM_NOISE = 0.25  # share of times that are 1: there the velocity gives the mean of all images
WINDOW_HU = 1500.0  # of the image; what is drawn is not cut, or nothing would pull it back
MEAN_HU = 300.0  # an error of the mean image that weighs 1
CLINICAL_HU, CLINICAL_VOXELS = 20.0, 8  # an error of an entity's mean that weighs 1, and the least of it in a crop
CLAIM_TIMES = (0.2, 0.7)  # where the errors of the two scenes differ most


class FlowTask:
    """Loss = flow-matching error where the scene is true + `claims` x cross-entropy of the evidence."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.codec = Codec.for_names(VOCABULARY.names)
        self.sets = [load_cases(s, self.codec, config.spacing_mm) for s in config.sets]
        self.samplers = [
            ClaimSampler(cases, s.crop, empty=EMPTY, whole=WHOLE)
            for cases, s in zip(self.sets, config.sets, strict=True)
        ]
        weights = np.array([s.weight for s in config.sets])
        self.chance = weights / weights.sum()
        self.held_out = [ClaimSampler(load_cases(s, self.codec, config.spacing_mm), s.crop) for s in config.validation]
        checkpoint = load_checkpoint(weights_folder(config.autoencoder or "autoencoder"))
        self.autoencoder = Autoencoder(**checkpoint.config["network"])
        fill(self.autoencoder, checkpoint, "autoencoder")
        self.autoencoder.requires_grad_(False)
        self.autoencoder_sha256 = checkpoint.sha256
        torch.manual_seed(config.seed)
        latents = self.autoencoder.latent_channels
        self.model: nn.Module = FlowNet(self.codec, latent_channels=latents, **tuples(config.model))

    def place(self, device: torch.device) -> None:
        """The autoencoder goes where the network is."""
        self.autoencoder.to(device)

    def batch(self, rng: np.random.Generator) -> ClaimBatch:
        which = int(rng.choice(len(self.samplers), p=self.chance))
        return stack([self.samplers[which].draw(rng) for _ in range(self.config.sets[which].batch)])

    def loss(self, model: nn.Module, batch: ClaimBatch, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, FlowNet)
        errors, hole, whole, pictures = self.errors(model, batch, rng)
        moved = batch.truth == MOVED
        explained = torch.where(moved[:, None, None, None], errors[1], errors[0])
        matching = (explained * hole).sum() / hole.sum().clamp_min(1)
        claimed = (batch.truth != NOTHING) & ~whole
        claims = torch.zeros((), device=hole.device)
        if bool(claimed.any()):
            logit = model.evidence(errors[1] - errors[0], hole)
            claims = F.binary_cross_entropy_with_logits(logit[claimed], batch.truth[claimed].float())
        weight = self.config.loss
        mean, clinical = pictures
        total = matching + weight.get("claims", 0.1) * claims + weight.get("mean", 0.3) * mean
        total = total + weight.get("clinical", 0.0) * clinical
        terms = {"matching": matching, "claims": claims, "mean": mean, "clinical": clinical}
        return total, {name: float(term.detach()) for name, term in terms.items()}

    def errors(
        self, model: nn.Module, batch: ClaimBatch, rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Squared velocity errors (2, B, x, y, z) with and without the claim, the hole, which crops were whole, and the
        errors of the images that follow from one step: of the mean image, and of the entities' means.

        Where there is no claim both scenes are the same, and are asked about once.
        """
        count, device = len(batch.truth), batch.hu.device
        claimed = (batch.truth != NOTHING).nonzero()[:, 0]
        rows = torch.cat([torch.arange(count, device=device), claimed + count])

        def drawn(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=rng, device=device)

        whole = drawn(count) < FROM_SCENE
        inside = 1 - to_latent(1 - batch.inside)
        hole = torch.where(whole[:, None, None, None, None], torch.ones_like(inside), to_latent(batch.hidden))
        with torch.no_grad():
            data = self.autoencoder.encode(batch.hu).float()
            context = self.autoencoder.encode(blank(batch.hu, hole)).float()
        anywhere = torch.sigmoid(torch.randn(count, generator=rng, device=device))
        anywhere = torch.where(drawn(count) < FROM_NOISE, torch.ones_like(anywhere), anywhere)
        between = CLAIM_TIMES[0] + (CLAIM_TIMES[1] - CLAIM_TIMES[0]) * drawn(count)
        t = torch.where(drawn(count) < torch.where(batch.truth == NOTHING, 0.0, 0.5), between, anywhere)
        noise = torch.randn(data.shape, generator=rng, device=device)
        target = velocity_target(data, noise)
        noisy = interpolate(data, noise, t)
        asked = [torch.cat([v, v[claimed]]) for v in (noisy, t, context, hole, inside)]
        velocity = model(*asked[:2], batch.scene.rows(rows), *asked[2:])
        with torch.autocast(device.type, enabled=False):
            squared = ((velocity.float() - torch.cat([target, target[claimed]])) ** 2).mean(dim=1)
        without = squared[:count].index_copy(0, claimed, squared[count:])
        estimate = noisy - t[:, None, None, None, None] * velocity.float()[:count]
        pictures = self._picture_errors(batch, estimate * hole + data * (1 - hole), t, hole * inside)
        return torch.stack([squared[:count], without]), (hole * inside)[:, 0], whole, pictures

    def _picture_errors(self, batch: ClaimBatch, latents: Tensor, t: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Of the places without a claim: the squared error of the mean image, in units of `MEAN_HU`, where t is 1, and
        the mean over entities of how far their mean is off, in units of `CLINICAL_HU`."""
        rows = (batch.truth == NOTHING).nonzero()[:, 0]
        zero = torch.zeros((), device=t.device)
        if not len(rows):
            return zero, zero
        made = self.autoencoder.decode(latents[rows]).float()
        true = batch.hu[rows].clamp(-WINDOW_HU, WINDOW_HU)
        seen = F.interpolate(hole[rows], scale_factor=FACTOR)
        first = (t[rows] == 1).float()[:, None, None, None, None] * seen
        mean = (((made - true) / MEAN_HU) ** 2 * first).sum() / first.sum().clamp_min(1)
        off = []
        for row, drawn, image, where in zip(rows.tolist(), made[:, 0], true[:, 0], seen[:, 0], strict=True):
            inside = batch.scene.occupancy[row].to(drawn.dtype) * where
            voxels = inside.sum(dim=(1, 2, 3))
            difference = (inside * (drawn - image)).sum(dim=(1, 2, 3)) / voxels.clamp_min(1)
            off.append(difference[voxels >= CLINICAL_VOXELS])
        each = torch.cat(off) / CLINICAL_HU
        clinical = F.smooth_l1_loss(each, torch.zeros_like(each)) if len(each) else zero
        return mean, clinical

    @torch.no_grad()
    def validate(self, model: nn.Module, batches: int) -> dict[str, float]:
        assert isinstance(model, FlowNet)
        model.eval()
        device = device_of(model)
        scores: dict[str, float] = {}
        for sampler, settings in zip(self.held_out, self.config.validation, strict=True):
            logits, truths, matching = [], [], []
            for k in range(batches):
                rng, noise = np.random.default_rng([77, k]), torch.Generator(device).manual_seed(k)
                batch = stack([sampler.draw(rng) for _ in range(settings.batch)]).to(device)
                errors, hole, whole, _ = self.errors(model, batch, noise)
                claimed = (batch.truth != NOTHING) & ~whole
                logits.append(model.evidence(errors[1] - errors[0], hole)[claimed])
                truths.append(batch.truth[claimed])
                matching.append((errors[0] * hole).sum() / hole.sum().clamp_min(1))
            key = settings.layout
            scores[f"{key}/auroc"] = claims_auroc(truths, logits)
            scores[f"{key}/matching"] = float(torch.stack(matching).mean())
        model.train()
        return scores

    def export(self, model: nn.Module, folder: Path, facts: Mapping[str, Any]) -> None:
        assert isinstance(model, FlowNet)
        config = {
            "decoder": "latent",
            "spacing_mm": self.config.spacing_mm,
            "modalities": ["CT"],
            "autoencoder": self.config.autoencoder or "autoencoder",
            "autoencoder_sha256": self.autoencoder_sha256,
            "codec": renamed_codec(self.codec, self.sets).to_json(),
            "network": model.config,
            "training": dict(facts)
            | {"sets": [[s.layout, len(c)] for s, c in zip(self.config.sets, self.sets, strict=True)]},
        }
        save_checkpoint(folder, model, config)
