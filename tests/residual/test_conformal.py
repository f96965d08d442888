import numpy as np
import pytest

from synth.residual.conformal import (
    Calibration,
    CalibrationScore,
    benjamini_hochberg,
    p_value,
    scores_needed,
    size_of,
)


def test_p_values_of_exchangeable_scores_are_never_smaller_than_uniform():
    rng = np.random.default_rng(0)
    p = [p_value(rng.normal(), rng.normal(size=99)) for _ in range(4000)]
    for level in (0.05, 0.1, 0.3):
        assert np.mean(np.asarray(p) <= level) <= level + 0.015


def test_a_lower_score_never_has_a_larger_p_value():
    scores = np.random.default_rng(1).normal(size=50)
    p = [p_value(s, scores) for s in np.linspace(-4, 4, 60)]
    assert (np.diff(p) >= 0).all()


def test_benjamini_hochberg_holds_the_false_discovery_rate():
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(600):
        calibration = rng.normal(size=999)
        scores = np.r_[rng.normal(size=18), rng.normal(-5, 1, size=2)]
        flagged = benjamini_hochberg([p_value(s, calibration) for s in scores], 0.1)
        shares.append(flagged[:18].sum() / max(flagged.sum(), 1))
    assert np.mean(shares) <= 0.11


def test_benjamini_hochberg_finds_what_is_far_out():
    p = [0.001, 0.4, 0.5, 0.6, 0.9]
    assert benjamini_hochberg(p, 0.1).tolist() == [True, False, False, False, False]
    assert not benjamini_hochberg([], 0.1).size


def test_fewer_scores_than_needed_can_flag_nothing():
    needed = scores_needed(20, 0.1)
    enough, short = 1 / (needed + 1), 1 / needed
    assert benjamini_hochberg([enough] + [1.0] * 19, 0.1)[0]
    assert not benjamini_hochberg([short] + [1.0] * 19, 0.1)[0]


def test_a_cell_with_too_few_scores_leans_on_a_wider_one():
    scores = [CalibrationScore("kidney_left", 150.0, float(s)) for s in range(10)]
    scores += [CalibrationScore("liver", 1500.0, float(s)) for s in range(100)]
    known = Calibration(tuple(scores))
    assert known.judge("kidney_left", 150.0, -1.0, needed=5).cell == "kidney_left/large"
    wide = known.judge("kidney_left", 150.0, -1.0, needed=50)
    assert wide.scores >= 50
    assert wide.p_value == pytest.approx(1 / (wide.scores + 1))


def test_an_unseen_name_is_judged_by_its_ancestors():
    known = Calibration(tuple(CalibrationScore("vertebrae_L1", 40.0, float(s)) for s in range(30)))
    assert known.judge("vertebrae_L4", 40.0, 3.0, needed=20).cell == "vertebra_lumbar/medium"


def test_leaving_scores_out_is_the_same_as_never_having_had_them():
    rng = np.random.default_rng(4)
    scores = [CalibrationScore(n, v, float(s)) for n, v in (("liver", 1500.0), ("spleen", 20.0), ("kidney_left", 3.0))
              for s in rng.normal(size=30).round(1)]  # fmt: skip
    own = [*scores[:12], *scores[40:44], *scores[60:]]
    left = Calibration(tuple(scores)).leaving_out(own)
    fresh = Calibration(tuple(s for s in scores if all(s is not o for o in own)))
    assert left.scores == fresh.scores
    assert left.cells.keys() == fresh.cells.keys()
    for cell, values in fresh.cells.items():
        np.testing.assert_array_equal(left.cells[cell], values)


def test_calibration_survives_its_own_form():
    known = Calibration((CalibrationScore("liver", 1512.0, 3.25), CalibrationScore("spleen", 200.0, -1.5)))
    assert Calibration.from_json(known.to_json()).scores == known.scores


def test_sizes_cover_everything():
    assert [size_of(v) for v in (0.1, 5.0, 49.0, 50.0, 2000.0)] == ["small", "medium", "medium", "large", "large"]
