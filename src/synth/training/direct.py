"""Training the direct decoder: likelihood of what the hole hides, and telling true claims from moved ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from synth.conditioning import Codec, SceneBatch, collate
from synth.decoder.checkpoint import save_checkpoint
from synth.decoder.direct_net import DirectNet
from synth.parse import VOCABULARY
from synth.training.cases import load_cases
from synth.training.claims import MOVED, NOTHING, TRUE, ClaimSampler, Example
from synth.training.config import TrainConfig
from synth.training.prepared import Case


@dataclass(frozen=True, eq=False)
class ClaimBatch:
    """B claims as 2B network inputs: first all scenes with their claim, then all without.

    Attributes: scene of 2B rows; hu, hidden, inside, core: (B, 1, X, Y, Z) float32; truth: (B,) in {1, 0, -1};
        contrasted: (B,) bool, no claim, but two scenes; latents: (B, C, x, y, z) of `hu`, of the rows where `cached`
        (B,) says so, zero in the others; None where no row has them.
    """

    scene: SceneBatch
    hu: Tensor
    hidden: Tensor
    inside: Tensor
    core: Tensor
    truth: Tensor
    contrasted: Tensor
    cached: Tensor
    latents: Tensor | None = None

    def to(self, device: torch.device) -> ClaimBatch:
        there = {name: part.to(device) for name, part in vars(self).items() if part is not None}
        return ClaimBatch(**there)


def stack(examples: Sequence[Example]) -> ClaimBatch:
    """A batch of examples of one crop size."""

    def cube(arrays: Sequence[np.ndarray[Any, Any]]) -> Tensor:
        return torch.from_numpy(np.stack(arrays)[:, None].astype(np.float32))

    return ClaimBatch(
        scene=collate([e.claimed for e in examples] + [e.unclaimed for e in examples]),
        hu=cube([e.hu for e in examples]),
        hidden=cube([e.hole.hidden for e in examples]),
        inside=cube([e.inside for e in examples]),
        core=cube([e.hole.core for e in examples]),
        truth=torch.tensor([e.truth for e in examples]),
        contrasted=torch.tensor([e.truth == NOTHING and e.claimed is not e.unclaimed for e in examples]),
        cached=torch.tensor([e.latents is not None for e in examples]),
        latents=_stacked([e.latents for e in examples]),
    )


def _stacked(latents: Sequence[NDArray[np.float32] | None]) -> Tensor | None:
    """(B, C, x, y, z), zero in the rows that have none; None where none has any."""
    like = next((part for part in latents if part is not None), None)
    if like is None:
        return None
    return torch.from_numpy(np.stack([np.zeros_like(like) if part is None else part for part in latents]))


class DirectTask:
    """Loss = NLL where the scene is true + `claims` x cross-entropy of the evidence head.

    The NLL of a scene *with* its claim counts for true claims, *without* it for moved ones, and the one scene of places
    without a claim: a scene that denies a true organ is wrong, and is not learned from except through the claims term.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.codec = Codec.for_names(VOCABULARY.names)
        self.sets = [load_cases(s, self.codec, config.spacing_mm, config.cache) for s in config.sets]
        self.samplers = [
            ClaimSampler(cases, s.crop, self.codec) for cases, s in zip(self.sets, config.sets, strict=True)
        ]
        weights = np.array([s.weight for s in config.sets])
        self.chance = weights / weights.sum()
        self.held_out = [
            ClaimSampler(load_cases(s, self.codec, config.spacing_mm, config.cache), s.crop, self.codec)
            for s in config.validation
        ]
        torch.manual_seed(config.seed)
        self.model: nn.Module = DirectNet(self.codec, **tuples(config.model))

    def place(self, device: torch.device) -> None:
        """Nothing beside the model."""

    def batch(self, rng: np.random.Generator) -> ClaimBatch:
        which = int(rng.choice(len(self.samplers), p=self.chance))
        return stack([self.samplers[which].draw(rng) for _ in range(self.config.sets[which].batch)])

    def loss(self, model: nn.Module, batch: ClaimBatch, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, DirectNet)
        nll, logit = claim_scores(model, batch)
        true, moved, empty = (batch.truth == k for k in (TRUE, MOVED, NOTHING))
        weight = torch.stack([true | empty, moved]).float().flatten()
        likelihood = (nll * weight).sum() / weight.sum().clamp_min(1)
        claimed = batch.truth != NOTHING
        claims = torch.zeros((), device=nll.device)
        if bool(claimed.any()):
            claims = F.binary_cross_entropy_with_logits(logit[claimed], batch.truth[claimed].float())
        total = likelihood + self.config.loss.get("claims", 0.5) * claims
        return total, {"nll": float(likelihood.detach()), "claims": float(claims.detach())}

    @torch.no_grad()
    def validate(self, model: nn.Module, batches: int) -> dict[str, float]:
        assert isinstance(model, DirectNet)
        model.eval()
        scores: dict[str, float] = {}
        for sampler, settings in zip(self.held_out, self.config.validation, strict=True):
            logits, truths, nlls = [], [], []
            for k in range(batches):
                rng = np.random.default_rng([77, k])
                batch = stack([sampler.draw(rng) for _ in range(settings.batch)]).to(device_of(model))
                nll, logit = claim_scores(model, batch)
                claimed = batch.truth != NOTHING
                logits.append(logit[claimed])
                truths.append(batch.truth[claimed])
                nlls.append(nll[: len(logit)][batch.truth != MOVED])
            key = settings.layout
            scores[f"{key}/auroc"] = claims_auroc(truths, logits)
            scores[f"{key}/nll"] = float(torch.cat(nlls).mean())
        model.train()
        return scores

    def export(self, model: nn.Module, folder: Path, facts: Mapping[str, Any]) -> None:
        assert isinstance(model, DirectNet)
        config = {
            "decoder": "direct",
            "spacing_mm": self.config.spacing_mm,
            "modalities": ["CT"],
            "codec": renamed_codec(self.codec, self.sets).to_json(),
            "network": model.config,
            "training": dict(facts)
            | {"sets": [[s.layout, len(c)] for s, c in zip(self.config.sets, self.sets, strict=True)]},
        }
        save_checkpoint(folder, model, config)


