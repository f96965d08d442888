"""DICOM series in: sorting, rescaling, geometry, and the series that must be refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

from synth.errors import InputError
from synth.volume import read_labels, read_volume

SERIES = "1.2.826.0.1.3680043.8.498.1"
STORED = np.random.default_rng(0).integers(0, 3000, (5, 4, 6)).astype(np.uint16)  # slice, row, column


def _slice(index: int, stored: np.ndarray, **changes: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(index)])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.Modality, ds.SeriesInstanceUID = "CT", SERIES
    ds.PatientName, ds.PatientID = "Doe^Jane", "12345"
    ds.ImagePositionPatient = [-10.0, -20.0, 100.0 + 2.5 * index]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.SliceThickness = [0.8, 0.7], 2.5
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.Rows, ds.Columns = stored.shape
    ds.PixelData = stored.tobytes()
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def _series(folder: Path, change: Callable[[int, FileDataset], FileDataset | None] | None = None) -> Path:
    """Write the slices under names whose order is not theirs in space."""
    folder.mkdir(exist_ok=True)
    for index in range(len(STORED)):
        ds: FileDataset | None = _slice(index, STORED[index])
        assert ds is not None
        ds = change(index, ds) if change else ds
        if ds is not None:
            ds.save_as(folder / f"{(index * 3) % 5}.dcm", enforce_file_format=True)
    return folder


def test_a_series_is_sorted_by_position_and_rescaled_to_hounsfield_units(tmp_path: Path) -> None:
    image = read_volume(_series(tmp_path / "s"))
    assert (image.modality, image.unit, image.shape) == ("CT", "HU", (6, 4, 5))
    # Columns run left and rows run back in DICOM; here both axes run the other way.
    expected = STORED.transpose(2, 1, 0)[::-1, ::-1].astype(np.float32) - 1024
    assert np.array_equal(image.array, expected)
    assert image.spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    assert np.allclose(image.geometry.world([5, 3, 0]), (10, 20, 100))


def test_nothing_that_identifies_the_patient_is_kept(tmp_path: Path) -> None:
    meta = dict(read_volume(_series(tmp_path / "s")).meta)
    assert "Doe" not in repr(meta)
    assert "12345" not in repr(meta)
    assert SERIES not in repr(meta)


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    def change(index: int, ds: FileDataset) -> FileDataset:
        ds.RescaleSlope, ds.RescaleIntercept = index + 1, -10 * index
        return ds

    image = read_volume(_series(tmp_path / "s", change))
    for k in range(5):
        expected = STORED[k].T[::-1, ::-1].astype(np.float32) * (k + 1) - 10 * k
        assert np.array_equal(image.array[:, :, k], expected)


def test_padding_becomes_air_and_is_counted(tmp_path: Path) -> None:
    value = int(STORED[2, 1, 1])

    def change(index: int, ds: FileDataset) -> FileDataset:
        ds.PixelPaddingValue = value
        return ds

    image = read_volume(_series(tmp_path / "s", change))
    count = int((value == STORED).sum())
    assert image.meta["padded_voxels"] == count
    assert int((image.array == -1024).sum()) >= count


def test_an_oblique_series_keeps_its_affine(tmp_path: Path) -> None:
    angle = np.radians(15)
    row, column = [np.cos(angle), np.sin(angle), 0.0], [-np.sin(angle), np.cos(angle), 0.0]

    def change(index: int, ds: FileDataset) -> FileDataset:
        ds.ImageOrientationPatient = [*row, *column]
        return ds

    image = read_volume(_series(tmp_path / "s", change))
    assert not image.geometry.is_diagonal
    assert image.spacing_mm == pytest.approx((0.7, 0.8, 2.5))
    assert np.allclose(image.geometry.world([5, 3, 0]), (10, 20, 100))


def test_a_missing_slice_is_detected_and_named(tmp_path: Path) -> None:
    folder = _series(tmp_path / "s", lambda index, ds: None if index == 2 else ds)
    with pytest.raises(InputError, match=r"2\.50 mm apart, got 5\.00 mm between slices 2 and 3; a slice is missing"):
        read_volume(folder)


def test_two_slices_at_one_place_are_refused(tmp_path: Path) -> None:
    def change(index: int, ds: FileDataset) -> FileDataset:
        ds.ImagePositionPatient = [-10, -20, 100.0 + 2.5 * min(index, 3)]
        return ds

    with pytest.raises(InputError, match="two slices at one position"):
        read_volume(_series(tmp_path / "s", change))


def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path: Path) -> None:
    def change(index: int, ds: FileDataset) -> FileDataset:
        ds.ImagePositionPatient = [-10, -20 + 2.5 * index * np.tan(np.radians(12)), 100.0 + 2.5 * index]
        return ds

    with pytest.raises(InputError, match=r"a gantry tilt of 12\.0 degrees"):
        read_volume(_series(tmp_path / "s", change))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SeriesInstanceUID": "1.2.3"}, "one DICOM series, got 2 series"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "slices of one orientation"),
        ({"PixelSpacing": [0.9, 0.9]}, "one pixel spacing"),
        ({"Modality": "MR"}, "slices of one modality, got CT and MR"),
    ],
)
def test_mixed_series_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    def change(index: int, ds: FileDataset) -> FileDataset:
        for keyword, value in changes.items() if index == 4 else ():
            setattr(ds, keyword, value)
        return ds

    with pytest.raises(InputError, match=message):
        read_volume(_series(tmp_path / "s", change))


def test_slices_without_a_position_are_refused(tmp_path: Path) -> None:
    def change(index: int, ds: FileDataset) -> FileDataset:
        del ds.ImagePositionPatient
        return ds

    with pytest.raises(InputError, match="position, orientation and pixel spacing"):
        read_volume(_series(tmp_path / "s", change))


def test_truncated_pixels_are_refused(tmp_path: Path) -> None:
    folder = _series(tmp_path / "s")
    path = folder / "0.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="readable pixels"):
        read_volume(folder)


def test_a_slice_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    def change(index: int, ds: FileDataset) -> FileDataset:
        ds.Rows, ds.Columns = 60000, 60000
        return ds

    with pytest.raises(InputError, match="at most 536,870,912 voxels"):
        read_volume(_series(tmp_path / "s", change))


def test_a_folder_without_dicom_is_refused_and_other_files_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing here")
    with pytest.raises(InputError, match="no DICOM image"):
        read_volume(tmp_path / "empty")
    folder = _series(tmp_path / "s")
    (folder / "notes.txt").write_text("nothing here")
    assert read_volume(folder).shape == (6, 4, 5)


def test_a_single_slice_takes_its_thickness_as_spacing(tmp_path: Path) -> None:
    _slice(0, STORED[0]).save_as(tmp_path / "one.dcm", enforce_file_format=True)
    image = read_volume(tmp_path / "one.dcm")
    assert image.shape == (6, 4, 1)
    assert image.spacing_mm[2] == 2.5


def test_a_series_of_labels_is_read_as_labels(tmp_path: Path) -> None:
    def change(index: int, ds: FileDataset) -> FileDataset:
        ds.RescaleIntercept, ds.Modality = 0, "OT"
        return ds

    read = read_labels(_series(tmp_path / "s", change))
    assert np.array_equal(read.labels, STORED.transpose(2, 1, 0)[::-1, ::-1])


def test_an_enhanced_multi_frame_file_is_read_like_its_slices(tmp_path: Path) -> None:
    ds = _slice(0, STORED[0], NumberOfFrames=5, SOPClassUID=EnhancedCTImageStorage, PixelData=STORED.tobytes())
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        delattr(ds, keyword)
    shared, groups = Dataset(), []
    shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])
    shared.PixelMeasuresSequence = Sequence([_item(PixelSpacing=[0.8, 0.7], SliceThickness=2.5)])
    shared.PixelValueTransformationSequence = Sequence([_item(RescaleSlope=1, RescaleIntercept=-1024)])
    for index in range(5):
        group = Dataset()
        group.PlanePositionSequence = Sequence([_item(ImagePositionPatient=[-10, -20, 100 + 2.5 * (4 - index)])])
        groups.append(group)
    ds.SharedFunctionalGroupsSequence, ds.PerFrameFunctionalGroupsSequence = Sequence([shared]), Sequence(groups)
    ds.save_as(tmp_path / "multi.dcm", enforce_file_format=True)
    image = read_volume(tmp_path / "multi.dcm")
    expected = STORED[::-1].transpose(2, 1, 0)[::-1, ::-1].astype(np.float32) - 1024
    assert np.array_equal(image.array, expected)
    assert image.spacing_mm == pytest.approx((0.7, 0.8, 2.5))


def test_frames_without_positions_are_refused(tmp_path: Path) -> None:
    ds = _slice(0, STORED[0], NumberOfFrames=5, PixelData=STORED.tobytes())
    ds.save_as(tmp_path / "multi.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="a position per frame"):
        read_volume(tmp_path / "multi.dcm")


def _item(**values: Any) -> pydicom.Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
