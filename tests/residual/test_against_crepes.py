"""Our p-values beside those of crepes, and our flags beside scipy's: the same numbers from other people's code."""

from __future__ import annotations

import numpy as np
import pytest
from crepes import ConformalClassifier
from scipy import stats

from synth.residual.conformal import Calibration, CalibrationScore, benjamini_hochberg, p_value

NAMES = ("liver", "kidney_left", "spleen")


def test_p_values_are_those_of_crepes():
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=200).round(1), rng.normal(size=60).round(1)  # rounded, so that there are ties
    theirs = ConformalClassifier().fit(-known).predict_p(-asked[:, None], smoothing=False)[:, 0]
    np.testing.assert_allclose([p_value(s, known) for s in asked], theirs)


def test_p_values_within_a_cell_are_those_of_a_mondrian_crepes():
    rng = np.random.default_rng(1)
    names = rng.choice(NAMES, 300)
    scores = rng.normal(size=300) + np.searchsorted(sorted(NAMES), names)
    known = Calibration(tuple(CalibrationScore(str(n), 1000.0, float(s)) for n, s in zip(names, scores, strict=True)))
    asked = rng.normal(size=(3, 20))
    for name, row in zip(NAMES, asked, strict=True):
        bins = np.full(20, name)
        theirs = (
            ConformalClassifier().fit(-scores, bins=names).predict_p(-row[:, None], bins=bins, smoothing=False)[:, 0]
        )
        ours = [known.judge(name, 1000.0, float(s), needed=50) for s in row]
        assert {c.cell for c in ours} == {f"{name}/large"}
        np.testing.assert_allclose([c.p_value for c in ours], theirs)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.3])
def test_flags_are_those_of_scipys_benjamini_hochberg(alpha):
    rng = np.random.default_rng(2)
    for _ in range(50):
        p = np.r_[rng.random(15), rng.random(5) * 0.02]
        theirs = stats.false_discovery_control(p, method="bh") <= alpha
        assert benjamini_hochberg(p.tolist(), alpha).tolist() == theirs.tolist()


def test_the_comparison_can_fail():
    rng = np.random.default_rng(3)
    known = rng.normal(size=50)
    theirs = ConformalClassifier().fit(-known).predict_p(np.array([[0.5]]), smoothing=False)[0, 0]
    assert p_value(0.5, known) != pytest.approx(theirs)