def claim_scores(model: DirectNet, batch: ClaimBatch) -> tuple[Tensor, Tensor]:
    """Mean nats per hidden voxel (2B,) and the evidence logit (B,) of each claim."""
    twice = [torch.cat([v, v]) for v in (batch.hu, batch.hidden, batch.inside)]
    mixture = model(batch.scene, *twice)
    with torch.autocast(batch.hu.device.type, enabled=False):
        log_prob = mixture.log_prob(twice[0])
        counted = (twice[1] * twice[2])[:, 0]
        nll = -(log_prob * counted).sum(dim=(1, 2, 3)) / counted.sum(dim=(1, 2, 3)).clamp_min(1)
        with_claim, without_claim = log_prob.chunk(2)
        core = batch.core[:, 0] * batch.inside[:, 0]
        rim = (batch.hidden[:, 0] - batch.core[:, 0]) * batch.inside[:, 0]
        return nll, model.evidence(with_claim - without_claim, core, rim)


def claims_auroc(truths: Sequence[Tensor], logits: Sequence[Tensor]) -> float:
    """Of claims that were true (1) against moved ones (0)."""
    truth, logit = (torch.cat(list(v)).float().cpu().numpy() for v in (truths, logits))
    return float(roc_auc_score(truth, logit))


def device_of(model: nn.Module) -> torch.device:
    """Where its parameters are."""
    return next(model.parameters()).device


def tuples(model: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a network's constructor, the lists of an experiment file made tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in model.items()}


def renamed_codec(codec: Codec, sets: Sequence[Sequence[Case]]) -> Codec:
    """The codec whose trained names are those that the cases really hold."""
    names = {n for cases in sets for case in cases for n in case.scene.names}
    return replace(codec, trained=tuple(sorted(names)))
