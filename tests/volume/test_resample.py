"""Resampling images, masks and labels between grids."""

from __future__ import annotations

import numpy as np
import pytest

from synth.errors import InputError
from synth.volume import Geometry, Mask, Volume, resample, resample_labels, resample_mask


def _ball(shape: tuple[int, int, int], radius: float) -> np.ndarray:
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    centre = [(n - 1) / 2 for n in shape]
    return sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2  # type: ignore[no-any-return]


def test_a_linear_ramp_stays_the_same_ramp_in_the_world() -> None:
    geometry = Geometry.regular((40, 30, 20), (2.0, 3.0, 4.0))
    world = geometry.world(np.moveaxis(np.indices(geometry.shape), 0, -1))
    image = Volume(world @ np.array([1.0, -2.0, 0.5]), geometry)
    target = geometry.with_spacing(5.0)
    out = resample(image, target)
    expected = target.world(np.moveaxis(np.indices(target.shape), 0, -1)) @ np.array([1.0, -2.0, 0.5])
    inner = (slice(3, -3),) * 3
    assert np.allclose(out.array[inner], expected[inner], atol=0.05)


def test_downsampling_averages_noise_away() -> None:
    rng = np.random.default_rng(0)
    geometry = Geometry.regular((64, 64, 64), 1.0)
    image = Volume(rng.standard_normal((64, 64, 64)), geometry)
    assert resample(image, geometry.with_spacing(4.0)).array.std() < 0.15
    assert resample(image, geometry.with_spacing(4.0), order=0).array.std() > 0.9


def test_outside_the_field_of_view_is_air_in_ct() -> None:
    geometry = Geometry.regular((10, 10, 10), 4.0)
    image = Volume(np.full((10, 10, 10), 40.0), geometry, "CT", "HU")
    wide = resample(image, Geometry.regular((20, 20, 20), 4.0))
    assert wide.array[0, 0, 0] == -1024
    assert (wide.array[5:15, 5:15, 5:15] == 40).all()
    assert (resample(image, Geometry.regular((20, 20, 20), 4.0), fill=7.0).array[0] == 7).all()
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    oblique = resample(image, Geometry((30, 30, 30), turned @ Geometry.regular((30, 30, 30), 4.0).affine))
    assert oblique.array[0, 0, 0] == -1024
    assert np.allclose(oblique.array[14:16, 14:16, 14:16], 40)


def test_the_same_grid_gives_the_image_back() -> None:
    image = Volume(np.ones((5, 5, 5)), Geometry.regular((5, 5, 5), 2.0))
    assert resample(image, Geometry.regular((5, 5, 5), 2.0)) is image


@pytest.mark.parametrize("spacing", [1.0, 1.7, 4.0, 6.5])
def test_a_large_mask_keeps_its_volume_and_place_at_any_spacing(spacing: float) -> None:
    geometry = Geometry.regular((60, 60, 60), 2.0)
    mask = Mask.from_dense(_ball((60, 60, 60), 20))
    target = geometry.with_spacing(spacing)
    out = resample_mask(mask, geometry, target)
    assert out.volume_ml(target) == pytest.approx(mask.volume_ml(geometry), rel=0.03)
    assert np.abs(out.centroid_mm(target) - mask.centroid_mm(geometry)).max() < 0.5


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_thin_cord_survives_a_coarse_grid_with_about_its_volume(width: int) -> None:
    geometry = Geometry.regular((48, 48, 48), 1.0)
    dense = np.zeros((48, 48, 48), bool)
    dense[20 : 20 + width, 22 : 22 + width, :] = True
    mask = Mask.from_dense(dense)
    target = geometry.with_spacing(4.0)
    out = resample_mask(mask, geometry, target)
    assert not out.is_empty
    assert 0.5 <= out.volume_ml(target) / mask.volume_ml(geometry) <= 2.0


def test_a_single_voxel_never_vanishes() -> None:
    geometry = Geometry.regular((40, 40, 40), 1.0)
    target = geometry.with_spacing(5.0)
    for index in ((0, 0, 0), (17, 3, 39), (22, 22, 22)):
        mask = Mask.from_box((40, 40, 40), index, np.ones((1, 1, 1), bool))
        out = resample_mask(mask, geometry, target)
        assert out.voxels == 1
        assert np.abs(out.centroid_mm(target) - mask.centroid_mm(geometry)).max() <= 2.5 + 1e-6


def test_a_mask_outside_the_target_is_empty() -> None:
    geometry = Geometry.regular((20, 20, 20), 2.0)
    far = geometry.affine.copy()
    far[0, 3] += 500
    mask = Mask.from_dense(np.ones((20, 20, 20), bool))
    assert resample_mask(mask, geometry, Geometry((20, 20, 20), far)).is_empty


def test_labels_go_to_whoever_fills_most_of_the_voxel() -> None:
    geometry = Geometry.regular((40, 40, 40), 1.0)
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[5:20, 5:35, 5:35] = 3
    labels[20:35, 5:35, 5:35] = 9
    target = geometry.with_spacing(5.0)
    out = resample_labels(labels, geometry, target)
    assert out.dtype == np.uint8
    assert set(np.unique(out)) == {0, 3, 9}
    assert (out[1:4, 1:7, 1:7] == 3).all()
    assert (out[4:7, 1:7, 1:7] == 9).all()
    assert np.array_equal(resample_labels(labels, geometry, geometry), labels)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected shape \(9, 9, 9\), got \(8, 8, 8\)"):
        resample_mask(Mask.empty((8, 8, 8)), Geometry.regular((9, 9, 9), 1.0), Geometry.regular((4, 4, 4), 2.0))
