"""Changes of an image whose size is known: clinical ones, of one entity, and nuisances, which mean nothing.

Every edit takes the image in HU, the mask of the entity and an amount (HU, ratio of volumes, voxels of blur), and
returns another image. The severities of what has a tolerance in d_clin are multiples of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.distance import terms
from synth.volume import Geometry, Mask, signed_distance

Image = NDArray[np.float32]
Edit = Callable[[Image, Mask, float, np.random.Generator], Image]

SOFT_BORDER = 0.5  # voxels
SPREAD = 2.0  # voxels over which tissue around a growing entity gives way


def attenuation(image: Image, mask: Mask, hu: float, rng: np.random.Generator) -> Image:
    """Denser or less dense by `hu`."""
    return _f32(image + rng.choice((-1.0, 1.0)) * hu * _soft(mask))


def size(image: Image, mask: Mask, ratio: float, rng: np.random.Generator) -> Image:
    """Larger or smaller in volume by `ratio`; what is around it gives way."""
    depth = ndimage.gaussian_filter(_depth(mask), 1.0)
    want = mask.voxels * (ratio if rng.random() < 0.5 else 1 / ratio)
    # How far the border has to go is the distance between the levels that hold the two volumes.
    levels = np.sort(depth.ravel())[::-1]
    now, then = np.interp((mask.voxels, want), np.arange(levels.size) + 0.5, levels)
    push = float(now - then)
    normal = np.stack(np.gradient(depth))
    normal /= np.linalg.norm(normal, axis=0) + 1e-6
    reach = np.exp(-(np.clip(np.abs(depth) - abs(push), 0, None) ** 2) / (2 * SPREAD**2))
    return _f32(
        ndimage.map_coordinates(image, np.indices(image.shape) + normal * push * reach, order=3, mode="nearest")
    )


def texture(image: Image, mask: Mask, hu: float, rng: np.random.Generator) -> Image:
    """Coarser: structure of two to four voxels with a standard deviation of `hu` comes in."""
    noise = ndimage.gaussian_filter(rng.standard_normal(image.shape), 1.0)
    noise -= ndimage.gaussian_filter(noise, 2.0)
    return _f32(image + hu * noise / noise.std() * _soft(mask))


def border(image: Image, mask: Mask, voxels: float, rng: np.random.Generator) -> Image:
    """Less sharp along its border, by a Gaussian of `voxels`."""
    weight = np.exp(-(np.clip(np.abs(_depth(mask)) - 1, 0, None) ** 2) / 2)
    return _f32(image + weight * (ndimage.gaussian_filter(image, voxels) - image))


def fading(image: Image, mask: Mask, share: float, rng: np.random.Generator) -> Image:
    """Gone by `share`: replaced by what is around it, smoothly, with the noise of the image."""
    around = (1 - ndimage.binary_dilation(mask.dense())).astype(np.float32)
    sigma = 2.0 + np.cbrt(mask.voxels) / 4
    filled = ndimage.gaussian_filter(image * around, sigma) / (ndimage.gaussian_filter(around, sigma) + 1e-3)
    return _f32(image + share * _soft(mask) * (filled + rng.normal(0, 10, image.shape) - image))


def shift(image: Image, mask: Mask, voxels: float, rng: np.random.Generator) -> Image:
    """The patient lay elsewhere, by up to `voxels`."""
    way = rng.standard_normal(3)
    return _f32(ndimage.shift(image, way / np.linalg.norm(way) * voxels * rng.random(), order=3, mode="nearest"))


def noise(image: Image, mask: Mask, hu: float, rng: np.random.Generator) -> Image:
    """More noise, of a standard deviation up to `hu`."""
    return _f32(image + rng.normal(0, hu * rng.random(), image.shape))


def kernel(image: Image, mask: Mask, voxels: float, rng: np.random.Generator) -> Image:
    """A softer or sharper reconstruction kernel, by a Gaussian of up to `voxels`."""
    soft = ndimage.gaussian_filter(image, voxels * rng.random())
    return _f32(soft if rng.random() < 0.5 else 2 * image - soft)


def calibration(image: Image, mask: Mask, hu: float, rng: np.random.Generator) -> Image:
    """Another scanner's Hounsfield units: an offset of up to `hu` and a slope of up to 1%."""
    return _f32(image * (1 + rng.uniform(-0.01, 0.01)) + rng.uniform(-hu, hu))


