"""DICOM series: sorted by position, rescaled per slice, refused when slices are missing, mixed or tilted."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from synth.errors import InputError
from synth.volume.bounds import check_size
from synth.volume.geometry import Float64
from synth.volume.image import AIR_HU
from synth.volume.nifti import RawImage
from synth.volume.orient import LPS_TO_RAS

_MAX_FILES = 20_000
_COSINE_TOLERANCE = 1e-3
# A slice may sit this far from its place in an even grid, as a share of the slice spacing.
_EVEN = 0.05


@dataclass(frozen=True, eq=False)
class _Frame:
    """One slice: its file, its index in that file, and its place; positions in LPS mm."""

    path: Path
    index: int
    position: Float64
    orientation: Float64
    spacing: tuple[float, float]
    thickness: float | None
    slope: float
    intercept: float

    @property
    def normal(self) -> Float64:
        return np.cross(self.orientation[:3], self.orientation[3:])


def looks_like_dicom(path: Path) -> bool:
    """A folder, or a file with the DICOM preamble."""
    if path.is_dir():
        return True
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def read_series(path: Path, *, max_voxels: int) -> RawImage:
    """Read the one image series in a folder, a single slice, or a multi-frame file; nothing identifying is kept.

    Raises InputError for several series, missing or double slices, a tilted gantry, colour or compressed pixels that
    no installed codec reads.
    """
    headers = _headers(path)
    _check_one_series(path, list(headers.values()))
    frames = [frame for file, header in headers.items() for frame in _frames(file, header)]
    first = next(iter(headers.values()))
    rows, columns = int(first.Rows), int(first.Columns)
    check_size(str(path), (columns, rows, len(frames)), max_voxels)
    ordered = _sorted_evenly(path, frames)
    affine = _affine(ordered)
    array, padded = _pixels(ordered, rows, columns)
    facts = {"format": "dicom", "modality": str(first.get("Modality", "")), **_acquisition(first)}
    if padded:
        facts["padded_voxels"] = padded
    return RawImage(array, affine, facts)


def _headers(path: Path) -> dict[Path, Dataset]:
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    if len(files) > _MAX_FILES:
        raise InputError(
            str(path), expected=f"at most {_MAX_FILES:,} files", got=f"{len(files):,}", fix="give one series"
        )
    found = {file: header for file in files if (header := _header(file)) is not None}
    if not found:
        raise InputError(
            str(path), expected="a DICOM image series", got="no DICOM image", fix="give the folder of the slices"
        )
    return found


def _header(file: Path) -> Dataset | None:
    if file.name.startswith(".") or file.name == "DICOMDIR":
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom warns of odd values of tags that are never read here
            header = pydicom.dcmread(file, stop_before_pixels=True)
    except InvalidDicomError:
        return None
    except Exception as error:  # hostile bytes make pydicom raise almost anything
        raise InputError(
            str(file), expected="a DICOM file", got=f"{type(error).__name__}", fix="copy the file again"
        ) from None
    return header if "Rows" in header and "Columns" in header else None


def _check_one_series(path: Path, headers: Sequence[Dataset]) -> None:
    series = {str(h.get("SeriesInstanceUID", "")) for h in headers}
    if len(series) > 1:
        fix = "put each series in a folder of its own"
        raise InputError(str(path), expected="one DICOM series", got=f"{len(series)} series", fix=fix)
    for what, tag in (("size", ("Rows", "Columns")), ("modality", ("Modality",))):
        values = {tuple(str(h.get(t)) for t in tag) for h in headers}
        if len(values) > 1:
            got = " and ".join(sorted("x".join(v) for v in values))[:80]
            raise InputError(
                str(path), expected=f"slices of one {what}", got=got, fix="remove localizers and other images"
            )
    if int(headers[0].get("SamplesPerPixel", 1)) != 1:
        raise InputError(str(path), expected="grey values", got="colour pixels", fix="give the original images")


def _frames(file: Path, header: Dataset) -> list[_Frame]:
    if "PerFrameFunctionalGroupsSequence" not in header:
        if int(header.get("NumberOfFrames", 1)) > 1:
            got = "frames without positions"
            raise InputError(str(file), expected="a position per frame", got=got, fix="convert it to NIfTI first")
        return [_frame(file, 0, [header])]
    shared = header.get("SharedFunctionalGroupsSequence", [Dataset()])[0]
    return [_frame(file, i, [group, shared, header]) for i, group in enumerate(header.PerFrameFunctionalGroupsSequence)]


def _frame(file: Path, index: int, places: Sequence[Dataset]) -> _Frame:
    """Look a frame's geometry up in its own group, then in the shared one, then in the file."""
    position = _find(places, "PlanePositionSequence", "ImagePositionPatient")
    orientation = _find(places, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _find(places, "PixelMeasuresSequence", "PixelSpacing")
    if position is None or orientation is None or spacing is None:
        expected = "position, orientation and pixel spacing"
        raise InputError(str(file), expected=expected, got="a slice without them", fix="give the original images")
    thickness = _find(places, "PixelMeasuresSequence", "SliceThickness")
    slope = _find(places, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _find(places, "PixelValueTransformationSequence", "RescaleIntercept")
    return _Frame(
        file,
        index,
        np.array(position, dtype=np.float64),
        np.array(orientation, dtype=np.float64),
        (float(spacing[0]), float(spacing[1])),
        float(thickness) if thickness else None,
        1.0 if slope is None else float(slope),
        0.0 if intercept is None else float(intercept),
    )


def _find(places: Sequence[Dataset], sequence: str, keyword: str) -> Any:
    for place in places:
        inner = place[sequence].value[0] if sequence in place and len(place[sequence].value) else place
        if inner.get(keyword) is not None:
            return inner.get(keyword)
    return None


def _sorted_evenly(path: Path, frames: Sequence[_Frame]) -> list[_Frame]:
    reference = frames[0]
    for frame in frames:
        if np.abs(frame.orientation - reference.orientation).max() > _COSINE_TOLERANCE:
            fix = "remove localizers and other images"
            raise InputError(str(path), expected="slices of one orientation", got="several", fix=fix)
        if not np.allclose(frame.spacing, reference.spacing, rtol=1e-3):
            raise InputError(str(path), expected="one pixel spacing", got="several", fix="remove other images")
    ordered = sorted(frames, key=lambda f: float(f.position @ reference.normal))
    if len(ordered) > 1:
        _check_even(path, np.array([f.position for f in ordered]), reference.normal)
    return ordered


def _check_even(path: Path, positions: Float64, normal: Float64) -> None:
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    typical = float(np.median(along))
    if along.min() < 0.01:
        fix = "give one phase or one echo at a time"
        raise InputError(str(path), expected="one slice a position", got="two slices at one position", fix=fix)
    worst = int(np.argmax(np.abs(along - typical)))
    if abs(along[worst] - typical) > _EVEN * typical:
        got = f"{along[worst]:.2f} mm between slices {worst + 1} and {worst + 2}"
        fix = "a slice is missing: fetch the series again, or resample it"
        raise InputError(str(path), expected=f"slices {typical:.2f} mm apart", got=got, fix=fix)
    sideways = np.linalg.norm(steps - along[:, None] * normal, axis=1)
    if sideways.max() > 0.01 * typical + 1e-3:
        got = f"a gantry tilt of {np.degrees(np.arctan2(sideways.max(), typical)):.1f} degrees"
        raise InputError(
            str(path), expected="slices stacked at right angles", got=got, fix="correct the tilt before use"
        )


def _affine(frames: Sequence[_Frame]) -> Float64:
    """Affine (RAS) of the array (column, row, slice)."""
    first, count = frames[0], len(frames)
    row_mm, column_mm = first.spacing
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * column_mm
    affine[:3, 1] = first.orientation[3:] * row_mm
    if count > 1:
        affine[:3, 2] = (frames[-1].position - first.position) / (count - 1)
    else:
        affine[:3, 2] = first.normal * (first.thickness or 1.0)
    affine[:3, 3] = first.position
    return np.asarray(LPS_TO_RAS @ affine)


def _pixels(frames: Sequence[_Frame], rows: int, columns: int) -> tuple[NDArray[np.float32], int]:
    """Rescaled voxels (column, row, slice), and how many were padding that became air (CT only)."""
    array = np.empty((columns, rows, len(frames)), dtype=np.float32)
    padded = 0
    by_file: dict[Path, list[int]] = {}
    for k, frame in enumerate(frames):
        by_file.setdefault(frame.path, []).append(k)
    for file, slots in by_file.items():
        stored, header = _stored(file, rows, columns)
        for k in slots:
            frame = frames[k]
            plane = stored[frame.index]
            array[:, :, k] = (plane * frame.slope + frame.intercept).T
            padding = header.get("PixelPaddingValue")
            if padding is not None and header.get("Modality") == "CT":
                outside = int(padding) == plane.T
                array[:, :, k][outside] = AIR_HU
                padded += int(outside.sum())
    return array, padded


def _stored(file: Path, rows: int, columns: int) -> tuple[NDArray[Any], Dataset]:
    """Stored values (frame, row, column) of a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # padding bytes after the pixels are legal
            header = pydicom.dcmread(file)
            stored = np.asarray(header.pixel_array).reshape(-1, rows, columns)
    except Exception as error:  # codecs and pydicom raise almost anything on broken pixels
        got = f"{type(error).__name__}: {error}"[:140]
        raise InputError(str(file), expected="readable pixels", got=got, fix="copy it again or decompress it") from None
    return stored, header


def _acquisition(header: Dataset) -> dict[str, Any]:
    """Facts of the acquisition that say nothing about who was scanned."""
    wanted = {"kvp": "KVP", "kernel": "ConvolutionKernel", "contrast_agent": "ContrastBolusAgent"}
    return {name: str(header.get(tag)) for name, tag in wanted.items() if header.get(tag)}
