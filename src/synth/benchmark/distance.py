"""The distance benchmark: does d_clin rise with what matters, and only with that?

Every entity of every patient is changed clinically, in kinds and severities of `CLINICAL`, and scanned anew in ways
that mean nothing (`NUISANCE`). All methods see the same two crops around the entity:

- `null`: d_clin of the same patient in another scanner, all nuisances at once; its 95th percentile.
- `spearman`: of the score with the severity, the unchanged image included, within each entity and kind.
- `auroc`: clinical changes against nuisances.

PSNR, SSIM and LPIPS look through `WINDOW_HU`, the better of two tried on training patients (soft tissue, -1000..1000).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from synth.benchmark.edits import CLINICAL, NUISANCE, jitter
from synth.benchmark.result import Row, bootstrap_interval
from synth.distance import clinical_distance
from synth.interop.openkbp import Patient, patient_folders, read_patient
from synth.parse import Parse
from synth.pipeline.parallel import each
from synth.volume import Volume

WINDOW_HU = (-200.0, 300.0)
MARGIN = 12  # voxels of the crop around the entity
SMALLEST = 4  # voxels of an entity
NULLS = 3  # jitters, and draws of each nuisance
RESAMPLES = 500
NONE = "none"
Image = NDArray[np.float32]
Measure = Callable[[Image, Image], float]


@dataclass(frozen=True)
class Pair:
    """One entity before and after.

    Attributes:
        family: "clinical", "nuisance" or "null"; kind: of edit; severity: its number, 0 for the unchanged image.
        scores: by method; higher is farther apart.
    """

    patient: str
    entity: str
    family: str
    kind: str
    severity: float
    scores: Mapping[str, float]


def read_cases(folder: Path, spacing_mm: float, limit: int | None = None) -> list[Patient]:
    """All patients of a folder laid out like OpenKBP, resampled."""
    return [read_patient(path).resampled(spacing_mm) for path in patient_folders(folder)[:limit]]


def score_pairs(
    cases: Sequence[Patient],
    *,
    lpips: Measure | None = None,
    seed: int = 0,
    workers: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> list[Pair]:
    """Change every entity and score the changes with every method."""

    def one(case: Patient) -> list[Pair]:
        name, image, parse = case.name, case.image, case.parse
        rng = np.random.default_rng([seed, *name.encode()])
        found = []
        for entity in parse.present_ids:
            if parse.masks[entity].voxels >= SMALLEST:
                box = parse.masks[entity].padded_slices(MARGIN)
                found += list(_pairs(name, image.cropped(box), parse.cropped(box), entity, lpips, rng))
        return found

    pairs: list[Pair] = []
    for scored in each(one, cases, workers):
        pairs += scored
        advance()
    return pairs


def _pairs(
    name: str, image: Volume, parse: Parse, entity: str, lpips: Measure | None, rng: np.random.Generator
) -> Iterator[Pair]:
    mask = parse.masks[entity]

    def pair(family: str, kind: str, severity: float, array: Image) -> Pair:
        return Pair(name, entity, family, kind, severity, _scores(image, image.with_array(array), parse, entity, lpips))

    yield pair("clinical", NONE, 0.0, image.array)
    for family, kind in CLINICAL.items():
        draw = int(rng.integers(2**32))  # the same change, more of it
        for severity in kind.severities:
            amount = kind.amount(severity, image.array, mask, parse.geometry.voxel_ml)
            if amount is not None:
                changed = kind.edit(image.array, mask, amount, np.random.default_rng(draw))
                yield pair("clinical", family, severity, changed)
    for _ in range(NULLS):
        for scan, (edit, most) in NUISANCE.items():
            yield pair("nuisance", scan, most, edit(image.array, mask, most, rng))
        yield pair("null", "jitter", 0.0, jitter(image.array, mask, rng))


def _scores(image: Volume, other: Volume, parse: Parse, entity: str, lpips: Measure | None) -> dict[str, float]:
    low, high = WINDOW_HU
    a, b = ((np.clip(v.array, low, high) - low) / (high - low) for v in (image, other))
    side = min(7, min(a.shape) - (min(a.shape) + 1) % 2)
    psnr = 100.0 if np.array_equal(a, b) else float(peak_signal_noise_ratio(a, b, data_range=1.0))
    scores = {
        "ours": clinical_distance(image, other, parse, entities=[entity]).mean(),
        "psnr": -psnr,
        "ssim": 1 - float(structural_similarity(a, b, data_range=1.0, win_size=side)),
    }
    return scores if lpips is None else scores | {"lpips": lpips(a, b)}


def rows_of(pairs: Sequence[Pair], *, seed: int = 0) -> list[Row]:
    """The three questions, with 95% bootstrap intervals over patients; `auroc_gain` is `ours` less the other."""
    patients = sorted({p.patient for p in pairs})
    by_patient = [[p for p in pairs if p.patient == n] for n in patients]

    def row(method: str, metric: str, parts: Callable[[Sequence[Pair]], Parts], join: Join, **about: str) -> Row:
        units = [parts(some) for some in by_patient]
        ends = bootstrap_interval(units, join, rng=np.random.default_rng(seed), draws=RESAMPLES)
        group = {"arena": "openkbp", "family": "all", "severity": "all"} | about
        return Row(group, method, metric, join(units), ends.low, ends.high, len(patients))

    rows = [row("ours", "null_p95", _nulls, lambda units: _joined(units, 0, lambda v: float(np.quantile(v, 0.95))))]
    for method in pairs[0].scores:
        rows.append(row(method, "spearman", partial(_ranks, method=method, kind=None), _mean))
        rows.append(row(method, "auroc", partial(_sides, methods=(method,)), _area))
        for family, changes in CLINICAL.items():
            rows.append(row(method, "spearman", partial(_ranks, method=method, kind=family), _mean, family=family))
            for size in changes.severities:
                parts = partial(_sides, methods=(method,), kind=family, severity=size)
                rows.append(row(method, "auroc", parts, _area, family=family, severity=f"{size:g}"))
        if method != "ours":
            rows.append(row(method, "auroc_gain", partial(_sides, methods=("ours", method)), _gain))
    return rows


Parts = tuple[NDArray[np.float64], ...]
Join = Callable[[Sequence[Parts]], float]


def _nulls(pairs: Sequence[Pair]) -> Parts:
    """Of each jitter of a patient, the mean over entities."""
    values: dict[str, list[float]] = {}
    for p in pairs:
        if p.family == "null":
            values.setdefault(p.entity, []).append(p.scores["ours"])
    return (np.mean(list(values.values()), axis=0) if values else np.zeros(0),)


def _ranks(pairs: Sequence[Pair], method: str, kind: str | None) -> Parts:
    """Spearman's rho of each entity and kind; a score that never changes counts as 0."""
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for p in pairs:
        if p.family == "clinical" and p.kind != NONE and kind in (None, p.kind):
            lines.setdefault((p.entity, p.kind), []).append((p.severity, p.scores[method]))
    start = {p.entity: p.scores[method] for p in pairs if p.kind == NONE}
    found = []
    for (entity, _), line in lines.items():
        severity, score = zip((0.0, start[entity]), *line, strict=True)
        found.append(float(spearmanr(severity, score)[0]) if len(set(score)) > 1 else 0.0)
    return (np.array(found),)


