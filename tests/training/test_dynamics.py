"""Training the dynamics model by the repository's own command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from synth.action import Plan, SystemicTherapy, TherapyAgent
from synth.cli.app import app
from synth.dynamics import DynamicsModel, LesionHistory, PatientHistory

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.slow
def test_the_tiny_config_trains_a_model_that_loads(shared_data: Path, tmp_path: Path) -> None:
    config = str(CONFIGS / "tiny" / "dynamics.toml")
    out = tmp_path / "weights"
    arguments = ["train", "dynamics", config, "--data", str(shared_data), "--weights", str(out), "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)["facts"]
    assert (facts["series"], 0.0 <= facts["persistent"] <= 0.98) == (120, True)
    assert DynamicsModel.from_pretrained(out).group == "patient"


def test_an_arm_without_a_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "series.csv").write_text(
        "study,patient,day,target_lesion_long_diam_mm,study_arm\nA,1,0,20,new arm\nA,1,40,22,new arm\n"
    )
    config = tmp_path / "c.toml"
    config.write_text(
        'task = "dynamics"\nname = "x"\nspacing_mm = 1.0\nsteps = 0\n[[sets]]\nlayout = "recist"\n'
        'path = "{data}/series.csv"\n'
    )
    result = CliRunner().invoke(app, ["train", "dynamics", str(config), "--data", str(tmp_path)])
    assert (result.exit_code, "new arm" in result.stderr) == (2, True)


def test_phantom_trajectories_teach_what_their_drug_does(tmp_path: Path) -> None:
    config = tmp_path / "phantoms.toml"
    text = (CONFIGS / "dynamics" / "phantoms.toml").read_text()
    small = {
        "trees = 30": "trees = 10",
        "rounds = 40": "rounds = 5",
        "held_out = 2": "held_out = 0",
        "limit = 400": "limit = 150",
    }
    for before, after in small.items():
        assert before in text
        text = text.replace(before, after)
    config.write_text(text)
    out = tmp_path / "weights"
    result = CliRunner().invoke(app, ["train", "dynamics", str(config), "--weights", str(out), "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)["facts"]
    assert facts["series"] == 150
    assert facts["error_to_carry_forward"] < 0.8
    model = DynamicsModel.from_pretrained(out)
    assert (model.group, model.learned_actions) == ("phantom", ("cytotoxic", "none"))
    lesion = LesionHistory("a", "liver", (0.0, 42.0), (18.0, 19.5), (3.0, 3.9))
    drug = TherapyAgent(name="d", agent_class="cytotoxic", dose=1.0, every_days=21)
    plans = [Plan(name="on", actions=(SystemicTherapy(start_day=0, stop_day=180, agents=(drug,)),)), Plan(name="off")]
    on, off = (model.forecast(PatientHistory((lesion,)), plan, [90.0], samples=50, seed=0) for plan in plans)
    assert np.median(on.log_ratio["a"]) < np.median(off.log_ratio["a"]) - 0.3
    assert (on.effect_source, off.effect_source) == ("learned", "learned")


def test_a_cohort_of_phantoms_is_a_number(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        'task = "dynamics"\nname = "x"\nspacing_mm = 1.0\nsteps = 0\n[[sets]]\nlayout = "phantoms"\npath = "some"\n'
    )
    result = CliRunner().invoke(app, ["train", "dynamics", str(config)])
    assert (result.exit_code, "the number of a cohort" in result.stderr) == (2, True)
