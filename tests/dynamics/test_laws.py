"""Growth laws: nothing at dt = 0, t after s days is s + t days, and the equation each claims to solve."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.dynamics.laws import CLASSICAL, LAWS, SEMIGROUP, fit_law
from synth.dynamics.laws.treatment import LinearQuadratic, LogKill
from synth.errors import InputError

PARAMETERS = {
    "exponential": {"a": 0.011},
    "logistic": {"a": 0.02, "log_k": 6.0},
    "bertalanffy": {"a": 0.06, "b": 0.011},
    "general_bertalanffy": {"a": 0.05, "b": 0.013, "lam": 0.8},
    "gompertz": {"a": 0.05, "b": 0.008},
    "general_gompertz": {"a": 0.05, "b": 0.008, "lam": 0.9},
    "stein_fojo": {"d": 0.03, "g": 0.006, "q": 0.7},
}
RATES: dict[str, Callable[[float, dict[str, float]], float]] = {
    "exponential": lambda v, p: p["a"] * v,
    "logistic": lambda v, p: p["a"] * v * (1 - v / math.exp(p["log_k"])),
    "bertalanffy": lambda v, p: p["a"] * v ** (2 / 3) - p["b"] * v,
    "general_bertalanffy": lambda v, p: p["a"] * v ** p["lam"] - p["b"] * v,
    "gompertz": lambda v, p: v * (p["a"] - p["b"] * math.log(v)),
    "general_gompertz": lambda v, p: v ** p["lam"] * (p["a"] - p["b"] * math.log(v)),
}


@pytest.mark.parametrize("name", LAWS)
@given(start=st.floats(-6.0, 8.0))
def test_nothing_happens_in_no_time(name: str, start: float) -> None:
    assert LAWS[name].log_volume(start, 0.0, **PARAMETERS[name]) == start


@pytest.mark.parametrize("name", SEMIGROUP)
@given(start=st.floats(-2.0, 5.0), s=st.floats(0.0, 300.0), t=st.floats(0.0, 300.0))
def test_t_days_after_s_days_are_their_sum(name: str, start: float, s: float, t: float) -> None:
    law, parameters = LAWS[name], PARAMETERS[name]
    twice = law.log_volume(law.log_volume(start, s, **parameters), t, **parameters)
    assert twice == pytest.approx(law.log_volume(start, s + t, **parameters), abs=1e-3)


def test_regression_growth_is_no_semigroup_and_says_so() -> None:
    law, parameters = LAWS["stein_fojo"], PARAMETERS["stein_fojo"]
    twice = law.log_volume(law.log_volume(1.0, 50.0, **parameters), 50.0, **parameters)
    assert abs(twice - law.log_volume(1.0, 100.0, **parameters)) > 0.1
    assert "stein_fojo" not in SEMIGROUP


@pytest.mark.parametrize("name", CLASSICAL)
def test_the_solution_solves_the_equation(name: str) -> None:
    law, parameters, h = LAWS[name], PARAMETERS[name], 1e-3
    before, after = (float(np.exp(law.log_volume(2.0, 40.0 + d, **parameters))) for d in (-h, h))
    volume = float(np.exp(law.log_volume(2.0, 40.0, **parameters)))
    assert (after - before) / (2 * h) == pytest.approx(RATES[name](volume, parameters), rel=1e-3)


@pytest.mark.parametrize("name", LAWS)
def test_a_fit_comes_within_a_readings_error_of_the_visits(name: str) -> None:
    days = np.array([[0.0, 40.0, 90.0, 150.0], [0.0, 30.0, 60.0, 200.0]])
    truth = LAWS[name].log_volume(1.5, days, **PARAMETERS[name])
    fitted = fit_law(LAWS[name], days, truth)
    again = np.stack([fitted.log_volume(np.full(4, i), days[i]) for i in range(2)])
    assert np.abs(again - truth).max() / 3.0 < 0.1  # ln mm


@pytest.mark.parametrize(
    ("name", "parameters", "dt", "reason"),
    [("exponential", {}, 1.0, "parameters"), ("exponential", {"a": 0.1}, -1.0, "from 0 on")],
)
def test_a_wrong_question_is_refused(name: str, parameters: dict[str, float], dt: float, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        LAWS[name].log_volume(0.0, dt, **parameters)


def test_one_visit_says_nothing_of_a_rate() -> None:
    with pytest.raises(InputError, match="two visits"):
        fit_law(LAWS["exponential"], np.zeros((1, 1)), np.zeros((1, 1)))


def test_resistance_makes_the_kill_fade() -> None:
    with_, without = LogKill(0.02, 0.01), LogKill(0.02, 0.0)
    assert with_.change(0.0) == without.change(0.0) == 0.0
    assert without.change(200.0) < with_.change(200.0) < 0.0
    assert with_.change(1e6) == pytest.approx(-2.0)


def test_radiation_kills_by_dose_and_clears_over_weeks() -> None:
    tumour = LinearQuadratic(0.3, 0.03, 45.0)
    assert tumour.log_survival(2.0, 30) == pytest.approx(-30 * (0.3 * 2 + 0.03 * 4))
    assert tumour.change(2.0, 30, 0.0) == pytest.approx(0.0)
    assert tumour.change(2.0, 30, 45.0) == pytest.approx(math.log(0.5), abs=1e-6)
    assert tumour.change(3.0, 1, 1e5) == pytest.approx(tumour.log_survival(3.0, 1))


@pytest.mark.parametrize(("dose", "fractions", "last"), [(2.0, 30, 39.0), (10.0, 5, 12.0), (8.0, 1, 0.0)])
def test_dead_cells_are_cleared_once_however_the_course_is_parted(dose: float, fractions: int, last: float) -> None:
    tumour, days = LinearQuadratic(0.3, 0.03, 30.0), np.linspace(-5.0, 400.0, 82)
    alive = np.exp(tumour.log_survival(dose, fractions))
    courses = [tumour.course(dose, fractions, np.linspace(0.0, last, n), days) for n in (5, 40)]
    for change in courses:
        assert (change[days < 0] == 0).all()
        assert (np.diff(change) <= 1e-12).all()
        # Even had every cell died on the first day, half of them would be in view a half-life later.
        assert (change >= -np.maximum(days, 0.0) / 30.0 * math.log(2.0) - 1e-12).all()
        at_once = alive + (1 - alive) * np.exp2(-np.maximum(days - last, 0.0) / 30.0)
        assert (np.exp(change[days > last]) <= at_once[days > last] + 1e-9).all()
    assert np.abs(courses[0] - courses[1]).max() < 0.25
    assert tumour.course(dose, fractions, [0.0], [30.0])[0] == pytest.approx(np.log(alive + (1 - alive) / 2))


@pytest.mark.parametrize("make", [lambda: LogKill(-0.1, 0.0), lambda: LinearQuadratic(0.3, 0.03, 0.0)])
def test_a_rate_out_of_range_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(InputError):
        make()
