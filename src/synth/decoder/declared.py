"""A drawn image brought to what its parse declares of each entity's appearance.

Statistic after statistic is set to its declared value, one entity after the other from the largest to the smallest, and
all of it again, for each disturbs the others (as Heeger and Bergen 1995 match the statistics of a texture):

    edge_sharpness       what a Gaussian takes away near the border, times a factor
    texture              the band between the texture's two scales, times a factor
    attenuation_spread   the difference to the mean, times a factor
    mean_attenuation     an offset, softened across the border

What a network draws, then, has the shapes; what was said in numbers holds as it was said. A value that the drawn image
cannot reach within `MOST_GAIN` is approached as far as that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.parse import Kind, Parse
from synth.parse.derive.appearance import Region

ROUNDS = 4
MOST_GAIN = 3.0  # in one round
SHELL_VOXELS, SHARPNESS_VOXELS = 2, 1.0  # how far from the border, and the scale of what is sharpened there
SOFT_VOXELS = 0.75  # standard deviation of the offset's border
LEAST_WEIGHT = 0.3  # of the offset inside; thin entities would else be overshot
LEAST_DRAWN = 0.5  # share of an entity that was drawn; of one that is mostly context nothing is changed
TYPES = ("mean_attenuation", "attenuation_spread", "texture", "edge_sharpness")
Image = NDArray[np.float32]
Bools = NDArray[np.bool_]


def as_declared(image: Image, parse: Parse, *, drawn: Bools | None = None, mean_only: bool = False) -> Image:
    """A copy of the image in which the declared mean, spread, texture and edge sharpness of each entity hold.

    Args:
        image: (X, Y, Z) HU on the parse's grid.
        parse: whose numeric attributes, of its own contrast phase or of none, are what is declared.
        drawn: (X, Y, Z) where the image may be changed; everywhere for None.
        mean_only: for the mean of many images, which has no noise of its own.

    Example:
        >>> from synth.phantom import make
        >>> from synth.parse.derive import derive_appearance
        >>> p = make(0, spacing_mm=(8.0, 8.0, 8.0))
        >>> told = derive_appearance(p.parse, p.image)
        >>> drawn = as_declared(np.zeros(p.image.shape, np.float32), told)
        >>> again = derive_appearance(told.replace(attributes=()), p.image.with_array(drawn))
        >>> [round(a.value) for z in (told, again) for a in z.attributes_of("spleen") if a.type == "mean_attenuation"]
        [125, 125]
    """
    out = np.array(image, np.float32)
    plans = [plan for plan in _plans(parse, drawn) if plan.declared]
    for _ in range(ROUNDS if plans else 0):
        for plan in plans:
            plan.apply(out, mean_only)
    return out


@dataclass(frozen=True, eq=False)
class _Plan:
    """One entity: where it is measured, where it may be changed, and how the offset falls off there."""

    region: Region
    declared: Mapping[str, float]
    free: Bools
    soft: Image
    tissue: bool

    def apply(self, out: Image, mean_only: bool) -> None:
        image = out[self.region.slices].copy()
        if not (mean_only or self.tissue):
            self._sharpen(image)
            self._roughen(image)
            self._spread(image)
        if "mean_attenuation" in self.declared:
            offset = self.declared["mean_attenuation"] - float(image[self.region.core].mean())
            image += self.soft * np.float32(offset)
        view = out[self.region.slices]
        view[self.free] = image[self.free]

    def _sharpen(self, image: Image) -> None:
        wanted, now = self.declared.get("edge_sharpness"), self.region.slope(image)
        if wanted is None or now is None:
            return
        mask = self.region.mask
        shell = ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask, iterations=SHELL_VOXELS)
        detail = np.where(shell, image - ndimage.gaussian_filter(image, SHARPNESS_VOXELS), 0).astype(np.float32)
        more = self.region.slope(image + np.float32(0.5) * detail)
        if more is not None and abs(more - now) > 1e-3:  # the slope is nearly linear in the factor
            gain = np.float32(np.clip((wanted - now) / (more - now) / 2, 1 / MOST_GAIN - 1, MOST_GAIN - 1))
            low, high = ndimage.minimum_filter(image, 3), ndimage.maximum_filter(image, 3)
            np.clip(image + gain * detail, low, high, out=image)  # steeper, without a fringe

    def _roughen(self, image: Image) -> None:
        wanted, band = self.declared.get("texture"), self.region.band(image)
        if wanted is None or band is None:
            return
        own = self.region.own
        image[own] += (_gain(np.exp((wanted - self.region.texture(band)) / 2)) - 1) * (band - band[own].mean())[own]

    def _spread(self, image: Image) -> None:
        if "attenuation_spread" in self.declared:
            core = self.region.core
            mean, std = float(image[core].mean()), float(image[core].std())
            image[core] = mean + _gain(self.declared["attenuation_spread"] / max(std, 1e-3)) * (image[core] - mean)


def _gain(value: float) -> np.float32:
    return np.float32(np.clip(value, 1 / MOST_GAIN, MOST_GAIN))


def _plans(parse: Parse, drawn: Bools | None) -> Iterator[_Plan]:
    declared: dict[str, dict[str, float]] = {}
    for a in parse.attributes:
        said = a.type in TYPES and a.phase in (None, parse.circumstance.phase)
        if said and a.entity in parse.masks and not isinstance(a.value, str):
            declared.setdefault(a.entity, {})[a.type] = float(a.value)
    for id in sorted(declared, key=lambda i: -parse.masks[i].voxels):
        region = Region.of(parse, parse.entity(id))
        free = np.ones(region.own.shape, np.bool_) if drawn is None else drawn[region.slices]
        if np.count_nonzero(region.own & free) < LEAST_DRAWN * np.count_nonzero(region.own):
            continue
        # Findings inside the entity keep what they are; what is around it gives way a little.
        weight = ndimage.gaussian_filter(region.own.astype(np.float32), SOFT_VOXELS)
        soft = np.where(region.own | ~region.mask, weight, 0)
        soft /= max(float(soft[region.core].mean()), LEAST_WEIGHT)
        yield _Plan(region, declared[id], free, soft.astype(np.float32), parse.entity(id).kind is Kind.tissue)
