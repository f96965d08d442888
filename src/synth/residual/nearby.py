"""Would the entity fit better a little way off? The population's say about the mask here against the mask near here.

    fit(s) = mean over core + rim + outer layer of ln p(HU(v + s) | zone of v) - ln p(HU(v + s) | surroundings)

A mask that was moved off its organ by a centimetre still covers much of it, so that its own fit is fair; but somewhere
near there is a place with a better one. Shifts s are 6 to 14 mm on a 4 mm grid, in 26 directions, but for those along
an axis on which the field of view cuts the mask: there the entity goes on, and another part of it would fit as well.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from synth.residual.intensity_prior import CLIP_NATS, CORE, OUTER, RIM, SURROUND
from synth.residual.neighbourhood import Neighbourhood

STEPS_VOXELS = (1.5, 2.5, 3.5)
REACH = 4  # voxels; no shift is longer along an axis
SEEN_SHARE = 0.6  # a shift that takes more of the mask than the rest of this off the grid is not tried
BEST = 5  # one lucky place is chance, five are not
Float = NDArray[np.float64]


def _shifts() -> NDArray[np.int64]:
    directions = [np.array(d) for d in itertools.product((-1, 0, 1), repeat=3) if any(d)]
    steps = {tuple(np.rint(d / np.linalg.norm(d) * r).astype(int)) for d in directions for r in STEPS_VOXELS}
    return np.array([(0, 0, 0), *sorted(steps)])


SHIFTS = _shifts()
"""(n, 3) voxels, no shift first."""


def nearby_features(table: NDArray[np.float32], bins: NDArray[np.intp], around: Neighbourhood) -> dict[str, float]:
    """The fit here less the best fit near here; empty where there is nowhere to compare with.

    Args:
        table: (zones, bins) log densities of the entity's name; bins: (x, y, z) of the image over `around.box`.

    Returns:
        `nearby_core`, `nearby_rim`, `nearby_outer`: here less the best, each layer by itself; `nearby_best`: the sum of
        the layers here less its mean over the five best places; `nearby_mean`: less its mean over all places;
        `nearby_share`: share of places that fit better than here.
    """
    layers = (
        (around.core, np.zeros_like(around.sector) + CORE),
        (around.rim, around.sector + RIM),
        (around.outer, around.sector + OUTER),
    )
    ratio = np.clip(table - table[SURROUND], -CLIP_NATS, CLIP_NATS)[:, bins]
    shifts = SHIFTS[~SHIFTS[:, sorted(around.cut)].any(axis=1)]
    fits = np.stack([_fit(ratio, inside, zone, shifts) for inside, zone in layers])
    here, there = fits[:, 0], fits[:, 1:]
    there = there[:, ~np.isnan(there).any(axis=0)]
    if np.isnan(here).any() or not there.size:
        return {}
    total, sums = here.sum(), np.sort(there.sum(axis=0))
    alone = dict(zip(("nearby_core", "nearby_rim", "nearby_outer"), (here - there.max(axis=1)).tolist(), strict=True))
    return alone | {
        "nearby_best": float(total - sums[-BEST:].mean()),
        "nearby_mean": float(total - sums.mean()),
        "nearby_share": float((sums > total).mean()),
    }


def _fit(
    ratio: NDArray[np.float32], inside: NDArray[np.bool_], zone: NDArray[np.int8], shifts: NDArray[np.int64]
) -> Float:
    """(shifts,) mean ratio of one layer's voxels, each read in its own zone; NaN where too few are on the grid."""
    grid = np.pad(ratio, ((0, 0), *[(REACH, REACH)] * 3), constant_values=np.nan)
    strides = np.array([grid.shape[2] * grid.shape[3], grid.shape[3], 1])
    voxels = (np.argwhere(inside) + REACH) @ strides
    values = grid.reshape(len(grid), -1)[zone[inside][:, None], voxels[:, None] + (shifts @ strides)[None]]
    known = ~np.isnan(values)
    enough = known.sum(axis=0) >= np.maximum(1, SEEN_SHARE * len(values))
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(enough, mean, np.nan)
