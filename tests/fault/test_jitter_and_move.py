"""Jitter stays correct, moves go where they say."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from synth.errors import InputError
from synth.fault import jitter, move_onto, moved, moved_by_mm, random_move, random_shift, smooth_noise
from synth.volume import Geometry, Mask, read_labels

GRID = Geometry.regular((40, 36, 32), 4.0)
BODY = Mask.from_box(GRID.shape, (4, 4, 0), np.ones((32, 28, 32), bool))


def _ball(radius: float, centre: tuple[float, float, float] = (20, 18, 16)) -> Mask:
    grid = np.indices(GRID.shape)
    return Mask.from_dense(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2)


def _cord() -> Mask:
    return Mask.from_box(GRID.shape, (19, 10, 0), np.ones((3, 2, 32), bool))


@pytest.mark.parametrize(
    "mask", [_ball(9), _ball(4), _ball(2), _cord(), _ball(0.5)], ids=["9", "4", "2", "cord", "1 voxel"]
)
def test_jitter_never_falls_below_the_dice_bound_and_changes_what_it_can(mask: Mask) -> None:
    rng = np.random.default_rng(0)
    dice = [mask.dice(jitter(mask, GRID, rng)) for _ in range(30)]
    assert min(dice) >= 0.85
    if mask.voxels > 3:
        assert max(dice) < 1.0


def test_jitter_of_a_large_organ_uses_the_room_it_has() -> None:
    rng = np.random.default_rng(1)
    dice = [_ball(9).dice(jitter(_ball(9), GRID, rng)) for _ in range(30)]
    assert np.mean(dice) < 0.95
    assert np.std(dice) > 0.005


def test_jitter_is_unbiased_in_volume() -> None:
    rng = np.random.default_rng(2)
    ratio = [jitter(_ball(7), GRID, rng).voxels / _ball(7).voxels for _ in range(60)]
    assert 0.93 < np.mean(ratio) < 1.07


def test_jitter_keeps_its_bound_when_another_is_asked() -> None:
    rng = np.random.default_rng(3)
    assert min(_ball(6).dice(jitter(_ball(6), GRID, rng, 0.95)) for _ in range(20)) >= 0.95


def test_jitter_is_seeded_and_refuses_the_empty_mask() -> None:
    one, two = (jitter(_cord(), GRID, np.random.default_rng(7)) for _ in range(2))
    assert one == two
    with pytest.raises(InputError, match="an empty mask"):
        jitter(Mask.empty(GRID.shape), GRID, np.random.default_rng(0))


def test_jitter_is_fast() -> None:
    start = time.process_time()
    for seed in range(10):
        jitter(_ball(8), GRID, np.random.default_rng(seed))
    assert (time.process_time() - start) / 10 < 0.1


def test_the_noise_has_unit_variance_and_its_correlation_length() -> None:
    noise = smooth_noise((60, 60, 60), (4.0, 4.0, 4.0), 16.0, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1.0, abs=0.15)
    near = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]
    far = np.corrcoef(noise[16:].ravel(), noise[:-16].ravel())[0, 1]
    assert near > 0.9
    assert abs(far) < 0.15


def test_a_move_reports_what_it_lost() -> None:
    mask = Mask.from_box(GRID.shape, (36, 10, 10), np.ones((2, 4, 4), bool))
    result = moved(mask, (3, 0, 0), BODY)
    assert result.mask.voxels == 16
    assert result.outside_view == 0.5
    assert result.outside_body == 1.0
    assert moved(mask, (99, 0, 0)).mask.is_empty
    assert moved(mask, (0, 2, -1)).mask.origin == (36, 12, 9)


def test_a_vector_is_in_world_millimetres_even_on_an_oblique_grid() -> None:
    turn = np.array([[0, 1.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1]])
    grid = Geometry(GRID.shape, turn @ GRID.affine)
    result = moved_by_mm(_ball(4), grid, (12, -8, 4))
    assert np.allclose(result.mask.centroid_mm(grid) - _ball(4).centroid_mm(grid), (12, -8, 4))
    assert result.distance_mm == pytest.approx(np.sqrt(144 + 64 + 16))


@pytest.mark.parametrize("distance", [(8.0, 12.0), (16.0, 24.0), (32.0, 56.0)])
def test_random_moves_keep_the_distance_and_stay_in_the_body(distance: tuple[float, float]) -> None:
    rng = np.random.default_rng(0)
    mask = _ball(4)
    for _ in range(20):
        result = random_move(mask, GRID, BODY, distance, rng)
        assert result is not None
        gone = result.mask.centroid_mm(GRID) - mask.centroid_mm(GRID)
        assert result.outside_body <= 0.1
        assert distance[0] <= (result.distance_mm or 0) <= distance[1]
        if result.outside_view == 0:
            assert np.linalg.norm(gone) == pytest.approx(result.distance_mm)


def test_random_moves_go_in_every_direction() -> None:
    rng = np.random.default_rng(0)
    offsets = [random_move(_ball(2), GRID, BODY, (16, 24), rng) for _ in range(200)]
    directions = np.array([o.offset_voxels for o in offsets if o is not None], dtype=float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert np.abs(directions.mean(axis=0)).max() < 0.12
    assert np.allclose((directions**2).mean(axis=0), 1 / 3, atol=0.06)


def test_a_move_that_cannot_be_is_none() -> None:
    assert random_shift(BODY, GRID, BODY, (32, 56), np.random.default_rng(0)) is None
    assert random_shift(_ball(3), GRID, BODY, (8, 12), np.random.default_rng(0), avoid=[BODY]) is None
    with pytest.raises(InputError, match="low <= high"):
        random_shift(_ball(3), GRID, BODY, (12, 8), np.random.default_rng(0))


def test_move_onto_lands_on_the_target_and_keeps_its_distance_limit() -> None:
    target = _ball(7, (28, 18, 16))
    result = move_onto(_ball(3, (10, 18, 16)), GRID, target, BODY)
    assert result.mask.overlap(target) >= 0.9 * result.mask.voxels
    with pytest.raises(InputError, match="room for the mask"):
        move_onto(_ball(3, (10, 18, 16)), GRID, target, BODY, within_mm=20)


def test_every_structure_of_a_real_ct_can_be_jittered(shared_data: Path) -> None:
    labels, geometry = read_labels(shared_data / "totalsegmentator" / "example_seg_fast_force_split.nii.gz")
    rng = np.random.default_rng(0)
    for value in np.unique(labels)[1:]:
        mask = Mask.from_dense(labels == value)
        assert 0.85 <= mask.dice(jitter(mask, geometry, rng)) < 1.0
