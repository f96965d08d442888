"""Does the image show something where a finding is claimed? The finding is compared with the organ that holds it.

    host_step   |median HU within - median of the organ's free tissue|
    host_z      |mean within - that median| over the robust spread of such means, the same shape laid all over the organ
    host_rank   - ln of the share of those places whose mean lies as far from the median
    ring_step   |mean within - median of a shell around it|
    ring_z      the same over its standard error, by the spread within the shell
    goes_on_1.. of each layer around the outline: does what is inside go on, or end there (`candidate.layers_around`)?

The image is its own control: noise, kernel, phase and calibration are those of the organ around. Free tissue is the
organ without its outermost voxels, without other findings and without smaller organs that lie in it. No decoder and no
population is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from synth.parse import Kind, Parse
from synth.residual.candidate import layers_around
from synth.residual.hosts import MEASURED, holding
from synth.residual.stand_out import LEAST_CORE, MOST_HU, free_tissue
from synth.volume import Mask, Volume, crop_any

Map = NDArray[np.float32]
Zone = NDArray[np.bool_]

FEATURES = ("host_", "ring_", "goes_on_", "alike_", "beyond_")
REACH_VOXELS = 4  # of the box around a finding
SHELL_VOXELS = (1, 3)  # the shell around it: beyond the first layer, which is half finding, up to the third
LEAST_SHELL = 6  # voxels of a shell that say something
LEAST_THERE = 0.7, 0.3  # share of the shape that lies in free tissue; the second where no place has the first
LEAST_PLACES = 10
LEAST_SPREAD_HU = 3.0  # of means over the finding's shape
LEAST_ERROR_HU = 2.0
LEAST_STEP_HU = 1.0


def host_features(image: Volume, parse: Parse, finding: str) -> dict[str, float]:
    """Measure one drawn finding against its organ; what cannot be measured is left out.

    `image` and `parse` share a grid of any spacing, HU.

    Example:
        >>> from synth.parse import Entity, Parse
        >>> from synth.volume import Geometry
        >>> hu = np.random.default_rng(0).normal(100, 10, (24, 24, 24)).astype(np.float32)
        >>> hu[6:10, 6:10, 6:10] -= 40
        >>> image, cube = Volume(hu, Geometry.regular((24, 24, 24), 4.0), "CT", "HU"), np.ones((4, 4, 4), bool)
        >>> at = {"cyst": (6, 6, 6), "no": (14, 14, 14)}
        >>> masks = {id: Mask.from_box(hu.shape, corner, cube) for id, corner in at.items()}
        >>> masks["liver"] = Mask.from_box(hu.shape, (2, 2, 2), np.ones((20, 20, 20), bool))
        >>> entities = (Entity(id="liver", name="liver"), Entity(id="cyst", name="liver_cyst"))
        >>> entities += (Entity(id="no", name="liver_cyst"),)
        >>> parse = Parse(entities, geometry=image.geometry, masks=masks)
        >>> there, not_there = (host_features(image, parse, id)["host_z"] for id in ("cyst", "no"))
        >>> there > 2 > not_there
        True
    """
    mask = parse.masks[finding]
    others = [i for i in parse.present_ids if i != finding]
    host = holding(mask, parse)
    found = _ring(image, parse, mask, host, others)
    if host is None:
        return found
    box = parse.masks[host].padded_slices(REACH_VOXELS)
    free, hu, own = free_tissue(parse, host, box), image.array[box], mask.crop(box)
    inside = own & ~crop_any(_findings(parse, others), box)
    if free.sum() < LEAST_CORE or not inside.any():
        return found
    usual = float(np.median(hu[free]))
    step = float(np.median(hu[inside])) - usual
    mean = float(hu[inside].mean()) - usual
    found |= {MEASURED: float(np.log1p(abs(step)))}
    found |= layers_around(image.array, mask, usual + mean, np.copysign(max(abs(mean), LEAST_STEP_HU), mean))
    return found | _elsewhere(np.where(free, np.clip(hu - usual, -MOST_HU, MOST_HU), 0.0), free, own, abs(mean))


def without_host(features: Mapping[str, float]) -> dict[str, float]:
    """Features of an entity less those that are measured here."""
    return {key: value for key, value in features.items() if not key.startswith(FEATURES)}


def _elsewhere(off: Map, free: Zone, own: Zone, far: float) -> dict[str, float]:
    """The mean within the finding's shape, beside the means of the same shape laid wherever the organ is free.

    `off` is each free voxel's distance from the organ's median, 0 elsewhere.
    """
    (window,) = ndimage.find_objects(own.astype(np.uint8))
    shape = own[window][::-1, ::-1, ::-1].astype(np.float32)
    count = signal.fftconvolve(free.astype(np.float32), shape, mode="same")
    means = signal.fftconvolve(off, shape, mode="same") / np.maximum(count, 0.5)
    for least in LEAST_THERE:
        there = means[count >= max(least * shape.sum(), 0.5)]
        if there.size >= LEAST_PLACES:
            break
    else:
        return {}
    spread = 1.4826 * float(np.median(np.abs(there - np.median(there))))
    as_far = (1 + int((np.abs(there) >= far).sum())) / (1 + there.size)
    return {"host_z": float(np.log1p(far / max(spread, LEAST_SPREAD_HU))), "host_rank": -float(np.log(as_far))}


def _ring(image: Volume, parse: Parse, mask: Mask, host: str | None, others: Iterable[str]) -> dict[str, float]:
    """The finding beside what lies around it: within its organ, or anything where none holds it."""
    box = mask.padded_slices(REACH_VOXELS)
    own = mask.crop(box)
    near, far = (ndimage.binary_dilation(own, iterations=n) for n in SHELL_VOXELS)
    drawn = crop_any(_findings(parse, others), box)
    shell = far & ~near & ~drawn
    if host is not None:
        shell &= parse.masks[host].crop(box)
    inside = own & ~drawn
    if shell.sum() < LEAST_SHELL or not inside.any():
        return {}
    hu = image.array[box]
    step = abs(float(hu[inside].mean() - np.median(hu[shell])))
    error = float(hu[shell].std() / np.sqrt(inside.sum())) + LEAST_ERROR_HU
    return {"ring_step": float(np.log1p(step)), "ring_z": float(np.log1p(step / error))}


def _findings(parse: Parse, ids: Iterable[str]) -> list[Mask]:
    return [parse.masks[i] for i in ids if parse.entity(i).kind is Kind.finding]
