"""What a decoder draws, brought to the level and the grain of the scan that it is drawn into.

A decoder of one pass gives a distribution for each voxel by itself. One draw of it has noise that no scanner makes,
with single voxels of another tissue, so that its mean is taken, and two things of the scan correct that:

    level   where nothing changes the scan shows what belongs there; by what the mean is off there, all of that organ
            is moved; a finding is moved to the attenuation that the parse gives it
    grain   what the scan has beside its own average over the decoder's voxel is put back

Away from what changes the drawn turns into the scan by and by.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.parse import VOCABULARY, Kind, Parse
from synth.volume import Mask, Slices3, Volume

LEAST_VOXELS = 30
"""Of an organ where nothing changes; with fewer its level is left as it was drawn."""
MOST_SIGMAS = 3.0
"""Where something changes; more is no noise, but what was there before: a calcification, a vessel."""
SIGMA_OF_MAD = 1.4826
Image = NDArray[np.float32]
Bools = NDArray[np.bool_]
Labels = NDArray[np.int32]


def with_grain(
    mean: Volume, scan: Volume, now: Parse, then: Parse, *, region: Mask, changed: Mask, width_mm: float
) -> Volume:
    """The scan with the mean of a region in it, at the scan's level and with its grain; outside the scan bit for bit.

    Args:
        mean: the scan with `region` as a decoder draws it in the mean; scan: as it is; all on one grid.
        now: what the scan shows; then: what was drawn, with the mean attenuation of its findings.
        region: what was drawn; changed: the part of it in which the parses differ.
        width_mm: standard deviation of the average; what is finer is grain.
    """
    i, j, k = (math.ceil(3.0 * width_mm / spacing) for spacing in scan.geometry.spacing_mm)
    box = region.padded_slices((i, j, k))
    inside, moved = region.crop(box), changed.crop(box)
    before, drawn = scan.array[box].astype(np.float32), mean.array[box].astype(np.float32)
    sigma = [width_mm / spacing for spacing in scan.geometry.spacing_mm]
    drawn = drawn + _level(before - drawn, _organs(then, box), inside, inside & ~moved)
    grain = before - _average(before, _with_findings(now, box), sigma)
    most = MOST_SIGMAS * SIGMA_OF_MAD * float(np.median(np.abs(grain[inside])))
    grain[moved] = np.clip(grain[moved], -most, most)
    drawn += grain
    for entity, wanted in _declared(then).items():
        own = then.masks[entity].crop(box) & inside
        if own.any():
            drawn[own] += wanted - drawn[own].mean()
    far = ndimage.distance_transform_edt(~moved, sampling=scan.geometry.spacing_mm)
    drawn = before + (drawn - before) * np.clip(1.0 - far / (2.0 * width_mm), 0.0, 1.0).astype(np.float32)
    out = scan.array.copy()
    out[box][inside] = np.rint(drawn)[inside]
    return scan.with_array(out)


def _level(off: Image, organs: Labels, inside: Bools, still: Bools) -> Image:
    """What each organ is off where nothing changes, over all of it."""
    offset = np.zeros_like(off)
    for label in np.unique(organs[inside]):
        here = organs == label
        known = still & here
        if np.count_nonzero(known) >= LEAST_VOXELS:
            offset[here] = np.median(off[known])
    return offset


def _average(scan: Image, labels: Labels, sigma: list[float]) -> Image:
    """The scan around each voxel, as far as it is of the same label: a border is no grain."""
    average = np.zeros_like(scan)
    for label in np.unique(labels):
        here = labels == label
        weight = ndimage.gaussian_filter(here.astype(np.float32), sigma)
        average[here] = ndimage.gaussian_filter(np.where(here, scan, np.float32(0.0)), sigma)[here] / weight[here]
    return average


def _organs(parse: Parse, box: Slices3) -> Labels:
    """Which organ each voxel lies in, the smallest that it does; 0 where none is drawn."""
    drawn = [e for e in parse.entities if e.kind not in (Kind.finding, Kind.target) and e.id in parse.masks]
    names = sorted({VOCABULARY.whole(e.name) or e.name for e in drawn})
    labels = np.zeros([s.stop - s.start for s in box], np.int32)
    for entity in sorted(drawn, key=lambda e: -parse.masks[e.id].voxels):
        labels[parse.masks[entity.id].crop(box)] = 1 + names.index(VOCABULARY.whole(entity.name) or entity.name)
    return labels


def _with_findings(parse: Parse, box: Slices3) -> Labels:
    """The organs, and each finding by itself."""
    labels = _organs(parse, box)
    findings = [e.id for e in parse.entities if e.kind is Kind.finding and e.id in parse.masks]
    for number, id in enumerate(findings, start=1):
        labels[parse.masks[id].crop(box)] = -number
    return labels


def _declared(then: Parse) -> dict[str, float]:
    """The mean attenuation of each drawn finding that has one."""
    phases = (None, then.circumstance.phase)
    said = [a for a in then.attributes if a.type == "mean_attenuation" and a.phase in phases]
    return {
        a.entity: float(a.value)
        for a in said
        if a.entity in then.masks and then.entity(a.entity).kind is Kind.finding and not isinstance(a.value, str)
    }
