"""The faults benchmark on real CT: is the organ where the parse says, or was its mask moved?

For each organ of each patient the true mask, untouched and jittered, against the same mask moved by 8-12, 16-24 and
32-56 mm within the body, the true one taken out of the parse. Every second moved mask is the jittered one, so that the
roughness of a surface tells nothing. Every method scores the same claims.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_curve

from synth.benchmark.result import Interval, Row, bootstrap_interval
from synth.contracts import Decoder
from synth.errors import InputError
from synth.fault import jitter, random_shift
from synth.interop import import_labels
from synth.interop.openkbp import Patient, patient_folders, read_patient
from synth.parse import Parse
from synth.pipeline.parallel import each
from synth.residual import NO_DECODER, AuditModel, examine
from synth.volume import Mask, Volume, read_volume
from synth.volume.tissue import body_mask

DISTANCES_MM = {"8-12": (8.0, 12.0), "16-24": (16.0, 24.0), "32-56": (32.0, 56.0)}
SURFACES = ("untouched", "jittered")
SMALLEST_VOXELS = 4  # on the decoder's grid; a smaller organ is cut by the border, and is not checkable
RESAMPLES = 500


@dataclass(frozen=True)
class Claim:
    """One scored claim.

    Attributes:
        condition: "true" or a key of `DISTANCES_MM`.
        surface: "untouched" or "jittered".
        scores: by method; higher is more believable.
    """

    patient: str
    organ: str
    condition: str
    surface: str
    scores: Mapping[str, float]


def read_cases(folder: Path, arena: str, limit: int | None = None) -> list[Patient]:
    """The patients of a folder: case folders for "openkbp", one labelled case for "labelled"."""
    if arena == "openkbp":
        return [read_patient(case) for case in patient_folders(folder)[:limit]]
    image = read_volume(folder / "ct.nii.gz", modality="CT")
    names = folder / "labels.txt"
    parse = import_labels(folder / "labels.nii.gz", source="names", names=names, image=image, derive=False)
    return [Patient(folder.name, image, parse)]


def score_claims(
    patients: Sequence[Patient],
    decoder: Decoder,
    model: AuditModel,
    *,
    seed: int = 0,
    repeats: int = 1,
    workers: int = 1,
    through: Callable[[Volume], NDArray[np.float32]] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Claim]:
    """Score every claim about every patient; `through` passes each image through something lossy first.

    Raises InputError when the judge was fitted with another decoder's weights: its scores would mean nothing.
    """
    fitted = model.judge(decoder.name).decoder_sha256
    if fitted != decoder.weights_sha256:
        fix = "fit the audit again: synth train audit"
        raise InputError("audit weights", expected=f"decoder {fitted[:12]}", got=decoder.weights_sha256[:12], fix=fix)

    def one(patient: Patient) -> list[Claim]:
        return _score_patient(patient, decoder, model, seed, repeats, through)

    claims: list[Claim] = []
    for scored in each(one, patients, workers):
        claims += scored
        advance()
    return claims


def _score_patient(
    patient: Patient,
    decoder: Decoder,
    model: AuditModel,
    seed: int,
    repeats: int,
    through: Callable[[Volume], NDArray[np.float32]] | None,
) -> list[Claim]:
    small = patient.resampled(decoder.spacing_mm)
    image, parse, body = small.image, small.parse, body_mask(small.image)
    encoded = decoder.encode(image if through is None else Volume(through(image), image.geometry, "CT", "HU"))
    rng = np.random.default_rng([seed, *patient.name.encode()])
    claims = []
    for organ in parse.present_ids * repeats:
        if parse.masks[organ].voxels < SMALLEST_VOXELS:
            continue
        name = parse.entity(organ).name
        for condition, surface, mask in _conditions(parse, organ, body, rng):
            generator = torch.Generator().manual_seed(seed)
            claimed = parse.with_mask(organ, mask)
            found = examine(decoder, encoded, claimed, organ, model.prior, generator=generator)
            scores = _scores(found.evidence.features, model, decoder.name, name)
            claims.append(Claim(patient.name, name, condition, surface, scores))
    return claims


def _conditions(parse: Parse, organ: str, body: Mask, rng: np.random.Generator) -> Iterator[tuple[str, str, Mask]]:
    """(condition, surface, mask) of every claim about one organ."""
    surfaces = dict(zip(SURFACES, (parse.masks[organ], jitter(parse.masks[organ], parse.geometry, rng)), strict=True))
    for surface, mask in surfaces.items():
        yield "true", surface, mask
    for name, distance in DISTANCES_MM.items():
        surface = SURFACES[int(rng.integers(2))]
        moved = random_shift(surfaces[surface], parse.geometry, body, distance, rng)
        if moved is not None:
            yield name, surface, moved


def _scores(features: Mapping[str, float], model: AuditModel, decoder: str, organ: str) -> dict[str, float]:
    """`ours`, the same without the latent decoder (`tier1`) and without any (`prior`), ingredients, baselines."""
    scores = {
        "ours": model.judge(decoder).presence.score(features, organ),
        "l1": -features.get("misfit", np.nan),
        "histogram": features["prior_core"],
    }
    if decoder == "fused":
        scores["tier1"] = model.judge("direct").presence.score(features, organ)
    if NO_DECODER in model.judges:
        scores[NO_DECODER] = model.judge(NO_DECODER).presence.score(features, organ)
    parts = {"direct": "decoder_evidence", "latent": "decoder_latent_evidence"}
    if decoder == "latent":
        parts = {"latent": "decoder_evidence"}
    return scores | {method: features[key] for method, key in parts.items() if key in features}


@dataclass(frozen=True)
class WrongReference:
    """A reference mask that is wrong: whose, and why someone who looked at the image says so."""

    patient: str
    organ: str
    reason: str


def read_reference_errors(path: Path) -> list[WrongReference]:
    """Rows of a CSV with the columns patient, organ and reason.

    Raises InputError for a file that is none.
    """
    columns = [f.name for f in fields(WrongReference)]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [WrongReference(**{c: row[c].strip() for c in columns}) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as error:
        got = f"{type(error).__name__}: {error}"
        expected = f"a CSV with the columns {', '.join(columns)}"
        raise InputError(str(path), expected=expected, got=got, fix="correct the file") from None


def without_errors(claims: Sequence[Claim], errors: Sequence[WrongReference]) -> list[Claim]:
    """The claims about organs whose reference is right; a moved mask was moved from the reference."""
    wrong = {(e.patient, e.organ) for e in errors}
    return [c for c in claims if (c.patient, c.organ) not in wrong]


def rows_of(
    claims: Sequence[Claim], *, arena: str = "openkbp", seed: int = 0, errors: Sequence[WrongReference] = ()
) -> list[Row]:
    """AUROC and FPR95 per organ and distance, pooled and by the surface of the masks, intervals over patients.

    With `errors`, every row comes twice: over all claims, and with `reference: checked` in its group over those whose
    reference mask is not among the errors.
    """
    rows = _table(claims, {"arena": arena}, seed)
    if errors:
        rows += _table(without_errors(claims, errors), {"arena": arena, "reference": "checked"}, seed)
    return rows


def _table(claims: Sequence[Claim], about: Mapping[str, str], seed: int) -> list[Row]:
    rows = []
    organs = ["all", *sorted({c.organ for c in claims})]
    for method in claims[0].scores if claims else ():
        for organ in organs:
            for distance in DISTANCES_MM:
                for surfaces in (SURFACES, *((surface,) for surface in SURFACES)):
                    if organ != "all" and len(surfaces) == 1:
                        continue
                    same = [c for c in claims if organ in ("all", c.organ) and c.surface in surfaces]
                    chosen = [c for c in same if c.condition in ("true", distance)]
                    group = {**about, "organ": organ, "family": "moved", "distance": distance}
                    if len(surfaces) == 1:
                        group["surface"] = surfaces[0]
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
        interval = _interval(measure, moved, score, patients, seed)
        value = measure(moved, score)
        rows.append(Row(group, method, metric, value, interval.low, interval.high, int(moved.sum())))
    return rows


def auroc(moved: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Chance that a moved mask is less believable than a true one."""
    rank = rankdata(-score)
    found = int(moved.sum())
    return float((rank[moved].sum() - found * (found + 1) / 2) / (found * (len(moved) - found)))


def fpr95(moved: NDArray[np.bool_], score: NDArray[np.float64]) -> float:
    """Share of true masks flagged at the threshold that finds 95% of the moved ones."""
    false, true, _ = roc_curve(moved, -score, drop_intermediate=False)
    return float(false[np.searchsorted(true, 0.95)])


def _interval(
    measure: Callable[[NDArray[np.bool_], NDArray[np.float64]], float],
    moved: NDArray[np.bool_],
    score: NDArray[np.float64],
    patients: NDArray[np.str_],
    seed: int,
) -> Interval:
    """95% interval, patients resampled."""
    members = [np.flatnonzero(patients == name) for name in np.unique(patients)]

    def of(drawn: Sequence[NDArray[np.int64]]) -> float:
        pick = np.concatenate(drawn)
        both = moved[pick].any() and not moved[pick].all()
        return measure(moved[pick], score[pick]) if both else float("nan")

    return bootstrap_interval(members, of, rng=np.random.default_rng(seed), draws=RESAMPLES)
