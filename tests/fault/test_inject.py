"""Every fault family: closed, recorded, and what it says it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from synth.cli.app import app
from synth.errors import InputError
from synth.fault import FAMILIES, Family, Faulted, FaultSpec, inject, inject_several
from synth.parse import Attribute, Entity, Parse, Presence, Relation, load_bundle, save_bundle
from synth.parse.derive import derive_relations
from synth.phantom import make
from synth.volume import Geometry, Mask, Volume, write_volume

GRID = Geometry.regular((48, 40, 40), 4.0)
RUN = CliRunner()
VERDICT = {
    Family.move: "hallucinated",
    Family.dilate: "wrong_extent",
    Family.erode: "wrong_extent",
    Family.merge: "wrong_extent",
    Family.split_up: "wrong_extent",
    Family.delete: "missing",
    Family.false_absence: "missing",
    Family.add_lesion: "hallucinated",
    Family.false_side: "hallucinated",
    Family.hallucinated_organ: "hallucinated",
    Family.relabel: "wrong_label",
    Family.swap_sides: "wrong_label",
    Family.flip_attribute: "wrong_attribute",
    Family.wrong_relation: "wrong_relation",
}


def _box(low: tuple[int, int, int], size: tuple[int, int, int]) -> Mask:
    return Mask.from_box(GRID.shape, low, np.ones(size, bool))


def _parse(*, derived: bool = True) -> Parse:
    masks = {
        "body": _box((4, 4, 0), (40, 32, 40)),
        "liver": _box((26, 14, 20), (12, 14, 12)),
        "spleen": _box((8, 14, 22), (6, 8, 8)),
        "kidney_left": _box((10, 8, 10), (5, 5, 8)),
        "kidney_right": _box((32, 8, 10), (5, 5, 8)),
        "colon": _box((16, 22, 2), (12, 8, 8)),
        "cyst": _box((30, 18, 24), (3, 3, 3)),
        "adrenal_gland_right": _box((31, 9, 19), (2, 2, 2)),
    }
    names = {"cyst": "liver_cyst"}
    entities = [Entity(id=id, name=names.get(id, id)) for id in masks]
    entities.append(Entity(id="adrenal_gland_left", name="adrenal_gland_left", presence=Presence.absent))
    attributes = [
        Attribute(entity="liver", type="steatosis_grade", value="S0"),
        Attribute(entity="cyst", type="attenuation_class", value="fluid"),
        Attribute(entity="spleen", type="mean_attenuation", value=50, derived=True),
    ]
    inside = Relation(type="located_in", subject="cyst", object="liver")
    parse = Parse(entities, attributes, [inside], geometry=GRID, masks=masks)
    return derive_relations(parse) if derived else parse


PLACES = {"adrenal_gland_left": _box((13, 9, 19), (3, 2, 2)), "gallbladder": _box((28, 26, 16), (3, 2, 3))}


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("seed", range(3))
def test_every_family_changes_the_parse_keeps_it_closed_and_names_the_verdict(family: Family, seed: int) -> None:
    before = _parse()
    result = inject(before, FaultSpec(family), np.random.default_rng(seed), places=PLACES)
    after = result.parse
    assert after != before
    assert after.replace() == after  # every check of closure made again
    verdicts = {e.verdict for e in result.record.expected}
    assert verdicts == {VERDICT[family]} or (family is Family.move and verdicts == {"wrong_extent"})
    assert all(e.entity is None or e.entity in after for e in result.record.expected)
    assert json.loads(json.dumps(result.record.to_json()))["family"] == family.value
    assert before == _parse()


def test_every_family_is_registered_and_seeded() -> None:
    assert set(FAMILIES) == set(Family)
    for family in Family:
        one, two = (inject(_parse(), FaultSpec(family), np.random.default_rng(5), places=PLACES) for _ in range(2))
        assert one.parse == two.parse
        assert one.record.to_json() == two.record.to_json()


def test_everything_that_the_fault_did_not_touch_stays_as_it_was() -> None:
    before = _parse(derived=False)
    after = inject(before, FaultSpec("move", entity="spleen", severity_mm=(16, 24)), np.random.default_rng(0)).parse
    assert all(after.masks[id] == before.masks[id] for id in before.ids if id in before.masks and id != "spleen")
    assert after.relations == before.relations
    assert [a for a in after.attributes if a.entity != "spleen"] == [
        a for a in before.attributes if a.entity != "spleen"
    ]


def test_what_was_derived_for_a_changed_entity_does_not_betray_it() -> None:
    """The old mean attenuation goes; derived relations agree with the new masks."""
    result = inject(_parse(), FaultSpec("move", entity="spleen", vector_mm=(96, 0, 0)), np.random.default_rng(0))
    assert not [a for a in result.parse.attributes_of("spleen") if a.derived]
    declared = result.parse.replace(relations=[r for r in result.parse.relations if not r.derived])
    fresh = derive_relations(declared)
    assert {r.key for r in fresh.relations} == {r.key for r in result.parse.relations}


def _move(**changes: object) -> Faulted:
    return inject(_parse(), FaultSpec("move", entity="spleen", **changes), np.random.default_rng(0))  # type: ignore[arg-type]


def test_a_move_without_overlap_is_hallucinated_and_with_overlap_of_wrong_extent() -> None:
    assert _move(vector_mm=(8, 0, 0)).record.expected[0].verdict == "wrong_extent"
    assert _move(vector_mm=(60, 0, 0)).record.expected[0].verdict == "hallucinated"
    assert _move(severity_mm=(20, 20)).record.severity == pytest.approx(20, abs=2)
    with pytest.raises(InputError, match="at least one voxel"):
        _move(vector_mm=(0.5, 0, 0))
    with pytest.raises(InputError, match="out of the field of view"):
        _move(vector_mm=(900, 0, 0))


def test_a_mask_moved_to_the_border_is_marked_as_cut_by_it() -> None:
    at_border = _move(vector_mm=(0, 0, 40)).parse
    assert at_border.masks["spleen"].touches_border
    assert at_border.entity("spleen").truncated
    assert not _move(vector_mm=(0, 0, 20)).parse.entity("spleen").truncated


def test_a_move_onto_a_wider_name_finds_what_is_under_it() -> None:
    result = _move(to="bowel")
    assert result.parse.masks["spleen"].overlap(_parse().masks["colon"]) > 0.8 * _parse().masks["spleen"].voxels
    assert result.record.expected[0].verdict == "hallucinated"
    with pytest.raises(InputError, match="no image to find it in"):
        _move(to="fat")


def test_a_move_into_fat_uses_the_image() -> None:
    array = np.full(GRID.shape, -1000.0)
    body = _parse().masks["body"]
    array[body.slices] = 40
    array[5:44, 4:12, 1:39] = -100
    image = Volume(array, GRID, "CT", "HU")
    spec = FaultSpec("move", entity="spleen", to="fat")
    result = inject(_parse(), spec, np.random.default_rng(0), image=image)
    assert result.parse.masks["spleen"].values(array).mean() < -50
    wrong = Volume(array[1:], GRID.cropped((slice(1, None), slice(None), slice(None))), "CT", "HU")
    with pytest.raises(InputError, match="the grid of the parse"):
        inject(_parse(), spec, np.random.default_rng(0), image=wrong)


def test_dilation_and_erosion_go_as_far_as_they_say() -> None:
    rng = np.random.default_rng(0)
    big = inject(_parse(), FaultSpec("dilate", entity="liver", severity_mm=(7, 7)), rng)
    assert big.parse.masks["liver"].box.shape == (16, 18, 16)
    small = inject(_parse(), FaultSpec("erode", entity="liver", severity_mm=(6, 6)), rng)
    assert small.parse.masks["liver"].box.shape == (8, 10, 8)
    with pytest.raises(InputError, match="thicker than"):
        inject(_parse(), FaultSpec("erode", entity="adrenal_gland_right", severity_mm=(20, 20)), rng)
    with pytest.raises(InputError, match="above half a voxel"):
        inject(_parse(), FaultSpec("dilate", entity="liver", severity_mm=(1, 1)), rng)


def test_a_deleted_entity_is_gone_and_its_place_is_kept_in_the_record() -> None:
    result = inject(_parse(), FaultSpec("delete", entity="cyst"), np.random.default_rng(0))
    assert "cyst" not in result.parse
    assert result.record.expected[0].place == _parse().masks["cyst"]
    denied = inject(_parse(), FaultSpec("false-absence", entity="cyst"), np.random.default_rng(0))
    assert denied.parse.entity("cyst").presence is Presence.absent
    assert "cyst" not in denied.parse.masks


@pytest.mark.parametrize("seed", range(5))
def test_an_added_lesion_lies_in_its_host_clear_of_other_findings(seed: int) -> None:
    spec = FaultSpec("add_lesion", entity="liver", severity_mm=(16, 16), name="liver_metastasis")
    result = inject(_parse(), spec, np.random.default_rng(seed))
    mask = result.parse.masks["liver_metastasis"]
    host = _parse().masks["liver"]
    assert mask.overlap(host) == mask.voxels
    assert mask.overlap(_parse().masks["cyst"]) == 0
    ball = 4 / 3 * np.pi * 8**3 / 1000
    assert 0.3 * ball < mask.volume_ml(GRID) < 1.6 * ball
    inside = [r for r in result.parse.relations_of("liver_metastasis") if r.type == "located_in" and not r.derived]
    assert [r.object for r in inside] == ["liver"]


def test_a_lesion_needs_room_and_the_name_of_a_finding() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="expected a finding"):
        inject(_parse(), FaultSpec("add_lesion", entity="liver", name="spleen"), rng)
    with pytest.raises(InputError, match="90 mm of room"):
        inject(_parse(), FaultSpec("add_lesion", entity="spleen", severity_mm=(90, 90)), rng)


def test_the_false_side_is_the_mirror_image_of_the_one_that_is_there() -> None:
    result = inject(_parse(), FaultSpec("false_side"), np.random.default_rng(0))
    left = result.parse.masks["adrenal_gland_left"]
    assert result.parse.entity("adrenal_gland_left").presence is Presence.present
    middle = 2 * _parse().masks["body"].centroid_voxel()[0]
    right = _parse().masks["adrenal_gland_right"]
    assert left.centroid_voxel()[0] == pytest.approx(middle - right.centroid_voxel()[0])
    with pytest.raises(InputError, match="counterpart is not there"):
        inject(_parse(), FaultSpec("false_side", entity="kidney_left"), np.random.default_rng(0))


def test_a_hallucinated_organ_takes_the_place_of_its_declared_absence() -> None:
    spec = FaultSpec("hallucinated_organ", name="adrenal_gland_left")
    result = inject(_parse(), spec, np.random.default_rng(0), places=PLACES)
    (claimed,) = result.parse.by_name("adrenal_gland_left")
    assert claimed.presence is Presence.present
    assert result.parse.masks[claimed.id] == PLACES["adrenal_gland_left"]
    assert (result.record.severity, result.record.unit) == (pytest.approx(12 * 0.064), "mL")
    assert [(e.verdict, e.entity) for e in result.record.expected] == [("hallucinated", claimed.id)]


def test_an_organ_that_the_parse_does_not_speak_of_can_be_hallucinated_and_is_drawn_at_random() -> None:
    drawn = {
        inject(_parse(), FaultSpec("hallucinated_organ"), np.random.default_rng(seed), places=PLACES).record.entity
        for seed in range(12)
    }
    assert drawn == set(PLACES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spleen", "lacks or declares absent"),
        ("kidney", "lacks or declares absent"),
        ("liver_cyst", "expected an organ"),
        ("urinary_bladder", "the place where it would lie"),
        ("gallblader", "nearest: gallbladder"),
    ],
)
def test_an_organ_that_is_there_or_has_no_place_is_not_hallucinated(name: str, message: str) -> None:
    places = PLACES | {"spleen": PLACES["gallbladder"], "kidney": PLACES["gallbladder"]}
    with pytest.raises(InputError, match=message):
        inject(_parse(), FaultSpec("hallucinated_organ", name=name), np.random.default_rng(0), places=places)


def test_an_organ_that_may_be_there_is_not_hallucinated_nor_is_one_without_voxels_on_the_grid() -> None:
    rng, spec = np.random.default_rng(0), FaultSpec("hallucinated_organ", name="gallbladder")
    for presence in (Presence.uncertain, Presence.not_assessed):
        unsure = _parse().with_entity(Entity(id="gallbladder", name="gallbladder", presence=presence))
        with pytest.raises(InputError, match="does not rule out"):
            inject(unsure, spec, rng, places=PLACES)
    for place in (Mask.empty(GRID.shape), Mask.from_box((9, 9, 9), (1, 1, 1), np.ones((3, 3, 3), bool))):
        with pytest.raises(InputError, match="place of 'gallbladder'"):
            inject(_parse(), spec, rng, places={"gallbladder": place})
    with pytest.raises(InputError, match="a place for it, got none"):
        inject(_parse(), FaultSpec("hallucinated_organ"), rng)


@pytest.mark.parametrize("seed", range(6))
def test_several_faults_happen_to_different_entities_and_each_is_recorded(seed: int) -> None:
    families = [Family.merge, Family.wrong_relation, Family.hallucinated_organ, Family.erode]
    made = inject_several(_parse(), [FaultSpec(f) for f in families], np.random.default_rng(seed), places=PLACES)
    assert [record.family for record in made.records] == families
    assert [e.verdict for e in made.expected] == [VERDICT[f] for f in families]
    assert sum(len(record.touched) for record in made.records) == len(made.touched)
    assert made.parse.replace() == made.parse
    wrong = tuple(made.records[1].parameters["to"])
    assert [r.derived for r in made.parse.relations if r.key == wrong] == [False]
    assert tuple(made.records[1].parameters["from"]) not in {r.key for r in made.parse.relations}
    for id in set(_parse().masks) - made.touched:
        assert made.parse.masks[id] == _parse().masks[id]


def test_what_one_fault_names_no_other_draws() -> None:
    specs = [FaultSpec("delete"), FaultSpec("relabel"), FaultSpec("dilate", entity="cyst")]
    for seed in range(12):
        made = inject_several(_parse(), specs, np.random.default_rng(seed))
        assert made.records[2].entity == "cyst"
        assert len({record.entity for record in made.records}) == 3


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (FaultSpec("dilate", entity="liver"), FaultSpec("relabel", entity="liver")),
        (FaultSpec("merge", entity="liver", to="spleen"), FaultSpec("delete", entity="spleen")),
        (FaultSpec("swap_sides", entity="kidney_left"), FaultSpec("delete", entity="kidney_right")),
        (FaultSpec("delete", entity="kidney_left"), FaultSpec("false_side", entity="kidney_right")),
        (FaultSpec("delete", entity="spleen"), FaultSpec("hallucinated_organ", name="spleen")),
    ],
)
def test_two_faults_that_would_collide_are_refused_by_their_number(first: FaultSpec, second: FaultSpec) -> None:
    places = {"spleen": _parse().masks["spleen"]}
    with pytest.raises(InputError, match=r"fault [12] of 2, "):
        inject_several(_parse(), [first, second], np.random.default_rng(0), places=places)


def test_no_fault_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="one or more"):
        inject_several(_parse(), [], np.random.default_rng(0))


def test_swapped_sides_keep_masks_and_ids_but_not_names() -> None:
    result = inject(_parse(), FaultSpec("swap_sides", entity="kidney_left"), np.random.default_rng(0))
    assert result.parse.entity("kidney_left").name == "kidney_right"
    assert result.parse.entity("kidney_right").name == "kidney_left"
    assert result.parse.masks["kidney_left"] == _parse().masks["kidney_left"]


def test_a_merge_swallows_the_neighbour_and_a_split_loses_no_voxel() -> None:
    rng = np.random.default_rng(0)
    merged = inject(_parse(), FaultSpec("merge", entity="liver", to="spleen"), rng).parse
    assert "spleen" not in merged
    assert merged.masks["liver"] == _parse().masks["liver"] | _parse().masks["spleen"]
    halves = inject(_parse(), FaultSpec("split", entity="liver"), rng).parse
    assert halves.masks["liver"] | halves.masks["liver.2"] == _parse().masks["liver"]
    assert halves.masks["liver"].overlap(halves.masks["liver.2"]) == 0
    assert halves.entity("liver.2").name == "liver"


def test_an_attenuation_class_never_flips_to_one_that_is_true_as_well() -> None:
    rng = np.random.default_rng(0)
    cyst = [Attribute(entity="spleen", type="attenuation_class", value="fluid")]
    flipped = [inject(_parse().replace(attributes=cyst), FaultSpec("flip_attribute"), rng) for _ in range(60)]
    values = {f.parse.attributes[0].value for f in flipped}
    assert "hypodense" not in values
    assert {"hyperdense", "fat", "calcified"} <= values


def test_attributes_flip_to_another_value_of_their_type() -> None:
    rng = np.random.default_rng(0)
    spec = FaultSpec("flip_attribute", entity="liver", attribute="steatosis_grade", value="S3")
    result = inject(_parse(), spec, rng)
    assert result.parse.attributes_of("liver")[0].value == "S3"
    assert result.record.severity == 3
    with pytest.raises(InputError, match="another value"):
        inject(_parse(), FaultSpec("flip_attribute", attribute="steatosis_grade", value="S0"), rng)
    with pytest.raises(InputError, match="none but derived ones"):
        inject(_parse(), FaultSpec("flip_attribute", entity="spleen"), rng)
    declared = _parse().replace(attributes=[Attribute(entity="spleen", type="mean_attenuation", value=50)])
    off = inject(declared, FaultSpec("flip_attribute"), rng).parse.attributes[0].value
    assert 40 <= abs(float(off) - 50) <= 100


def test_a_wrong_relation_is_declared_and_false() -> None:
    for seed in range(5):
        result = inject(_parse(), FaultSpec("wrong_relation", entity="cyst"), np.random.default_rng(seed))
        after = tuple(result.record.parameters["to"])
        wrong = next(r for r in result.parse.relations if r.key == after)
        assert not wrong.derived
        assert wrong.key not in {r.key for r in _parse().relations}


def test_what_does_not_exist_is_refused_with_what_does() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"'spleeen'; use one of the nearest: spleen"):
        inject(_parse(), FaultSpec("delete", entity="spleeen"), rng)
    with pytest.raises(InputError, match="fault family"):
        FaultSpec("explode")
    with pytest.raises(InputError, match="severity"):
        FaultSpec("move", severity_mm=(5, 1))
    with pytest.raises(InputError, match="got another sort"):
        inject(_parse(), FaultSpec("delete", entity="body"), rng)
    with pytest.raises(InputError, match="got none"):
        inject(_parse().without(*_parse().ids), FaultSpec("delete"), rng)


def test_the_command_writes_the_bundle_and_the_record(tmp_path: Path) -> None:
    save_bundle(_parse(), tmp_path / "in")
    array = np.full(GRID.shape, -1000.0)
    array[_parse().masks["body"].slices] = -90
    write_volume(Volume(array, GRID, "CT", "HU"), tmp_path / "ct.nii.gz")
    arguments = [
        "fault",
        "move",
        str(tmp_path / "in"),
        "--entity",
        "spleen",
        "--distance",
        "16,24",
        "--seed",
        "4",
        "--json",
    ]
    result = RUN.invoke(app, [*arguments, "-o", str(tmp_path / "out"), "--image", str(tmp_path / "ct.nii.gz")])
    assert result.exit_code == 0, result.stderr
    payload = json.loads(result.stdout)
    assert 16 <= payload["severity"] <= 24
    assert json.loads((tmp_path / "out.fault.json").read_text()) == payload
    assert load_bundle(tmp_path / "out").masks["spleen"] != _parse().masks["spleen"]
    assert load_bundle(tmp_path / "in") == _parse()


def test_the_command_plants_several_faults_and_lists_each(tmp_path: Path) -> None:
    save_bundle(_parse(), tmp_path / "in")
    arguments = ["fault", "delete", str(tmp_path / "in"), "--entity", "cyst", "--also", "dilate:liver:8"]
    result = RUN.invoke(app, [*arguments, "--also", "relabel", "-o", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.stderr
    payload = json.loads(result.stdout)
    assert [(f["family"], f["entity"]) for f in payload["faults"][:2]] == [("delete", "cyst"), ("dilate", "liver")]
    assert payload["faults"][1]["severity"] == 8
    assert payload["faults"][2]["expected"][0]["verdict"] == "wrong_label"
    assert json.loads((tmp_path / "out.fault.json").read_text()) == payload
    after = load_bundle(tmp_path / "out")
    assert "cyst" not in after
    assert after.masks["liver"].voxels > _parse().masks["liver"].voxels


def test_the_command_hallucinates_an_organ_where_it_would_usually_lie(tmp_path: Path) -> None:
    truth = make(3, spacing_mm=(8.0, 8.0, 8.0)).parse
    save_bundle(truth.with_presence("spleen", Presence.absent), tmp_path / "in")
    arguments = ["fault", "hallucinated-organ", str(tmp_path / "in"), "--name", "spleen", "-o", str(tmp_path / "out")]
    assert RUN.invoke(app, arguments).exit_code == 0
    after = load_bundle(tmp_path / "out")
    assert after.entity("spleen").presence is Presence.present
    assert after.masks["spleen"].dice(truth.masks["spleen"]) > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explode"], "fault family"),
        (["delete", "--also", "explode"], "fault family"),
        (["delete", "--also", "dilate:liver:far"], "--also"),
        (["delete", "--also", "dilate:liver:8:9"], "--also"),
        (["delete", "--entity", "liver", "--also", "dilate:liver"], "fault 1 of 2"),
        (["hallucinated-organ", "--name", "eye_left"], "the place where it would lie"),
        (["move", "--distance", "far"], "--distance"),
        (["move", "--by", "1,2"], "--by"),
        (["delete", "--entity", "heart"], "entity"),
        (["move", "--entity", "spleen", "--to", "bovel"], "nearest: bowel"),
    ],
)
def test_bad_commands_end_with_one_line_exit_code_2_and_nothing_written(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    save_bundle(_parse(), tmp_path / "in")
    result = RUN.invoke(app, ["fault", arguments[0], str(tmp_path / "in"), *arguments[1:], "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
