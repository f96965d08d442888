"""NIfTI in and out, and the files that must be refused."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from synth.errors import InputError
from synth.volume import (
    Geometry,
    Mask,
    Volume,
    read_label_names,
    read_labels,
    read_mask,
    read_volume,
    write_labels,
    write_mask,
    write_volume,
)


def _image(seed: int = 0, shape: tuple[int, int, int] = (6, 7, 8)) -> Volume:
    array = np.random.default_rng(seed).normal(-200, 400, shape)
    array[0] = -1000
    return Volume(array, Geometry.regular(shape, (2.0, 2.5, 3.0)), "CT", "HU")


def _save(path: Path, array: np.ndarray, affine: np.ndarray | None, *, sform: int = 1, qform: int = 1) -> Path:
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    image.set_sform(image.affine, code=sform)
    image.set_qform(image.affine, code=qform)
    path.write_bytes(gzip.compress(image.to_bytes()) if path.name.endswith(".gz") else image.to_bytes())
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_an_image_survives_the_round_trip_exactly(tmp_path: Path, name: str) -> None:
    image = _image()
    write_volume(image, tmp_path / name)
    again = read_volume(tmp_path / name)
    assert np.array_equal(again.array, image.array)
    assert again.geometry.matches(image.geometry)
    assert (again.modality, again.unit) == ("CT", "HU")


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    write_volume(_image(), tmp_path / "a.nii.gz")
    time.sleep(1.1)
    write_volume(_image(), tmp_path / "other.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "other.nii.gz").read_bytes()


def test_whole_numbers_are_stored_in_two_bytes_and_keep_the_hash(tmp_path: Path) -> None:
    image = _image().with_array(np.rint(_image().array))
    write_volume(image, tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == np.int16
    assert read_volume(tmp_path / "a.nii.gz").array.tobytes() == image.array.tobytes()


def test_a_synthetic_image_says_so_in_its_header(tmp_path: Path) -> None:
    write_volume(_image(), tmp_path / "a.nii.gz", synthetic="seed 3, direct")
    write_volume(_image(), tmp_path / "b.nii.gz")
    assert read_volume(tmp_path / "a.nii.gz").meta["synthetic"] == "seed 3, direct"
    assert "synthetic" not in read_volume(tmp_path / "b.nii.gz").meta


def test_any_orientation_comes_back_as_ras_in_the_same_place(tmp_path: Path) -> None:
    image = _image()
    original = nib.Nifti1Image(np.asarray(image.array), image.affine)
    for codes in ("LPS", "PIR", "ASL"):
        turn = nib.orientations.ornt_transform(
            nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
        )
        nib.save(original.as_reoriented(turn), tmp_path / "turned.nii.gz")
        again = read_volume(tmp_path / "turned.nii.gz")
        assert again.meta["original_axes"] == codes
        assert np.array_equal(again.array, image.array)
        assert again.geometry.matches(image.geometry)


def test_labels_and_masks_survive(tmp_path: Path) -> None:
    geometry = Geometry.regular((6, 7, 8), 2.0)
    labels = np.random.default_rng(1).integers(0, 300, geometry.shape)
    write_labels(labels, geometry, tmp_path / "l.nii.gz")
    again, there = read_labels(tmp_path / "l.nii.gz")
    assert np.array_equal(again, labels)
    assert there.matches(geometry)
    mask = Mask.from_dense(labels > 250)
    write_mask(mask, geometry, tmp_path / "m.nii.gz")
    assert read_mask(tmp_path / "m.nii.gz")[0] == mask
    with pytest.raises(InputError, match="one mask of 0 and 1"):
        read_mask(tmp_path / "l.nii.gz")


def test_scaled_and_float_labels_are_read_and_fractions_refused(tmp_path: Path) -> None:
    labels = np.arange(27, dtype=np.float32).reshape(3, 3, 3)
    assert np.array_equal(read_labels(_save(tmp_path / "f.nii.gz", labels, None)).labels, labels)
    with pytest.raises(InputError, match="whole numbers"):
        read_labels(_save(tmp_path / "g.nii.gz", labels + 0.5, None))
    with pytest.raises(InputError, match="labels from 0 up"):
        read_labels(_save(tmp_path / "h.nii.gz", labels - 5, None))


def test_the_header_unit_is_honoured(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.diag([0.002, 0.002, 0.003, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "m.nii.gz")
    assert read_volume(tmp_path / "m.nii.gz").spacing_mm == pytest.approx((2, 2, 3))


def test_a_single_fourth_dimension_is_dropped_and_a_series_refused(tmp_path: Path) -> None:
    assert read_volume(_save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5, 1), np.int16), None)).shape == (3, 4, 5)
    with pytest.raises(InputError, match="one 3-D volume, got size 3x4x5x2"):
        read_volume(_save(tmp_path / "b.nii.gz", np.zeros((3, 4, 5, 2), np.int16), None))


def test_a_missing_affine_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.int16), None, sform=0, qform=0)
    with pytest.raises(InputError, match="expected an orientation, got sform and qform codes of 0; write the sform"):
        read_volume(path)


def test_forms_that_disagree_on_the_axes_are_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    image.set_qform(np.diag([-1.0, 1, 1, 1]), code=1)
    image.set_sform(np.eye(4), code=1)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="sform and qform that agree, got RAS and LAS"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("keep", [0, 3, 100, 351, 400])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_truncated_file_is_refused_wherever_it_is_cut(tmp_path: Path, name: str, keep: int) -> None:
    write_volume(_image(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:keep])
    with pytest.raises(InputError, match="copy the file again"):
        read_volume(tmp_path / name)


def test_a_gzip_cut_near_its_end_is_refused(tmp_path: Path) -> None:
    write_volume(_image(), tmp_path / "a.nii.gz")
    whole = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(InputError, match="a complete NIfTI file"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("name", "size"), [("a.nii", (500, 500, 1000)), ("a.nii.gz", (500, 500, 1000)), ("b.nii", (2000, 2000, 1300))]
)
def test_a_header_of_gigabytes_on_a_kilobyte_is_refused_without_taking_memory(
    tmp_path: Path, name: str, size: tuple[int, int, int]
) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape(size)
    header.set_data_dtype(np.float64)
    header.set_sform(np.eye(4), code=1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    data = header.binaryblock + bytes(1024 - 348)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"bytes of voxels as its header says|at most 536,870,912 voxels"):
        read_volume(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_an_extension_that_claims_gigabytes_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 40))
    data = bytearray(image.to_bytes())
    data[352:356] = (2**31 - 16).to_bytes(4, "little")
    (tmp_path / "a.nii").write_bytes(bytes(data))
    with pytest.raises(InputError, match="extension"):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("junk", [b"", b"hello", b"\x1f\x8b" + b"junk" * 50, bytes(2000), b"\xff" * 2000])
def test_what_is_no_nifti_is_refused(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "a.nii.gz").write_bytes(junk)
    with pytest.raises(InputError, match="expected"):
        read_volume(tmp_path / "a.nii.gz")


def test_colour_and_complex_voxels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="numbers as voxels"):
        read_volume(_save(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.complex64), None))


def test_voxels_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    array = np.zeros((3, 4, 5), np.float32)
    array[1, 1, 1] = np.nan
    with pytest.raises(InputError, match="1 NaN or infinite voxels"):
        read_volume(_save(tmp_path / "a.nii.gz", array, None))


def test_missing_files_and_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing there"):
        read_volume(tmp_path / "none.nii.gz")
    (tmp_path / "a.png").write_bytes(b"\x89PNG" + bytes(200))
    with pytest.raises(InputError, match="convert the image to NIfTI"):
        read_volume(tmp_path / "a.png")


def test_the_modality_is_guessed_from_air_and_can_be_stated(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii.gz", np.full((3, 4, 5), 100, np.int16), None)
    assert read_volume(path).modality == "unknown"
    stated = read_volume(path, modality="MR")
    assert (stated.modality, stated.unit, stated.meta["modality_source"]) == ("MR", "au", "stated")
    with pytest.raises(InputError, match="CT, MR or unknown"):
        read_volume(path, modality="PET")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    write_volume(_image(), tmp_path / "a.nii.gz")
    before = (tmp_path / "a.nii.gz").read_bytes()
    with pytest.raises(InputError, match=r"ending in \.nii\.gz"):
        write_volume(_image(), tmp_path / "a.txt")
    with pytest.raises(InputError, match="whole numbers"):
        write_labels(np.full((6, 7, 8), 0.5), _image().geometry, tmp_path / "a.nii.gz")
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_an_interrupted_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_volume(_image(), tmp_path / "a.nii.gz")
    before = (tmp_path / "a.nii.gz").read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space"):
        write_volume(_image(1), tmp_path / "a.nii.gz")
    monkeypatch.undo()
    assert (tmp_path / "a.nii.gz").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_label_names_are_read_from_the_header(shared_data: Path) -> None:
    names = read_label_names(shared_data / "totalsegmentator" / "example_seg_fast_force_split.nii.gz")
    assert len(names) == 117
    assert (names[1], names[5]) == ("spleen", "liver")
    assert read_label_names(shared_data / "totalsegmentator" / "example_ct.nii.gz") == {}


def test_the_real_ct_is_read_in_hounsfield_units(shared_data: Path) -> None:
    image = read_volume(shared_data / "totalsegmentator" / "example_ct.nii.gz")
    assert (image.shape, image.modality, image.spacing_mm) == ((122, 101, 112), "CT", (3.0, 3.0, 3.0))
    torso = read_volume(shared_data / "torso_ct" / "ct.nii.gz")
    assert torso.meta["original_axes"] == "LPS"
    assert torso.geometry.axis_codes == "RAS"
