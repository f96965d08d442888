"""The shipped model: nothing at dt = 0, the same draws under every plan, effects that say where they come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synth.action import Ablation, Observation, Plan, Radiotherapy, Surgery, SystemicTherapy, TherapyAgent
from synth.dynamics import DynamicsModel, LesionHistory, PatientFutures, PatientHistory, compare_plans
from synth.dynamics.births import Births
from synth.dynamics.compare import Sizes, progressed
from synth.dynamics.stored import load, save
from synth.errors import InputError

DAYS = (0.0, 30.0, 90.0, 180.0)
WATCH = Plan(name="watch", actions=(Observation(start_day=0, stop_day=365),))
GROWING = LesionHistory("a", "liver", (0.0, 56.0, 112.0), (20.0, 24.0, 30.0), (4.2, 7.2, 14.1))
SHRINKING = LesionHistory("b", "lung", (0.0, 56.0, 112.0), (20.0, 18.0, 15.0), (4.2, 3.1, 1.8), inside=("ptv",))
PATIENT = PatientHistory((GROWING, SHRINKING))


def drug(agent_class: str, start: float = 0, stop: float = 365) -> Plan:
    agent = TherapyAgent(name=agent_class, agent_class=agent_class, dose=100, every_days=21)
    return Plan(name=agent_class, actions=(SystemicTherapy(start_day=start, stop_day=stop, agents=(agent,)),))


@pytest.fixture(scope="module")
def model() -> DynamicsModel:
    return DynamicsModel.from_pretrained()


@pytest.fixture(scope="module")
def watched(model: DynamicsModel) -> PatientFutures:
    return model.forecast(PATIENT, WATCH, DAYS, samples=64, seed=3)


def test_nothing_has_happened_at_once(watched: PatientFutures) -> None:
    assert all((each[:, 0] == 0.0).all() for each in watched.log_ratio.values())
    assert (watched.births[:, 0] == 0).all()
    assert (np.diff(watched.births, axis=1) >= 0).all()


def test_the_same_seed_gives_the_same_futures_and_another_gives_others(model: DynamicsModel) -> None:
    first, again, other = (model.forecast(PATIENT, WATCH, DAYS, samples=8, seed=s) for s in (1, 1, 2))
    assert all(np.array_equal(first.log_ratio[id], again.log_ratio[id]) for id in ("a", "b"))
    assert not np.array_equal(first.log_ratio["a"], other.log_ratio["a"])


def test_a_lesion_keeps_its_draws_whatever_the_horizons_and_the_other_lesions_are(
    model: DynamicsModel, watched: PatientFutures
) -> None:
    alone = model.forecast(PatientHistory((GROWING,)), WATCH, (0.0, 90.0), samples=64, seed=3)
    assert np.array_equal(alone.log_ratio["a"][:, 1], watched.log_ratio["a"][:, 2])


def test_lesions_of_one_patient_move_together_but_not_as_one(watched: PatientFutures) -> None:
    a, b = (np.clip(watched.log_ratio[id][:, 2], -5, 5) for id in ("a", "b"))
    assert 0.1 < np.corrcoef(a, b)[0, 1] < 0.9


def test_what_grew_is_expected_larger_than_what_shrank_and_the_spread_widens(watched: PatientFutures) -> None:
    a, b = (np.median(watched.log_ratio[id], axis=0) for id in ("a", "b"))
    assert (a[1:] > b[1:]).all()
    spread = [np.subtract(*np.quantile(watched.log_ratio["a"][:, i], (0.9, 0.1))) for i in (1, 3)]
    assert spread[1] > spread[0] > 0


@pytest.mark.parametrize(
    ("plan", "source"),
    [
        (drug("immunotherapy"), "learned"),
        (drug("cytotoxic"), "learned"),
        (drug("hormonal"), "assumed"),
        (WATCH, "assumed"),
        (drug("cytotoxic", stop=60), "assumed"),  # the rest is observation, which no patient's table shows
    ],
)
def test_every_effect_says_where_it_comes_from(model: DynamicsModel, plan: Plan, source: str) -> None:
    futures = model.forecast(PATIENT, plan, DAYS, samples=4, seed=0)
    assert futures.effect_source == source
    assert futures.provenance["effects"]


def test_a_therapy_that_starts_later_leaves_the_days_before_as_they_were(
    model: DynamicsModel, watched: PatientFutures
) -> None:
    late = model.forecast(PATIENT, drug("immunotherapy", start=90), DAYS, samples=64, seed=3)
    assert np.allclose(late.log_ratio["a"][:, :3], watched.log_ratio["a"][:, :3])
    assert not np.allclose(late.log_ratio["a"][:, 3], watched.log_ratio["a"][:, 3])


def test_what_is_cut_out_is_gone_from_that_day_on_and_the_rest_is_not(
    model: DynamicsModel, watched: PatientFutures
) -> None:
    cut = Plan(name="cut", actions=(Surgery(start_day=40, stop_day=40, entities=("a",)),))
    futures = model.forecast(PATIENT, cut, DAYS, samples=64, seed=3)
    assert np.array_equal(futures.log_ratio["a"][:, :2], watched.log_ratio["a"][:, :2])
    assert np.isneginf(futures.log_ratio["a"][:, 2:]).all()
    assert np.array_equal(futures.log_ratio["b"], watched.log_ratio["b"])


def test_radiation_of_a_planning_volume_reaches_what_lies_inside(model: DynamicsModel, watched: PatientFutures) -> None:
    beam = Radiotherapy(start_day=0, stop_day=12, dose_per_fraction_gy=8, fractions=5, target="ptv")
    futures = model.forecast(PATIENT, Plan(name="beam", actions=(beam,)), DAYS, samples=64, seed=3)
    assert (futures.log_ratio["b"][:, 2] < watched.log_ratio["b"][:, 2]).all()
    assert np.array_equal(futures.log_ratio["a"], watched.log_ratio["a"])


def test_a_narrow_ablation_leaves_more_rests(model: DynamicsModel) -> None:
    def left(margin: float) -> float:
        burn = Ablation(start_day=0, stop_day=0, entity="a", margin_mm=margin)
        futures = model.forecast(PATIENT, Plan(name="burn", actions=(burn,)), (1.0,), samples=400, seed=0)
        return float(np.isfinite(futures.log_ratio["a"]).mean())

    assert 0.1 < left(0.0) < 0.3
    assert left(8.0) < 0.1


@pytest.mark.parametrize(
    ("days", "samples", "reason"),
    [((30.0, 10.0), 4, "increasing days"), ((-1.0,), 4, "increasing days"), ((), 4, "days"), ((1.0,), 0, "samples")],
)
def test_a_wrong_question_is_refused(model: DynamicsModel, days: tuple[float, ...], samples: int, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        model.forecast(PATIENT, WATCH, days, samples=samples, seed=0)


@pytest.mark.parametrize(
    "arguments",
    [
        ((0.0, 1.0), (10.0,), (1.0, 1.0)),
        ((1.0, 0.0), (10.0, 10.0), (1.0, 1.0)),
        ((0.0,), (0.0,), (0.0,)),
        ((0.0,), (-1.0,), (1.0,)),
        ((), (), ()),
    ],
)
def test_a_history_that_is_none_is_refused(arguments: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(InputError, match="history of 'x'"):
        LesionHistory("x", None, *arguments)
    with pytest.raises(InputError, match="each once"):
        PatientHistory((GROWING, GROWING))


def test_a_model_comes_back_as_it_was(model: DynamicsModel, tmp_path: Path) -> None:
    save(model, tmp_path / "one")
    save(load(tmp_path / "one"), tmp_path / "two")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    futures = [m.forecast(PATIENT, WATCH, DAYS, samples=4, seed=0) for m in (model, load(tmp_path / "one"))]
    assert np.array_equal(futures[0].log_ratio["a"], futures[1].log_ratio["a"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_broken_weights_are_refused(model: DynamicsModel, tmp_path: Path, name: str) -> None:
    save(model, tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="dynamics model"):
        load(tmp_path)


def test_shipped_weights_are_small() -> None:
    folder = Path(__file__).resolve().parents[2] / "weights" / "dynamics"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2 * 2**20


def test_a_frail_patient_gets_more_new_lesions() -> None:
    days = np.array([0.0, 365.25])
    few, many = (Births().sample(days, np.full(500, z), np.random.default_rng(0))[:, 1].mean() for z in (-1.0, 1.0))
    assert few < 0.3 < many


def of(change: np.ndarray, source: str = "learned", births: int = 0) -> PatientFutures:
    drawn = np.stack([np.zeros_like(change), change], axis=1)
    counts = np.zeros(drawn.shape, np.int64)
    counts[:, 1] = births
    return PatientFutures(np.array([0.0, 90.0]), {"a": drawn}, counts, source)  # type: ignore[arg-type]  # one of the three


def test_a_plan_that_is_better_in_every_draw_wins_and_noise_does_not() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=200)
    assert compare_plans(of(base), of(base - 0.3)).better == "b"
    assert compare_plans(of(base - 0.3), of(base)).better == "a"
    tie = compare_plans(of(base), of(base + rng.normal(0, 0.3, 200)))
    assert tie.better is None
    assert compare_plans(of(base), of(base)).difference == 0.0


def test_a_difference_too_small_to_choose_by_is_not_decided_however_sure_it_is() -> None:
    base = np.random.default_rng(1).normal(0, 0.3, 5000)
    small = compare_plans(of(base), of(base - 0.03))
    assert small.high < 0
    assert small.share_b_better == 1.0
    assert abs(small.difference) < small.least
    assert small.better is None
    assert compare_plans(of(base), of(base - 0.08)).better == "b"


def test_a_comparison_that_rests_on_an_assumption_abstains() -> None:
    base = np.linspace(-1, 1, 50)
    found = compare_plans(of(base), of(base - 1.0, "assumed"))
    assert (found.better, found.effect_source) == (None, "assumed")
    assert found.difference < 0


def test_progression_needs_20_percent_and_5_mm_or_a_new_lesion() -> None:
    grown = np.array([np.log(1.19) * 3, np.log(1.21) * 3])
    assert progressed(of(grown))[:, 1].tolist() == [False, True]
    small = Sizes({"a": 10.0}, {"a": 1.0})
    assert progressed(of(grown), small)[:, 1].tolist() == [False, False]
    assert progressed(of(grown, births=1), small)[:, 1].all()
    found = compare_plans(of(np.zeros(40)), of(np.full(40, 2.0)), "time_to_progression")
    assert (found.mean_a, found.unit) == (90.0, "days")


def test_futures_of_other_patients_or_seeds_are_not_compared() -> None:
    with pytest.raises(InputError, match="same patient"):
        compare_plans(of(np.zeros(4)), of(np.zeros(5)))
    with pytest.raises(InputError, match="between 0 and 1"):
        compare_plans(of(np.zeros(4)), of(np.zeros(4)), level=1.0)


def test_a_lesion_seen_once_and_not_treated_grows_as_assumed(model: DynamicsModel) -> None:
    once = PatientHistory((LesionHistory("m", "liver", (0.0,), (30.0,), (14.0,)),))
    watch = Plan(name="watch", actions=(Observation(start_day=0, stop_day=365),))
    futures = model.forecast(once, watch, [0.0, 70.0, 140.0], samples=2001, seed=0)
    middle = np.median(futures.log_ratio["m"], axis=0)
    np.testing.assert_allclose(middle, np.log(2.0) * np.array([0.0, 0.5, 1.0]), atol=0.1)
    assert futures.effect_source == "assumed"


def test_no_lesion_outgrows_its_body_and_what_is_usual_stays_as_it_was(model: DynamicsModel) -> None:
    lesion = LesionHistory("a", "liver", (0.0,), (30.0,), (12.0,))
    years = model.forecast(PatientHistory((lesion,)), Plan(name="watch"), [90.0, 3650.0], samples=200, seed=0)
    assert (12.0 * np.expm1(years.log_ratio["a"]) <= model.assumptions.room_ml).all()
    free = replace(model, assumptions=replace(model.assumptions, room_ml=1e9))
    wild = free.forecast(PatientHistory((lesion,)), Plan(name="watch"), [90.0, 3650.0], samples=200, seed=0)
    assert (12.0 * np.expm1(wild.log_ratio["a"][:, 1]) > model.assumptions.room_ml).any()
    assert (wild.log_ratio["a"][:, 0] == years.log_ratio["a"][:, 0]).all()
