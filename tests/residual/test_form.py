"""The form and place of a region: balls and tubes, the middle of an organ and its border, what is left of a finding."""

import numpy as np
import pytest

from synth.residual.form import Findings, Within, shape_features
from synth.volume import Geometry, Mask

SHAPE = (30, 30, 30)
SPACING = (4.0, 4.0, 4.0)


def _ball(centre, radius, spacing=SPACING, shape=SHAPE):
    at = np.stack(np.indices(shape)).T * spacing - np.array(centre)
    return Mask.from_dense((np.linalg.norm(at, axis=-1) <= radius).T)


def test_a_ball_is_a_ball_at_any_size_and_spacing():
    # The grid is a tenth of the ball or less: what is left is how coarse it is.
    for spacing, shape in ((SPACING, SHAPE), ((2.0, 2.0, 5.0), (60, 60, 24))):
        for radius in (24.0, 40.0):
            found = shape_features(_ball((60, 60, 60), radius, spacing, shape), spacing)
            assert found["elongation"] == pytest.approx(0, abs=0.03)
            assert found["flatness"] == pytest.approx(0, abs=0.03)
            assert found["thickness"] == pytest.approx(1, abs=0.13)


def test_a_vessel_is_long_and_thin_whichever_way_it_runs():
    for axis in range(3):
        tube = np.zeros(SHAPE, bool)
        tube[tuple(slice(2, 28) if a == axis else slice(14, 16) for a in range(3))] = True
        found = shape_features(Mask.from_dense(tube), SPACING)
        assert found["elongation"] == pytest.approx(np.log(26 / 2), abs=0.01)
        assert found["flatness"] == pytest.approx(0, abs=0.01)
        assert found["thickness"] < 0.5


def test_a_layer_of_fat_is_flat():
    plate = np.zeros(SHAPE, bool)
    plate[5:25, 5:25, 14:16] = True
    found = shape_features(Mask.from_dense(plate), SPACING)
    assert found["elongation"] == pytest.approx(0, abs=0.01)
    assert found["flatness"] == pytest.approx(np.log(20 / 2), abs=0.01)


def test_one_voxel_has_a_form():
    found = shape_features(Mask.from_box(SHAPE, (3, 3, 3), np.ones((1, 1, 1), bool)), SPACING)
    assert found["elongation"] == found["flatness"] == pytest.approx(0)
    assert np.isfinite(found["thickness"])


def test_the_middle_of_an_organ_is_told_from_its_border():
    organ = Within(_ball((60, 60, 60), 48), SPACING)
    middle, border = organ.features(_ball((60, 60, 60), 10)), organ.features(_ball((60, 96, 60), 10))
    assert middle["off_centre"] == pytest.approx(0, abs=0.05)
    # Along one axis a ball's voxels spread by its radius over the root of five.
    assert border["off_centre"] == pytest.approx(36 / (48 / np.sqrt(5)), rel=0.05)
    assert middle["depth_in_host"] > 0.8 > 0.4 > border["depth_in_host"] > 0
    assert middle["outside_host"] == 0.0


def test_what_reaches_the_border_has_the_outside_beside_it():
    organ = Mask.from_box(SHAPE, (5, 5, 5), np.ones((20, 20, 20), bool))
    at_the_face = Mask.from_box(SHAPE, (5, 12, 12), np.ones((4, 4, 4), bool))
    within = Mask.from_box(SHAPE, (10, 12, 12), np.ones((4, 4, 4), bool))
    assert Within(organ, SPACING).features(at_the_face)["outside_host"] == pytest.approx(1 / 6)
    assert Within(organ, SPACING).features(within)["outside_host"] == 0.0


def test_what_an_outline_left_of_a_finding_lies_beside_it():
    geometry = Geometry.regular(SHAPE, SPACING)
    finding = Mask.from_box(SHAPE, (10, 10, 10), np.ones((4, 4, 4), bool))
    known = Findings(geometry, [finding])
    beside = Mask.from_box(SHAPE, (14, 10, 10), np.ones((2, 4, 4), bool))
    far = Mask.from_box(SHAPE, (25, 25, 25), np.ones((2, 2, 2), bool))
    assert known.near(finding)["near_finding"] == 1.0
    assert known.near(beside)["near_finding"] == pytest.approx(np.exp(-4.0 / 8.0))
    assert known.near(far)["near_finding"] < 0.01
    assert Findings(geometry, []).near(beside) == {"near_finding": 0.0}
