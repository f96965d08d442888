"""Training the flow decoder: flow matching in the autoencoder's latents, and telling true claims from moved ones.

Each example is a crop whose hole is rendered given the latents around it, or, a third of the time, the whole crop from
the scene alone, with tissue entities or without. The scene that explains the image (with a true claim, without a moved
one) trains the velocity; the difference of the errors of both scenes, at the same noise and times, trains the evidence.
At t = 1, where the velocity gives the mean of all images, that mean is compared with the image in HU as well; at any t
the one-step estimate of the image must have each entity's mean attenuation: the term of the clinical distance that a
loss can hold (`synth.distance`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synth.conditioning import Codec
from synth.decoder.checkpoint import fill, load_checkpoint, save_checkpoint, weights_folder
from synth.decoder.flow import interpolate, velocity_target
from synth.decoder.intensity import compress
from synth.decoder.latent_net import Condition, FlowNet, blank, to_latent
from synth.decoder.maisi import MaisiFlowNet
from synth.decoder.networks import AnyFlowNet, make_autoencoder, make_flow
from synth.decoder.sketch import MEAN
from synth.parse import VOCABULARY
from synth.training.cases import load_cases
from synth.training.claims import MOVED, NOTHING, ClaimSampler
from synth.training.config import TrainConfig
from synth.training.direct import ClaimBatch, claims_auroc, device_of, renamed_codec, stack
from synth.training.latents import CasesWithLatents, LatentStore, process
from synth.training.prepared import Case, StoredCases

AUTOENCODER = "autoencoder"  # folder of its weights in those that are written
FROM_SCENE = 0.1  # share of claims that are rendered without context
EMPTY, WHOLE = 0.5, 0.7  # examples without a claim, and those of them rendered from the scene alone
FROM_NOISE = 0.25  # share of times that are 1: there the velocity gives the mean of all images
WINDOW_HU = 1500.0  # of the image; what is drawn is not cut, or nothing would pull it back
MEAN_HU = 300.0  # an error of the mean image that weighs 1
CLINICAL_HU, CLINICAL_VOXELS = 20.0, 8  # an error of an entity's mean that weighs 1, and the least of it in a crop
CONTRASTED = 0.3  # share of examples without a claim that are also asked about without one of their entities
CONTRAST_GAIN = 4.0  # of the difference of errors inside
AWAY = 2  # latent voxels from an entity where taking it out must change nothing
WEIGHTS = {"matching": 1.0, "claims": 0.1, "mean": 0.3, "clinical": 0.0, "sketch": 0.0, "contrast": 0.0}
CLAIM_TIMES = (0.2, 0.7)  # where the errors of the two scenes differ most


@dataclass(frozen=True, eq=False)
class Errors:
    """What one batch of B examples shows.

    Attributes:
        squared, without: (B, x, y, z) squared velocity errors with the first and with the second scene.
        hole: (B, x, y, z) latent voxels that count; whole: (B,) bool, where no context was given.
        mean: of the mean image, in units of `MEAN_HU`²; clinical: of the entities' means, in units of `CLINICAL_HU`.
        sketch: of the sketch, in compressed intensities; contrast: of the region contrast.
    """

    squared: Tensor
    without: Tensor
    hole: Tensor
    whole: Tensor
    mean: Tensor
    clinical: Tensor
    sketch: Tensor
    contrast: Tensor


class FlowTask:
    """Loss = flow-matching error where the scene is true + further terms, weighed by the config (else `WEIGHTS`).

    `claims`: cross-entropy of the evidence. `mean`: of the mean image. `clinical`: of the entities' mean attenuation.
    `sketch`: of what the scene declares against the image. `contrast`: with and without an entity, at the same noise,
    the velocities must agree away from it, and the error must be larger without it where it is.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.codec = Codec.for_names(VOCABULARY.names)
        self.sets = [load_cases(s, self.codec, config.spacing_mm, config.cache) for s in config.sets]
        self.samplers = [
            ClaimSampler(
                cases, s.crop, self.codec, empty=EMPTY, whole=WHOLE, contrasted=CONTRASTED, without=config.without
            )
            for cases, s in zip(self.sets, config.sets, strict=True)
        ]
        weights = np.array([s.weight for s in config.sets])
        self.chance = weights / weights.sum()
        self.held_out = [
            ClaimSampler(
                load_cases(s, self.codec, config.spacing_mm, config.cache), s.crop, self.codec, without=config.without
            )
            for s in config.validation
        ]
        checkpoint = load_checkpoint(weights_folder(config.autoencoder or "autoencoder"))
        self.autoencoder = make_autoencoder(checkpoint.config["network"])
        fill(self.autoencoder, checkpoint, "autoencoder")
        self.autoencoder.requires_grad_(False)
        self.autoencoder_config = checkpoint.config
        self.autoencoder_sha256, self.factor = checkpoint.sha256, self.autoencoder.factor
        self.stores = [self._store(cases, s.crop) for cases, s in zip(self.sets, config.sets, strict=True)]
        self._nothing: dict[tuple[int, ...], Tensor] = {}  # latents of a crop of which nothing is seen, by its sides
        torch.manual_seed(config.seed)
        network = {"latent_channels": self.autoencoder.latent_channels} | config.model
        if network.get("kind") != "maisi":
            network["factor"] = self.autoencoder.factor
        model = make_flow(self.codec, network)
        if model.sketch is not None:
            model.sketch.fit(usual_hu(self.codec, self.sets))
        self.model: nn.Module = model

    def place(self, device: torch.device) -> None:
        """The autoencoder goes where the network is; what is to be encoded beforehand is encoded there."""
        self.autoencoder.to(device)
        self._nothing.clear()
        for sampler, store in zip(self.samplers, self.stores, strict=True):
            if store is not None:
                store.fill(sampler.cases, self.autoencoder, share=process())
                sampler.cases = CasesWithLatents(sampler.cases, store, self.factor)

    def _store(self, cases: Sequence[Case], crop: int) -> LatentStore | None:
        """Where the latents of a set are kept, if they are."""
        if not self.config.latents:
            return None
        assert isinstance(cases, StoredCases)  # the config has a cache then
        return LatentStore(cases.folder, self.autoencoder_sha256, crop)

    def batch(self, rng: np.random.Generator) -> ClaimBatch:
        which = int(rng.choice(len(self.samplers), p=self.chance))
        return stack([self.samplers[which].draw(rng) for _ in range(self.config.sets[which].batch)])

    def loss(self, model: nn.Module, batch: ClaimBatch, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, FlowNet | MaisiFlowNet)
        found = self.errors(model, batch, rng)
        moved = batch.truth == MOVED
        explained = torch.where(moved[:, None, None, None], found.without, found.squared)
        terms = {
            "matching": (explained * found.hole).sum() / found.hole.sum().clamp_min(1),
            "claims": torch.zeros((), device=found.hole.device),
            "mean": found.mean,
            "clinical": found.clinical,
            "sketch": found.sketch,
            "contrast": found.contrast,
        }
        claimed = (batch.truth != NOTHING) & ~found.whole
        if bool(claimed.any()):
            logit = model.evidence(found.without - found.squared, found.hole)
            terms["claims"] = F.binary_cross_entropy_with_logits(logit[claimed], batch.truth[claimed].float())
        weights = WEIGHTS | self.config.loss
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return total, {name: float(term.detach()) for name, term in terms.items()}

    def errors(self, model: AnyFlowNet, batch: ClaimBatch, rng: torch.Generator) -> Errors:
        """What the network makes of both scenes of each example, at the same noise and time.

        Where both scenes are the same they are asked about once.
        """
        count, device = len(batch.truth), batch.hu.device
        asked = ((batch.truth != NOTHING) | batch.contrasted).nonzero()[:, 0]
        rows = torch.cat([torch.arange(count, device=device), asked + count])

        def drawn(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=rng, device=device)

        whole = drawn(count) < FROM_SCENE
        inside = 1 - to_latent(1 - batch.inside, self.factor)
        hole = torch.where(
            whole[:, None, None, None, None], torch.ones_like(inside), to_latent(batch.hidden, self.factor)
        )
        data, context = self._encoded(batch), self._context(batch.hu, hole)
        anywhere = torch.sigmoid(torch.randn(count, generator=rng, device=device))
        anywhere = torch.where(drawn(count) < FROM_NOISE, torch.ones_like(anywhere), anywhere)
        between = CLAIM_TIMES[0] + (CLAIM_TIMES[1] - CLAIM_TIMES[0]) * drawn(count)
        t = torch.where(drawn(count) < torch.where(batch.truth == NOTHING, 0.0, 0.5), between, anywhere)
        noise = torch.randn(data.shape, generator=rng, device=device)
        target = velocity_target(data, noise)
        noisy = interpolate(data, noise, t)
        condition = model.condition(batch.scene.rows(rows))
        x, time, *around = (torch.cat([v, v[asked]]) for v in (noisy, t, context, hole, inside))
        velocity = model.velocity(x, time, condition, *around)
        with torch.autocast(device.type, enabled=False):
            squared = ((velocity.float() - torch.cat([target, target[asked]])) ** 2).mean(dim=1)
        without = squared[:count].index_copy(0, asked, squared[count:])
        estimate = noisy - t[:, None, None, None, None] * velocity.float()[:count]
        seen = hole * inside
        mean, clinical = self._picture_errors(batch, estimate * hole + data * (1 - hole), t, seen)
        apart = (velocity[count:] - velocity[:count][asked]).float()
        gap = (without - squared[:count])[asked]
        return Errors(
            squared=squared[:count],
            without=without,
            hole=seen[:, 0],
            whole=whole,
            mean=mean,
            clinical=clinical,
            sketch=_sketch_error(condition, batch),
            contrast=_contrast_error(apart, gap, seen[asked, 0], batch.core[asked], batch.contrasted[asked]),
        )

    @torch.no_grad()
    def _encoded(self, batch: ClaimBatch) -> Tensor:
        """(B, C, x, y, z) latents of the images: those of the cache, the others encoded."""
        if batch.latents is None:
            return self.autoencoder.encode(batch.hu).float()
        fresh = (~batch.cached).nonzero()[:, 0]
        if not len(fresh):
            return batch.latents
        return batch.latents.index_copy(0, fresh, self.autoencoder.encode(batch.hu[fresh]).float())

    @torch.no_grad()
    def _context(self, hu: Tensor, hole: Tensor) -> Tensor:
        """(B, C, x, y, z) latents of the images without what the hole hides; a crop hidden whole is encoded once."""
        partly = (hole < 1).flatten(1).any(dim=1).nonzero()[:, 0]
        side = tuple(hu.shape[1:])
        if len(partly) < len(hu) and side not in self._nothing:
            self._nothing[side] = self.autoencoder.encode(torch.zeros_like(hu[:1])).float()
        if not len(partly):
            return self._nothing[side].expand(len(hu), -1, -1, -1, -1)
        seen = self.autoencoder.encode(blank(hu[partly], hole[partly], self.factor)).float()
        if len(partly) == len(hu):
            return seen
        return self._nothing[side].repeat(len(hu), 1, 1, 1, 1).index_copy(0, partly, seen)

    def _picture_errors(self, batch: ClaimBatch, latents: Tensor, t: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
        """Of the places without a claim: the squared error of the mean image, in units of `MEAN_HU`, where t is 1, and
        the mean over entities of how far their mean is off, in units of `CLINICAL_HU`."""
        rows = (batch.truth == NOTHING).nonzero()[:, 0]
        zero = torch.zeros((), device=t.device)
        if not len(rows):
            return zero, zero
        made = self.autoencoder.decode(latents[rows]).float()
        true = batch.hu[rows].clamp(-WINDOW_HU, WINDOW_HU)
        seen = F.interpolate(hole[rows], scale_factor=self.factor)
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
        assert isinstance(model, FlowNet | MaisiFlowNet)
        model.eval()
        device = device_of(model)
        scores: dict[str, float] = {}
        for sampler, settings in zip(self.held_out, self.config.validation, strict=True):
            logits, truths, matching = [], [], []
            for k in range(batches):
                rng, noise = np.random.default_rng([77, k]), torch.Generator(device).manual_seed(k)
                batch = stack([sampler.draw(rng) for _ in range(settings.batch)]).to(device)
                found = self.errors(model, batch, noise)
                claimed = (batch.truth != NOTHING) & ~found.whole
                logits.append(model.evidence(found.without - found.squared, found.hole)[claimed])
                truths.append(batch.truth[claimed])
                matching.append((found.squared * found.hole).sum() / found.hole.sum().clamp_min(1))
            key = settings.layout
            scores[f"{key}/auroc"] = claims_auroc(truths, logits)
            scores[f"{key}/matching"] = float(torch.stack(matching).mean())
        model.train()
        return scores

    def export(self, model: nn.Module, folder: Path, facts: Mapping[str, Any]) -> None:
        assert isinstance(model, FlowNet | MaisiFlowNet)
        config = {
            "decoder": "latent",
            "spacing_mm": self.config.spacing_mm,
            "modalities": ["CT"],
            "autoencoder": AUTOENCODER,
            "autoencoder_sha256": self.autoencoder_sha256,
            "codec": renamed_codec(self.codec, self.sets).to_json(),
            "network": model.config,
            "training": dict(facts)
            | {"sets": [[s.layout, len(c)] for s, c in zip(self.config.sets, self.sets, strict=True)]},
        }
        save_checkpoint(folder / AUTOENCODER, self.autoencoder, self.autoencoder_config)
        save_checkpoint(folder, model, config)


def usual_hu(codec: Codec, sets: Sequence[Sequence[Case]]) -> dict[str, float]:
    """The mean attenuation of each name over the cases in which it was measured, each set counting the same."""
    (slot,) = [(i, centre, half) for i, (name, centre, half) in enumerate(codec.numeric) if name == MEAN]
    column, centre, half = slot
    found: dict[str, list[float]] = {}
    for cases in sets:
        own: dict[str, list[float]] = {}
        for case in cases:
            if case.measured is not None:
                values = case.measured.numeric[:, column] * half + centre
                for name, value in zip(case.measured.names, values.tolist(), strict=True):
                    if not np.isnan(value):
                        own.setdefault(name, []).append(value)
        for name, some in own.items():
            found.setdefault(name, []).append(float(np.mean(some)))
    return {name: float(np.mean(some)) for name, some in found.items()}


def _sketch_error(condition: Condition, batch: ClaimBatch) -> Tensor:
    """Mean absolute error of the sketch over the examples without a claim, whose scenes are true."""
    rows = (batch.truth == NOTHING).nonzero()[:, 0]
    if condition.sketch is None or not len(rows):
        return torch.zeros((), device=batch.hu.device)
    seen = batch.inside[rows]
    off = (condition.sketch[rows] - compress(batch.hu[rows])).abs() * seen
    return off.sum() / seen.sum().clamp_min(1)


def _contrast_error(apart: Tensor, gap: Tensor, hole: Tensor, core: Tensor, contrasted: Tensor) -> Tensor:
    """Zero-ish where an entity matters in its place and nowhere else.

    apart: (A, C, x, y, z) difference of velocities; gap: (A, x, y, z) error without less error with; hole: as gap;
    core: (A, 1, X, Y, Z) the entity; contrasted: (A,) bool.
    """
    place = to_latent(core, core.shape[-1] // hole.shape[-1])
    near = F.max_pool3d(place, 2 * AWAY + 1, stride=1, padding=AWAY)[:, 0]
    inside, outside = place[:, 0] * hole, (1 - near) * hole
    use = contrasted & (inside.sum(dim=(1, 2, 3)) > 0)
    if not bool(use.any()):
        return torch.zeros((), device=gap.device)
    agree = (apart**2).mean(dim=1)[use] * outside[use]
    gained = (gap * inside).sum(dim=(1, 2, 3))[use] / inside.sum(dim=(1, 2, 3))[use]
    return agree.sum() / outside[use].sum().clamp_min(1) + F.softplus(-CONTRAST_GAIN * gained).mean()
