"""NRRD in: spaces, encodings, and the files that must be refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest

from synth.errors import InputError
from synth.volume import read_labels, read_volume


def _write(path: Path, array: np.ndarray, **changes: Any) -> Path:
    header: dict[str, Any] = {
        "space": "left-posterior-superior",
        "space directions": np.diag([2.0, 3.0, 4.0]),
        "space origin": [10.0, 20.0, 30.0],
        "kinds": ["domain"] * 3,
    }
    header |= changes
    nrrd.write(str(path), array, {k: v for k, v in header.items() if v is not None})
    return path


ARRAY = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_left_posterior_superior_becomes_ras(tmp_path: Path, encoding: str) -> None:
    image = read_volume(_write(tmp_path / "a.nrrd", ARRAY, encoding=encoding))
    assert image.meta["original_axes"] == "LPS"
    assert np.array_equal(image.array, ARRAY[::-1, ::-1])
    assert image.spacing_mm == (2.0, 3.0, 4.0)
    # Voxel 0 of the file is 10 mm left, 20 mm behind, 30 mm up: in RAS the last voxel along x and y.
    assert np.allclose(image.geometry.world([3, 4, 0]), (-10, -20, 30))


@pytest.mark.parametrize(
    ("space", "place"), [("right-anterior-superior", (10, 20, 30)), ("left-anterior-superior", (-10, 20, 30))]
)
def test_other_spaces_are_honoured(tmp_path: Path, space: str, place: tuple[int, int, int]) -> None:
    image = read_volume(_write(tmp_path / "a.nrrd", ARRAY, space=space))
    first = np.argwhere(image.array == ARRAY[0, 0, 0])
    assert any(np.allclose(image.geometry.world(index), place) for index in first)


def test_big_endian_and_detached_data_are_read(tmp_path: Path) -> None:
    _write(tmp_path / "a.nhdr", ARRAY, encoding="raw", endian="big")
    assert (tmp_path / "a.raw").exists()
    assert np.array_equal(read_volume(tmp_path / "a.nhdr").array, ARRAY[::-1, ::-1])


def test_labels_are_read_from_nrrd(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 5, (4, 5, 6)).astype(np.uint8)
    read = read_labels(_write(tmp_path / "a.nrrd", labels))
    assert np.array_equal(read.labels, labels[::-1, ::-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": None, "space dimension": 3}, "no space"),
        ({"space": "scanner-xyz"}, "space 'scanner-xyz'"),
        ({"space origin": None}, "three space directions and an origin"),
        ({"encoding": "ascii"}, "raw, gzip or bzip2"),
    ],
)
def test_headers_without_what_is_needed_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_volume(_write(tmp_path / "a.nrrd", ARRAY, **changes))


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_truncated_data_is_refused(tmp_path: Path, encoding: str) -> None:
    path = _write(tmp_path / "a.nrrd", ARRAY, encoding=encoding)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="copy the file again"):
        read_volume(path)


def test_a_header_that_promises_gigabytes_is_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.nrrd", ARRAY, encoding="gzip")
    path.write_bytes(path.read_bytes().replace(b"sizes: 4 5 6", b"sizes: 800 800 800"))
    with pytest.raises(InputError, match="bytes of voxels as its header says"):
        read_volume(path)
    path.write_bytes(path.read_bytes().replace(b"sizes: 800 800 800", b"sizes: 8000 8000 8000"))
    with pytest.raises(InputError, match="at most 536,870,912 voxels"):
        read_volume(path)


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret.raw", "sub/a.raw"])
def test_data_outside_the_folder_of_the_header_is_refused(tmp_path: Path, target: str) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    (tmp_path / "secret.raw").write_bytes(ARRAY.tobytes())
    (folder / "sub").mkdir()
    (folder / "sub" / "a.raw").write_bytes(ARRAY.tobytes())
    _write(folder / "a.nhdr", ARRAY, encoding="raw")
    text = (folder / "a.nhdr").read_bytes().replace(b"data file: a.raw", f"data file: {target}".encode())
    (folder / "a.nhdr").write_bytes(text)
    with pytest.raises(InputError, match="a data file in the header's folder"):
        read_volume(folder / "a.nhdr")


def test_what_is_no_nrrd_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nrrd").write_bytes(b"not at all")
    with pytest.raises(InputError, match="an NRRD header"):
        read_volume(tmp_path / "a.nrrd")
