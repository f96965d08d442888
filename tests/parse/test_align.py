"""Two visits aligned by their organs: what moved is brought back, and one wrong organ does not decide."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from synth.parse import Entity, Parse
from synth.parse.align import rigid_by_organs, shared_dice
from synth.volume import Geometry, Mask

GRID = Geometry.regular((48, 44, 40), 4.0)
CENTRES = {"liver": (34, 24, 22), "spleen": (12, 18, 26), "kidney_left": (15, 12, 14), "aorta": (24, 14, 20)}


def drawn(centres: dict[str, tuple[float, float, float]], grid: Geometry = GRID) -> Parse:
    steps = np.indices(GRID.shape)
    masks = {
        name: Mask.from_dense(np.linalg.norm(steps - np.reshape(at, (3, 1, 1, 1)), axis=0) < 4.5)
        for name, at in centres.items()
    }
    return Parse([Entity(id=name, name=name) for name in centres], geometry=grid, masks=masks)


def turned() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", 6, degrees=True).as_matrix()
    matrix[:3, 3] = (9.0, -5.0, 12.0)
    return matrix


def test_a_turn_and_a_shift_are_found_and_undone() -> None:
    now, motion = drawn(CENTRES), turned()
    before = drawn(CENTRES, Geometry(GRID.shape, motion @ GRID.affine))
    found = rigid_by_organs(before, now)
    assert found is not None
    assert np.allclose(found, motion, atol=1e-6)
    back = before.replace(geometry=Geometry(GRID.shape, np.linalg.inv(found) @ before.geometry.affine))
    assert min(shared_dice(back, now).values()) > 0.999
    assert max(shared_dice(before, now).values()) < 0.7


def test_an_organ_drawn_in_the_wrong_place_moves_little() -> None:
    now = drawn({**CENTRES, "stomach": (20, 30, 26), "gallbladder": (30, 32, 14)})
    off = drawn({**CENTRES, "stomach": (20, 30, 26), "gallbladder": (14, 32, 30)})
    found = rigid_by_organs(off, now)
    assert found is not None
    dice = shared_dice(off.replace(geometry=Geometry(GRID.shape, np.linalg.inv(found) @ GRID.affine)), now)
    assert dice["gallbladder"] == 0.0
    assert min(value for name, value in dice.items() if name != "gallbladder") > 0.5


def test_three_organs_are_too_few() -> None:
    few = {name: CENTRES[name] for name in ("liver", "spleen", "aorta")}
    assert rigid_by_organs(drawn(few), drawn(few)) is None


def test_an_organ_cut_by_the_border_does_not_count() -> None:
    cut = {**CENTRES, "aorta": (24, 14, 1)}
    assert rigid_by_organs(drawn(cut), drawn(CENTRES)) is None


def test_organs_that_are_mixed_up_turn_nobody_round() -> None:
    mirrored = {name: (47 - x, 43 - y, z) for name, (x, y, z) in CENTRES.items()}
    found = rigid_by_organs(drawn(mirrored), drawn(CENTRES))
    assert found is not None
    assert np.allclose(found[:3, :3], np.eye(3))


def test_organs_of_one_name_are_not_compared() -> None:
    twice = drawn(CENTRES).with_entity(Entity(id="other", name="liver"), drawn(CENTRES).masks["spleen"])
    assert "liver" not in shared_dice(twice, drawn(CENTRES))
    assert shared_dice(twice, drawn(CENTRES))["aorta"] == pytest.approx(1.0)
