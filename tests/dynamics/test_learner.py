"""What is learned: features of visits, effects that no outcome leaks into, calibration, trust, trees as arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synth.benchmark.prediction_phantoms import histories, learned_effects
from synth.dynamics.actions_seen import GROUP, Effects, cross_fitted
from synth.dynamics.boosted import BoostedMedian, BoostSettings
from synth.dynamics.causal import Study, adjusted_effect, naive_effect, rank_actions
from synth.dynamics.conformal import Calibration
from synth.dynamics.forest import ForestSettings, QuantileForest
from synth.dynamics.history import AHEAD, HISTORY, Visits, ask
from synth.dynamics.learner import Ensemble, Learner, LearnerSettings
from synth.dynamics.series import Series, folds_of, questions_after
from synth.errors import InputError
from synth.phantom.trajectory import CohortSettings, make_cohort

SMALL = LearnerSettings(forest=ForestSettings(trees=12, leaf=10), boost=BoostSettings(rounds=10), held_out=2)


def exponential(n: int, *, spread: float, seed: int = 0) -> list[Series]:
    """Lesions that double or halve at a pace of their own, read with little error."""
    rng = np.random.default_rng(seed)
    days = np.array([0.0, 40.0, 80.0, 120.0, 160.0])
    rates = rng.normal(0.0, spread, n)
    return [
        Series(f"p{i}", days, np.log(30.0) + r * days / 100 + rng.normal(0, 0.02, 5), "drug" if r < 0 else "none")
        for i, r in enumerate(rates)
    ]


def test_a_forecast_follows_the_pace_of_each_lesion() -> None:
    series = exponential(150, spread=0.3)
    asked = ask(series, questions_after(series, [3]))
    held = folds_of(series, 3, 0)[asked.series] == 0
    learner = Learner.fit(series, asked.where(~held), SMALL)
    test = asked.where(held)
    median = learner.quantiles(series, test, np.array([0.05, 0.5, 0.95]))[:, 1]
    change = test.truth - test.last
    assert np.abs(median - change).mean() < 0.5 * np.abs(change).mean()
    assert learner.trust >= 0.8


def test_where_the_past_says_nothing_the_gate_stays_near_carry_forward() -> None:
    rng = np.random.default_rng(1)
    days = np.arange(5) * 40.0
    series = [Series(f"p{i}", days, np.log(30.0) + rng.normal(0, 0.3, 5)[:1].repeat(5)) for i in range(80)]
    asked = ask(series, questions_after(series, [3]))
    assert np.abs(Learner.fit(series, asked, SMALL).quantiles(series, asked, np.array([0.5]))).max() < 0.05


def test_changes_fade_to_none_at_no_time() -> None:
    series = exponential(100, spread=0.3)
    asked = ask(series, questions_after(series, [3]))
    learner = Learner.fit(series, asked, SMALL)
    assert learner.fade(np.array([0.0, learner.shortest_days, 400.0])).tolist() == [0.0, 1.0, 1.0]


def test_no_outcome_leaks_into_the_effect_beside_it() -> None:
    series = exponential(60, spread=0.3)
    asked = ask(series, questions_after(series, [2]))
    # Every patient a drug of their own: held out, its effect is that of all others, whatever the outcome was.
    own = [Series(s.patient, s.days, s.log_mm, f"drug {i}") for i, s in enumerate(series)]
    rate = (asked.truth - asked.last) / np.sqrt(asked.ahead_days / 30)
    assert np.corrcoef(Effects.fit(own, asked).of(own, asked)[:, 0], rate)[0, 1] > 0.9
    assert abs(np.corrcoef(cross_fitted(own, asked, 0)[:, 0], rate)[0, 1]) < 0.5


def test_features_are_named_and_do_not_depend_on_the_calendar() -> None:
    visits = Visits(np.array([0.0, 30.0, 90.0]), np.log([20.0, 15.0, 18.0]))
    later = Visits(visits.days + 1000.0, visits.log_mm)
    assert np.array_equal(visits.summary, later.summary)
    assert len(visits.summary) == len(HISTORY)
    assert len(visits.ahead(30.0)) == len(AHEAD)
    known = dict(zip(HISTORY, visits.summary, strict=True))
    assert known["from_nadir"] == pytest.approx(np.log(18 / 15))
    assert known["span_days"] == 90.0
    assert np.isnan(Visits(np.array([0.0]), np.array([3.0])).summary[HISTORY.index("last_slope")])


def test_a_folds_patients_stay_together() -> None:
    series = [Series.of(f"p{i % 10}", [(0, 10)], action=str(i)) for i in range(40)]
    fold = folds_of(series, 5, 0)
    assert all(len({int(f) for f, s in zip(fold, series, strict=True) if s.patient == p}) == 1 for p in ("p0", "p7"))
    with pytest.raises(InputError, match="from 2 to 10"):
        folds_of(series, 11, 0)


@pytest.mark.parametrize(("days", "sizes"), [((0.0, 0.0), (1.0, 1.0)), ((0.0,), (np.nan,)), ((), ())])
def test_a_series_that_is_none_is_refused(days: tuple[float, ...], sizes: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="series of p"):
        Series("p", np.array(days, np.float64), np.array(sizes, np.float64))


def test_calibration_widens_what_was_too_narrow_and_undoes_itself() -> None:
    rng = np.random.default_rng(0)
    days = rng.uniform(10, 100, 3000)
    calibration = Calibration.fit(np.clip(0.5 + 1.6 * (rng.uniform(size=3000) - 0.5), 0, 1), days)
    levels = calibration.correct(np.array([0.05, 0.5, 0.95]), np.array([50.0]))[0]
    assert levels[0] < 0.05 < 0.95 < levels[2]
    assert calibration.undo(np.array([levels[2]]), np.array([50.0]))[0] == pytest.approx(0.95, abs=0.01)
    assert Calibration.none().correct(np.array([0.3]), np.array([50.0]))[0, 0] == pytest.approx(0.3)


def test_stored_trees_answer_like_those_of_scikit_learn() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    rng = np.random.default_rng(0)
    x, settings = rng.normal(size=(400, 3)), BoostSettings(rounds=15)
    y = x[:, 0] ** 2 + 0.1 * rng.normal(size=400)
    reference = HistGradientBoostingRegressor(
        loss="absolute_error", max_iter=15, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=40,
        early_stopping=False, random_state=0,
    ).fit(x.astype(np.float32), y, sample_weight=np.ones(400))  # fmt: skip
    ours = BoostedMedian.fit(x, y, np.ones(400), settings, seed=0)
    assert np.allclose(ours.predict(x), reference.predict(x.astype(np.float32)), atol=1e-5)


def test_a_forest_gives_the_spread_as_well_as_the_middle() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (2000, 1))
    y = np.where(x[:, 0] > 0, 1.0, 0.1) * rng.normal(size=2000)
    forest = QuantileForest.fit(x, y, np.ones(2000), ForestSettings(20, 40), split_on=y**2, seed=0)
    wide, narrow = forest.quantiles(np.array([[0.5], [-0.5]]), np.array([0.05, 0.95]))
    assert np.diff(wide)[0] == pytest.approx(3.29, rel=0.2)
    assert np.diff(narrow)[0] < 0.7


@pytest.mark.parametrize("name", ["left", "leaf", "roots"])
def test_a_forest_that_walks_in_circles_is_refused(name: str) -> None:
    x = np.linspace(-1, 1, 200)[:, None]
    tensors = QuantileForest.fit(x, x[:, 0], np.ones(200), ForestSettings(3), split_on=x[:, 0], seed=0).tensors()
    QuantileForest.from_tensors(tensors)
    broken = {**tensors, name: np.full_like(tensors[name], 0 if name == "left" else 10**6)}
    with pytest.raises(InputError, match="forest"):
        QuantileForest.from_tensors(broken)


def test_adjustment_finds_the_effect_that_confounding_hides() -> None:
    rng = np.random.default_rng(0)
    sick = rng.normal(size=3000)
    treated = (rng.uniform(size=3000) < 1 / (1 + np.exp(-1.5 * sick))).astype(np.int64)
    outcome = sick - 0.4 * treated + 0.3 * treated * sick + 0.1 * rng.normal(size=3000)
    study = Study(sick[:, None], treated, outcome)
    assert naive_effect(study, 0, 1).value > 0
    assert adjusted_effect(study, 0, 1).value == pytest.approx(-0.4, abs=0.05)
    ranking = rank_actions(study, np.array([[-2.0], [4.0 / 3.0], [2.5]]), 0, 1, draws=20)
    assert ranking.better.tolist() == [1, -1, 0]


def test_the_learner_is_not_taken_in_by_confounding() -> None:
    cohort = make_cohort(CohortSettings(patients=1500, seed=4))
    study = Study(histories(cohort), cohort.action, cohort.outcome)
    found = learned_effects(cohort, CohortSettings().horizon_days, seed=0)
    assert set(found) == {1, 2}
    for drug, error in found.items():
        truth = (cohort.truth[:, drug] - cohort.truth[:, 0]).mean()
        naive = abs(naive_effect(study, 0, drug).value / truth - 1.0)
        assert error < 0.14
        assert error < 0.75 * naive


def test_the_trend_is_told_no_action_and_lets_the_trees_say_what_it_adds() -> None:
    rng = np.random.default_rng(3)
    days, drugs = np.array([0.0, 40.0, 80.0]), ["none", "drug"] * 300
    pace = [rng.normal(0.2, 0.2) - 0.3 * (drug == "drug") for drug in drugs]  # ln mm in 40 days
    pairs = enumerate(zip(pace, drugs, strict=True))
    series = [Series(f"p{i}", days, np.log(30.0) + p * days / 40, drug) for i, (p, drug) in pairs]
    asked = ask(series, questions_after(series, [1]))
    under = [[replace(each, action=drug) for each in series] for drug in ("none", "drug")]
    far, added = asked.where(asked.ahead_days == 80.0), {}
    for name, blend in (("boosted", (0.0, 1.0, 0.0)), ("trend", (0.0, 0.0, 1.0))):
        alone = replace(SMALL, blend=blend, boost=BoostSettings(rounds=60), held_out=0)
        ensemble = Ensemble.fit(series, asked, np.ones(len(asked)), alone, seed=0)
        off, on = (ensemble.predict(s, far).moved(1.0) + ensemble.predict(s, far).median for s in under)
        added[name] = on - off
    np.testing.assert_allclose(added["trend"], added["boosted"], atol=1e-12)
    assert -0.7 < added["trend"].mean() < -0.4  # 0.6 of ln mm in 80 days, a little shrunken
    blind = Learner.fit(series, asked, replace(SMALL, with_action=False))
    assert blind.ensemble.blind is None
    assert abs(np.subtract(*(blind.quantiles(s, asked, np.array([0.5])).mean() for s in under))) < 1e-12


def test_what_a_group_does_is_known_whatever_is_given() -> None:
    series = [replace(s, group="fast" if s.action == "none" else "slow") for s in exponential(120, spread=0.3)]
    asked = ask(series, questions_after(series, [1]))
    effects = Effects.fit(series, asked)
    assert effects.of_group["fast"] > 0 > effects.of_group["slow"]
    other = [replace(s, action="new") for s in series]
    assert np.array_equal(effects.of(series, asked)[:, GROUP], effects.of(other, asked)[:, GROUP])
    unknown = effects.of([replace(s, group="else") for s in series], asked)[:, GROUP]
    assert (unknown[:, 0] == effects.mean).all()


def test_a_study_with_a_rare_action_is_refused() -> None:
    with pytest.raises(InputError, match="patients or more"):
        Study(np.zeros((30, 1)), np.array([0] * 29 + [1]), np.zeros(30))
