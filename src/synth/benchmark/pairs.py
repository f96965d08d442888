"""The prediction benchmark on image pairs: where will the tumour be at the next visit?

The mask of the second visit, registered to the first, against what was predicted from the first alone. Methods:
`carry_forward` (nothing changes), `isotropic` (the true volume spread evenly over the surface: it is told how much, but
not where), `ours_true_volume` (told as much, its shape is ours), `ours` (told nothing). New lesions have no mask at the
first visit: of them only the ranking of voxels is scored. Few patients prove little: the intervals say how little.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.benchmark.pairs_data import Pair, read_pairs
from synth.benchmark.pairs_model import Scene, by_distance, chance_of_change, scene, speed_from
from synth.benchmark.result import BenchmarkResult, Row, bootstrap_interval, mean_finite
from synth.dynamics.barriers import Barriers
from synth.dynamics.shape import shape_of
from synth.errors import InputError
from synth.volume import Geometry, Mask

Scores = dict[str, dict[str, float]]
"""method -> metric -> value, of one patient."""


def run(
    folder: Path, *, seed: int = 0, command: str = "", advance: Callable[..., None] = lambda *a, **k: None
) -> BenchmarkResult:
    """Leave one patient out, predict it from its first visit, and score.

    Args:
        folder: laid out as in `synth.benchmark.pairs_data`; command: what is written as the command of the result.

    Raises:
        InputError: a folder without pairs, or with fewer than three of a kind: no one is left to learn from.
    """
    started = time.monotonic()
    pairs = read_pairs(folder)
    rows: list[Row] = []
    weights: dict[str, str] = {}
    for kind in sorted({pair.kind for pair in pairs}):
        scenes = [scene(pair) for pair in pairs if pair.kind == kind]
        if len(scenes) < 3:
            fix = "leaving one out needs at least three"
            raise InputError(str(folder), expected="three patients of a kind", got=f"{len(scenes)} {kind}", fix=fix)
        scores = []
        for number, held_out in enumerate(scenes):
            others = [each for other, each in enumerate(scenes) if other != number]
            scores.append(_tumour(held_out, others, seed) if kind == "tumour" else _lesions(held_out, others, seed))
            advance(1, message=held_out.pair.patient)
        rows += _rows(kind, scores, seed)
        rows += _facts(kind, scenes)
    return BenchmarkResult("prediction-pairs", command, weights, time.monotonic() - started, tuple(rows))


def _tumour(held_out: Scene, others: Sequence[Scene], seed: int) -> Scores:
    pair = held_out.pair
    log_odds = chance_of_change(others, held_out, seed)
    predicted = _predicted_voxels(pair, others)
    shape = shape_of(
        pair.before,
        pair.geometry,
        max(predicted, pair.after.voxels),
        Barriers(body=pair.head),
        speed_from(held_out, log_odds),
    )
    nearness = -np.abs(held_out.distance_mm[held_out.place])
    return {
        "carry_forward": _mask_scores(pair, pair.before) | _ranked(held_out, None),
        "isotropic": _mask_scores(pair, by_distance(pair, pair.after.voxels)) | _ranked(held_out, nearness),
        "ours_true_volume": _mask_scores(pair, shape.at(pair.after.voxels)),
        "ours": _mask_scores(pair, shape.at(predicted)) | _ranked(held_out, log_odds),
    }


def _lesions(held_out: Scene, others: Sequence[Scene], seed: int) -> Scores:
    bright = held_out.features[:, 2]
    return {
        "carry_forward": _ranked(held_out, None),
        "intensity": _ranked(held_out, bright),
        "ours": _ranked(held_out, chance_of_change(others, held_out, seed)),
    }


def _predicted_voxels(pair: Pair, others: Sequence[Scene]) -> int:
    """The volume now times the median change of the other patients, shrunken towards none by their spread."""
    changes = np.array([other.pair.log_ratio for other in others])
    sure = float(np.median(changes)) ** 2 / (float(np.median(changes)) ** 2 + float(changes.var(ddof=1)) / len(changes))
    return max(1, round(pair.before.voxels * float(np.exp(sure * np.median(changes)))))


def _mask_scores(pair: Pair, mask: Mask) -> dict[str, float]:
    return {
        "dice": mask.dice(pair.after),
        "hd95_mm": hd95_mm(mask, pair.after, pair.geometry),
        "log_volume_error": abs(float(np.log(mask.voxels / pair.after.voxels))),
    }


def _ranked(held_out: Scene, score: NDArray[np.float64] | None) -> dict[str, float]:
    """Average precision of the changed voxels; without a score every voxel is as likely as another."""
    from sklearn.metrics import average_precision_score

    changed = held_out.changed
    given = np.zeros(changed.size) if score is None else score
    return {"average_precision": float(average_precision_score(changed, given))}


def hd95_mm(one: Mask, other: Mask, geometry: Geometry) -> float:
    """The 95th percentile of the distances between two surfaces, the larger of both directions.

    Example:
        >>> a, b = (Mask.from_box((9, 9, 9), (x, 3, 3), np.ones((2, 2, 2), bool)) for x in (2, 4))
        >>> hd95_mm(a, a, Geometry.regular((9, 9, 9), 1.0)), hd95_mm(a, b, Geometry.regular((9, 9, 9), 1.0))
        (0.0, 2.0)
    """
    both = (one | other).padded_slices(1)
    rims = [m.crop(both) & ~ndimage.binary_erosion(m.crop(both)) for m in (one, other)]
    away = [ndimage.distance_transform_edt(~rim, sampling=geometry.spacing_mm) for rim in rims]
    return max(float(np.percentile(away[1][rims[0]], 95)), float(np.percentile(away[0][rims[1]], 95)))


def _rows(kind: str, scores: Sequence[Scores], seed: int) -> list[Row]:
    """The mean over patients of each method and metric, and ours less each other one on the same patients."""
    rows = []
    for method in scores[0]:
        for metric in scores[0][method]:
            rows.append(_row({"task": kind}, method, metric, [s[method][metric] for s in scores], seed))
    for method in [m for m in scores[0] if not m.startswith("ours")]:
        for ours in [m for m in scores[0] if m.startswith("ours")]:
            for metric in [m for m in scores[0][ours] if m in scores[0][method]]:
                gaps = [s[ours][metric] - s[method][metric] for s in scores]
                rows.append(_row({"task": kind}, f"{ours} less {method}", metric, gaps, seed))
    return rows


def _row(group: Mapping[str, str], method: str, metric: str, values: Sequence[float], seed: int) -> Row:
    interval = bootstrap_interval(values, mean_finite, rng=np.random.default_rng(seed))
    return Row(group, method, metric, mean_finite(values), interval.low, interval.high, len(values))


def _facts(kind: str, scenes: Sequence[Scene]) -> list[Row]:
    """How many voxels changed, and what registration did."""
    changed = [float(each.changed.mean()) for each in scenes]
    rows = [_row({"task": kind}, "data", "changed_share", changed, 0)]
    if kind == "tumour":
        for number, name in enumerate(("mutual_information_before", "mutual_information_after")):
            rows.append(_row({"task": kind}, "registration", name, [s.pair.similarity[number] for s in scenes], 0))
    return rows
