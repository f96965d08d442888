"""Read images and label maps from any supported format into RAS+ arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.volume.bounds import MAX_VOXELS, require_file
from synth.volume.geometry import Geometry
from synth.volume.image import Modality, Volume
from synth.volume.mask import Mask
from synth.volume.nifti import RawImage, read_nifti
from synth.volume.orient import to_ras

_NIFTI, _NRRD = (".nii", ".nii.gz"), (".nrrd", ".nhdr")
_FORMATS = ".nii, .nii.gz, .nrrd, .nhdr, a DICOM file or a folder with one DICOM series"
# No tissue is below air; reconstructions reach -1024 and pad as low as -3024. Nothing but CT has air there.
_CT_AIR_HU = (-3100.0, -300.0)


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integer labels (X, Y, Z), 0 for background, on their geometry; `original_axes` as the file had them."""

    labels: NDArray[Any]
    geometry: Geometry
    original_axes: str = "RAS"

    def __iter__(self) -> Any:
        return iter((self.labels, self.geometry))


def read_volume(path: str | Path, *, modality: str | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read one image, turned to closest RAS+ (obliqueness stays in the affine), rescaled as its header says.

    `modality` None takes what the file says; where a format says nothing, an image whose lowest value is that of
    air in Hounsfield units is CT, any other is `unknown`; `meta["modality_source"]` tells which it was.
    Raises InputError for files that are missing, truncated, lie about their size or have no orientation.
    """
    raw = _read(Path(path), max_voxels, np.float32)
    turned = to_ras(raw.array, raw.affine)
    array = np.ascontiguousarray(turned.array, dtype=np.float32)
    named = raw.facts.pop("modality", None)
    known, source = _modality(modality, named, array)
    meta = {**raw.facts, "original_axes": turned.original_codes, "modality_source": source}
    geometry = Geometry((array.shape[0], array.shape[1], array.shape[2]), turned.affine)
    try:
        return Volume(array, geometry, known, "HU" if known == "CT" else "au", meta)
    except InputError as error:
        raise InputError(f"{path}: {error.what}", expected=error.expected, got=error.got, fix=error.fix) from None


def read_labels(path: str | Path, *, max_voxels: int = MAX_VOXELS) -> LabelMap:
    """Read a label map: non-negative whole numbers; unpacks as `labels, geometry`."""
    raw = _read(Path(path), max_voxels, None)
    turned = to_ras(raw.array, raw.affine)
    labels = _whole_numbers(path, turned.array)
    return LabelMap(
        labels, Geometry((labels.shape[0], labels.shape[1], labels.shape[2]), turned.affine), turned.original_codes
    )


def read_mask(path: str | Path, *, max_voxels: int = MAX_VOXELS) -> tuple[Mask, Geometry]:
    """Read a file that holds a single mask of zeros and ones (or of zeros and any one other value)."""
    labels, geometry = read_labels(path, max_voxels=max_voxels)
    if int(labels.max()) > 1 and np.unique(labels).size > 2:
        got = f"labels up to {int(labels.max())}"
        raise InputError(str(path), expected="one mask of 0 and 1", got=got, fix="import it as a label map")
    return Mask.from_dense(labels != 0), geometry


def _read(path: Path, max_voxels: int, dtype: type[np.generic] | None) -> RawImage:
    require_file(path)
    if path.is_file() and path.stat().st_size == 0:
        raise InputError(str(path), expected="an image", got="an empty file", fix="copy the file again")
    if path.name.lower().endswith(_NIFTI):
        return read_nifti(path, max_voxels=max_voxels, dtype=dtype)
    if path.name.lower().endswith(_NRRD):
        from synth.volume.nrrd import read_nrrd

        return read_nrrd(path, max_voxels=max_voxels)
    from synth.volume.dicom import looks_like_dicom, read_series

    if looks_like_dicom(path):
        return read_series(path, max_voxels=max_voxels)
    raise InputError(str(path), expected=_FORMATS, got=path.name, fix="convert the image to NIfTI")


def _modality(stated: str | None, named: str | None, array: NDArray[np.float32]) -> tuple[Modality, str]:
    if stated is not None:
        for known in get_args(Modality):
            if known == stated:
                return known, "stated"
        raise InputError("modality", expected="CT, MR or unknown", got=f"'{stated}'", fix="state one of these")
    if named is not None:
        return ("CT" if named == "CT" else "MR" if named == "MR" else "unknown"), "header"
    lowest = float(array.min())
    is_air = _CT_AIR_HU[0] <= lowest <= _CT_AIR_HU[1]
    return ("CT" if is_air else "unknown"), "intensities"


def _whole_numbers(path: str | Path, array: NDArray[Any]) -> NDArray[Any]:
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)) or low < 0 or high > 2**31 - 1:
        raise InputError(str(path), expected="labels from 0 up", got=f"{low:g} to {high:g}", fix="is this the image?")
    kind = np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.int32
    labels = np.ascontiguousarray(array.astype(kind))
    if array.dtype.kind == "f" and not np.array_equal(labels, array):
        got = "fractions"
        raise InputError(
            str(path), expected="whole numbers as labels", got=got, fix="resample labels to the nearest voxel"
        )
    return labels
