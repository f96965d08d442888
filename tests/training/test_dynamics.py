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


PHANTOMS = (
    'task = "dynamics"\nname = "x"\nspacing_mm = 1.0\nsteps = 0\n[model]\ntrees = 3\nrounds = 2\nheld_out = 0\n'
    '[model.actions]\ncytotoxic = "cytotoxic"\nnone = "none"\n'
    '[[sets]]\nlayout = "phantoms"\npath = "7"\nlimit = 60\n'
)
NEW_LESIONS = '[[sets]]\nlayout = "new_lesions"\npath = "{data}/new.csv"\n'


def _train(folder: Path, config: str, table: str) -> tuple[int, str, Path]:
    (folder / "c.toml").write_text(config)
    (folder / "new.csv").write_text(table)
    out = folder / "weights"
    arguments = ["train", "dynamics", str(folder / "c.toml"), "--data", str(folder), "--weights", str(out), "--json"]
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout + result.stderr, out


def test_a_table_of_new_lesions_teaches_their_hazard(tmp_path: Path) -> None:
    lines = [f"{n},0,0.5,1\n{n},0.5,2,0\n" for n in range(30)] + [f"{n},0,2,0\n" for n in range(30, 60)]
    code, said, out = _train(tmp_path, PHANTOMS + NEW_LESIONS, "id,time0,time1,new.lesions\n" + "".join(lines))
    assert code == 0, said
    births = DynamicsModel.from_pretrained(out).births
    assert births.per_year == pytest.approx(0.25, rel=0.02)  # 30 in 120 years
    assert births.patients == 60
    lesion = LesionHistory("a", "liver", (0.0,), (18.0,), (3.0,))
    made = DynamicsModel.from_pretrained(out).forecast(
        PatientHistory((lesion,)), Plan(name="off"), [90.0], samples=9, seed=0
    )
    assert made.provenance["births"].startswith("learned from 60 patients: 0.25 a year")


@pytest.mark.parametrize(
    ("config", "table", "complaint"),
    [
        (PHANTOMS + NEW_LESIONS, "id,time0,time1\n1,0,1\n", "new.lesions"),
        (PHANTOMS + NEW_LESIONS, "id,time0,time1,new.lesions\n1,2,1,0\n", "new.csv, line 2"),
        (PHANTOMS + NEW_LESIONS, "id,time0,time1,new.lesions\n1,0,1,3\n", "0 or 1"),
        (PHANTOMS + NEW_LESIONS, "id,time0,time1,new.lesions\n1,0,1,0\n", "some to learn from"),
        (PHANTOMS.partition("[[sets]]")[0] + NEW_LESIONS, "id,time0,time1,new.lesions\n1,0,1,1\n", "growth series"),
    ],
)
def test_new_lesions_that_cannot_be_learned_from_are_refused(
    tmp_path: Path, config: str, table: str, complaint: str
) -> None:
    code, said, out = _train(tmp_path, config, table)
    assert (code, complaint in said, out.exists()) == (2, True, False), said
