"""The matched filter of benchmarks/matched_filter.py on images where the answer is known."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from synth.parse import Entity, Parse
from synth.volume import Geometry, Mask, Volume

SHAPE, GRID = (32, 32, 32), Geometry.regular((32, 32, 32), 4.0)


@pytest.fixture(scope="module")
def filters(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("matched_filter")


def _case(*, off_hu: float) -> tuple[Volume, Mask, Mask]:
    """A liver of 100 HU with noise, a ball of another brightness in it, and the ball's mask."""
    x, y, z = np.meshgrid(*(np.arange(32),) * 3, indexing="ij")
    ball = (x - 14) ** 2 + (y - 16) ** 2 + (z - 16) ** 2 <= 9
    hu = np.random.default_rng(0).normal(100.0, 10.0, SHAPE).astype(np.float32)
    hu[ball] += off_hu
    liver = Mask.from_box(SHAPE, (4, 4, 4), np.ones((24, 24, 24), bool))
    return Volume(hu, GRID, "CT", "HU"), liver, Mask.from_dense(ball)


def _parse(liver: Mask, lesion: Mask | None) -> Parse:
    entities, masks = [Entity(id="liver", name="liver")], {"liver": liver}
    if lesion is not None:
        entities, masks = [*entities, Entity(id="m", name="metastasis")], {**masks, "m": lesion}
    return Parse(entities, geometry=GRID, masks=masks)


@pytest.mark.parametrize("off_hu", [-60.0, 60.0])
def test_a_ball_that_is_left_out_answers_and_one_that_is_drawn_does_not(filters: ModuleType, off_hu: float) -> None:
    image, liver, ball = _case(off_hu=off_hu)
    out = filters.answers(image, _parse(liver, None))
    drawn = filters.answers(image, _parse(liver - ball, ball))
    assert out["plain", 0] == pytest.approx(60.0, abs=8.0)
    assert out["contrast", 0] > 30.0
    assert all(out[way] > 3 * drawn[way] for way in out)


def test_the_hole_that_an_outline_leaves_around_a_lesion_is_closed(filters: ModuleType) -> None:
    image, liver, ball = _case(off_hu=-60.0)
    hole = filters.answers(image, _parse(liver - ball, None))
    assert hole["plain", 0] == pytest.approx(60.0, abs=8.0)


def test_means_are_over_the_voxels_of_the_zone_alone(filters: ModuleType) -> None:
    off, zone = np.zeros((9, 9, 9)), np.zeros((9, 9, 9), bool)
    zone[:5], off[:5], off[5:] = True, 3.0, 1000.0
    mean, share = filters.means(off, zone, np.ones((3, 3, 3), bool))
    assert mean[4, 4, 4] == pytest.approx(3.0)
    assert share[4, 4, 4] == pytest.approx(2 / 3)