def _sides(
    pairs: Sequence[Pair], methods: tuple[str, ...], kind: str | None = None, severity: float | None = None
) -> Parts:
    """Scores of the clinical changes and of the nuisances, for each method."""
    clinical = [
        p
        for p in pairs
        if p.family == "clinical" and p.kind != NONE and kind in (None, p.kind) and severity in (None, p.severity)
    ]
    nuisance = [p for p in pairs if p.family == "nuisance"]
    return tuple(np.array([p.scores[m] for p in side]) for m in methods for side in (clinical, nuisance))


def _joined(units: Sequence[Parts], part: int, measure: Callable[[NDArray[np.float64]], float]) -> float:
    values = np.concatenate([u[part] for u in units])
    return measure(values) if values.size else math.nan


def _mean(units: Sequence[Parts]) -> float:
    return _joined(units, 0, lambda v: float(v.mean()))


def _area(units: Sequence[Parts], first: int = 0) -> float:
    clinical, nuisance = (np.concatenate([u[first + k] for u in units]) for k in (0, 1))
    if not clinical.size or not nuisance.size:
        return math.nan
    rank = rankdata(np.concatenate([clinical, nuisance]))[: clinical.size]
    return float((rank.sum() - clinical.size * (clinical.size + 1) / 2) / (clinical.size * nuisance.size))


def _gain(units: Sequence[Parts]) -> float:
    return _area(units) - _area(units, 2)
