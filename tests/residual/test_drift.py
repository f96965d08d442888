from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from synth.residual.conformal import Calibration, CalibrationScore
from synth.residual.drift import CODE, FACT, drift_messages, drift_of, reference


def _case(rng: np.random.Generator, shift: float = 0.0, entities: int = 20) -> list[CalibrationScore]:
    """Scores of one patient: entities of a case have something in common."""
    own = rng.normal(0, 0.4) + shift
    return [CalibrationScore("liver", 1500.0, float(own + s)) for s in rng.normal(size=entities)]


def _site(rng: np.random.Generator, cases: int = 60):
    theirs = {f"case{k}": _case(rng) for k in range(cases)}
    return Calibration(tuple(s for scores in theirs.values() for s in scores)), reference(theirs, theirs)


def test_ordinary_cases_are_warned_of_as_rarely_as_promised():
    rng = np.random.default_rng(0)
    low = []
    for _ in range(8):
        calibration, known = _site(rng, 40)
        low += [drift_of(_case(rng), calibration, known).p_value <= 0.05 for _ in range(40)]
    assert np.mean(low) <= 0.08


def test_another_population_is_noticed():
    rng = np.random.default_rng(1)
    calibration, known = _site(rng)
    found = [drift_of(_case(rng, shift), calibration, known).p_value for shift in (-2.5, -2.0, 2.5) for _ in range(10)]
    assert np.mean(np.array(found) <= 0.05) >= 0.9


def test_one_wrong_entity_is_no_drift():
    rng = np.random.default_rng(2)
    calibration, known = _site(rng)
    case = _case(rng)
    wrong = [*case[1:], CalibrationScore("liver", 1500.0, -40.0)]
    before, after = (drift_of(scores, calibration, known).distance for scores in (case, wrong))
    assert abs(after - before) <= 2 / len(case)


def test_a_case_of_few_entities_says_nothing():
    rng = np.random.default_rng(3)
    calibration, known = _site(rng, 30)
    assert drift_of(_case(rng, entities=3), calibration, known) is None


def test_the_message_is_a_warning_only_where_there_is_drift():
    rng = np.random.default_rng(4)
    calibration, known = _site(rng)
    judge = SimpleNamespace(calibration=calibration, facts={FACT: known.to_json()})
    (far,) = drift_messages(_case(rng, -3.0), judge)
    assert (far.severity, far.code) == ("warning", CODE)
    assert "p = " in far.message
    median = sorted((_case(rng) for _ in range(15)), key=lambda c: drift_of(c, calibration, known).distance)[7]
    (near,) = drift_messages(median, judge)
    assert (near.severity, near.code) == ("info", f"no_{CODE}")


def test_few_calibration_cases_are_said_to_be_too_few_and_none_say_nothing():
    rng = np.random.default_rng(5)
    calibration, known = _site(rng, 8)
    (unknown,) = drift_messages(
        _case(rng, -3.0), SimpleNamespace(calibration=calibration, facts={FACT: known.to_json()})
    )
    assert (unknown.severity, unknown.code) == ("info", f"{CODE}_unknown")
    assert drift_messages(_case(rng), SimpleNamespace(calibration=calibration, facts={})) == []
