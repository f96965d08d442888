"""An entity that the image does not support as it is drawn: would it support a mask that ends or lies elsewhere?

The mask is eroded and dilated by one to three voxels, cut to the part of it whose voxels look like the entity, grown
over such voxels by two and four, and moved to the peaks, within 15 voxels, of

    fit(s) = mean over the mask of r(v + s) - half the mean of r(v + s) over two layers around it

with r the population's log ratio (nats), a low one in what other organs have. The population alone scores each mask
(`synth.residual.judge`, without a decoder: a hundredth of a second each); the best one is then asked about as any claim
is. One that the image supports, and that shares a few voxels with the mask as it is drawn, says that the entity is
there and its extent wrong. One that shares none says that the entity is somewhere else: nothing of it is where the mask
is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from synth.fault import moved
from synth.parse import Kind, Parse
from synth.residual.intensity_prior import CLIP_NATS, IntensityPrior
from synth.residual.judge import Judge
from synth.residual.presence import unaided
from synth.residual.verdict import MIN_VOXELS
from synth.volume import Mask, Slices3, Volume, crop_any

GROWN_VOXELS = (1, 2, 3)
REACH_VOXELS, PLACES = 15, 12
SHELL_VOXELS = 2
TAKEN_NATS = -2.0  # of a voxel that another entity has
SPREAD_VOXELS, LIKE_VOXELS = (2, 4), 0.7
PART = 0.2  # of the drawn mask that a part must have
INSIDE = 0.9  # of a moved mask that stays in the image
SHARED = 0.03  # of the smaller of the two masks
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
    drawn = parse.masks[id]
    others = (*resized(drawn), *fitted(image, parse, id, prior), *places(image, parse, id, prior))
    tried = [(unaided(image, parse.with_mask(id, mask), id, prior, judge), how, mask) for how, mask in others]
    best, how, mask = max(tried, key=lambda t: t[0])
    shared = mask.overlap(drawn) / min(mask.voxels, drawn.voxels)
    return Elsewhere(mask, how, shared) if best > SURE and shared >= SHARED else None


def fitted(image: Volume, parse: Parse, id: str, prior: IntensityPrior) -> Iterator[tuple[str, Mask]]:
    """The largest connected part of the mask whose voxels look like the entity, and the mask grown over such voxels."""
    mask = parse.masks[id]
    window = mask.padded_slices(max(SPREAD_VOXELS) + 1)
    inside, start = mask.crop(window), tuple(s.start for s in window)
    ratio = ndimage.gaussian_filter(prior.log_ratio(parse.entity(id).name, image.array[window]), LIKE_VOXELS)
    like = ratio > 0
    labels, count = ndimage.label(ndimage.binary_opening(inside & like))
    if count:
        largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
        kept = ndimage.binary_dilation(largest) & inside & like
        if max(MIN_VOXELS, PART * mask.voxels) <= np.count_nonzero(kept) < mask.voxels:
            yield "part", Mask.from_box(mask.shape, start, kept)
    allowed = inside | like & ~_taken(parse, id, window)
    for steps in SPREAD_VOXELS:
        grown = ndimage.binary_dilation(inside, iterations=steps, mask=allowed)
        yield "larger", Mask.from_box(mask.shape, start, grown)


def places(image: Volume, parse: Parse, id: str, prior: IntensityPrior) -> Iterator[tuple[str, Mask]]:
    """The mask, moved to where it fits best by itself."""
    mask, reach = parse.masks[id], REACH_VOXELS + SHELL_VOXELS
    window = mask.padded_slices(reach)
    ratio = np.clip(prior.log_ratio(parse.entity(id).name, image.array[window]), -CLIP_NATS, CLIP_NATS)
    ratio = np.where(_taken(parse, id, window), np.minimum(ratio, TAKEN_NATS), ratio)
    before = [reach - (s.start - w.start) for s, w in zip(mask.slices, window, strict=True)]
    after = [reach - (w.stop - s.stop) for s, w in zip(mask.slices, window, strict=True)]
    fit = np.pad(ratio, list(zip(before, after, strict=True)), constant_values=TAKEN_NATS)
    box = np.pad(mask.box, SHELL_VOXELS)
    shell = ndimage.binary_dilation(box, iterations=SHELL_VOXELS) & ~box
    kernel = box / box.sum() - 0.5 * shell / shell.sum()
    found = signal.correlate(fit, kernel, mode="valid", method="fft")  # over shifts of -REACH to REACH along each axis
    steps: NDArray[np.intp] = np.indices(found.shape) - REACH_VOXELS
    far = np.linalg.norm(steps, axis=0)
    peaks = (found == ndimage.maximum_filter(found, 3)) & (far > 0) & (far <= REACH_VOXELS)
    best = sorted(zip(found[peaks], steps[:, peaks].T.tolist(), strict=True), reverse=True)[:PLACES]
    for _, step in best:
        there = moved(mask, step).mask
        if there.voxels >= INSIDE * mask.voxels:
            yield "elsewhere", there


def _taken(parse: Parse, id: str, window: Slices3) -> NDArray[np.bool_]:
    """Voxels of a window that other organs have."""
    others = (other for other in parse.present_ids if other != id and parse.entity(other).kind is Kind.organ)
    return crop_any((parse.masks[other] for other in others if other in parse.masks), window)


def resized(mask: Mask) -> Iterator[tuple[str, Mask]]:
    """Smaller and larger masks, and what was done, in words."""
    window = mask.padded_slices(max(GROWN_VOXELS) + 1)
    inside, start = mask.crop(window), tuple(s.start for s in window)
    for steps in GROWN_VOXELS:
        smaller = ndimage.binary_erosion(inside, iterations=steps, border_value=1)
        if np.count_nonzero(smaller) >= MIN_VOXELS:
            yield "smaller", Mask.from_box(mask.shape, start, smaller)
        yield "larger", Mask.from_box(mask.shape, start, ndimage.binary_dilation(inside, iterations=steps))
