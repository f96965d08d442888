"""`synth parse validate|measure|diff` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from synth.cli.app import app
from synth.parse import Entity, Parse, save_bundle
from synth.volume import Geometry, Mask

SHAPE = (30, 30, 20)
GRID = Geometry.regular(SHAPE, (1.0, 1.0, 2.0))


def bar(length: int, row: int) -> Mask:
    return Mask.from_box(SHAPE, (2, row, 2), np.ones((length, 2, 2), bool))


@pytest.fixture
def visits(tmp_path: Path) -> tuple[Path, Path]:
    first = Parse(
        [Entity(id="m1", name="metastasis"), Entity(id="spleen", name="spleen")],
        geometry=GRID,
        masks={"m1": bar(20, 3), "spleen": bar(10, 20)},
    )
    second = Parse(
        [Entity(id="lesion-7", name="metastasis"), Entity(id="spleen", name="spleen", presence="absent")],
        geometry=GRID,
        masks={"lesion-7": bar(15, 3)},
    )
    for name, parse in (("first", first), ("second", second)):
        save_bundle(parse, tmp_path / name)
    return tmp_path / "first", tmp_path / "second"


def run(*words: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def test_a_valid_bundle_is_counted(visits: tuple[Path, Path]) -> None:
    code, out, _ = run("parse", "validate", visits[0], "--json")
    assert code == 0
    assert json.loads(out) == {
        "valid": True,
        "bundle": str(visits[0]),
        "entities": 2,
        "attributes": 0,
        "relations": 0,
        "masks": 2,
    }


def test_a_relation_to_nowhere_is_one_line_and_exit_code_two(visits: tuple[Path, Path]) -> None:
    file = visits[0] / "parse.json"
    data = json.loads(file.read_text())
    data["relations"] = [{"type": "located_in", "subject": "m1", "object": "liver"}]
    file.write_text(json.dumps(data))
    code, out, err = run("parse", "validate", visits[0])
    assert code == 2
    assert out == ""
    assert "relations[0].object" in err
    assert "'liver'" in err
    assert err.count("\n") == 1


def test_every_delineated_entity_is_measured(visits: tuple[Path, Path]) -> None:
    code, out, _ = run("parse", "measure", visits[0], "--json")
    assert code == 0
    found = json.loads(out)
    rows = {row["id"]: row for row in found["entities"]}
    assert rows["m1"]["volume_ml"] == pytest.approx(0.16)
    assert rows["m1"]["longest_axis_mm"] == pytest.approx(20.0, abs=0.2)
    assert found["recist"]["sum_mm"] == pytest.approx(20.0, abs=0.2)
    assert [target["id"] for target in found["recist"]["targets"]] == ["m1"]
    code, out, _ = run("parse", "measure", visits[0], "--entity", "spleen")
    assert code == 0
    assert "spleen" in out
    assert "\nm1 " not in out


def test_an_unknown_entity_lists_the_nearest(visits: tuple[Path, Path]) -> None:
    code, _, err = run("parse", "measure", visits[0], "--entity", "splen")
    assert code == 2
    assert "spleen" in err


def test_the_difference_matches_entities_first(visits: tuple[Path, Path]) -> None:
    code, out, _ = run("parse", "diff", *visits)
    assert code == 0
    assert "metastasis (m1): shrank from 0.16 to 0.12 mL (-25%)" in out
    assert "spleen: present before, absent now" in out
    code, out, _ = run("parse", "diff", *visits, "--json")
    found = json.loads(out)
    assert {pair["second"] for pair in found["matching"]["pairs"]} == {"lesion-7", "spleen"}
    assert {edge["subject"] for edge in found["changed_from"]} == {"m1", "spleen"}


def test_ids_can_be_trusted_instead(visits: tuple[Path, Path]) -> None:
    code, out, _ = run("parse", "diff", *visits, "--by-id", "--json")
    assert code == 0
    assert json.loads(out)["matching"] is None
    assert any("no longer mentioned" in sentence for sentence in json.loads(out)["sentences"])


def test_nothing_changed_is_said(visits: tuple[Path, Path]) -> None:
    assert run("parse", "diff", visits[0], visits[0])[1] == "nothing changed\n"
