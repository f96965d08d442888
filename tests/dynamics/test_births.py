"""New lesions: an assumed hazard, and what the patient's own visits say of it."""

from __future__ import annotations

import numpy as np
import pytest

from synth.action import Observation, Plan
from synth.dynamics import DynamicsModel, LesionHistory, PatientHistory
from synth.dynamics.births import Births, Seen
from synth.errors import InputError

WATCH = Plan(name="watch", actions=(Observation(start_day=0, stop_day=365),))
YEAR = np.array([0.0, 365.25])


def mean(seen: Seen | None) -> float:
    rng = np.random.default_rng(0)
    return float(Births().sample(YEAR, rng.standard_normal(4000), rng, seen)[:, 1].mean())


def test_the_mean_is_that_of_the_posterior() -> None:
    births = Births()
    for seen in (Seen(0, 2.0), Seen(3, 1.0), Seen(1, 0.1)):
        rate = births.per_year * (1 / births.frailty + seen.count) / (1 / births.frailty + births.per_year * seen.years)
        assert mean(seen) == pytest.approx(rate, rel=0.08)
    assert mean(Seen(0, 2.0)) < mean(Seen()) < mean(Seen(3, 1.0))


def test_one_visit_says_nothing() -> None:
    draws = np.random.default_rng(1).standard_normal(50)
    one, none = (Births().sample(YEAR, draws, np.random.default_rng(2), seen) for seen in (Seen(), None))
    assert np.array_equal(one, none)
    assert Seen.of([LesionHistory("a", None, (7.0,), (20.0,), (4.0,))]) == Seen()
    assert "own" not in Births().told(Seen())


def test_a_lesion_that_came_between_the_visits_is_counted_and_told() -> None:
    old = LesionHistory("a", None, (0.0, 100.0, 365.25), (20.0, 20.0, 20.0), (4.0, 4.0, 4.0))
    late = LesionHistory("b", None, (0.0, 100.0, 365.25), (0.0, 8.0, 9.0), (0.0, 0.3, 0.4))
    new = LesionHistory("c", None, (365.25,), (6.0,), (0.1,))
    assert Seen.of([old, late, new]) == Seen(2, 1.0)
    model = DynamicsModel.from_pretrained()
    many = model.forecast(PatientHistory((old, late, new)), WATCH, [365.0], samples=200, seed=0)
    few = model.forecast(PatientHistory((old,)), WATCH, [365.0], samples=200, seed=0)
    assert many.births.mean() > few.births.mean()
    assert many.provenance["births"].startswith("assumed")
    assert "2 new in 1.00 years" in many.provenance["births"]


def test_what_cannot_have_been_seen_is_refused() -> None:
    with pytest.raises(InputError, match="from 0 on"):
        Seen(-1, 1.0)


@pytest.mark.parametrize("frailty", [0.2, 1.0, 3.0])
def test_what_new_lesions_were_drawn_with_is_found_again(frailty: float) -> None:
    rng = np.random.default_rng(5)
    years = rng.uniform(0.2, 3.0, 3000)
    count = rng.poisson(0.8 * rng.gamma(1 / frailty, frailty, 3000) * years)
    drawn = [Seen(int(n), float(t)) for n, t in zip(count, years, strict=True)]
    fitted = Births.fit([*drawn, Seen(0, 0.0)])  # who was not followed counts for nothing
    assert (fitted.per_year, fitted.frailty) == (pytest.approx(0.8, rel=0.06), pytest.approx(frailty, rel=0.15))
    assert fitted.patients == 3000
    assert fitted.told(Seen()).startswith("learned from 3000 patients: 0.")


def test_patients_who_are_alike_have_no_frailty_to_speak_of() -> None:
    fitted = Births.fit([Seen(1, 1.0), Seen(2, 2.0)] * 50)
    assert fitted.frailty < 0.01
    assert np.isfinite(Births.sample(fitted, YEAR, np.zeros(5), np.random.default_rng(0))).all()


@pytest.mark.parametrize("seen", [[], [Seen(0, 2.0)], [Seen(1, 0.0)]])
def test_nothing_is_learned_where_nothing_new_came(seen: list[Seen]) -> None:
    with pytest.raises(InputError, match="some to learn from"):
        Births.fit(seen)


@pytest.mark.parametrize("wrong", [{"per_year": 0.0}, {"per_year": float("nan")}, {"frailty": 0.0}, {"patients": -1}])
def test_a_hazard_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="above 0"):
        Births(**wrong)
