from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Attribute, Entity, Parse, Presence, Relation
from synth.parse.attenuation import category_of
from synth.parse.measure import axial_extent
from synth.pipeline.audit import AuditOptions, AuditReport, audit
from synth.residual.findings import Findings, Verdict, json_schema
from synth.volume import Geometry, Mask, Volume

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


@pytest.fixture(scope="module")
def thin_slices(world):
    """A toy patient in 1 mm slices, one more of them than 4 mm slices hold."""
    toy = world.toy_patient(265)
    array = np.concatenate([toy.image.array.repeat(4, axis=2), toy.image.array[:, :, -1:]], axis=2)
    geometry = Geometry.regular(array.shape, (4.0, 4.0, 1.0))
    masks = {
        id: Mask.from_box(array.shape, (m.origin[0], m.origin[1], 4 * m.origin[2]), m.box.repeat(4, axis=2))
        for id, m in toy.parse.masks.items()
    }
    return Volume(array, geometry, "CT", "HU"), Parse(toy.parse.entities, geometry=geometry, masks=masks)


def test_eight_voxels_of_thin_slices_are_too_small_to_check_and_flag_nothing(world, thin_slices):
    image, parse = thin_slices
    x, y, z = (s.start for s in parse.masks["liver"].slices)
    mask = Mask.from_box(image.shape, (x + 6, y + 6, z + 24), np.ones((2, 2, 2), bool))
    parse = parse.with_entity(Entity(id="tiny", name="metastasis"), mask)
    report = _audit(world, image, parse, search=False)
    found = {e.id: e for e in report.entities}
    assert found["tiny"].verdict is Verdict.not_checkable
    assert "too small for the grid: 0.13 mL" in found["tiny"].reason
    assert found["tiny"].score is None
    assert not report.findings.flagged
    assert {e.verdict for id, e in found.items() if id != "tiny"} == {Verdict.supported}


def test_from_eight_voxels_of_the_grid_on_an_entity_is_checked(world):
    toy = world.toy_patient(266, lesion=True)
    x, y, z = (round(v) for v in toy.parse.masks["lesion_1"].centroid_voxel())
    eight, seven = np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    seven[0, 0, 0] = False
    parse = toy.parse
    for id, box in (("eight", eight), ("seven", seven)):
        mask = Mask.from_box(toy.image.shape, (x - 1, y - 1, z - 1), box)
        parse = parse.with_entity(Entity(id=id, name="metastasis"), mask)
    found = {e.id: e for e in _audit(world, toy.image, parse, search=False).entities}
    assert found["seven"].verdict is Verdict.not_checkable
    assert "7 voxels of 4 mm, 8 are needed" in found["seven"].reason
    assert found["eight"].verdict is not Verdict.not_checkable
    assert found["eight"].score is not None


def test_what_lies_beyond_the_last_slice_of_the_grid_is_not_checkable_and_flags_nothing(world, thin_slices):
    """The grid ends within half a voxel of the image: nothing is left of a mask in the outermost thin slice alone."""
    image, parse = thin_slices
    mask = Mask.from_box(image.shape, (20, 15, image.shape[2] - 1), np.ones((6, 6, 1), bool))
    parse = parse.with_entity(Entity(id="outermost", name="metastasis", truncated=True), mask)
    report = _audit(world, image, parse, search=False)
    found = {e.id: e for e in report.entities}
    assert found["outermost"].verdict is Verdict.not_checkable
    assert "outside the field of view" in found["outermost"].reason
    assert not report.findings.flagged
    assert {e.verdict for id, e in found.items() if id != "outermost"} == {Verdict.supported}


def test_a_part_that_is_drawn_as_the_organ_around_it_is_not_checkable_and_flags_nothing(world):
    """The decoder knows the liver and no segment of it."""
    toy = world.toy_patient(267)
    mask = world.ball(toy.parse.masks["liver"].centroid_voxel(), 3.0)
    inside = toy.parse.with_entity(Entity(id="segment", name="liver_segment_4"), mask)
    found = {e.id: e for e in _audit(world, toy.image, inside, search=False).entities}
    assert found["segment"].verdict is Verdict.not_checkable
    assert "no contrast expected: a liver segment 4 looks like the liver that it lies in" in found["segment"].reason
    assert found["segment"].score is None
    assert {e.verdict for id, e in found.items() if id != "segment"} == {Verdict.supported}

    alone = toy.parse.without("liver").with_entity(Entity(id="s", name="liver_segment_4"), toy.parse.masks["liver"])
    found = {e.id: e for e in _audit(world, toy.image, alone, search=False).entities}
    assert found["s"].verdict is Verdict.supported, "a segment by itself stands out from what is not liver"


@pytest.mark.parametrize(("off_hu", "verdict"), [(0.0, Verdict.not_checkable), (40.0, Verdict.hallucinated)])
def test_a_finding_that_is_not_seen_and_was_declared_as_bright_as_its_organ_is_not_checkable(world, off_hu, verdict):
    toy = world.toy_patient(268)
    liver = toy.parse.masks["liver"]
    usual = float(np.median(liver.values(toy.image.array)))
    parse = toy.parse.with_entity(Entity(id="met", name="metastasis"), world.ball(liver.centroid_voxel(), 3.0))
    declared = Attribute(entity="met", type="mean_attenuation", value=usual + off_hu)
    parse = parse.replace(attributes=(*parse.attributes, declared))
    found = {e.id: e for e in _audit(world, toy.image, parse, search=False).entities}
    assert found["met"].verdict is verdict
    assert ("no contrast expected: declared" in found["met"].reason) is (verdict is Verdict.not_checkable)


def test_a_finding_that_is_seen_and_was_declared_as_bright_as_its_organ_has_a_wrong_attribute(world):
    toy = world.toy_patient(269, lesion=True)
    liver = toy.parse.masks["liver"]
    usual = float(np.median(liver.values(toy.image.array)))
    declared = Attribute(entity="lesion_1", type="mean_attenuation", value=usual)
    parse = toy.parse.replace(attributes=(*toy.parse.attributes, declared))
    found = {e.id: e for e in _audit(world, toy.image, parse, search=False).entities}
    assert found["lesion_1"].verdict is Verdict.wrong_attribute


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
