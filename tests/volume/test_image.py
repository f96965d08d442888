"""Volumes in memory, and the tissues read off their Hounsfield units."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import synth
from synth.errors import InputError
from synth.volume import Geometry, Volume, body_mask, tissue_masks

GRID = Geometry.regular((40, 40, 30), 4.0)


def _patient() -> Volume:
    """A fat cylinder with a soft core, two bones and a lung, on a table."""
    x, y, _ = np.indices(GRID.shape)
    array = np.full(GRID.shape, -1000.0)
    radius = np.hypot(x - 19.5, y - 22)
    array[radius < 14] = -100
    array[radius < 11] = 40
    array[np.hypot(x - 25, y - 22) < 3.5] = -800
    array[np.hypot(x - 19.5, y - 15) < 2.5] = 500
    array[:, 4:6, :] = -250
    array[2:38, 3, :] = 300
    return Volume(array, GRID, "CT", "HU")


def test_an_image_is_read_only_and_checked() -> None:
    image = _patient()
    with pytest.raises(ValueError, match="read-only"):
        image.array[0, 0, 0] = 1
    with pytest.raises(InputError, match="of its geometry"):
        Volume(np.zeros((3, 3, 3)), GRID)
    with pytest.raises(InputError, match="expected RAS, got LAS"):
        Volume(np.zeros((3, 3, 3)), Geometry((3, 3, 3), np.diag([-1.0, 1, 1, 1])))
    with pytest.raises(InputError, match="NaN"):
        Volume(np.full(GRID.shape, np.inf), GRID)


def test_the_hash_is_of_content_and_place() -> None:
    image = _patient()
    assert image.sha256() == _patient().sha256()
    assert pickle.loads(pickle.dumps(image)).sha256() == image.sha256()
    changed = image.array.copy()
    changed[0, 0, 0] += 1
    assert image.with_array(changed).sha256() != image.sha256()
    moved = Geometry(GRID.shape, GRID.affine + np.eye(4)[:, [3, 3, 3, 3]] * 0 + np.pad([[1.0]], ((0, 3), (3, 0))))
    assert Volume(image.array, moved, "CT", "HU").sha256() != image.sha256()


def test_the_body_has_its_lungs_and_not_the_table() -> None:
    body = body_mask(_patient()).dense()
    assert body[25, 22, 15]
    assert not body[:, :6].any()
    expected = int((np.hypot(*np.ogrid[-19.5:20, -22:18]) < 14).sum()) * 30
    assert abs(int(body.sum()) - expected) / expected < 0.05


def test_tissues_are_found_by_threshold_within_the_body() -> None:
    image = _patient()
    tissues = tissue_masks(image)
    assert set(tissues) == {"body", "fat", "bone", "air"}
    assert np.all(tissues["fat"].values(image.array) == -100)
    assert np.all(tissues["bone"].values(image.array) == 500)
    assert np.all(tissues["air"].values(image.array) == -800)


def test_tissues_need_hounsfield_units_and_a_body_needs_something() -> None:
    with pytest.raises(InputError, match="a CT in HU"):
        tissue_masks(Volume(np.ones(GRID.shape), GRID, "MR"))
    with pytest.raises(InputError, match="body"):
        body_mask(Volume(np.full(GRID.shape, -1000.0), GRID, "CT", "HU"))


def test_volumes_imports_and_faults_load_no_torch() -> None:
    assert _run("import synth.volume, synth.interop, synth.fault; assert 'torch' not in sys.modules") == 0


def test_the_import_test_can_fail() -> None:
    assert _run("import sys; sys.modules['torch'] = sys; assert 'torch' not in sys.modules") != 0


def _run(code: str) -> int:
    """Exit code of a fresh interpreter that finds this package where the test found it."""
    root = str(Path(synth.__file__).parent.parent)
    code = f"import sys; sys.path.insert(0, {root!r}); {code}"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
