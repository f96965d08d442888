"""What two images of one entity differ in, each in its own unit and with its own tolerance.

A term costs nothing up to its tolerance τ, and at most `LARGEST`:  min(max(0, d / τ - 1), 4)

Tolerances were fixed before anything was scored with them (docs/decisions/0011). Where chance alone moves a mean or a
texture by more than its tolerance, twice the standard error is the tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import wasserstein_distance

from synth.distance.border import LEAST_SEEN, Border, core
from synth.parse.derive.appearance import smoothed_within

LARGEST = 4.0
MEAN_HU, HISTOGRAM_HU, ENHANCEMENT_HU = 5.0, 10.0, 10.0
TEXTURE_LOG, EDGE_LOG = 0.25, 0.25
OFF_SURFACE = 0.05  # share of the surface that may be farther than a voxel
VOLUME_LOG = (0.35, 0.13)  # |ln ratio|, of a small and of a large entity
VOLUME_ML = (1.0, 20.0)  # what small and large are
TEXTURE_VOXELS = (1.0, 2.0)  # standard deviations of the band: structure of two voxels and more
OUTLIER = 3.0  # standard deviations
TEXTURE_GRAIN = 16.0  # voxels that tell one independent thing about that band (6 for white noise)
LEAST_TEXTURE = 120
Map = NDArray[np.float32]


@dataclass(frozen=True)
class Term:
    """One difference.

    Attributes:
        name: what differs; value: by how much, in the term's unit; tolerance: what is nothing, same unit.
    """

    name: str
    value: float
    tolerance: float

    @property
    def cost(self) -> float:
        """0 to 4.

        Example:
            >>> Term("mean_attenuation", 15.0, 5.0).cost, Term("mean_attenuation", 4.0, 5.0).cost
            (2.0, 0.0)
        """
        if self.tolerance <= 0:
            return LARGEST if self.value > 0 else 0.0
        return min(max(0.0, self.value / self.tolerance - 1.0), LARGEST)


@dataclass(frozen=True, eq=False)
class Look:
    """One entity as one image shows it.

    Attributes:
        image: (x, y, z) HU; extent: its voxels there.
    """

    image: Map
    extent: NDArray[np.bool_]

    @cached_property
    def core(self) -> NDArray[np.bool_]:
        return core(self.extent)

    @cached_property
    def values(self) -> Map:
        return self.image[self.core]

    @cached_property
    def texture(self) -> float | None:
        """ln variance of the band; None where too little is inside."""
        variance = band_variance(self.image, self.core)
        return None if variance is None else float(np.log(variance))


def attenuation(one: Look, other: Look) -> list[Term]:
    """Mean and histogram of the core."""
    a, b = one.values, other.values
    if not a.size or not b.size:
        return []
    error = float(np.sqrt(a.var() / a.size + b.var() / b.size))
    mean = Term("mean_attenuation", abs(float(a.mean() - b.mean())), max(MEAN_HU, 2 * error))
    return [mean, Term("histogram", float(wasserstein_distance(a, b)), max(HISTOGRAM_HU, 2 * error))]


def texture(one: Look, other: Look) -> list[Term]:
    """Log variance of structure of two voxels and more."""
    if one.texture is None or other.texture is None:
        return []
    tolerance = texture_tolerance(*(look.values.size for look in (one, other)))
    return [Term("texture", abs(one.texture - other.texture), tolerance)]


def edges(one: float | None, other: float | None) -> list[Term]:
    """Log ratio of the slopes across the border, HU a voxel, where there is one to see."""
    if one is None or other is None:
        return []
    return [Term("edge_sharpness", abs(float(np.log(max(one, 1e-3) / max(other, 1e-3)))), EDGE_LOG)]


def extent(border: Border, moved: NDArray[np.float64], seen: NDArray[np.bool_], voxel_ml: float) -> list[Term]:
    """Volume, and the share of the surface that moved by more than a voxel beside a shift of up to a voxel."""
    before, after = border.volume(), border.volume(moved)
    ratio = abs(float(np.log(max(after, 0.5) / max(before, 0.5))))
    rest = np.where(seen, moved, 0.0)
    if np.count_nonzero(seen) >= LEAST_SEEN:
        shift = np.linalg.lstsq(border.normals[seen], moved[seen], rcond=None)[0]
        rest = np.where(seen, moved - border.normals @ shift / max(1.0, float(np.linalg.norm(shift))), 0.0)
    off = float(border.area[np.abs(rest) > 1.0].sum())
    return [Term("volume", ratio, volume_tolerance(before * voxel_ml)), Term("surface", off, OFF_SURFACE)]


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_], voxel_ml: float) -> list[Term]:
    """The same of two masks of the same entity."""
    a, b = int(np.count_nonzero(one)), int(np.count_nonzero(other))
    ratio = abs(float(np.log(b / a)))
    rims = [v & ~ndimage.binary_erosion(v, border_value=1) for v in (one, other)]
    far = [ndimage.distance_transform_edt(~there)[here] > 1.0 for here, there in (rims, rims[::-1])]
    off = float(np.mean([f.mean() for f in far]))
    return [Term("volume", ratio, volume_tolerance(a * voxel_ml)), Term("surface", off, OFF_SURFACE)]


def enhancement(one: Mapping[str, Look], other: Mapping[str, Look], base: tuple[Look, Look]) -> list[Term]:
    """HU gained over the base phase, for each further phase that both have."""
    terms = []
    for phase in sorted(set(one) & set(other)):
        gains = [
            float(look.image[b.core].mean() - b.values.mean())
            for look, b in zip((one[phase], other[phase]), base, strict=True)
            if b.values.size
        ]
        if len(gains) == 2:
            terms.append(Term(f"enhancement_{phase}", abs(gains[0] - gains[1]), ENHANCEMENT_HU))
    return terms


def volume_tolerance(ml: float) -> float:
    """|ln ratio| that is nothing: 0.35 up to 1 mL, 0.13 from 20 mL, on a line over ln mL between.

    Example:
        >>> volume_tolerance(0.2), volume_tolerance(500.0), round(volume_tolerance(4.47), 2)
        (0.35, 0.13, 0.24)
    """
    return float(np.interp(np.log(max(ml, 1e-6)), np.log(VOLUME_ML), VOLUME_LOG))


def texture_tolerance(*voxels: int) -> float:
    """|difference of log variances| that is nothing, or chance, between two entities of so many voxels."""
    return max(TEXTURE_LOG, 2 * float(np.sqrt(sum(2 * TEXTURE_GRAIN / n for n in voxels))))


def band_variance(image: Map, own: NDArray[np.bool_]) -> float | None:
    """HU² of the structure of two voxels and more inside a zone; None where the zone is too small."""
    if np.count_nonzero(own) < LEAST_TEXTURE:
        return None
    fine, coarse = (smoothed_within(image, own, s) for s in TEXTURE_VOXELS)
    band = (fine - coarse)[own]
    middle = np.median(band)
    spread = OUTLIER * 1.4826 * float(np.median(np.abs(band - middle)))
    return max(float(np.clip(band, middle - spread, middle + spread).var()), 1e-3)  # a speck of metal is no texture
