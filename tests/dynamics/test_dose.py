"""Less of a drug kills less, by the power that was fitted to dose grids; at the usual dose nothing changes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from synth.action import Plan, SystemicTherapy, TherapyAgent
from synth.dynamics import DynamicsModel, LesionHistory, PatientFutures, PatientHistory
from synth.dynamics.dose import DoseResponse
from synth.dynamics.tables import read_maeve
from synth.errors import InputError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
DAYS = (0.0, 1.0, 30.0, 90.0, 180.0)
VISITS = (-84.0, -42.0, 0.0)
LESION = LesionHistory("a", "liver", VISITS, (30.0, 31.0, 32.0), (14.1, 15.6, 17.2))
SHIPPED = (0.0, -0.005183573554920242, -0.010626153663275094, 0.007220857085002686, -0.0057028109118854725)
"""The median change of this lesion under the shipped weights, where nothing is said of a dose."""
LAW, SHARES = DoseResponse.shipped(), (0.4, 0.75, 1.0, 1.5)


def agent(share: float | None, agent_class: str = "cytotoxic", name: str = "drug") -> TherapyAgent:
    more = {} if share is None else {"relative_dose_intensity": share}
    return TherapyAgent(name=name, agent_class=agent_class, dose=75, every_days=21, **more)


def course(*agents: TherapyAgent, start: float = 0.0, stop: float = 365.0) -> Plan:
    return Plan(name="drug", actions=(SystemicTherapy(start_day=start, stop_day=stop, agents=agents),))


@pytest.fixture(scope="module")
def model() -> DynamicsModel:
    return DynamicsModel.from_pretrained()


def told(model: DynamicsModel, plan: Plan, past: Plan | None = None) -> PatientFutures:
    return model.forecast(PatientHistory((LESION,), past), plan, DAYS, samples=64, seed=3)


def gained(model: DynamicsModel, plan: Plan, usual: Plan, past: Plan | None = None) -> np.ndarray:
    """(H,) of ln V; the same in every sample, as far as it is still there under both."""
    few, full = told(model, plan, past).log_ratio["a"], told(model, usual, past).log_ratio["a"]
    both = np.isfinite(few).all(axis=1) & np.isfinite(full).all(axis=1)
    difference = few[both] - full[both]
    assert both.sum() > 32
    np.testing.assert_allclose(difference, np.broadcast_to(difference[0], difference.shape), atol=1e-12)
    return difference[0]


def by_law(share: float, exposed: np.ndarray, agent_class: str, before: float = 0.0) -> np.ndarray:
    """The formula, written out: (1 - r^gamma) k (exp(-f E(0)) - exp(-f E(t))) / f."""
    rates = DynamicsModel.from_pretrained().rates
    kill = rates.kills.get(agent_class, rates.other)
    reached = (math.exp(-kill.fade * before) - np.exp(-kill.fade * (before + exposed))) / kill.fade
    return (1.0 - share**LAW.gamma) * kill.mean * reached


@pytest.mark.parametrize("agent_class", ["cytotoxic", "immunotherapy", "targeted"])
@pytest.mark.parametrize("past", [None, course(agent(None), start=-60, stop=-20)], ids=["unknown", "known"])
def test_at_the_usual_dose_nothing_changes(model: DynamicsModel, agent_class: str, past: Plan | None) -> None:
    unsaid, said = (told(model, course(agent(share, agent_class)), past) for share in (None, 1.0))
    assert unsaid.log_ratio["a"].tobytes() == said.log_ratio["a"].tobytes()
    assert unsaid.gone["a"].tobytes() == said.gone["a"].tobytes()
    assert unsaid.provenance == said.provenance
    assert unsaid.effect_source == said.effect_source
    assert "dose" not in " ".join(said.provenance["effects"])


def test_forecasts_at_the_usual_dose_are_those_of_the_shipped_weights(model: DynamicsModel) -> None:
    middle = np.median(told(model, course(agent(None))).log_ratio["a"], axis=0)
    np.testing.assert_allclose(middle, SHIPPED, atol=1e-12)


@pytest.mark.parametrize("agent_class", ["cytotoxic", "immunotherapy", "targeted"])
def test_less_of_a_drug_is_more_tumour_by_the_law(model: DynamicsModel, agent_class: str) -> None:
    usual, days = course(agent(1.0, agent_class)), np.array(DAYS)
    found = {share: gained(model, course(agent(share, agent_class)), usual) for share in SHARES}
    for share, more in found.items():
        assert more[0] == 0.0
        np.testing.assert_allclose(more, by_law(share, days, agent_class), atol=1e-12)
    table = np.array([found[share][1:] for share in SHARES])
    assert (np.diff(table, axis=0) < 0).all()
    assert (table[:2] > 0).all()
    assert (table[3] < 0).all()


def test_less_of_a_drug_makes_fewer_lesions_disappear(model: DynamicsModel) -> None:
    small = PatientHistory((LesionHistory("a", "liver", (0.0,), (9.0,), (0.4,)),))
    gone = {r: model.forecast(small, course(agent(r)), DAYS, samples=256, seed=3).gone["a"] for r in (0.05, 1.0)}
    assert (gone[0.05] <= gone[1.0]).all()
    assert gone[0.05].sum() < gone[1.0].sum()


def test_nothing_more_is_lost_after_the_drug_stops(model: DynamicsModel) -> None:
    more = gained(model, course(agent(0.5), stop=30), course(agent(1.0), stop=30))
    assert more[1] < more[2]
    np.testing.assert_allclose(more[2:], more[2], atol=1e-12)


def test_it_is_continuous_where_the_dose_changes(model: DynamicsModel) -> None:
    def stepped(day: float) -> Plan:
        first = SystemicTherapy(start_day=0, stop_day=day, agents=(agent(0.5),))
        return Plan(name="drug", actions=(first, SystemicTherapy(start_day=day, stop_day=365, agents=(agent(1.5),))))

    before, after = (gained(model, stepped(day), course(agent(1.0))) for day in (89.999, 90.001))
    np.testing.assert_allclose(before, after, atol=1e-4)
    assert after[3] > after[4] > 0


def test_exposure_counts_on_from_a_known_past(model: DynamicsModel) -> None:
    begun, fresh = (gained(model, course(agent(0.5), start=d), course(agent(1.0), start=d)) for d in (-60.0, 0.0))
    np.testing.assert_allclose(begun, by_law(0.5, np.array(DAYS), "cytotoxic", before=60.0), atol=1e-12)
    assert (begun[1:] < fresh[1:]).all()


def test_agents_of_a_class_are_averaged_and_classes_are_summed(model: DynamicsModel) -> None:
    one, days = agent(1.0, name="one"), np.array(DAYS)
    more = gained(model, course(one, agent(0.5, name="two")), course(one, agent(1.0, name="two")))
    np.testing.assert_allclose(more, by_law(0.5, days, "cytotoxic") / 2, atol=1e-12)
    usual = course(agent(1.0), agent(1.0, "immunotherapy", "two"))
    more = gained(model, course(agent(0.5), agent(0.8, "immunotherapy", "two")), usual)
    np.testing.assert_allclose(more, by_law(0.5, days, "cytotoxic") + by_law(0.8, days, "immunotherapy"), atol=1e-12)


@pytest.mark.parametrize(
    ("agent_class", "usual", "reduced"),
    [("cytotoxic", "learned", "law"), ("immunotherapy", "learned", "assumed"), ("targeted", "assumed", "assumed")],
)
def test_it_says_why_and_how_sure_it_is(model: DynamicsModel, agent_class: str, usual: str, reduced: str) -> None:
    assert told(model, course(agent(1.0, agent_class))).effect_source == usual
    futures = told(model, course(agent(0.75, agent_class)))
    assert futures.effect_source == reduced
    (reason,) = [each for each in futures.provenance["effects"] if "dose" in each.partition(" from ")[0]]
    for part in (agent_class, "0.75", f"{LAW.gamma:.2f} ({LAW.low:.2f} to {LAW.high:.2f}", "mice", "dose-response"):
        assert part in reason
    assert ("assumed" in reason) == (reduced == "assumed")


@pytest.mark.parametrize("share", [0.0, -0.5, 2.01, math.nan, math.inf])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="relative_dose_intensity"):
        agent(share)


def test_the_path_of_a_bad_share_in_a_plan_is_told() -> None:
    plan = course(agent(1.0)).model_dump(mode="json")
    plan["actions"][0]["agents"][0]["relative_dose_intensity"] = 3
    with pytest.raises(
        InputError, match=r"actions\[0\].*agents\[0\]\.relative_dose_intensity.*less than or equal to 2"
    ):
        Plan.read(plan)


def test_a_dose_response_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in order"):
        DoseResponse(0.5, 0.6, 0.7, 0.1, 0.9, ("cytotoxic",), "nowhere")
    path = tmp_path / "dose.json"
    LAW.save(path)
    assert DoseResponse.load(path) == LAW
    path.write_text("{}")
    with pytest.raises(InputError, match=r"dose_response\.py"):
        DoseResponse.load(path)


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("dose_response")


def test_what_is_shipped_is_what_the_benchmark_found() -> None:
    rows = json.loads((BENCHMARKS / "dose-response.json").read_text())["rows"]
    (common,) = [row for row in rows if row["group"] == {"drug": "all"}]
    own = [row["value"] for row in rows if row["metric"] == "gamma, its own"]
    assert (common["value"], common["low"], common["high"]) == (LAW.gamma, LAW.low, LAW.high)
    assert (min(own), max(own)) == (LAW.drug_low, LAW.drug_high)


def test_the_fit_finds_the_gamma_that_the_animals_were_made_with(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    doses = {"a": (0.0, 1.0, 4.0, 16.0), "b": (0.0, 0.2, 1.0)}
    made = [
        script.Animal(drug, ((drug, mg),) if mg else (), 0.1 - 0.15 * (mg / max(of)) ** 0.6 + rng.normal(0, 0.01))
        for drug, of in doses.items()
        for mg in of
        for _ in range(40)
    ]
    assert script.gamma_of(made) == pytest.approx(0.6, abs=0.05)
    assert script.Grid(made).aic(script.LAWS["power, common gamma"]) < script.Grid(made).aic(
        script.LAWS["Emax, common"]
    )


def test_the_mice_give_the_shipped_gamma(script: ModuleType, shared_data: Path) -> None:
    animals = script.animals_of(read_maeve(shared_data / "growth" / "maeve"))
    found = script.gamma_of(animals)
    assert LAW.low < found < LAW.high
    assert found == pytest.approx(LAW.gamma, rel=1e-3)
