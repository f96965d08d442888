"""A population is counted from cases: by phase, with the categories that change a look taken out."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from synth.cli.app import app
from synth.errors import InputError
from synth.parse import Phase
from synth.population import Population
from synth.training.config import TrainConfig
from synth.training.population import fit_population

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "ct-4mm" / "population.toml"


def test_the_config_counts_generated_cases(phantoms: Path, tmp_path: Path) -> None:
    out = tmp_path / "population"
    told = ["train", "population", str(CONFIG), "--phantoms", str(phantoms), "--weights", str(out), "--json"]
    result = CliRunner().invoke(app, told)
    assert result.exit_code == 0, result.output
    population = Population.load(out)
    assert population.facts["cases"] == {"generated": len(population.donors)}
    assert all(isinstance(d.phase, Phase) for d in population.donors)
    assert all(-120 < d.attenuation["fat"] < -70 for d in population.donors)
    centres = [d.places["aorta"].centre for d in population.donors if "aorta" in d.places]
    assert all(abs(x) < 60 for x, _, _ in centres)


def test_the_shipped_one_says_what_steatosis_does() -> None:
    drop = [Population.load().shifts["steatosis_grade"][grade]["liver"] for grade in ("S1", "S2", "S3")]
    assert drop == sorted(drop, reverse=True)
    assert -25 < drop[0] < -5


def test_no_case_is_an_error(tmp_path: Path) -> None:
    settings = TrainConfig.read(CONFIG, {"data": "", "phantoms": str(tmp_path)})
    with pytest.raises(InputError, match="synth generate"):
        fit_population(settings, tmp_path / "out", log=lambda _: None)
    assert not (tmp_path / "out").exists()
