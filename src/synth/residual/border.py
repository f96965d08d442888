"""Does the image change where the outline runs? The voxels on either side of it, layer by layer and side by side.

Each voxel is asked what it looks like, the inside of this entity or what is around it. Two answers are used:

    own(v) = ln p(HU | core of this very entity) - ln p(HU | around it), both histograms leaning on the population's
    all(v) = ln p(HU | core of the name)         - ln p(HU | surroundings of the name), of the population alone

A mask that is too large has layers inside that look like the surroundings; one that is too small has layers outside
that look like the inside; a shifted one has both, on opposite sides. Voxels of other entities are not asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.parse import Kind, Parse
from synth.residual.intensity_prior import CLIP_NATS, CORE, FLOOR, SMOOTHING_BINS, SURROUND, histogram
from synth.residual.neighbourhood import SECTORS, Neighbourhood

LAYERS_MM = (-12, -8, -4, 0, 4, 8, 12)  # edges of the layers, negative outside
STEPS_MM = (0, 4, 8)  # how far the border may move, layer by layer
LAYER_MM = 4
POPULATION_VOXELS = 20.0  # how many voxels of its own the population's histogram is worth
LEAST_BORDER = 3  # voxels of the border that face one side; fewer say nothing of that side
LEAST_LAYER = 2
SIDES = ("right", "anterior", "superior", "left", "posterior", "inferior")
KINDS = (Kind.organ, Kind.substructure, Kind.finding)

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Border:
    """The border of one mask, read on both sides.

    Attributes:
        features: named scalars; low is suspicious. Among them, for each of `SIDES`, less what the border would gain by
            moving out (`short_...`) or in (`far_...`), in nats a border voxel; NaN where too little faces that side.
        short_mm, far_mm: (6,) how far it would move for that; 0 where it gains nothing.
    """

    features: dict[str, float]
    short_mm: Float
    far_mm: Float


def read_border(
    hu: NDArray[np.float32],
    table: NDArray[np.float32],
    bins: NDArray[np.intp],
    around: Neighbourhood,
    depth_mm: NDArray[np.float64],
    taken: NDArray[np.bool_],
) -> Border:
    """Read the border of a mask.

    Args:
        hu: (x, y, z) image over `around.box`; bins: its histogram bins.
        table: (zones, bins) log densities of the entity's name.
        depth_mm: (x, y, z) distance to the surface, positive inside.
        taken: (x, y, z) voxels of other entities.
    """
    everyone = np.clip((table[CORE] - table[SURROUND])[bins], -CLIP_NATS, CLIP_NATS)
    own = _own_ratio(hu, table, around)[bins]
    free = ~taken | around.inside
    features = {}
    for low, high in pairwise(LAYERS_MM):
        layer = (depth_mm > low) & (depth_mm <= high) & free
        name = f"layer_{abs(low + high) // 2}_{'out' if high <= 0 else 'in'}"
        # Outside, to look like the entity is what is suspicious.
        features[name] = _mean(own, layer) * (-1.0 if high <= 0 else 1.0)
    moves = [_moves(everyone, depth_mm, around, free, side) for side in range(SECTORS)]
    short, short_mm, far, far_mm = (np.array(column, float) for column in zip(*moves, strict=True))
    for what, gains in (("short", short), ("far", far)):
        features |= {f"{what}_{side}": -gain for side, gain in zip(SIDES, gains.tolist(), strict=True)}
    short, far = np.nan_to_num(short), np.nan_to_num(far)
    features |= {
        "short_mean": -float(short.mean()),
        "short_most": -float(short.max()),
        "far_mean": -float(far.mean()),
        "far_most": -float(far.max()),
        # Short on one side and too far on the one opposite: shifted.
        "shifted": -float(np.minimum(short, np.roll(far, SECTORS // 2)).max()),
    }
    return Border(features, short_mm, far_mm)


def depth_of(around: Neighbourhood, spacing_mm: float) -> NDArray[np.float64]:
    """(x, y, z) mm to the surface, positive inside. Where the field of view cuts a mask there is no surface."""
    within = ndimage.distance_transform_edt(around.inside)
    without = ndimage.distance_transform_edt(~around.inside)
    return np.asarray(np.where(around.inside, within - 0.5, 0.5 - without) * spacing_mm)


def taken_by_others(parse: Parse, entity_id: str, around: Neighbourhood) -> NDArray[np.bool_]:
    """(x, y, z) voxels of other entities; what lies within this one, or holds it, takes nothing from it."""
    own = parse.masks[entity_id]
    out = np.zeros(around.inside.shape, bool)
    for other in parse.present_ids:
        if other == entity_id or parse.entity(other).kind not in KINDS:
            continue
        here = parse.masks[other].crop(around.box)
        if here.any() and parse.masks[other].overlap(own) < 0.5 * min(own.voxels, parse.masks[other].voxels):
            out |= here
    return out


def _own_ratio(hu: NDArray[np.float32], table: NDArray[np.float32], around: Neighbourhood) -> Float:
    """(bins,) what this entity has inside against what is around it, in nats."""
    core, outside = (
        _density(histogram(hu[zone]), table[column])
        for zone, column in ((around.core, CORE), (around.surround, SURROUND))
    )
    return np.asarray(np.clip(np.log(core) - np.log(outside), -CLIP_NATS, CLIP_NATS), float)


def _density(counts: NDArray[np.float32], log_density: NDArray[np.float32]) -> Float:
    mixed = counts + POPULATION_VOXELS * np.exp(log_density)
    return np.asarray(ndimage.gaussian_filter1d(mixed / mixed.sum(), SMOOTHING_BINS) + FLOOR, float)


def _moves(
    ratio: NDArray[np.float32],
    depth_mm: NDArray[np.float64],
    around: Neighbourhood,
    free: NDArray[np.bool_],
    side: int,
) -> tuple[float, float, float, float]:
    """What the border gains on one side by moving out and how far, then the same for moving in."""
    here = around.sector == side
    border = int((here & around.rim).sum())
    if border < LEAST_BORDER:
        return float("nan"), 0.0, float("nan"), 0.0
    outwards, inwards = [], []
    for step in STEPS_MM:
        out = here & free & (depth_mm <= -step) & (depth_mm > -step - LAYER_MM)
        within = here & (depth_mm > step) & (depth_mm <= step + LAYER_MM)
        outwards.append(float(ratio[out].sum()) / border)
        inwards.append(-float(ratio[within].sum()) / border)
    return *_best(outwards), *_best(inwards)


def _best(gains: list[float]) -> tuple[float, float]:
    """The largest gain of moving by so many layers, and the distance in mm."""
    total = np.concatenate([[0.0], np.cumsum(gains)])
    best = int(total.argmax())
    return float(total[best]), float(best * LAYER_MM)


def _mean(values: NDArray[np.float64], zone: NDArray[np.bool_]) -> float:
    return float(values[zone].mean()) if zone.sum() >= LEAST_LAYER else float("nan")
