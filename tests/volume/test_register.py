"""Registration: a known motion is found again, and an alignment never makes it worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from synth.errors import InputError
from synth.volume import Geometry, Mask, Volume, read_mask, read_volume, resample
from synth.volume.register import register

GRID = Geometry.regular((40, 36, 20), (2.0, 2.0, 4.0))


def head(seed: int = 0) -> Volume:
    """An ellipsoid with smooth structure inside."""
    grid = np.indices(GRID.shape) - (np.asarray(GRID.shape).reshape(3, 1, 1, 1) - 1) / 2
    radius = np.sqrt(
        ((grid * np.array([2, 2, 4.0]).reshape(3, 1, 1, 1) / np.array([34, 30, 34.0]).reshape(3, 1, 1, 1)) ** 2).sum(0)
    )
    texture = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(GRID.shape), (3, 3, 1.5))
    return Volume(np.where(radius < 1, 100 + 400 * texture, 0.0), GRID, "MR")


def moved_by(image: Volume, degrees: float, shift_mm: tuple[float, float, float]) -> tuple[Volume, np.ndarray]:
    """The same head seen after a motion, and the map from fixed to moving world points."""
    angle = np.radians(degrees)
    motion = np.eye(4)
    motion[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    motion[:3, 3] = shift_mm
    there = Volume(image.array, Geometry(image.shape, motion @ image.affine), "MR")
    return resample(there, image.geometry), motion


@pytest.mark.parametrize(("degrees", "shift"), [(0.0, (5.0, -3.0, 2.0)), (6.0, (-4.0, 2.0, 0.0))])
def test_a_known_motion_is_found_again(degrees: float, shift: tuple[float, float, float]) -> None:
    fixed = head()
    moving, motion = moved_by(fixed, degrees, shift)
    found = register(moving, fixed)
    points = np.array([[20.0, 0, 0, 1], [0, 20, 0, 1], [0, 0, 15, 1], [-15, -15, -10, 1]])
    error = np.linalg.norm(points @ (found.matrix - motion).T, axis=1)
    assert error.max() < 1.5  # mm, below a voxel
    assert found.after > found.before
    back = found.image(moving, fixed.geometry)
    inner = (slice(8, -8), slice(8, -8), slice(4, -4))
    assert np.corrcoef(back.array[inner].ravel(), fixed.array[inner].ravel())[0, 1] > 0.9


def test_masks_move_with_the_image() -> None:
    fixed = head()
    moving, _ = moved_by(fixed, 0.0, (8.0, 0.0, 0.0))
    spot = Mask.from_box(GRID.shape, (22, 16, 8), np.ones((4, 4, 3), bool))
    found = register(moving, fixed)
    assert found.mask(spot, moving.geometry, fixed.geometry).centroid_mm(GRID)[0] == pytest.approx(
        spot.centroid_mm(GRID)[0] - 8.0, abs=1.5
    )


def test_the_same_images_give_the_same_bytes_and_an_image_fits_itself() -> None:
    fixed = head()
    moving, _ = moved_by(fixed, 3.0, (2.0, 1.0, 0.0))
    one, other = (register(moving, fixed) for _ in range(2))
    assert one.matrix.tobytes() == other.matrix.tobytes()
    itself = register(fixed, fixed)
    assert np.abs(itself.matrix - np.eye(4)).max() < 0.05
    assert itself.after >= itself.before


def test_images_that_show_nothing_are_refused() -> None:
    flat = Volume(np.zeros(GRID.shape), GRID, "MR")
    with pytest.raises(InputError, match="moving image: expected different intensities"):
        register(flat, head())
    thin = head().cropped((slice(0, 40), slice(0, 36), slice(0, 2)))
    with pytest.raises(InputError, match="fixed image: expected at least 4 voxels"):
        register(head(), thin)


@pytest.mark.slow
def test_real_visits_come_closer(shared_data: Path) -> None:
    case = shared_data / "brain_tumor_progression" / "10"
    grid = Geometry.regular((256, 256, 20), (0.9, 0.9, 6.0))  # the header holds a placeholder
    first, second = (
        Volume(read_volume(case / f"visit{n}_t1post.nii.gz", modality="MR").array, grid, "MR") for n in (1, 2)
    )
    before, after = (read_mask(case / f"visit{n}_tumour.nii.gz")[0] for n in (1, 2))
    found = register(second, first)
    assert found.after > found.before + 0.2
    assert before.dice(found.mask(after, grid, grid)) > before.dice(after) + 0.2
