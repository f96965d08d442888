"""An entity that the image does not support as it is drawn: would it support a mask that ends or lies elsewhere?

The mask is eroded and dilated by one and two voxels, and moved by two and three and a half along 26 directions. The
population alone scores each (`synth.residual.judge`, without a decoder: a hundredth of a second each); the best one is
then asked about as any claim is. One that the image supports, and that shares at least 30% of the smaller of the two
with the mask as it is drawn, says that the entity is there and its extent wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from synth.parse import Parse
from synth.residual.evidence import entity_features
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import Judge
from synth.residual.verdict import MIN_VOXELS
from synth.volume import Mask, Volume

GROWN_VOXELS = (1, 2)
MOVED_VOXELS = (2.0, 3.5)
INSIDE = 0.9  # of a moved mask that stays in the image
SHARED = 0.3  # of the smaller of the two masks
SURE = 0.0  # nats above which the image speaks for the other mask


@dataclass(frozen=True, eq=False)
class Elsewhere:
    """The mask that fits best, what was done to get it, and the share that it has in common with the drawn one."""

    mask: Mask
    how: str
    shared: float


def best_elsewhere(image: Volume, parse: Parse, id: str, prior: IntensityPrior, judge: Judge) -> Elsewhere | None:
    """The best of the other masks by the population alone; None where it shares too little with the drawn one.

    Image and parse share the prior's grid; `judge` is the one that is told nothing by a decoder.
    """
    drawn, name = parse.masks[id], parse.entity(id).name

    def score(mask: Mask) -> float:
        seen = entity_features(None, prior, image, parse.with_mask(id, mask), id)
        return judge.presence.score(seen.features, name)

    tried = [(score(mask), how, mask) for how, mask in others(drawn)]
    if not tried:
        return None
    best, how, mask = max(tried, key=lambda t: t[0])
    shared = mask.overlap(drawn) / min(mask.voxels, drawn.voxels)
    return Elsewhere(mask, how, shared) if best > SURE and shared >= SHARED else None


def others(mask: Mask) -> Iterator[tuple[str, Mask]]:
    """Smaller, larger and moved masks, and what was done, in words."""
    window = mask.padded_slices(max(GROWN_VOXELS) + 1)
    inside, start = mask.crop(window), np.array([s.start for s in window])

    def whole(box: np.ndarray) -> Mask:
        return Mask.from_box(mask.shape, tuple(int(v) for v in start), box)  # type: ignore[arg-type]  # 3 long

    for steps in GROWN_VOXELS:
        smaller = ndimage.binary_erosion(inside, iterations=steps, border_value=1)
        if np.count_nonzero(smaller) >= MIN_VOXELS:
            yield "smaller", whole(smaller)
        yield "larger", whole(ndimage.binary_dilation(inside, iterations=steps))
    spots = np.argwhere(mask.box) + np.array([s.start for s in mask.slices])
    for way in np.ndindex(3, 3, 3):
        step = np.array(way) - 1
        for far in MOVED_VOXELS if step.any() else ():
            moved = spots + np.rint(step / np.linalg.norm(step) * far).astype(int)
            kept = moved[((moved >= 0) & (moved < mask.shape)).all(axis=1)]
            if len(kept) >= INSIDE * len(spots):
                low, high = kept.min(axis=0), kept.max(axis=0) + 1
                box = np.zeros(high - low, np.bool_)
                box[tuple((kept - low).T)] = True
                yield "elsewhere", Mask.from_box(mask.shape, tuple(int(v) for v in low), box)  # type: ignore[arg-type]
