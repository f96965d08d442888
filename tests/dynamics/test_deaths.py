"""Lesions that disappear: how often, in which draws, and for good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from synth.action import Observation, Plan, SystemicTherapy, TherapyAgent
from synth.dynamics import DynamicsModel, LesionHistory, PatientFutures, PatientHistory
from synth.dynamics.compare import Sizes, progressed
from synth.dynamics.deaths import GRID, Deaths
from synth.dynamics.given import Given
from synth.errors import InputError
from synth.parse import Parse, Presence
from synth.parse.narrative import narrative
from synth.pipeline.forecast import forecast

WATCH = Plan(name="watch", actions=(Observation(start_day=0, stop_day=400),))
AGENT = TherapyAgent(name="x", agent_class="cytotoxic", dose=100, every_days=21)
ON = Given((("cytotoxic", 0.0, math.inf),))
DAYS = np.array([0.0, 42.0, 90.0, 180.0, 365.0])
RANKS = (np.arange(4000) + 0.5) / 4000


def drug(stop: float) -> Plan:
    return Plan(name="drug", actions=(SystemicTherapy(start_day=0, stop_day=stop, agents=(AGENT,)),))


@pytest.fixture(scope="module")
def model() -> DynamicsModel:
    return DynamicsModel.from_pretrained()


def test_the_share_of_the_draws_is_the_share_that_was_learned() -> None:
    deaths, middle = Deaths.shipped(), np.full(len(GRID), math.log(9.0))
    gone = deaths.gone(RANKS, middle, ON, DAYS)
    on_grid = np.isin(DAYS, GRID)
    assert gone.mean(axis=0)[on_grid] == pytest.approx(deaths.share(middle[:4], DAYS[on_grid]), abs=0.001)
    assert not gone[:, 0].any()
    assert not (gone[:, :-1] & ~gone[:, 1:]).any()
    assert gone[:100, -1].all()  # those of the lowest draws, which shrink most
    assert not gone[-100:].any()


def test_smaller_lesions_go_more_often_and_more_have_gone_later() -> None:
    deaths = Deaths.shipped()
    small, large = (deaths.share(np.full(3, math.log(mm)), np.array([42.0, 90.0, 365.0])) for mm in (6.0, 60.0))
    assert (small > large).all()
    assert (np.diff(small) > 0).all()
    assert deaths.share(np.zeros(1), np.zeros(1))[0] < 1e-4


def test_days_without_drugs_add_nothing() -> None:
    deaths, middle = Deaths.shipped(), np.full(len(GRID), math.log(9.0))
    assert not deaths.gone(RANKS, middle, Given(), DAYS).any()
    stopped = deaths.gone(RANKS, middle, Given((("cytotoxic", 0.0, 90.0),)), DAYS).mean(axis=0)
    going = deaths.gone(RANKS, middle, ON, DAYS).mean(axis=0)
    assert stopped[:3].tolist() == going[:3].tolist()
    assert stopped[2] == stopped[4] < going[4]


def test_the_fit_finds_what_the_events_say_and_refuses_none() -> None:
    rng = np.random.default_rng(0)
    size, days = rng.normal(3.0, 0.7, 20000), rng.uniform(20, 400, 20000)
    truth = Deaths(-4.0, -1.5, 1.0)
    found = Deaths.fit(size, days, rng.uniform(size=20000) < truth.share(size, days))
    assert (found.intercept, found.size, found.time) == pytest.approx((-4.0, -1.5, 1.0), abs=0.5)
    with pytest.raises(InputError, match="some that went"):
        Deaths.fit(size, days, np.zeros(20000, bool))
    with pytest.raises(InputError, match="falls with size"):
        Deaths(0.0, 1.0, 1.0)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    Deaths.shipped().save(tmp_path / "deaths.json")
    assert Deaths.load(tmp_path / "deaths.json") == Deaths.shipped()
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(InputError, match="a fit as JSON"):
        Deaths.load(tmp_path / "bad.json")


def test_a_small_lesion_disappears_in_some_futures_and_no_horizon_changes_another(model: DynamicsModel) -> None:
    patient = PatientHistory((LesionHistory("a", "liver", (0.0,), (7.0,), (0.18,)),))
    many = model.forecast(patient, drug(400), DAYS.tolist(), samples=400, seed=1)
    one = model.forecast(patient, drug(400), [180.0], samples=400, seed=1)
    gone = many.gone["a"]
    assert 0.05 < gone[:, -1].mean() < 0.6
    assert not gone[:, 0].any()
    assert np.isneginf(many.ratio("a")[gone]).all()
    late = one.gone["a"][:, 0] & ~np.isneginf(one.log_ratio["a"][:, 0])
    assert gone[late, 3].all()
    assert model.forecast(patient, WATCH, [365.0], samples=400, seed=1).gone["a"].mean() < gone[:, -1].mean()
    assert "learned from 767" in many.provenance["deaths"]


class Shrinking:
    """m1 is gone from day 90 on in every second sample; m2 falls below a voxel by day 90 and would be back by 180."""

    def forecast(
        self, history: PatientHistory, plan: Plan, days_ahead: Sequence[float], *, samples: int, seed: int
    ) -> PatientFutures:
        days = np.asarray(days_ahead)
        steady = np.zeros((samples, len(days)))
        gone = (np.arange(samples) % 2 == 0)[:, None] & (days >= 90)[None, :]
        ratio = {"m1": steady - 0.01 * (days > 0), "m2": steady - np.where(days == 90, 9.0, 0.1) * (days > 0)}
        births = np.zeros((samples, len(days)), np.int64)
        return PatientFutures(days, ratio, births, "law", {"seed": seed}, {"m1": gone})


def test_what_disappears_is_absent_from_that_day_on_and_reads_as_resolved(patient: Parse) -> None:
    made = forecast([patient], drug(400), (0, 30, 90, 180), samples=2, seed=0, model=Shrinking())
    assert made.future(0, 0).parse is patient
    assert made.future(0, 1).parse.entity("m1").presence is Presence.present
    for horizon in (2, 3):
        then = made.future(0, horizon).parse
        assert then == Parse.replace(then)
        assert then.entity("m1").presence is then.entity("m2").presence is Presence.absent
        assert "m1" not in then.masks
        sentences = narrative(patient, then, made.diff(0, horizon))
        assert any("(m1) has resolved" in sentence for sentence in sentences)
        assert made.future(1, horizon).parse.entity("m1").presence is Presence.present
    assert made.of("m1", 3).gone == 0.5
    assert made.of("m2", 3).gone == 1.0  # by law, and it stays gone though the number comes back
    assert made.burden_ml[0, 3] == 0.0


def test_a_lesion_that_is_gone_does_not_count_and_cannot_come_back() -> None:
    days, ratio = np.array([30.0, 60.0]), np.array([[0.0, 3.0]])
    births, gone = np.zeros((1, 2), np.int64), np.array([[True, True]])
    sizes = Sizes({"a": 20.0, "b": 20.0}, {"a": 4.0, "b": 4.0})
    steady = np.zeros((1, 2))
    seen = PatientFutures(days, {"a": ratio, "b": steady}, births, "law")
    died = PatientFutures(days, {"a": ratio, "b": steady}, births, "law", {}, {"a": gone})
    assert progressed(seen, sizes)[0, 1]
    assert not progressed(died, sizes)[0, 1]
    assert died.total_ratio(sizes.volume_ml)[0, 1] == 0.5
    with pytest.raises(InputError, match="stay gone"):
        PatientFutures(days, {"a": ratio}, births, "law", {}, {"a": ~gone | np.array([[True, False]])})
