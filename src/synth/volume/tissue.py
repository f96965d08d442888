"""The body and the tissues that Hounsfield units alone tell apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.errors import InputError
from synth.volume.image import Volume
from synth.volume.mask import Bool3, Mask

_SKIN_HU = -400.0
# Fat and trabecular bone as in body-composition work; gas lies well below the lung's -700 to -900 only in part, so
# everything inside the body below -400 counts as air.
_FAT_HU = (-190.0, -30.0)
_BONE_HU = 200.0
_AIR_HU = -400.0
_SMALLEST_BONE_ML = 1.0
_IN_PLANE: NDArray[np.int_] = np.zeros((3, 3, 3), dtype=int)
_IN_PLANE[:, 1, 1] = 1
_IN_PLANE[1, :, 1] = 1


def body_mask(volume: Volume) -> Mask:
    """The patient: the largest thing denser than air, its lungs and gas filled in, table and clothes left out.

    Cavities are filled slice by slice, because airways leave the field of view at its ends. For other modalities
    the threshold is a tenth of the 99th percentile. Raises InputError when nothing is there.
    """
    threshold = _SKIN_HU if volume.unit == "HU" else 0.1 * float(np.percentile(volume.array, 99))
    solid = volume.array > threshold
    # Opening by one voxel cuts the bridges between skin and table; nothing is left to cut in very thin volumes.
    opened = ndimage.binary_opening(solid) if min(volume.shape) >= 5 else solid
    body = _largest(opened)
    if body is None:
        raise InputError("body", expected=f"voxels above {threshold:g}", got="none", fix="check the intensities")
    return Mask.from_dense(_filled_in_plane(body))


def tissue_masks(volume: Volume, body: Mask | None = None) -> Mapping[str, Mask]:
    """`body`, `fat`, `bone` and `air` (within the body) of a CT, by threshold; absent ones are left out.

    Contrast agent above 200 HU counts as bone: this is a coarse map, good for tissue entities and for
    finding a place in fat. Raises InputError for anything but Hounsfield units.
    """
    if volume.unit != "HU":
        raise InputError("tissues", expected="a CT in HU", got=f"unit '{volume.unit}'", fix="leave tissues out")
    body = body_mask(volume) if body is None else body
    inside, window = body.box, volume.array[body.slices]
    fat = inside & (window >= _FAT_HU[0]) & (window <= _FAT_HU[1])
    smallest = max(2, round(_SMALLEST_BONE_ML / volume.geometry.voxel_ml))
    found = {
        "fat": ndimage.binary_opening(fat) if min(fat.shape) >= 5 else fat,
        "bone": _without_specks(inside & (window > _BONE_HU), smallest),
        "air": inside & (window < _AIR_HU),
    }
    masks = {name: Mask.from_box(volume.shape, body.origin, box) for name, box in found.items()}
    return {"body": body, **{name: mask for name, mask in masks.items() if not mask.is_empty}}


def _largest(mask: Bool3) -> Bool3 | None:
    labels, count = ndimage.label(mask)
    if count == 0:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == int(sizes.argmax()))


def _filled_in_plane(mask: Bool3) -> Bool3:
    """Fill what no path within its axial slice joins to the edge of the slice."""
    labels, _ = ndimage.label(~mask, structure=_IN_PLANE)
    edges = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    outside = np.zeros(int(labels.max()) + 1, dtype=bool)
    outside[np.unique(np.concatenate([edge.ravel() for edge in edges]))] = True
    outside[0] = False
    return ~outside[labels]


def _without_specks(mask: Bool3, smallest: int) -> Bool3:
    labels, _ = ndimage.label(mask)
    kept = np.bincount(labels.ravel()) >= smallest
    kept[0] = False
    return np.asarray(kept[labels])
