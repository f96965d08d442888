"""The faults benchmark on real CT: is the organ where the parse says, or was its mask moved?

Every method (`fault_methods`) scores the same claims (`moved`), true masks and moved ones; how well it tells them apart
comes with intervals over patients.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.fault_methods import Method
from synth.benchmark.moved import DISTANCES_MM, SURFACES, TRUE, claims_about
from synth.benchmark.result import Interval, Row, bootstrap_interval
from synth.benchmark.separation import SEPARATIONS
from synth.errors import InputError
from synth.interop import import_labels
from synth.interop.openkbp import Patient, patient_folders, read_patient
from synth.pipeline.parallel import each
from synth.volume import Volume, read_volume

RESAMPLES = 500


@dataclass(frozen=True)
class Claim:
    """One scored claim.

    Attributes:
        condition: "true" or a key of `moved.DISTANCES_MM`.
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
    methods: Sequence[Method],
    spacing_mm: float,
    *,
    seed: int = 0,
    repeats: int = 1,
    workers: int = 1,
    through: Callable[[Volume], Volume] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> list[Claim]:
    """Score every claim about every patient; of each image, on the grid, the methods see what `through` makes of it."""

    def one(patient: Patient) -> list[Claim]:
        small = patient.resampled(spacing_mm)
        image = small.image
        seen = image if through is None else through(image)
        return _score_patient(small, seen, methods, seed=seed, repeats=repeats)

    claims: list[Claim] = []
    for scored in each(one, patients, workers):
        claims += scored
        advance()
    return claims


def _score_patient(
    patient: Patient, image: Volume, methods: Sequence[Method], *, seed: int, repeats: int
) -> list[Claim]:
    """`image` is what the methods see; claims are drawn in the patient's own."""
    scorers = [method.of(image) for method in methods]
    claims = []
    for claim in claims_about(patient, seed=seed, repeats=repeats):
        scores = {name: value for scorer in scorers for name, value in scorer(claim).items()}
        claims.append(Claim(patient.name, claim.name, claim.condition, claim.surface, scores))
    return claims


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
    """AUROC, AUPR and FPR95 per organ and distance, pooled and by the surface, with intervals over patients.

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
                    chosen = [c for c in same if c.condition in (TRUE, distance)]
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
    for metric, measure in SEPARATIONS.items():
        interval = _interval(measure, moved, score, patients, seed)
        value = measure(moved, score)
        rows.append(Row(group, method, metric, value, interval.low, interval.high, int(moved.sum())))
    return rows


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
