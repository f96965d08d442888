"""Masks: cropped storage that behaves like the dense array."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from synth.errors import InputError
from synth.volume import Geometry, Mask, dilated, eroded, signed_distance

DENSE = arrays.arrays(bool, (4, 5, 6), elements=st.booleans())


@given(DENSE, DENSE)
@settings(max_examples=60, deadline=None)
def test_set_operations_agree_with_the_dense_arrays(a: np.ndarray, b: np.ndarray) -> None:
    one, two = Mask.from_dense(a), Mask.from_dense(b)
    assert np.array_equal(one.dense(), a)
    assert np.array_equal((one & two).dense(), a & b)
    assert np.array_equal((one | two).dense(), a | b)
    assert np.array_equal((one - two).dense(), a & ~b)
    assert one.overlap(two) == int((a & b).sum())
    assert one.voxels == int(a.sum())
    assert (one == two) == bool((a == b).all())
    window = (slice(1, 3), slice(0, 4), slice(2, 6))
    assert np.array_equal(one.crop(window), a[window])
    assert pickle.loads(pickle.dumps(one)) == one


def test_the_box_is_tight_and_read_only() -> None:
    dense = np.zeros((9, 9, 9), bool)
    dense[2:5, 3, 7:9] = True
    mask = Mask.from_dense(dense)
    assert (mask.origin, mask.box.shape) == ((2, 3, 7), (3, 1, 2))
    assert mask.touches_border
    assert mask.border_faces == {(2, "last")}
    with pytest.raises(ValueError, match="read-only"):
        mask.box[0, 0, 0] = False


def test_an_empty_mask_has_no_box_and_no_centroid() -> None:
    empty = Mask.empty((4, 4, 4))
    assert empty.is_empty
    assert not empty.touches_border
    assert empty == Mask.from_dense(np.zeros((4, 4, 4)))
    assert empty.dice(empty) == 1.0
    with pytest.raises(InputError, match="an empty mask"):
        empty.centroid_voxel()


def test_centroid_values_and_volume() -> None:
    dense = np.zeros((8, 8, 8), bool)
    dense[1:4, 2:4, 5] = True
    mask = Mask.from_dense(dense)
    geometry = Geometry((8, 8, 8), np.diag([2.0, 3.0, 4.0, 1.0]))
    assert np.allclose(mask.centroid_voxel(), np.argwhere(dense).mean(axis=0))
    assert np.allclose(mask.centroid_mm(geometry), (4.0, 7.5, 20.0))
    assert mask.volume_ml(geometry) == pytest.approx(6 * 24 / 1000)
    image = np.arange(512.0).reshape(8, 8, 8)
    assert np.array_equal(mask.values(image), image[dense])
    assert np.array_equal(mask.indices(), np.argwhere(dense))


def test_masks_of_other_grids_and_other_values_are_refused() -> None:
    mask = Mask.empty((4, 4, 4))
    with pytest.raises(InputError, match=r"expected shape \(4, 4, 4\)"):
        mask.overlap(Mask.empty((4, 4, 5)))
    with pytest.raises(InputError, match="values 0 and 1"):
        Mask.from_dense(np.full((2, 2, 2), 3))
    with pytest.raises(InputError, match="3-D"):
        Mask.from_dense(np.ones((2, 2)))
    with pytest.raises(InputError, match="inside"):
        Mask.from_box((4, 4, 4), (3, 0, 0), np.ones((2, 1, 1), bool))


def test_cropping_a_dense_96_cube_takes_about_a_millisecond() -> None:
    dense = np.zeros((96, 96, 96), bool)
    dense[20:70, 15:80, 30:60] = True
    best = min(_seconds(dense) for _ in range(20))
    assert best < 3e-3


def _seconds(dense: np.ndarray) -> float:
    start = time.perf_counter()
    Mask.from_dense(dense)
    return time.perf_counter() - start


def test_signed_distance_of_a_cube_is_known() -> None:
    mask = Mask.from_box((20, 20, 20), (5, 5, 5), np.ones((7, 7, 7), bool))
    geometry = Geometry.regular((20, 20, 20), 2.0)
    field = signed_distance(mask, geometry, margin_mm=6.0)
    dense = np.full((20, 20, 20), -np.inf)
    dense[field.slices] = field.values
    assert dense[8, 8, 8] == 7.0
    assert dense[5, 8, 8] == 1.0
    assert dense[4, 8, 8] == -1.0
    assert dense[3, 8, 8] == -3.0


def test_growing_then_shrinking_a_cube_gives_it_back() -> None:
    mask = Mask.from_box((20, 20, 20), (5, 5, 5), np.ones((7, 7, 7), bool))
    geometry = Geometry.regular((20, 20, 20), 2.0)
    assert dilated(mask, geometry, 1.5).box.shape == (9, 9, 9)
    assert eroded(mask, geometry, 1.5).box.shape == (5, 5, 5)
    assert eroded(dilated(mask, geometry, 1.5), geometry, 1.5) == mask
    assert eroded(mask, geometry, 50.0).is_empty


def test_the_border_of_the_field_of_view_is_no_surface() -> None:
    """An organ cut by the last slice goes on beyond it: shrinking must not eat the cut face."""
    mask = Mask.from_box((20, 20, 10), (5, 5, 0), np.ones((7, 7, 10), bool))
    shrunk = eroded(mask, Geometry.regular((20, 20, 10), 2.0), 1.5)
    assert shrunk.box.shape == (5, 5, 10)
