"""Another scanner: what two machines would make of the same patient, for calibration and for augmentation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BLUR_VOXELS = 0.9  # at most: a smooth kernel and a partial volume of thick slices
OFFSET_HU, NOISE_HU = 6.0, 12.0
BONE_HU, BONE_GAIN = 150.0, (0.55, 1.1)  # old and young bone


def another_scanner(hu: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The image with another kernel, calibration, noise level and bone density, each drawn at random."""
    out = np.where(hu > BONE_HU, BONE_HU + (hu - BONE_HU) * rng.uniform(*BONE_GAIN), hu)
    out = ndimage.gaussian_filter(out, rng.uniform(0.0, BLUR_VOXELS))
    noise = ndimage.gaussian_filter(rng.normal(size=hu.shape), rng.uniform(0.0, 0.7))
    out = out + rng.normal(0.0, OFFSET_HU) + rng.uniform(0.0, NOISE_HU) * noise / max(float(noise.std()), 1e-6)
    return np.asarray(out, np.float32)
