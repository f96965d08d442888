"""Where to look for what a parse leaves out: places that stand out, from the render and from the organ around them.

    render     z, the held-out residual in units of the decoder's spread, smoothed
    organ      (x - median of the organ), smoothed within the organ, over the robust spread of the same in that organ

The render knows what belongs anywhere, but has the lesion's own outer part as context; the organ knows nothing but its
own tissue, and shows a lesion in it the more. A place is a connected part beyond a threshold, or the basin of one
maximum where several have run together (a lesion and the fat that an outline took in).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from synth.parse import Kind, Parse
from synth.residual.hosts import has_findings, hosts_in
from synth.volume import Slices3, Volume

Map = NDArray[np.float32]
Zone = NDArray[np.bool_]

SIGMAS = (1.0, 1.8)  # voxels: small lesions and larger ones
MIN_VOXELS = 4
OF_RENDER, OF_ORGAN = 0.8, 2.0  # thresholds of the two maps
MOST_Z = 4.0  # one voxel of metal is not a lesion
MOST_HU = 150.0  # nor is a stent
LEAST_SPREAD_HU = 4.0
LEAST_CORE = 30  # voxels of an organ that say what is usual in it
LEAST_NEAR = 0.3  # share of the smoothing window that must lie in the organ, before its mean is believed
HALF = 0.5  # of its maximum: where a basin ends
AROUND = 4  # voxels around an organ that are kept while smoothing


@dataclass(frozen=True, eq=False)
class Place:
    """A part that stands out: its voxels within `box`, its strongest voxel, and how strong, signed."""

    voxels: Zone
    box: Slices3
    focus: tuple[int, int, int]
    strength: float


@dataclass(frozen=True, eq=False)
class Standing:
    """Both maps (X, Y, Z), one for each of `SIGMAS`; zero where nothing is looked for."""

    render: tuple[Map, ...]
    organ: tuple[Map, ...]

    def places(self) -> Iterator[Place]:
        """Connected parts of both maps and basins of their maxima, at each scale and sign."""
        for maps, least in ((self.render, OF_RENDER), (self.organ, OF_ORGAN)):
            for smooth in maps:
                for sign in (1.0, -1.0):
                    yield from _places(sign * smooth, sign, least)


def standing(image: Volume, parse: Parse, z: Map, allowed: Zone) -> Standing:
    """Both maps, from the standardised residual and from the organs that can hold findings of their own.

    Example:
        >>> from synth.parse import Entity, Parse
        >>> from synth.volume import Geometry, Mask
        >>> hu = np.random.default_rng(0).normal(100, 10, (20, 20, 20)).astype(np.float32)
        >>> hu[8:12, 8:12, 8:12] -= 60
        >>> image = Volume(hu, Geometry.regular((20, 20, 20), 4.0), "CT", "HU")
        >>> liver = Mask.from_box((20, 20, 20), (2, 2, 2), np.ones((16, 16, 16), bool))
        >>> parse = Parse((Entity(id="liver", name="liver"),), geometry=image.geometry, masks={"liver": liver})
        >>> found = standing(image, parse, np.zeros(hu.shape, np.float32), np.ones(hu.shape, bool))
        >>> max(found.places(), key=lambda place: abs(place.strength)).strength < -8
        True
    """
    bounded = np.clip(z, -MOST_Z, MOST_Z)
    render = tuple(np.where(allowed, ndimage.gaussian_filter(bounded, s), np.float32(0)) for s in SIGMAS)
    organ = tuple(np.zeros(image.shape, np.float32) for _ in SIGMAS)
    for id in hosts_in(parse):
        if has_findings(parse.entity(id).name):
            _add_organ(organ, image, parse, id)
    return Standing(render, tuple(np.where(allowed, one, np.float32(0)) for one in organ))


def _add_organ(maps: tuple[Map, ...], image: Volume, parse: Parse, id: str) -> None:
    """How far each smoothed voxel of an organ lies from the organ's median, in robust standard deviations."""
    box = parse.masks[id].padded_slices(AROUND)
    core = free_tissue(parse, id, box)
    if core.sum() < LEAST_CORE:
        return
    hu = image.array[box]
    off = np.where(core, np.clip(hu - np.median(hu[core]), -MOST_HU, MOST_HU), 0.0)
    for out, sigma in zip(maps, SIGMAS, strict=True):
        near = ndimage.gaussian_filter(core.astype(np.float32), sigma)
        smooth = ndimage.gaussian_filter(off, sigma) / np.maximum(near, LEAST_NEAR)
        spread = 1.4826 * float(np.median(np.abs(smooth[core] - np.median(smooth[core]))))
        out[box][core] = (smooth / max(spread, LEAST_SPREAD_HU))[core]


def free_tissue(parse: Parse, id: str, box: Slices3) -> Zone:
    """Within a box, an organ without its outermost voxels and without what lies in it and is drawn already."""
    mask = parse.masks[id]
    core: Zone = ndimage.binary_erosion(mask.crop(box))
    for other in parse.present_ids:
        kind = parse.entity(other).kind
        if other != id and kind in (Kind.organ, Kind.finding) and parse.masks[other].voxels < mask.voxels:
            inside = parse.masks[other].crop(box)
            if inside.any():
                core &= ~ndimage.binary_dilation(inside)
    return core


def _places(rising: Map, sign: float, least: float) -> Iterator[Place]:
    """Of one map, turned so that what is looked for is positive."""
    beyond = rising > least
    if not beyond.any():
        return
    whole, _ = ndimage.label(beyond)
    yield from _parts(whole, rising, sign)
    tops, count = ndimage.label((rising == ndimage.maximum_filter(rising, size=3)) & beyond)
    basins = watershed(-rising, tops, mask=rising > HALF * least)
    highest = np.zeros(count + 1)
    np.maximum.at(highest, tops[tops > 0], rising[tops > 0])
    yield from _parts(np.where(rising > HALF * highest[basins], basins, 0), rising, sign)


def _parts(labels: NDArray[np.int32], rising: Map, sign: float) -> Iterator[Place]:
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        voxels = labels[box] == number
        if voxels.sum() < MIN_VOXELS:
            continue
        strength = np.where(voxels, rising[box], 0.0)
        top = np.unravel_index(int(strength.argmax()), strength.shape)
        x, y, z = (int(i) + s.start for i, s in zip(top, box, strict=True))
        yield Place(voxels, box, (x, y, z), sign * float(strength.max()))
