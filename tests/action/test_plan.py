"""Plans: what can be carried out, what is refused and why, and the file that holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from synth.action import Plan, json_schema, write_schema
from synth.errors import InputError
from synth.parse import Entity, Parse
from synth.volume import Geometry, Mask

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schema" / "plan.schema.json"
DRUG = {"name": "irinotecan", "agent_class": "cytotoxic", "dose": 180.0, "dose_unit": "mg/m2", "every_days": 14.0}
CHEMO = {"action": "systemic_therapy", "start_day": 0.0, "stop_day": 84.0, "agents": [DRUG]}
CUT = {"action": "surgery", "start_day": 5.0, "stop_day": 5.0, "entities": ["lesion"], "margin_mm": 10.0}
BEAM = {
    "action": "radiotherapy",
    "start_day": 0.0,
    "stop_day": 39.0,
    "dose_per_fraction_gy": 2.0,
    "fractions": 30,
    "target": "ptv",
}
WATCH = {"action": "observation", "start_day": 0.0, "stop_day": 90.0}
BURN = {"action": "ablation", "start_day": 9.0, "stop_day": 9.0, "entity": "lesion", "margin_mm": 5.0}
CLOSE = {"action": "embolisation", "start_day": 1.0, "stop_day": 1.0, "entities": ["lesion"], "with_drug": True}


def plan(*actions: dict[str, Any]) -> Plan:
    return Plan.read({"name": "a plan", "actions": list(actions)}, "plan")


@pytest.fixture
def parse() -> Parse:
    masks = {id: np.zeros((8, 8, 8), bool) for id in ("liver", "lesion", "ptv")}
    masks["liver"][1:7] = masks["lesion"][3:5, 3:5, 3:5] = masks["ptv"][2:6, 2:6, 2:6] = True
    return Parse(
        geometry=Geometry.regular((8, 8, 8), 2.0),
        entities=(
            Entity(id="liver", name="liver"),
            Entity(id="lesion", name="metastasis"),
            Entity(id="ptv", name="ptv_70"),
            Entity(id="spleen", name="spleen", presence="absent"),
            Entity(id="fat", name="fat"),
        ),
        masks={id: Mask.from_dense(array) for id, array in masks.items()},
    )


def test_every_kind_of_action_survives_the_file(tmp_path: Path) -> None:
    early = {**BEAM, "target": "lesion", "start_day": -60.0, "stop_day": -30.0, "fractions": 20}
    whole = plan(early, BEAM, CHEMO, CLOSE, BURN, {**CUT, "start_day": 100.0, "stop_day": 100.0})
    whole.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == whole
    assert Plan.read(str(tmp_path / "plan.json")) == whole


def test_the_published_schema_is_that_of_the_code(tmp_path: Path) -> None:
    write_schema(tmp_path / "schema.json")
    assert SCHEMA.read_text() == (tmp_path / "schema.json").read_text()


def test_what_is_written_follows_the_schema() -> None:
    data = json.loads(plan(BEAM, CHEMO, BURN).model_dump_json())
    jsonschema.Draft202012Validator(json_schema()).validate(data)
    data["actions"][0]["action"] = "prayer"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(data)


@pytest.mark.parametrize(
    ("actions", "reason"),
    [
        ([{**CHEMO, "stop_day": -1.0}], "a day from 0 on"),
        ([WATCH, CHEMO], "either observation or treatment"),
        ([BEAM, {**BEAM, "start_day": 20.0, "stop_day": 60.0}], "one radiotherapy of 'ptv' at a time"),
        ([CHEMO, {**CHEMO, "start_day": 80.0, "stop_day": 90.0}], "one course of 'irinotecan'"),
        ([CUT, BURN], "an entity that is still there"),
        ([BURN, CUT], "an entity that is still there"),
        ([CUT, {**CUT, "start_day": 9.0, "stop_day": 9.0}], "an entity that is still there"),
        ([{**BEAM, "dose_per_fraction_gy": 40.0}], "less than or equal to 34"),
        ([{**BEAM, "dose_per_fraction_gy": 10.0}], "a total of at most 100 Gy"),
        ([{**BEAM, "stop_day": 5.0}], "at most 18 in 6 days"),
        ([{**CHEMO, "agents": []}], "at least 1 item"),
        ([{**CHEMO, "agents": [{**DRUG, "dose": -1.0}]}], "greater than 0"),
        ([{**WATCH, "dose": 1.0}], "no such field"),
        ([{**WATCH, "action": "prayer"}], "observation"),
        ([{**WATCH, "stop_day": "soon"}], "a valid number"),
    ],
)
def test_an_impossible_plan_is_refused_with_the_reason(actions: list[dict[str, Any]], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        plan(*actions)


def test_actions_that_meet_or_differ_in_target_go_together() -> None:
    after = {**CHEMO, "start_day": 84.0, "stop_day": 100.0}
    assert len(plan(CHEMO, after, BEAM, {**BEAM, "target": "lesion"}).actions) == 4
    assert len(plan(BURN, {**CUT, "start_day": 20.0, "stop_day": 20.0}).actions) == 2


def test_a_plan_that_fits_the_parse_passes(parse: Parse) -> None:
    plan(BEAM, CHEMO, BURN).check(parse)


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        ({**CUT, "entities": ["nobody"]}, "an entity of the parse"),
        ({**CUT, "entities": ["spleen"]}, "which is absent"),
        ({**CUT, "entities": ["ptv"]}, "a planning volume"),
        ({**BURN, "entity": "liver"}, "a finding to ablate"),
        ({**CUT, "entities": ["liver"]}, "one can live without, got the whole liver"),
        ({**CUT, "entities": ["fat"]}, "one can live without, got 'fat', a tissue"),
        ({**CUT, "start_day": -30.0, "stop_day": -30.0}, "gone since day -30, got 'lesion', which the parse of today"),
        ({**BURN, "start_day": -30.0, "stop_day": -30.0}, "gone since day -30"),
    ],
)
def test_what_cannot_be_done_to_this_patient_is_refused(parse: Parse, action: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        plan(action).check(parse)


def test_what_lies_in_something_that_was_removed_cannot_be_treated_later(parse: Parse) -> None:
    kidney = Entity(id="kidney", name="kidney_left")
    held = parse.with_entity(kidney, parse.masks["liver"]).without("liver")
    out = {**CUT, "entities": ["kidney"], "margin_mm": 0.0}
    with pytest.raises(InputError, match="'lesion', which lies in what is removed on day 5"):
        plan(out, BURN).check(held)
    plan({**BURN, "start_day": 1.0, "stop_day": 1.0}, out).check(held)


def test_what_was_removed_before_today_may_be_absent_now(parse: Parse) -> None:
    plan({**CUT, "entities": ["spleen"], "start_day": -30.0, "stop_day": -30.0}).check(parse)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x", "actions": 3}', "NaN", "[" * 100_000])
def test_a_broken_file_is_an_input_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InputError, match=r"plan\.json"):
        Plan.read(tmp_path / "plan.json")


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a plan as JSON"):
        Plan.read(tmp_path / "none.json")


def test_active_says_what_goes_on_that_day() -> None:
    whole = plan(CHEMO, BURN)
    assert [a.action for a in whole.active(9.0)] == ["systemic_therapy", "ablation"]
    assert [a.action for a in whole.active(90.0)] == []
    assert not whole.is_observation
    assert plan(WATCH).is_observation
