"""Where a tumour goes and where new lesions come up, learned from other patients: a logistic model of single voxels.

With 11 and 4 patients there is nothing larger to fit; whoever is predicted is left out of the fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.benchmark.pairs_data import Pair
from synth.volume import Mask, signed_distance

REACH_MM = 30.0  # around the tumour: no tumour of the sets grew farther between two visits
SCALES_MM = (0.0, 2.0, 5.0)
MOST_VOXELS = 20_000  # of one patient in the fit
NEAREST_MM = 3.0

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scene:
    """What the model sees of one pair.

    Attributes:
        pair: the two visits.
        place: (X, Y, Z) voxels in question: the head around the tumour, or the brain.
        distance_mm: (X, Y, Z) to the surface of the tumour of the first visit, positive inside; zero without one.
        features: (n, f) of the voxels of `place`, in C order.
        changed: (n,) whether the voxel belongs to one mask and not to the other.
    """

    pair: Pair
    place: Bools
    distance_mm: Floats
    features: Floats
    changed: Bools


def scene(pair: Pair) -> Scene:
    """The voxels of a pair and their features: distances, and standardised intensity at three scales."""
    distance = _distance(pair)
    head = pair.head.dense()
    place = head & (np.abs(distance) <= REACH_MM) if pair.kind == "tumour" else head
    edge = ndimage.distance_transform_edt(head, sampling=pair.geometry.spacing_mm)
    inside = head & (edge > NEAREST_MM)
    values = pair.image.array.astype(np.float64)
    middle, spread = float(np.median(values[inside])), float(np.std(values[inside])) + 1e-6
    layers = []
    for scale in SCALES_MM:
        smooth = ndimage.gaussian_filter(values, scale / np.asarray(pair.geometry.spacing_mm)) if scale else values
        layers.append(np.clip((smooth[place] - middle) / spread, -4, 6))
    depth = np.minimum(edge[place], 40.0) / 10.0
    columns = [depth, depth**2]
    if pair.kind == "tumour":
        d = distance[place] / 10.0
        columns += [d, np.abs(d), d**2, np.exp(-np.abs(d) / 0.3), *(layer * (d > 0) for layer in layers)]
    columns += [*layers, *(layer**2 for layer in layers), layers[0] * layers[2]]
    changed = (pair.before.dense() ^ pair.after.dense())[place]
    return Scene(pair, place, distance, np.stack(columns, axis=1), changed)


def chance_of_change(train: Sequence[Scene], held_out: Scene, seed: int = 0) -> Floats:
    """(n,) log-odds of change of the voxels of a held-out patient, up to a constant."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(seed)
    x, y, w = [], [], []
    for each in train:
        chosen = _balanced(each.changed, rng)
        x.append(each.features[chosen])
        y.append(each.changed[chosen])
        w.append(np.full(chosen.size, 1.0 / chosen.size))  # every patient counts alike
    scaler = StandardScaler().fit(np.concatenate(x))
    weights = np.concatenate(w) * sum(len(part) for part in y) / len(train)
    fitted = LogisticRegression(C=0.1, max_iter=500).fit(
        scaler.transform(np.concatenate(x)), np.concatenate(y), sample_weight=weights
    )
    return np.asarray(fitted.decision_function(scaler.transform(held_out.features)))


def speed_from(held_out: Scene, log_odds: Floats) -> Floats:
    """(X, Y, Z) relative speed of the front, from a third where change is unlikely to three where it is likely.

    The log-odds are taken against those of voxels equally far from the surface, so that distance is not counted twice.
    """
    shells = np.clip(np.round(held_out.distance_mm[held_out.place] / 2.0), -20, 20).astype(int) + 20
    total, count = (np.bincount(shells, w, minlength=41) for w in (log_odds, None))
    relative = log_odds - (total / np.maximum(count, 1))[shells]
    speed = np.ones(held_out.place.shape)
    speed[held_out.place] = np.clip(np.exp(0.5 * relative), 1 / 3, 3.0)
    return speed


def _balanced(changed: Bools, rng: np.random.Generator) -> NDArray[np.int64]:
    """Voxels of one patient: every changed one and as many others as fit, at random."""
    yes, no = np.flatnonzero(changed), np.flatnonzero(~changed)
    if yes.size > MOST_VOXELS // 2:
        yes = rng.choice(yes, MOST_VOXELS // 2, replace=False)
    no = rng.choice(no, min(no.size, MOST_VOXELS - yes.size), replace=False)
    return np.sort(np.concatenate([yes, no]))


def _distance(pair: Pair) -> Floats:
    distance = np.zeros(pair.geometry.shape)
    if not pair.before.is_empty:
        field = signed_distance(pair.before, pair.geometry, REACH_MM + 5.0)
        distance[:] = -np.inf
        distance[field.slices] = field.values
    return distance


def by_distance(pair: Pair, voxels: int) -> Mask:
    """Isotropic growth: the voxels that lie deepest in the tumour of the first visit, or nearest to it."""
    distance = _distance(pair)
    order = np.argsort(-distance, axis=None, kind="stable")[:voxels]
    chosen = np.zeros(distance.shape, np.bool_)
    chosen.flat[order] = True
    return Mask.from_dense(chosen)
