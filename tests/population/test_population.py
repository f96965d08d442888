"""What is usual is filled in where a parse leaves it open, and nowhere else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Attribute, Modality, Parse, Phase, Presence
from synth.phantom import LesionSpec, make, sample_spec
from synth.population import (
    Donor,
    FindingLook,
    Place,
    Population,
    completed,
    usual_place,
    usual_places,
    with_absences,
    with_usual_look,
)

MEAN = "mean_attenuation"


@pytest.fixture(scope="module")
def truth() -> Parse:
    """A portal venous abdomen with a fatty liver, a metastasis and a cyst."""
    lesions = (LesionSpec("metastasis", "liver", 30.0), LesionSpec("kidney_cyst_left", "kidney_left", 24.0))
    spec = replace(
        sample_spec(4), phase="portal_venous", phases=("portal_venous",), steatosis="S1", lesions=lesions, absent=(),
        field_of_view="abdomen_pelvis",
    )  # fmt: skip
    return make(4, spec=spec, spacing_mm=(6.0, 6.0, 6.0)).parse


def usual(parse: Parse, seed: int = 0) -> dict[str, float]:
    told = with_usual_look(parse, Population.load(), seed)
    return {a.entity: float(a.value) for a in told.attributes if a.type == MEAN}


def with_phase(parse: Parse, phase: Phase | None) -> Parse:
    return parse.replace(circumstance=parse.circumstance.model_copy(update={"phase": phase}))


def graded(parse: Parse, **values: str) -> Parse:
    kept = [a for a in parse.attributes if a.type not in values]
    told = [Attribute(entity=_of(t), type=t, value=v) for t, v in values.items()]
    return parse.replace(attributes=[*kept, *told])


def _of(type: str) -> str:
    return "liver" if type == "steatosis_grade" else "metastasis_1"


def test_the_phase_tells_how_bright_organs_are(truth: Parse) -> None:
    venous, plain = usual(truth), usual(with_phase(truth, Phase.unenhanced))
    assert venous["aorta"] > plain["aorta"] + 60
    assert venous["kidney_left"] > plain["kidney_left"] + 80
    assert 25 < plain["spleen"] < 70
    assert usual(with_phase(truth, None)) == {}
    other = truth.circumstance.model_copy(update={"modality": Modality.mr})
    assert usual(truth.replace(circumstance=other)) == {}


def test_a_fatty_liver_is_darker_with_all_that_is_part_of_it(truth: Parse) -> None:
    none, severe = usual(graded(truth, steatosis_grade="S0")), usual(graded(truth, steatosis_grade="S3"))
    assert severe["liver"] < none["liver"] - 35
    assert severe["liver_segment_8"] - none["liver_segment_8"] == pytest.approx(severe["liver"] - none["liver"])
    assert severe["spleen"] == none["spleen"]


def test_what_is_declared_stays_and_its_parts_follow(truth: Parse) -> None:
    told = Attribute(entity="liver", type=MEAN, value=33.0, phase=Phase.portal_venous)
    after = usual(truth.replace(attributes=[*truth.attributes, told]))
    assert after["liver"] == 33.0
    assert abs(after["liver_segment_8"] - 33.0) < 12


def test_the_case_is_one_of_those_nearest_to_what_is_declared() -> None:
    population = Population(
        tuple(
            Donor(Phase.arterial, {"aorta": 10.0 * k, "spleen": 10.0 * k, "liver": 10.0 * k, "pancreas": 100.0 + k})
            for k in range(4, 9)
        )
    )
    parse = with_phase(make(0, spacing_mm=(8.0, 8.0, 8.0)).parse.without_derived(), Phase.arterial)
    means = [Attribute(entity=i, type=MEAN, value=40.0, phase=Phase.arterial) for i in ("aorta", "spleen", "liver")]
    told = parse.replace(attributes=[*parse.attributes, *means])
    chosen = {
        float(a.value)
        for seed in range(12)
        for a in with_usual_look(told, population, seed).attributes_of("pancreas")
        if a.type == MEAN
    }
    assert chosen <= {104.0, 105.0, 106.0}
    assert len(chosen) > 1  # the seed chooses among them


def test_a_category_of_attenuation_bounds_what_a_finding_looks_like(truth: Parse) -> None:
    bare = truth.replace(attributes=[a for a in truth.attributes if a.entity != "metastasis_1"])
    base = usual(bare)
    assert base["metastasis_1"] < base["liver"]
    for category, low, high in (
        ("fluid", -20, 25),
        ("calcified", 130, np.inf),
        ("hyperdense", base["liver"] + 10, np.inf),
        ("isodense", base["liver"] - 20, base["liver"] + 20),
    ):
        assert low <= usual(graded(bare, attenuation_class=category))["metastasis_1"] <= high
    rise = Attribute(entity="metastasis_1", type="enhancement", value=45.0, phase=Phase.portal_venous)
    more = rise.model_copy(update={"value": 75.0})
    one, other = (usual(bare.replace(attributes=[*bare.attributes, a]))["metastasis_1"] for a in (rise, more))
    assert other - one == pytest.approx(30.0)


def test_the_seed_chooses_and_what_is_filled_in_says_so(truth: Parse) -> None:
    assert usual(truth, 1) == usual(truth, 1)
    assert len({usual(truth, seed)["aorta"] for seed in range(8)}) > 2
    told = with_usual_look(truth, Population.load(), 0)
    added = told.attributes[len(truth.attributes) :]
    assert {a.source for a in added} == {"population"}
    assert not any(a.derived for a in added)
    assert with_usual_look(told, Population.load(), 5).attributes == told.attributes


@pytest.mark.parametrize(("name", "least"), [("kidney_left", 0.6), ("spleen", 0.55), ("gallbladder", 0.4)])
def test_an_organ_that_is_not_drawn_is_looked_for_where_it_lies(truth: Parse, name: str, least: float) -> None:
    guess = usual_place(truth.without(name), name, Population.load())
    assert guess is not None
    assert guess.dice(truth.masks[name]) > least


def test_no_place_is_guessed_from_too_little(truth: Parse) -> None:
    few = truth.without(*[e.id for e in truth.entities if e.id not in ("liver", "spleen", "aorta")])
    assert usual_place(few, "kidney_left", Population.load()) is None
    assert usual_place(truth, "eye_left", Population.load()) is None


def test_usual_places_are_of_organs_declared_absent_unless_others_are_named(truth: Parse) -> None:
    gone, population = truth.with_presence("spleen", Presence.absent), Population.load()
    assert usual_places(gone, population).keys() == {"spleen"}
    assert usual_places(gone, population)["spleen"] == usual_place(gone, "spleen", population)
    assert usual_places(gone, population, ["gallbladder", "eye_left"]).keys() == {"gallbladder"}


def test_fat_lies_where_an_organ_is_declared_absent(truth: Parse) -> None:
    population = Population.load()
    assert with_absences(truth, population) is truth
    gone = truth.with_presence("kidney_left", Presence.absent).with_presence("spleen", Presence.absent)
    filled = with_absences(gone, population)
    (fat,) = filled.by_name("fat")
    for organ in ("kidney_left", "spleen"):
        assert truth.masks[organ].overlap(filled.masks[fat.id]) > 0.5 * truth.masks[organ].voxels
    assert filled.masks[fat.id].overlap(filled.masks["pancreas"]) == 0
    assert with_absences(filled, population) is filled
    assert {a.entity for a in completed(gone, population, 0).attributes if a.type == MEAN} > {fat.id, "liver"}


def test_a_population_is_the_same_after_writing_and_reading(tmp_path: Path) -> None:
    place = Place((1.0, -2.0, 3.0), (100.0, 90.0, 80.0, 5.0, -4.0, 3.0))
    donors = (
        Donor(Phase.delayed, {"liver": 98.0}, {"liver": place}, (FindingLook("metastasis", 60.0, 98.0, "hypodense"),)),
        Donor(None, {"spleen": 50.0}),
    )
    Population(donors, {"steatosis_grade": {"S1": {"liver": -12.5}}}, {"cases": {"own": 2}}).save(tmp_path / "p")
    read = Population.load(tmp_path / "p")
    assert read.donors == donors
    assert read.shifts == {"steatosis_grade": {"S1": {"liver": -12.5}}}
    assert len(read.sha256) == 64


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        json.dumps({"task": "audit", "format": 1}),
        json.dumps({"task": "population", "format": 1, "shifts": {}, "facts": {}, "donors": [{"phase": "late"}]}),
        json.dumps(
            {
                "task": "population",
                "format": 1,
                "shifts": {},
                "facts": {},
                "donors": [{"phase": None, "attenuation": {"no_such_organ": 1.0}, "places": {}, "findings": []}],
            }
        ),
        '{"task": "population", "format": 1, "shifts": {}, "facts": {}, "donors": '
        '[{"phase": null, "attenuation": {"liver": NaN}, "places": {}, "findings": []}]}',
        '{"task": "population", "format": 1, "shifts": {}, "facts": {}, "donors": '
        '[{"phase": null, "attenuation": {}, "places": {"liver": [0, 0, 0, 1, 1, 1, 5, 0, 0]}, "findings": []}]}',
    ],
)
def test_what_is_no_population_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="population"):
        Population.load(tmp_path)
