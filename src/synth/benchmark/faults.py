"""The faults benchmark on real CT: is the organ where the parse says, or was its mask moved?

For each organ of each patient the true mask, untouched and jittered, against the same mask moved by 8-12, 16-24 and
32-56 mm within the body, the true one taken out of the parse. Every method scores the same claims.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from synth.benchmark.result import Row
from synth.contracts import Decoder
from synth.fault import jitter, random_shift
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Parse
from synth.residual import AuditModel, examine
from synth.volume import Mask, resample
from synth.volume.tissue import body_mask

DISTANCES_MM = {"8-12": (8.0, 12.0), "16-24": (16.0, 24.0), "32-56": (32.0, 56.0)}
NEGATIVES = ("untouched", "jittered")
SMALLEST_VOXELS = 4  # on the decoder's grid; a smaller organ is cut by the border, and is not checkable
RESAMPLES = 500


@dataclass(frozen=True)
class Claim:
    """One scored claim. `condition` is "untouched", "jittered" or a key of `DISTANCES_MM`; scores: higher = more believable."""

    patient: str
    organ: str
    condition: str
    scores: Mapping[str, float]


def score_claims(
    folder: Path,
    decoder: Decoder,
    model: AuditModel,
    *,
    seed: int = 0,
    limit: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Claim]:
    """Score every claim about every patient of the folder."""
    claims: list[Claim] = []
    for case in patient_folders(folder)[:limit]:
        patient = read_patient(case)
        grid = patient.image.geometry.with_spacing(decoder.spacing_mm)
        image = resample(patient.image, grid)
        parse, body = patient.parse.resampled(grid), body_mask(image)
        encoded = decoder.encode(image)
        rng = np.random.default_rng([seed, *patient.name.encode()])
        for organ in parse.present_ids:
            if parse.masks[organ].voxels < SMALLEST_VOXELS:
                continue
            for condition, mask in _conditions(parse, organ, body, rng):
                claimed = parse.with_mask(organ, mask)
                generator = torch.Generator().manual_seed(seed)
                features = examine(decoder, encoded, claimed, organ, model.prior, generator=generator).evidence.features
                scores = _scores(features, model, decoder.name, organ)
                claims.append(Claim(patient.name, organ, condition, scores))
        advance()
    return claims


def _conditions(parse: Parse, organ: str, body: Mask, rng: np.random.Generator) -> Iterator[tuple[str, Mask]]:
    own = parse.masks[organ]
    yield "untouched", own
    yield "jittered", jitter(own, parse.geometry, rng)
    for name, distance in DISTANCES_MM.items():
        mask = random_shift(own, parse.geometry, body, distance, rng)
        if mask is not None:
            yield name, mask


def _scores(features: Mapping[str, float], model: AuditModel, decoder: str, organ: str) -> dict[str, float]:
    """`ours` and, beside it, what single ingredients and the baselines say."""
    scores = {
        "ours": model.judge(decoder).presence.score(features, organ),
        "l1": -features.get("misfit", np.nan),
        "histogram": features["prior_core"],
    }
    parts = {"direct": "decoder_evidence", "latent": "decoder_latent_evidence"}
    return scores | {method: features[key] for method, key in parts.items() if key in features}


def rows_of(claims: Sequence[Claim], *, seed: int = 0) -> list[Row]:
    """AUROC and FPR95 per organ and distance, pooled and by the kind of negative, intervals over patients."""
    rows = []
    organs = ["all", *sorted({c.organ for c in claims})]
    for method in claims[0].scores if claims else ():
        for organ in organs:
            for distance in DISTANCES_MM:
                for negatives in (NEGATIVES, *((n,) for n in NEGATIVES)):
                    if organ != "all" and len(negatives) == 1:
                        continue
                    chosen = [
                        c for c in claims if organ in ("all", c.organ) and c.condition in (distance, *negatives)
                    ]
                    group = {"arena": "openkbp", "organ": organ, "family": "moved", "distance": distance}
                    if len(negatives) == 1:
                        group["negatives"] = negatives[0]
                    rows += _rows(chosen, distance, method, group, seed)
    return rows


def _rows(claims: Sequence[Claim], distance: str, method: str, group: dict[str, str], seed: int) -> list[Row]:
    moved = np.array([c.condition == distance for c in claims])
    score = np.array([c.scores[method] for c in claims], float)
    patients = np.array([c.patient for c in claims])
    usable = np.isfinite(score)
    moved, score, patients = moved[usable], score[usable], patients[usable]
    if moved.all() or not moved.any():
        return []
    rows = []
    for metric, measure in (("auroc", auroc), ("fpr95", fpr95)):
        low, high = _interval(measure, moved, score, patients, seed)
        rows.append(Row(group, method, metric, measure(moved, score), low, high, int(moved.sum())))
    return rows


def auroc(moved: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Chance that a moved mask is less believable than a true one."""
    return float(roc_auc_score(moved, -score))


def fpr95(moved: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Share of true masks flagged at the threshold that finds 95% of the moved ones."""
    false, true, _ = roc_curve(moved, -score)
    return float(false[np.searchsorted(true, 0.95)])


def _interval(
    measure: Callable[[NDArray[np.bool_], NDArray[np.float64]], float],
    moved: NDArray[np.bool_],
    score: NDArray[np.float64],
    patients: NDArray[np.str_],
    seed: int,
) -> tuple[float, float]:
    """95% bootstrap interval, patients resampled."""
    rng = np.random.default_rng(seed)
    names, place = np.unique(patients, return_inverse=True)
    members = [np.flatnonzero(place == k) for k in range(len(names))]
    values = []
    for _ in range(RESAMPLES):
        pick = np.concatenate([members[k] for k in rng.integers(len(names), size=len(names))])
        if moved[pick].any() and not moved[pick].all():
            values.append(measure(moved[pick], score[pick]))
    low, high = np.quantile(values, (0.025, 0.975)) if values else (np.nan, np.nan)
    return float(low), float(high)