def cupping(image: Image, mask: Mask, hu: float, rng: np.random.Generator) -> Image:
    """A smooth field of up to `hu` across the patient."""
    axes = [np.linspace(-1, 1, n) for n in image.shape]
    way = rng.standard_normal(3)
    ramp = sum(
        w * a.reshape([-1 if k == i else 1 for k in range(3)]) for i, (w, a) in enumerate(zip(way, axes, strict=True))
    )
    return _f32(image + hu * rng.random() * ramp / np.abs(ramp).max())


@dataclass(frozen=True)
class Kind:
    """One kind of clinical change.

    Attributes:
        edit: makes it; severities: least first.
        amount: of the edit, for a severity in this image, mask and voxel volume (mL); None where there is no such
            change to see: texture, of something that is too small to have one.
    """

    edit: Edit
    severities: tuple[float, ...]
    amount: Callable[[float, Image, Mask, float], float | None] = lambda severity, image, mask, voxel_ml: severity


def _attenuation_hu(severity: float, image: Image, mask: Mask, voxel_ml: float) -> float:
    values = mask.values(image)
    return severity * max(terms.MEAN_HU, 2 * float(np.sqrt(2 * values.var() / values.size)))


def _volume_ratio(severity: float, image: Image, mask: Mask, voxel_ml: float) -> float:
    return float(np.exp(severity * terms.volume_tolerance(mask.voxels * voxel_ml)))


def _texture_hu(severity: float, image: Image, mask: Mask, voxel_ml: float) -> float | None:
    core = ndimage.binary_erosion(mask.dense())
    now = terms.band_variance(image, core)
    if now is None:
        return None
    voxels = int(np.count_nonzero(core))
    return float(np.sqrt(now * np.expm1(severity * terms.texture_tolerance(voxels, voxels))))


CLINICAL: Mapping[str, Kind] = MappingProxyType(
    {
        "attenuation": Kind(attenuation, (1.5, 2.0, 3.0, 5.0), _attenuation_hu),
        "size": Kind(size, (1.5, 2.0, 3.0, 5.0), _volume_ratio),
        "texture": Kind(texture, (1.5, 2.0, 3.0, 5.0), _texture_hu),
        "border": Kind(border, (0.7, 1.0, 1.5, 2.5)),
        "fading": Kind(fading, (0.25, 0.5, 0.75, 1.0)),
    }
)
"""Each kind of change: the first three in tolerances, a blurred border in voxels, a fading entity by its share."""
NUISANCE: Mapping[str, tuple[Edit, float]] = MappingProxyType(
    {
        "shift": (shift, 1.0),
        "noise": (noise, 15.0),
        "kernel": (kernel, 0.4),
        "calibration": (calibration, 4.0),
        "cupping": (cupping, 4.0),
    }
)
"""Each nuisance and the most of it."""


def jitter(image: Image, mask: Mask, rng: np.random.Generator) -> Image:
    """All nuisances at once, each at half of its most: the same patient in another scanner."""
    for edit, most in NUISANCE.values():
        image = edit(image, mask, most / 2, rng)
    return image


def _soft(mask: Mask) -> Image:
    return _f32(ndimage.gaussian_filter(mask.dense().astype(np.float32), SOFT_BORDER))


def _depth(mask: Mask) -> Image:
    """Voxels to the surface, positive inside, over the whole image."""
    return signed_distance(mask, Geometry.regular(mask.shape, 1.0), max(mask.shape)).values


def _f32(image: NDArray[np.generic]) -> Image:
    return np.asarray(image, dtype=np.float32)
