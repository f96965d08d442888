"""The prediction benchmark: its tables, its baselines, its rows, and the figures of the real tables."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from synth.benchmark.prediction import Table
from synth.benchmark.prediction_baselines import by_law, linear
from synth.benchmark.prediction_deaths import run_deaths
from synth.benchmark.prediction_past import run_past
from synth.benchmark.prediction_scores import (
    Answers,
    Scored,
    auroc,
    brier_rows,
    loss_rows,
    marginal,
    pinball,
    rows_of,
)
from synth.cli.app import app
from synth.dynamics.history import ask
from synth.dynamics.series import Series, questions_after
from synth.dynamics.tables import read_maeve, read_pdxe, read_recist
from synth.errors import InputError
from synth.phantom.trajectory import CohortSettings, make_cohort

HEAD = "study,patient,day,target_lesion_long_diam_mm,study_arm\n"


def recist_table(path: Path, patients: int, seed: int = 0, study: str = "S1") -> Path:
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(patients):
        rate = rng.normal(0.0, 0.3)
        for day in (-5, 40, 85, 130, 180, 300):
            mm = 30 * math.exp(rate * day / 100 + rng.normal(0, 0.05))
            lines.append(f"{study},{i},{day}.0,{mm:.1f},Arm_{i % 2}\n")
    path.write_text(HEAD + "".join(lines))
    return path


def test_the_recist_table_keeps_its_conventions(tmp_path: Path) -> None:
    path = tmp_path / "series.csv"
    path.write_text(
        HEAD + "A,1,40,TOO SMALL TO MEASURE,x\nA,1,0,20,x\nA,1,80,NOT EVALUABLE,x\nB,1,0,10,y\nB,1,0,12,y\n"
    )
    first, second = read_recist(path)
    assert first.days.tolist() == [0.0, 40.0]
    assert np.exp(first.log_mm) == pytest.approx([20.0, 2.0])
    assert (first.patient, second.patient) == ("A/1", "B/1")
    assert np.exp(second.log_mm) == pytest.approx([12.0])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("day,patient\n1,2\n", "columns study"),
        (HEAD, "no line"),
        (HEAD + "A,1,soon,20,x\n", "line 2: day"),
        (HEAD + "A,1,0,large,x\n", "line 2: target_lesion_long_diam_mm"),
        (HEAD + "A,1,0,-3,x\n", "from 0 on"),
        (HEAD + "A,1\n", "line 2"),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "series.csv").write_text(text)
    with pytest.raises(InputError, match=reason):
        read_recist(tmp_path / "series.csv")


@pytest.mark.parametrize("kind", ["recist", "pdxe", "ffcd"])
def test_a_file_that_is_none_is_one_line_on_stderr(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.csv.gz").write_bytes(b"no table")
    for path in (tmp_path / "x.csv.gz", tmp_path / "missing.csv"):
        result = CliRunner().invoke(app, ["benchmark", "prediction", "--kind", kind, "--series", str(path)])
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert CliRunner().invoke(app, ["benchmark", "prediction", "--kind", kind]).exit_code == 2


def test_a_line_and_an_exponential_carry_on_what_they_saw() -> None:
    days = np.array([0.0, 50.0, 100.0, 150.0])
    straight = Series("p", days, np.log([20.0, 25.0, 30.0, 35.0]))
    growing = Series("q", days, np.log(20.0) + 0.004 * days)
    asked = ask([straight, growing], questions_after([straight, growing], [3]))
    change = asked.truth - asked.last
    assert linear([straight, growing], asked)[0] == pytest.approx(change[0])
    assert by_law("exponential", [straight, growing], asked)[1] == pytest.approx(change[1], abs=0.02)


def test_carry_forward_has_no_skill_over_itself_and_the_truth_has_all() -> None:
    rng = np.random.default_rng(0)
    change = rng.normal(size=60)
    scored = Scored("k3", np.arange(60) // 2, np.full(60, 3.0), 3.0 + change)
    answers = {
        "carry_forward": Answers(np.zeros(60), marginal(change, 60)),
        "ours": Answers(change, np.tile(change[:, None], 11)),
    }
    rows = {(r.method, r.metric): r for r in rows_of(scored, answers, seed=0)}
    assert rows["carry_forward", "pinball_skill"].value == pytest.approx(0.0)
    assert rows["ours", "pinball_skill"].value == pytest.approx(1.0)
    assert rows["ours", "mae_ratio"].value == 0.0
    assert rows["carry_forward", "coverage90"].value == pytest.approx(0.9, abs=0.05)
    assert rows["carry_forward", "mae"].low < rows["carry_forward", "mae"].value < rows["carry_forward", "mae"].high


def test_auroc_and_pinball_by_hand() -> None:
    assert auroc(np.array([0.1, 0.2, 0.3]), np.array([False, False, True])) == 1.0
    assert math.isnan(auroc(np.array([0.1]), np.array([True])))
    assert pinball(np.array([1.0]), np.zeros((1, 11)))[0] == pytest.approx(0.5)


def test_the_brier_score_and_the_ratios_of_losses_by_hand() -> None:
    event, patient = np.array([True, False, False, True]), np.array([0, 0, 1, 1])
    said = {"constant": np.full(4, 0.5), "ours": event.astype(np.float64), "wrong": 1.0 - event}
    rows = {(r.method, r.metric): r.value for r in brier_rows("t", patient, event, said, "constant", seed=0)}
    assert (rows["constant", "brier"], rows["ours", "brier"], rows["wrong", "brier"]) == (0.25, 0.0, 1.0)
    assert (rows["ours", "brier_skill"], rows["wrong", "brier_skill"]) == (1.0, -3.0)
    assert rows["observed", "mean_said"] == 0.5
    losses = {"a": np.full(4, 2.0), "b": np.full(4, 1.0)}
    found = {(r.method, r.metric): r.value for r in loss_rows("t", patient, "log_mae", losses, "a", seed=0)}
    assert found["b", "log_mae_ratio_to_a"] == 0.5
    assert ("a", "log_mae_ratio_to_a") not in found


def test_a_table_in_which_nothing_disappears_says_nothing_of_it() -> None:
    series = [Series.of(f"p{i}", [(0, 20), (40, 21), (80, 22)]) for i in range(10)]
    assert list(run_deaths(series, np.arange(10) % 2, seed=0, advance=lambda *a, **k: None)) == []


@pytest.mark.slow
def test_a_known_past_makes_a_better_forecast_of_stopping() -> None:
    rows = run_past(24, seed=5, advance=lambda *a, **k: None)
    found = {(r.group["task"], r.method, r.metric): r.value for r in rows}
    assert {task for task, _, _ in found} == {"stop", "continue", "start", "observe"}
    assert found["stop", "ours", "log_mae_ratio_to_past_unknown"] < 0.9
    assert found["observe", "ours", "log_mae_ratio_to_past_unknown"] < 0.9


def test_a_table_that_is_split_tests_only_what_it_should() -> None:
    train, test = ([Series.of(name, [(0, 10), (9, 11)])] for name in ("a", "b"))
    table = Table.split(train, test)
    assert (table.splits(), table.fold.tolist()) == ([0], [-1, 0])


@pytest.mark.parametrize("kind", ["recist", "pdxe"])
def test_a_training_table_with_tested_patients_is_refused(tmp_path: Path, kind: str) -> None:
    series, train = tmp_path / "a.csv", tmp_path / "b.csv"
    if kind == "recist":
        recist_table(series, 5)
        train.write_text(HEAD + "S1,3,0,20,x\nS1,3,40,21,x\nS2,3,0,20,x\nS2,3,40,21,x\n")
        said = "no patient of the table that is tested, got 1 of the 5, such as S1/3"
    else:
        head = "Tumor,ID,Type,Arms,Times,Volume\n"
        series.write_text(head + "X-1,1,CM,drug,0,200\nX-1,1,CM,drug,20,220\n")
        train.write_text(head + "X-1,2,CM,other,0,200\nX-1,2,CM,other,20,220\n")
        said = "no tumour of the table that is tested, got 1 of the 1, such as X-1"
    command = ["benchmark", "prediction", "--kind", kind, "--series", str(series), "--train", str(train)]
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


@pytest.mark.slow
def test_the_benchmark_runs_on_a_table_with_every_baseline_in_the_same_run(tmp_path: Path) -> None:
    series, train = recist_table(tmp_path / "a.csv", 50), recist_table(tmp_path / "b.csv", 60, 1, "S2")
    command = ["benchmark", "prediction", "--kind", "recist", "--series", str(series), "--json"]
    result = CliRunner().invoke(app, [*command, "--train", str(train)])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    methods = {row["method"] for row in printed["rows"] if row["group"]["task"] == "k3"}
    assert methods >= {"carry_forward", "linear", "gompertz", "general_gompertz", "boosting", "ours"}
    assert {row["group"]["task"] for row in printed["rows"]} == {"k3", "beyond26w", "next_visit"}
    found = {(r["method"], r["metric"]): r["value"] for r in printed["rows"] if r["group"]["task"] == "k3"}
    assert found["exponential", "mae_ratio"] < 0.7  # these grow exponentially
    assert found["ours", "mae_ratio"] < 0.8


def test_the_sicker_are_treated_more_and_every_future_is_known() -> None:
    cohort = make_cohort(CohortSettings(patients=400))
    growth = cohort.log_mm[:, -1] - cohort.log_mm[:, 0]
    assert growth[cohort.action == 1].mean() > growth[cohort.action == 0].mean() + 0.05
    assert (cohort.truth[:, 1:] < cohort.truth[:, :1]).all()
    assert 0.2 < (cohort.truth[:, 1] < cohort.truth[:, 2]).mean() < 0.8
    trial = make_cohort(CohortSettings(patients=400, confounding=0.0))
    even = trial.log_mm[:, -1] - trial.log_mm[:, 0]
    assert abs(even[trial.action == 1].mean() - even[trial.action == 0].mean()) < 0.05


def test_the_real_tables_have_the_patients_that_their_sources_say(shared_data: Path) -> None:
    recist = read_recist(shared_data / "growth" / "recist" / "series.csv")
    assert len({s.patient for s in recist}) == 1017
    asked = ask(recist, questions_after(recist, [3]))
    assert np.abs(np.exp(asked.last) - np.exp(asked.truth)).mean() == pytest.approx(5.366, abs=0.001)
    assert len({s.patient for s in read_pdxe(shared_data / "growth" / "pdxe" / "series.csv.gz")}) == 198
    assert len(read_maeve(shared_data / "growth" / "maeve")) == 167


@pytest.mark.slow
def test_new_lesions_are_foreseen_better_than_by_a_constant_hazard(shared_data: Path) -> None:
    folder = shared_data / "growth" / "ffcd"
    result = CliRunner().invoke(app, ["benchmark", "prediction", "--kind", "ffcd", "--series", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    gain = next(row for row in json.loads(result.stdout)["rows"] if row["metric"] == "log_score_gain")
    assert gain["value"] > 0
