from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Attribute, Entity, Presence, Relation
from synth.parse.attenuation import category_of
from synth.parse.measure import axial_extent
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.residual.findings import Findings, Verdict, json_schema
from synth.volume import Mask, Volume

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schema" / "findings.schema.json"


def _audit(world: ModuleType, image: Volume, parse, **options) -> AuditReport:
    return audit(image, parse, AuditOptions(**options), decoder=world.decoder(), model=world.model())


@pytest.fixture(scope="module")
def wrong(world):
    """A patient without a right kidney whose parse claims one, and who has a lesion that the parse leaves out."""
    toy = world.toy_patient(200, lesion=True, removed="kidney_right")
    claimed = toy.parse.without("kidney_right", "lesion_1").with_entity(
        Entity(id="kidney_right", name="kidney_right"), toy.places["kidney_right"]
    )
    return toy, _audit(world, toy.image, claimed)


def test_a_removed_kidney_is_hallucinated_and_the_other_organs_are_supported(wrong):
    _, report = wrong
    verdicts = {e.id: e.verdict for e in report.entities}
    assert verdicts.pop("kidney_right") is Verdict.hallucinated
    assert set(verdicts.values()) == {Verdict.supported}
    assert report.findings.flagged[0].suspicion_rank == 1


def test_an_unreported_lesion_is_missing_with_its_outline_type_and_host(wrong):
    toy, report = wrong
    (found,) = report.missing[:1]
    assert found.verdict is Verdict.missing
    assert found.located_in == "liver"
    assert found.name == "metastasis"
    assert report.regions[found.id].mask.dice(toy.parse.masks["lesion_1"]) > 0.5


def test_a_missing_lesion_comes_with_the_attributes_it_would_be_declared_with(wrong):
    toy, report = wrong
    found, mask = report.missing[0], toy.parse.masks["lesion_1"]
    told = {a["type"]: a["value"] for a in found.attributes}
    inside, liver = (toy.parse.masks[i].values(toy.image.array).mean() for i in ("lesion_1", "liver"))
    assert told["mean_attenuation"] == pytest.approx(inside, abs=10)
    assert told["attenuation_class"] == category_of(inside, liver)
    assert found.longest_mm == pytest.approx(axial_extent(mask, toy.image.geometry).longest_mm, rel=0.35)


def test_scores_are_positive_for_what_is_there_and_negative_for_what_is_not(wrong):
    _, report = wrong
    scores = {e.id: e.score for e in report.entities}
    assert scores["kidney_right"] < 0 < min(scores[k] for k in ("liver", "spleen", "kidney_left"))


def test_a_correct_parse_is_left_alone(world):
    for seed in (210, 211, 212):
        toy = world.toy_patient(seed, lesion=True)
        assert not _audit(world, toy.image, toy.parse, search=False).findings.flagged


def test_the_same_seed_gives_the_same_findings(world):
    toy = world.toy_patient(220)
    first, second = (_audit(world, toy.image, toy.parse, seed=3).to_json() for _ in range(2))
    assert first == second


def test_an_image_that_is_its_own_render_has_a_zero_residual(world):
    toy = world.toy_patient(230)
    first = _audit(world, toy.image, toy.parse)
    ideal = toy.image.with_array(first.render.array)
    residual = _audit(world, ideal, toy.parse).residual.array
    assert np.abs(residual).max() < 1e-3


def test_attributes_measured_from_the_image_change_nothing(world):
    toy = world.toy_patient(240)
    peeking = Attribute(entity="liver", type="mean_attenuation", value=110.0, derived=True)
    told = toy.parse.replace(attributes=(peeking,))
    plain, with_it = (_audit(world, toy.image, p, search=False) for p in (toy.parse, told))
    assert [e.score for e in plain.entities] == [e.score for e in with_it.entities]


def test_what_is_absent_uncertain_or_not_assessed_has_no_verdict_but_a_reason(world):
    toy = world.toy_patient(250)
    parse = toy.parse.with_presence("spleen", Presence.absent).with_presence("liver", Presence.not_assessed)
    found = {e.id: e for e in _audit(world, toy.image, parse, search=False).entities}
    assert found["spleen"].verdict is None
    assert "declared absent" in found["spleen"].reason
    assert found["liver"].score is None


