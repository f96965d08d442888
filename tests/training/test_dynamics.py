"""Training the dynamics model by the repository's own command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from synth.cli.app import app
from synth.dynamics import DynamicsModel

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
