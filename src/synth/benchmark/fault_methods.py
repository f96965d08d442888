"""What is scored side by side in the faults benchmark: ours, and baselines that do not read our features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from synth.benchmark.beta_presence import BetaPresence
from synth.benchmark.moved import MaskClaim
from synth.benchmark.partial_noise import Denoiser, PartialNoise
from synth.benchmark.render_compare import RenderCompare
from synth.contracts import Decoder
from synth.decoder import DirectDecoder, LatentDecoder
from synth.errors import InputError
from synth.interop.openkbp import Patient, patient_folders, read_patient
from synth.residual import NO_DECODER, AuditModel, examine
from synth.volume import Volume

Scorer = Callable[[MaskClaim], Mapping[str, float]]
"""Scores of a claim by method; higher is more believable."""


class Method(Protocol):
    """A way to score claims."""

    def of(self, image: Volume) -> Scorer:
        """Prepare an image on the decoder's grid, once for all claims about it."""
        ...


class Ours:
    """The audit's score of presence, its ingredients, and the two baselines that are among its features.

    `ours`, the same without the latent decoder (`tier1`) and without any (`prior`); each decoder's evidence alone
    (`direct`, `latent`); `l1`, the size of the residual; `histogram` of HU.

    Raises InputError when the judge was fitted with another decoder's weights: its scores would mean nothing.
    """

    def __init__(self, decoder: Decoder, model: AuditModel, *, seed: int = 0) -> None:
        fitted = model.judge(decoder.name).decoder_sha256
        if fitted != decoder.weights_sha256:
            fix = "fit the audit again: synth train audit"
            raise InputError(
                "audit weights", expected=f"decoder {fitted[:12]}", got=decoder.weights_sha256[:12], fix=fix
            )
        self.decoder, self.model, self.seed = decoder, model, seed

    def of(self, image: Volume) -> Scorer:
        """The score of claims about one image."""
        encoded = self.decoder.encode(image)

        def score(claim: MaskClaim) -> Mapping[str, float]:
            generator = torch.Generator().manual_seed(self.seed)
            asked = self.decoder, encoded, claim.parse, claim.entity, self.model.prior
            return self._scores(examine(*asked, generator=generator).evidence.features, claim.name)

        return score

    def _scores(self, features: Mapping[str, float], organ: str) -> dict[str, float]:
        model, decoder = self.model, self.decoder.name
        scores = {
            "ours": model.judge(decoder).score(features, organ),
            "l1": -features.get("misfit", np.nan),
            "histogram": features["prior_core"],
        }
        if decoder == "fused":
            scores["tier1"] = model.judge("direct").score(features, organ)
        if NO_DECODER in model.judges:
            scores[NO_DECODER] = model.judge(NO_DECODER).score(features, organ)
        parts = {"direct": "decoder_evidence", "latent": "decoder_latent_evidence"}
        if decoder == "latent":
            parts = {"latent": "decoder_evidence"}
        return scores | {method: features[key] for method, key in parts.items() if key in features}


@dataclass(frozen=True)
class PresenceTest:
    """The Kolmogorov-Smirnov test of a mask's intensities against its name's Beta distribution (`beta_presence`)."""

    fitted: BetaPresence

    def of(self, image: Volume) -> Scorer:
        """The score of claims about one image: 0, as the name is, to -1."""

        def score(claim: MaskClaim) -> Mapping[str, float]:
            return {"ks": self.fitted.score(claim.name, claim.parse.masks[claim.entity].values(image.array))}

        return score


def read_training(folder: Path | None, count: int) -> list[Patient]:
    """So many patients of a folder laid out like OpenKBP, spread evenly over their numbers.

    Raises InputError without a folder, or for a number below one.
    """
    if folder is None:
        fix = "name one with --training"
        raise InputError("training cases", expected="a folder to fit the baselines on", got="none", fix=fix)
    if count < 1:
        raise InputError("fitted", expected="at least 1", got=str(count), fix="ask for more")
    cases = patient_folders(folder)
    return [read_patient(case) for case in cases[:: max(1, len(cases) // count)][:count]]


def fit_baselines(
    training: Sequence[Patient], direct: DirectDecoder, latent: LatentDecoder, *, seed: int = 0
) -> tuple[Method, ...]:
    """The presence test, partial noise and render-and-regress, fitted on training patients.

    Raises InputError without training patients.
    """
    if not training:
        raise InputError("training patients", expected="at least 1", got="none", fix="name a folder with --training")
    small = [patient.resampled(direct.spacing_mm) for patient in training]
    return (
        PresenceTest(BetaPresence.fit((patient.image, patient.parse) for patient in small)),
        PartialNoise.fit(small, Denoiser(latent)),
        RenderCompare.fit(small, direct, seed=seed),
    )
