"""Geometry: where voxels are, and how two grids differ."""

from __future__ import annotations

import numpy as np
import pytest

from synth.errors import InputError
from synth.volume import Geometry, closest_axes, flipped_axes, to_ras


def _oblique() -> np.ndarray:
    angle = np.radians(20)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] = affine[:3, :3] @ np.diag([2.0, 3.0, 5.0])
    affine[:3, 3] = [-40, 10, 7]
    return affine


def test_world_and_voxel_are_inverses_on_an_oblique_grid() -> None:
    geometry = Geometry((10, 12, 14), _oblique())
    indices = np.array([[0, 0, 0], [9, 11, 13], [3, 4, 5]])
    assert np.allclose(geometry.voxel(geometry.world(indices)), indices)
    assert np.allclose(geometry.spacing_mm, (2, 3, 5))
    assert geometry.voxel_ml == pytest.approx(0.03)
    assert not geometry.is_diagonal


def test_axis_codes_name_the_closest_axes() -> None:
    assert closest_axes(np.diag([-1.0, -1.0, 1.0, 1.0])).codes == "LPS"
    swapped = np.array([[0, 0, 2.0, 0], [3.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])
    assert closest_axes(swapped).codes == "AIR"
    assert closest_axes(_oblique()).codes == "RAS"


def test_the_json_form_comes_back_exactly() -> None:
    geometry = Geometry((10, 12, 14), _oblique())
    assert Geometry.from_json(geometry.to_json()) == geometry
    with pytest.raises(InputError, match="expected shape"):
        Geometry.from_json({"shape": [1, 2]})


def test_with_spacing_keeps_the_field_of_view() -> None:
    geometry = Geometry.regular((30, 40, 50), 3.0)
    coarse = geometry.with_spacing(4.5)
    assert coarse.spacing_mm == (4.5, 4.5, 4.5)
    assert np.abs(coarse.corners_mm() - geometry.corners_mm()).max() <= 4.5 / 2
    assert geometry.with_spacing(3.0).matches(geometry)


def test_differences_are_put_in_words() -> None:
    geometry = Geometry.regular((10, 10, 10), 2.0)
    moved = geometry.affine.copy()
    moved[0, 3] += 5
    assert geometry.describe_difference(geometry) is None
    assert "shape (10, 10, 9)" in str(geometry.describe_difference(Geometry.regular((10, 10, 9), 2.0)))
    assert "spacing" in str(geometry.describe_difference(Geometry.regular((10, 10, 10), 3.0)))
    assert "axes LAS" in str(geometry.describe_difference(Geometry((10, 10, 10), np.diag([-2.0, 2, 2, 1]))))
    assert "origin off by 5x0x0 mm" in str(geometry.describe_difference(Geometry((10, 10, 10), moved)))


@pytest.mark.parametrize(
    "affine",
    [np.zeros((4, 4)), np.full((4, 4), np.nan), np.diag([1e-5, 1, 1, 1]), np.diag([900.0, 1, 1, 1]), np.eye(3)],
)
def test_an_affine_that_cannot_be_is_refused(affine: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected"):
        Geometry((4, 4, 4), affine)


def test_a_flat_grid_is_refused() -> None:
    flat = np.eye(4)
    flat[:3, 1] = flat[:3, 0]
    with pytest.raises(InputError, match="three independent axes"):
        Geometry((4, 4, 4), flat)


def test_reorienting_leaves_every_voxel_in_its_place() -> None:
    rng = np.random.default_rng(0)
    array = rng.random((3, 4, 5))
    affine = np.array([[0, 0, -2.0, 9], [-3.0, 0, 0, 1], [0, 1.5, 0, -4], [0, 0, 0, 1]])
    turned = to_ras(array, affine)
    assert closest_axes(turned.affine).codes == "RAS"
    before = Geometry((3, 4, 5), affine)
    shape = (turned.array.shape[0], turned.array.shape[1], turned.array.shape[2])
    after = Geometry(shape, turned.affine)
    for index in np.ndindex(3, 4, 5):
        there = tuple(np.rint(after.voxel(before.world(index))).astype(int))
        assert turned.array[there] == array[index]


def test_an_affine_of_the_wrong_sign_is_recognised_and_a_plain_shift_is_not() -> None:
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    image = Geometry((10, 11, 12), affine)
    wrong = to_ras(np.zeros((10, 11, 12)), affine @ np.diag([1, -1.0, 1, 1]))
    assert flipped_axes(image, Geometry((10, 11, 12), wrong.affine)) == ("front-back",)
    shifted = affine.copy()
    shifted[1, 3] = 6
    assert flipped_axes(image, Geometry((10, 11, 12), shifted)) == ()
    assert flipped_axes(image, image) == ()


def test_a_cropped_geometry_keeps_places() -> None:
    geometry = Geometry((10, 12, 14), _oblique())
    part = geometry.cropped((slice(2, 5), slice(3, 9), slice(1, 14)))
    assert part.shape == (3, 6, 13)
    assert np.allclose(part.world([0, 0, 0]), geometry.world([2, 3, 1]))
