"""The honesty command: it sees what a decoder uses, and what it does not."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from synth.benchmark.honesty import HELD, examine_fields
from synth.cli.app import app
from synth.decoder import load_decoder
from synth.parse import Kind, Parse

WEIGHTS = Path(__file__).resolve().parents[2] / "weights"


spec = spec_from_file_location(
    "small_decoder", Path(__file__).resolve().parents[1] / "residual" / "gaussian_decoder.py"
)
assert spec is not None
assert spec.loader is not None
small = sys.modules["small_decoder"] = module_from_spec(spec)
spec.loader.exec_module(small)


class Painter(small.GaussianDecoder):  # type: ignore[misc, name-defined]  # tests are not a package
    """Every mask filled with its measured mean, the largest first, whatever its name; findings darker where untold."""

    def _field(self, parse: Parse) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        told = {a.entity: float(a.value) for a in parse.attributes if a.type == "mean_attenuation"}
        mean = np.full(parse.geometry.shape, self.rest[0], np.float32)
        for entity in sorted(parse.present_ids, key=lambda i: -parse.masks[i].voxels):
            mask = parse.masks[entity]
            usual = 0.0 if parse.entity(entity).kind is Kind.finding else 40.0
            mean[mask.slices][mask.box] = told.get(entity, usual)
        return mean, np.full_like(mean, self.rest[1])


def test_what_a_decoder_uses_is_told_from_what_it_ignores() -> None:
    found = {v.field: v for v in examine_fields(Painter({}, (-1000.0, 5.0), spacing_mm=8.0), patients=1)}
    used = {field for field, v in found.items() if v.used}
    assert used >= {"attribute: mean_attenuation", "mask: moved", "presence: left out", "tissue: fat"}
    assert 15 < found["attribute: mean_attenuation"].signed <= 61  # of 60; what lies inside keeps its own
    ignored = {f for f in found if f.startswith(("relation:", "circumstance:", "name:"))} | {"attribute: texture"}
    assert ignored & used == set()
    assert {"relation: abuts", "relation: located_in", "circumstance: phase", "presence: uncertain"} <= set(found)


def test_what_holds_in_what_is_drawn_is_asked_apart_from_what_the_network_does() -> None:
    painter = Painter({}, (-1000.0, 5.0), spacing_mm=8.0)
    found = {v.field: v for v in examine_fields(painter, patients=1, drawn=True)}
    assert set(found) <= set(HELD)
    used = {field for field, v in found.items() if v.used}
    assert {"relation: located_in", "relation: abuts", "attribute: mean_attenuation"} <= used
    assert "attribute: texture" not in used  # it has none of what brings an image to its declared values


@pytest.mark.parametrize("name", ["direct", "latent"])
def test_the_shipped_decoders_use_every_field_that_their_cards_say_they_use(name: str) -> None:
    uses = json.loads((WEIGHTS / name / "config.json").read_text())["uses"]
    found = examine_fields(load_decoder(name), patients=1, fields=uses)
    assert {v.field for v in found} == set(uses)
    assert [v.field for v in found if not v.used] == []
    held = examine_fields(load_decoder(name), patients=2, fields=HELD, drawn=True)  # as many as the table has
    holds = json.loads((WEIGHTS / name / "config.json").read_text())["holds"]
    assert set(holds) <= {v.field for v in held}
    assert [v.field for v in held if v.field in holds and not v.used] == []
    card = (WEIGHTS / name / "README.md").read_text()
    assert [field for field in uses if field not in card] == []


def test_a_field_said_to_be_used_and_ignored_fails_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "direct"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes((WEIGHTS / "direct" / "model.safetensors").read_bytes())
    config = json.loads((WEIGHTS / "direct" / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"uses": ["relation: supplies"]}))
    options = ["--patients", "1", "--only", "relation: supplies", "--json"]
    result = CliRunner().invoke(app, ["honesty", str(folder), *options])
    assert result.exit_code == 3, result.output
    assert json.loads(result.stdout)["ignored"] == ["relation: supplies"]
    assert "said to be used, and ignored: relation: supplies" in result.stderr
