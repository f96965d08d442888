"""A known past: growth and treatment are told apart, and what says nothing new changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synth.action import (
    Embolisation,
    Observation,
    Plan,
    Radiotherapy,
    Surgery,
    SystemicTherapy,
    TherapyAgent,
)
from synth.dynamics import DynamicsModel, LesionHistory, PatientFutures, PatientHistory
from synth.dynamics.given import Given, given_by, known_past
from synth.dynamics.rates import Kill, Rates
from synth.dynamics.rates_fit import Growth, Treated, fit_rates
from synth.errors import InputError
from synth.phantom.treated import TreatedSettings, make_treated

DAYS = (0.0, 30.0, 90.0, 365.0)
WATCH = Plan(name="watch", actions=(Observation(start_day=0, stop_day=365),))
ONCE = PatientHistory(
    (LesionHistory("a", "liver", (0.0,), (20.0,), (4.2,)), LesionHistory("b", "lung", (0.0,), (3.0,), (0.014,)))
)
VISITS = (-126.0, -84.0, -42.0, 0.0)
STEADY = LesionHistory("a", "liver", VISITS, (20.0, 20.0, 20.0, 20.0), (4.2, 4.2, 4.2, 4.2), inside=("ptv",))


def drug(start: float, stop: float, agent_class: str = "cytotoxic") -> Plan:
    agent = TherapyAgent(name=agent_class, agent_class=agent_class, dose=100, every_days=21)
    return Plan(name=agent_class, actions=(SystemicTherapy(start_day=start, stop_day=stop, agents=(agent,)),))


@pytest.fixture(scope="module")
def model() -> DynamicsModel:
    return DynamicsModel.from_pretrained()


def told(model: DynamicsModel, plan: Plan, past: Plan | None) -> PatientFutures:
    return model.forecast(PatientHistory((STEADY,), past), plan, DAYS, samples=64, seed=3)


def middle(futures: PatientFutures) -> np.ndarray:
    return np.median(futures.log_ratio["a"], axis=0)


@pytest.mark.parametrize(
    ("plan", "first", "second", "at_floor"),
    [
        (
            WATCH,
            (0.0, -0.42215043, -0.89119074, -1.93686987),
            (0.0, 0.04227707, 0.44497921, 2.15618116),
            (0.0, 0.0, 0.0, 0.0),
        ),
        (
            drug(0, 365),
            (0.0, -0.54037406, -1.3105229, -3.34679346),
            (0.0, -0.35133851, -0.04413195, 0.00095312),
            (0.0, 0.07, 0.19, 0.36),
        ),
        (
            drug(0, 60, "immunotherapy"),
            (0.0, -0.27127272, -0.76820376, -1.80411541),
            (0.0, -0.17928476, 0.28652248, 2.09994562),
            (0.0, 0.025, 0.0, 0.0),
        ),
        (
            drug(0, 365, "hormonal"),
            (0.0, -0.53787244, -1.33126795, -4.15717651),
            (0.0, -0.17569812, 0.08390489, 0.11194889),
            (0.0, 0.045, 0.18, 0.395),
        ),
    ],
    ids=["watch", "cytotoxic", "immunotherapy", "hormonal"],
)
def test_one_visit_without_a_past_gives_the_sizes_of_the_shipped_weights(
    model: DynamicsModel,
    plan: Plan,
    first: tuple[float, ...],
    second: tuple[float, ...],
    at_floor: tuple[float, ...],
) -> None:
    futures = model.forecast(ONCE, plan, DAYS, samples=200, seed=3)
    assert futures.log_ratio["a"][0] == pytest.approx(first, abs=1e-7)
    assert futures.log_ratio["b"][0] == pytest.approx(second, abs=1e-7)
    assert np.isneginf(futures.log_ratio["b"]).mean(axis=0) == pytest.approx(at_floor)
    assert "unknown" in futures.provenance["past"]


def test_a_past_as_in_the_training_tables_keeps_the_learned_course(model: DynamicsModel) -> None:
    known, unknown = told(model, drug(0, 400), drug(-126, 0)), told(model, drug(0, 400), None)
    assert np.array_equal(known.log_ratio["a"], unknown.log_ratio["a"])
    assert known.effect_source == unknown.effect_source == "learned"
    assert any("past known" in reason for reason in known.provenance["effects"])
    assert known.provenance["past"] == "cytotoxic"


def test_a_plan_that_began_before_today_tells_the_past_as_well(model: DynamicsModel) -> None:
    whole, parts = told(model, drug(-63, 400), None), told(model, drug(0, 400), drug(-63, 0))
    assert np.allclose(whole.log_ratio["a"], parts.log_ratio["a"])
    assert whole.effect_source == "learned"
    assert not np.allclose(whole.log_ratio["a"], told(model, drug(0, 400), None).log_ratio["a"])


def test_what_was_held_by_a_drug_grows_more_without_it_than_what_was_steady_alone(model: DynamicsModel) -> None:
    held, alone = (middle(told(model, WATCH, past)) for past in (drug(-126, 0), Plan(name="nothing")))
    assert (held[1:] > alone[1:]).all()
    started, again = (middle(told(model, drug(0, 400), past)) for past in (Plan(name="nothing"), drug(-126, 0)))
    assert started[1] < again[1]  # a fresh drug does more than one that has faded


def test_a_drug_is_asked_about_with_the_visits_since_it_began(model: DynamicsModel) -> None:
    seen = PatientHistory((replace(STEADY, days=VISITS[1:], longest_mm=(20.0,) * 3, volume_ml=(4.2,) * 3),))
    begun = told(model, drug(0, 400), drug(-63, 0))
    assert np.array_equal(
        begun.log_ratio["a"], model.forecast(seen, drug(0, 400), DAYS, samples=64, seed=3).log_ratio["a"]
    )
    now = PatientHistory((replace(STEADY, days=(0.0,), longest_mm=(20.0,), volume_ml=(4.2,)),))
    fresh = told(model, drug(0, 400), Plan(name="nothing"))
    assert np.array_equal(
        fresh.log_ratio["a"], model.forecast(now, drug(0, 400), DAYS, samples=64, seed=3).log_ratio["a"]
    )


def test_a_drug_of_before_the_first_visit_has_faded_by_law(model: DynamicsModel) -> None:
    lesion = LesionHistory("a", "liver", (0.0,), (20.0,), (4.2,))
    old = model.forecast(PatientHistory((lesion,), drug(-200, 0)), drug(0, 400), DAYS, samples=64, seed=3)
    new = model.forecast(PatientHistory((lesion,)), drug(0, 400), DAYS, samples=64, seed=3)
    assert (middle(old)[1:3] > middle(new)[1:3]).all()
    assert (old.effect_source, new.effect_source) == ("law", "learned")


def test_nothing_has_happened_at_once_whatever_the_past_is(model: DynamicsModel) -> None:
    for past in (None, Plan(name="nothing"), drug(-126, 0), drug(-63, -20)):
        for plan in (WATCH, drug(0, 90)):
            futures = told(model, plan, past)
            assert (futures.log_ratio["a"][:, 0] == 0.0).all()
            assert not futures.gone["a"][:, 0].any()


def test_radiation_of_before_goes_on_and_leaves_today_as_it_is(model: DynamicsModel) -> None:
    beam = Radiotherapy(start_day=-14, stop_day=-2, dose_per_fraction_gy=3, fractions=10, target="ptv")
    block = Embolisation(start_day=-20, stop_day=-20, entities=("a",))
    for action in (beam, block):
        after, without = (
            told(model, WATCH, Plan(name=name, actions=actions)) for name, actions in (("x", (action,)), ("n", ()))
        )
        assert (after.log_ratio["a"][:, 0] == 0.0).all()
        assert middle(after)[1] < middle(without)[1]
        assert any("that began on day" in reason for reason in after.provenance["effects"])


def test_a_past_that_begins_after_today_is_refused(model: DynamicsModel) -> None:
    with pytest.raises(InputError, match="began by day 0"):
        told(model, WATCH, drug(10, 20))


def test_what_plan_and_past_both_say_is_said_once() -> None:
    both = known_past(drug(-84, 90), drug(-84, 90))
    assert both is not None
    assert given_by([both]).until(0.0).exposed("cytotoxic", np.zeros(1)).tolist() == [84.0]
    watched = Plan(name="watched", actions=(Observation(start_day=-100, stop_day=0),))
    assert known_past(watched, drug(-42, 90)).actions == drug(-42, 90).actions
    cut = Surgery(start_day=-10, stop_day=-10, entities=("x",))
    assert known_past(Plan(name="cut", actions=(cut,)), WATCH).actions == (cut,)


def test_a_day_of_two_courses_of_one_class_counts_once() -> None:
    given = Given((("cytotoxic", 0.0, 10.0), ("cytotoxic", 5.0, 20.0), ("targeted", 0.0, math.inf)))
    days = np.array([0.0, 8.0, 30.0])
    assert given.exposed("cytotoxic", days).tolist() == [0.0, 8.0, 20.0]
    assert given.exposed("targeted", days).tolist() == [0.0, 8.0, 30.0]
    with pytest.raises(InputError, match="swap the days"):
        Given((("cytotoxic", 5.0, 1.0),))


SHARP = Rates(0.005, 0.01, {"cytotoxic": Kill(0.02, 0.02, 0.01)}, Kill(0.02, 0.02, 0.01), 0.001, 0.01)


def test_growth_and_kill_are_found_where_the_visits_show_both() -> None:
    days = np.arange(-160.0, 1.0, 20.0)
    given = Given((("cytotoxic", -80.0, 0.0),))
    size = 0.012 * days - 0.05 * SHARP.kill("cytotoxic").reached(given.exposed("cytotoxic", days))
    found = SHARP.of(days, size, given)
    assert found.growth == pytest.approx(0.012, rel=0.05)
    assert found.kills["cytotoxic"] == pytest.approx(0.05, rel=0.05)
    assert found.own > 0.9
    misread = SHARP.of(days, size, Given())
    assert misread.growth < 0.006


def test_one_visit_says_nothing_and_noise_shrinks_to_the_population() -> None:
    single = SHARP.of(np.zeros(1), np.zeros(1), Given())
    assert (single.growth, single.own) == (pytest.approx(0.005), pytest.approx(0.0, abs=1e-6))
    noisy = Rates(0.005, 0.01, {}, SHARP.other, 1.0, 1.0)
    found = noisy.of(np.array([-42.0, 0.0]), np.array([0.0, 2.0]), Given())
    assert 0.005 < found.growth < 0.01


def test_exposure_counts_on_and_a_stopped_drug_does_nothing() -> None:
    own = SHARP.of(np.zeros(1), np.zeros(1), Given((("cytotoxic", -200.0, 0.0),)))
    fresh = SHARP.of(np.zeros(1), np.zeros(1), Given())
    on, off = Given((("cytotoxic", 0.0, 100.0),)), Given()
    day = np.array([50.0])
    assert fresh.change(on, day)[0] < own.change(on, day)[0] < own.change(off, day)[0] == pytest.approx(0.25)


def test_rates_come_back_as_they_were_and_nonsense_is_refused(tmp_path: Path) -> None:
    shipped = Rates.shipped()
    shipped.save(tmp_path / "rates.json")
    assert Rates.load(tmp_path / "rates.json") == shipped
    assert set(shipped.kills) == {"cytotoxic", "immunotherapy"}
    assert set(shipped.assumed) == {"growth", "growth_spread", "other"}
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(InputError, match="rates as JSON"):
        Rates.load(tmp_path / "bad.json")
    with pytest.raises(InputError, match="above 0"):
        Kill(0.01, 0.0, 0.01)
    with pytest.raises(InputError, match="10 series"):
        fit_rates([Treated(np.array([0.0, 1.0]), np.zeros(2), Given())] * 3, growth=Growth(0.005, 0.004))
    with pytest.raises(InputError, match="rising days"):
        Treated(np.array([0.0, 0.0]), np.zeros(2), Given())


def test_phantoms_are_treated_from_when_they_say_and_the_future_knows_the_past() -> None:
    cohort = make_treated(TreatedSettings(patients=60, seed=1))
    assert sorted(set(cohort.start.tolist())) == [-126.0, -63.0, math.inf]
    slope = cohort.log_ml[:, -1] - cohort.log_ml[:, 1]
    never, midway = (slope[cohort.start == day].mean() for day in (math.inf, -63.0))
    assert midway < never
    assert (cohort.on < cohort.off).all()
    again = make_treated(TreatedSettings(patients=60, seed=1))
    assert np.array_equal(again.log_ml, cohort.log_ml)
    with pytest.raises(InputError, match="a patient or more"):
        TreatedSettings(patients=0)
