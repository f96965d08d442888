"""Holes and the boxes they are looked at in."""

from __future__ import annotations

import numpy as np
import pytest

from synth.decoder.holes import hole_around, hole_in_box, put_back, take
from synth.volume import Mask


@pytest.mark.parametrize("origin", [(0, 0, 0), (7, 3, 11), (14, 14, 14)])
def test_the_box_divides_and_holds_mask_margin_and_context(origin: tuple[int, int, int]) -> None:
    mask = Mask.from_box((20, 20, 20), origin, np.ones((5, 4, 3), bool))
    hole = hole_around(mask, margin=2, context=8, multiple=8)
    for axis, window in enumerate(hole.box):
        assert (window.stop - window.start) % 8 == 0
        assert window.start <= origin[axis] - 10
        assert window.stop >= origin[axis] + mask.box.shape[axis] + 10
    assert hole.core.sum() == mask.voxels
    assert (hole.hidden & hole.core).sum() == mask.voxels < hole.hidden.sum()


def test_taking_a_box_and_putting_it_back_is_the_identity_on_the_grid() -> None:
    array = np.arange(6 * 5 * 4, dtype=np.float32).reshape(6, 5, 4)
    box = (slice(-3, 5), slice(2, 10), slice(-2, 6))
    taken = take(array, box, fill=-1.0)
    assert taken.shape == (8, 8, 8)
    inner, within = put_back(box, array.shape)
    assert np.array_equal(taken[within], array[inner])
    outside = np.ones(taken.shape, bool)
    outside[within] = False
    assert (taken[outside] == -1.0).all()


def test_a_box_wholly_outside_the_grid_is_all_fill() -> None:
    taken = take(np.zeros((4, 4, 4), np.float32), (slice(10, 18), slice(0, 8), slice(0, 8)), fill=7.0)
    assert taken.shape == (8, 8, 8)
    assert (taken == 7.0).all()


def test_what_lies_outside_the_box_is_cut_off() -> None:
    mask = Mask.from_box((20, 20, 20), (0, 0, 0), np.ones((10, 10, 10), bool))
    hole = hole_in_box(mask, (slice(5, 13), slice(0, 8), slice(0, 8)))
    assert hole.core.sum() == 5 * 8 * 8
