"""Write images, masks and label maps as NIfTI, whole or not at all, the same bytes for the same content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.volume.geometry import Geometry
from synth.volume.image import Volume
from synth.volume.mask import Mask
from synth.volume.nifti import save_nifti, synthetic_description


def write_volume(volume: Volume, path: str | Path, *, synthetic: str | None = None) -> None:
    """Write an image; `synthetic` (seed, model, weights) marks it as made up in the header's description.

    Whole numbers are stored as int16, anything else as float32: both come back exactly.
    """
    array: NDArray[Any] = volume.array
    compact = array.astype(np.int16) if np.abs(array).max() < 2**15 else array
    if np.array_equal(compact, array):
        array = compact
    save_nifti(array, volume.geometry, Path(path), description=synthetic_description(synthetic))


def write_mask(mask: Mask, geometry: Geometry, path: str | Path) -> None:
    """Write a mask as zeros and ones on the full grid."""
    write_labels(mask.dense().view(np.uint8), geometry, path)


def write_labels(labels: NDArray[Any], geometry: Geometry, path: str | Path) -> None:
    """Write non-negative integer labels (X, Y, Z) in the smallest type that holds them."""
    if labels.shape != geometry.shape:
        expected = f"shape {geometry.shape}"
        raise InputError("labels", expected=expected, got=str(labels.shape), fix="give the geometry of these labels")
    if labels.dtype.kind not in "iub" or (labels.size and int(labels.min()) < 0):
        raise InputError("labels", expected="whole numbers from 0 up", got=str(labels.dtype), fix="convert them first")
    highest = int(labels.max())
    kind = np.uint8 if highest < 2**8 else np.uint16 if highest < 2**16 else np.int32
    save_nifti(labels.astype(kind), geometry, Path(path), description=synthetic_description(None))