def test_what_cannot_be_checked_says_why(world):
    toy = world.toy_patient(260)
    parse = toy.parse.with_entity(Entity(id="t", name="ptv_70"), toy.places["liver"])
    found = {e.id: e for e in _audit(world, toy.image, parse, search=False).entities}
    assert found["t"].verdict is Verdict.not_checkable
    assert "drawn, not seen" in found["t"].reason


def test_findings_read_back_and_keep_to_the_published_schema(wrong):
    jsonschema = pytest.importorskip("jsonschema")
    _, report = wrong
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert Findings.model_validate(data) == report.findings
    jsonschema.validate(data, json_schema())
    assert all(e["proposed_mask"] is None for e in data["entities"])


def test_the_published_schema_is_that_of_the_code():
    assert json.loads(SCHEMA.read_text("utf-8")) == json_schema()


def test_a_parse_on_another_grid_is_refused_in_one_line(world):
    toy = world.toy_patient(270)
    with pytest.raises(InputError) as error:
        _audit(world, toy.image, toy.parse.cropped((slice(0, 40), slice(0, 36), slice(0, 36))))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": 1.5}, {"tiers": (3,)}, {"tiers": ()}, {"seed": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError):
        AuditOptions(**options)


def test_a_mask_outside_the_body_is_flagged(world):
    toy = world.toy_patient(280)
    own = toy.places["spleen"]
    air = Mask.from_box(own.shape, (0, 0, 22), own.box)
    report = _audit(world, toy.image, toy.parse.with_mask("spleen", air), search=False)
    assert [e.id for e in report.findings.flagged] == ["spleen"]


def test_a_relation_that_the_masks_contradict_is_a_finding(world):
    toy = world.toy_patient(290, lesion=True)
    relations = [
        Relation(type="located_in", subject="lesion_1", object="spleen"),
        Relation(type="left_of", subject="kidney_left", object="kidney_right"),
    ]
    report = _audit(world, toy.image, toy.parse.replace(relations=relations), search=False)
    said = {e.id: e for e in report.entities}
    assert said["lesion_1"].verdict is Verdict.wrong_relation
    assert "located in spleen" in said["lesion_1"].reason
    assert said["lesion_1"].relations[0]["wrong"] is True
    assert said["kidney_left"].verdict is Verdict.supported
    assert said["kidney_left"].relations[0]["wrong"] is False
    assert [e.id for e in report.findings.flagged] == ["lesion_1"]


def test_a_relation_to_what_is_not_there_is_not_held_against_the_other_end(world, wrong):
    toy, _ = wrong
    claimed = toy.parse.without("kidney_right", "lesion_1").with_entity(
        Entity(id="kidney_right", name="kidney_right"), toy.places["kidney_right"]
    )
    relation = Relation(type="left_of", subject="kidney_right", object="liver")
    turned = Relation(type="anterior_to", subject="spleen", object="kidney_right")
    report = _audit(world, toy.image, claimed.replace(relations=[relation, turned]), search=False)
    said = {e.id: e for e in report.entities}
    assert said["kidney_right"].verdict is Verdict.hallucinated
    assert said["spleen"].verdict is Verdict.supported


def test_a_declared_mean_that_is_not_seen_is_a_finding(world):
    toy = world.toy_patient(300)
    mean = float(toy.parse.masks["liver"].values(toy.image.array).mean())
    declared = [
        Attribute(entity="liver", type="mean_attenuation", value=round(mean)),
        Attribute(entity="spleen", type="mean_attenuation", value=round(mean) + 150),
    ]
    report = _audit(world, toy.image, toy.parse.replace(attributes=declared), search=False)
    said = {e.id: e for e in report.entities}
    assert said["liver"].verdict is Verdict.supported
    assert said["liver"].attributes[0]["wrong"] is False
    assert said["spleen"].verdict is Verdict.wrong_attribute
    assert "mean attenuation" in said["spleen"].reason
    assert said["kidney_left"].attributes is None


def test_a_pair_with_its_sides_swapped_has_wrong_labels(world):
    toy = world.toy_patient(310)
    names = {"kidney_left": "kidney_right", "kidney_right": "kidney_left"}
    entities = [e.changed(name=names.get(e.id, e.name)) for e in toy.parse.entities]
    report = _audit(world, toy.image, toy.parse.replace(entities=entities, relations=()), search=False)
    said = {e.id: e for e in report.entities}
    for id in names:
        assert said[id].verdict is Verdict.wrong_label
        assert said[id].proposed_name == id
    assert {e.id for e in report.findings.flagged} == set(names)
