"""Every breach of closure is refused with the path of the field."""

from __future__ import annotations

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Attribute, Circumstance, Entity, Kind, Parse, Presence, Relation
from synth.volume import Geometry, Mask

GRID = Geometry.regular((8, 8, 8), 3.0)
CUBE = Mask.from_box((8, 8, 8), (2, 2, 2), np.ones((3, 3, 3), bool))
LIVER = Entity(id="liver", name="liver")
LESION = Entity(id="m1", name="metastasis")


def refusal(path: str, *items: Entity | Attribute | Relation, masks: dict[str, Mask] | None = None) -> str:
    kinds = {each: [item for item in items if isinstance(item, each)] for each in (Entity, Attribute, Relation)}
    with pytest.raises(InputError) as caught:
        Parse(kinds[Entity], kinds[Attribute], kinds[Relation], geometry=GRID, masks=masks)
    assert caught.value.what == path
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_an_attribute_of_nobody_names_its_entity_field() -> None:
    text = refusal("attributes[0].entity", LIVER, Attribute(entity="livr", type="parenchyma", value="normal"))
    assert "'livr'" in text


def test_a_relation_to_nobody_names_the_end_and_its_index() -> None:
    fine = Relation(type="located_in", subject="m1", object="liver")
    text = refusal("relations[1].object", LIVER, LESION, fine, Relation(type="abuts", subject="m1", object="spleen"))
    assert text == (
        "relations[1].object: expected the id of a declared entity, got 'spleen'; declare that entity or correct the id"
    )


def test_a_mask_of_nobody_is_refused() -> None:
    refusal("masks[spleen]", LIVER, masks={"spleen": CUBE})


@pytest.mark.parametrize("presence", [Presence.absent, Presence.not_assessed])
def test_what_is_not_there_has_no_mask(presence: Presence) -> None:
    text = refusal("masks[liver]", LIVER.changed(presence=presence), masks={"liver": CUBE})
    assert str(presence) in text


def test_an_uncertain_finding_may_have_a_mask() -> None:
    parse = Parse([LESION.changed(presence="uncertain")], geometry=GRID, masks={"m1": CUBE})
    assert parse.present_ids == ()
    assert parse.mask("m1") == CUBE


def test_a_mask_of_another_shape_is_refused_with_both_shapes() -> None:
    other = Mask.from_dense(np.ones((8, 8, 9), bool))
    text = refusal("masks[liver]", LIVER, masks={"liver": other})
    assert "(8, 8, 8)" in text
    assert "(8, 8, 9)" in text


def test_an_empty_mask_is_refused() -> None:
    assert "empty mask" in refusal("masks[liver]", LIVER, masks={"liver": Mask.empty((8, 8, 8))})


def test_two_entities_of_one_id_are_refused_even_in_another_case() -> None:
    refusal("entities[1].id", LIVER, Entity(id="Liver", name="liver"))


def test_delineated_must_agree_with_the_masks() -> None:
    refusal("entities[0].delineated", LIVER.changed(delineated=True))
    refusal("entities[0].delineated", LIVER.changed(delineated=False), masks={"liver": CUBE})
    assert Parse([LIVER], geometry=GRID, masks={"liver": CUBE}).entity("liver").delineated is True
    assert Parse([LIVER], geometry=GRID).entity("liver").delineated is False


@pytest.mark.parametrize("type", ["located_in", "part_of"])
def test_a_cycle_is_refused_and_spelled_out(type: str) -> None:
    ring = [Relation(type=type, subject=a, object=b) for a, b in (("m1", "liver"), ("liver", "c"), ("c", "m1"))]
    text = refusal("relations[0].object", LIVER, LESION, Entity(id="c", name="cyst"), *ring)
    assert "m1 > liver > c > m1" in text or "liver > c > m1 > liver" in text or "c > m1 > liver > c" in text


def test_a_wrong_relation_is_a_well_formed_parse() -> None:
    far = Mask.from_box((8, 8, 8), (7, 7, 7), np.ones((1, 1, 1), bool))
    lie = Relation(type="located_in", subject="m1", object="liver")
    parse = Parse([LIVER, LESION], (), [lie], geometry=GRID, masks={"liver": CUBE, "m1": far})
    assert parse.relations == (lie,)


def test_an_attribute_for_another_kind_is_refused() -> None:
    text = refusal("attributes[0].entity", LIVER, Attribute(entity="liver", type="li_rads", value="LR-5"))
    assert "finding" in text


def test_one_value_an_entity_type_and_phase() -> None:
    first = Attribute(entity="liver", type="mean_attenuation", value=50, phase="arterial")
    refusal("attributes[1]", LIVER, first, first.changed(value=60))
    both = Parse([LIVER], [first, first.changed(phase="delayed")], geometry=GRID)
    assert len(both.attributes_of("liver")) == 2


def test_the_same_edge_twice_is_refused() -> None:
    edge = Relation(type="abuts", subject="m1", object="liver")
    refusal("relations[1]", LIVER, LESION, edge, edge)


def test_a_grid_that_is_not_ras_is_refused() -> None:
    with pytest.raises(InputError, match=r"geometry\.affine: expected RAS axes, got LPS"):
        Parse([], geometry=Geometry((8, 8, 8), np.diag([-3.0, -3.0, 3.0, 1.0])))


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(InputError, match=r"entity\.name: .*'kidny_left'.*kidney_left"):
        Entity(id="k", name="kidny_left")


def test_the_kind_is_that_of_the_name() -> None:
    assert Entity(id="m", name="metastasis").kind is Kind.finding
    with pytest.raises(InputError, match=r"entity\.kind"):
        Entity(id="m", name="metastasis", kind="organ")


@pytest.mark.parametrize("id", ["../liver", "", "a/b", ".hidden", "a" * 65, "lïver", "a\n"])
def test_an_id_that_could_not_be_a_file_name_is_refused(id: str) -> None:
    with pytest.raises(InputError, match=r"entity\.id"):
        Entity(id=id, name="liver")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9, "bright", True, None])
def test_a_number_out_of_range_or_no_number_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"attribute\.value"):
        Attribute(entity="liver", type="mean_attenuation", value=value)


def test_a_unit_is_filled_in_and_a_foreign_one_refused() -> None:
    assert Attribute(entity="liver", type="mean_attenuation", value=50).unit == "HU"
    with pytest.raises(InputError, match=r"attribute\.unit: expected unit 'HU'"):
        Attribute(entity="liver", type="mean_attenuation", value=50, unit="au")


def test_a_category_written_as_a_number_is_read() -> None:
    assert Attribute(entity="n", type="lung_rads", value=3).value == "3"


def test_a_circumstance_takes_only_a_hash_as_a_hash() -> None:
    with pytest.raises(InputError, match=r"circumstance\.image_sha256"):
        Circumstance(image_sha256="abc")


def test_a_parse_cannot_be_changed_in_place() -> None:
    parse = Parse([LIVER], geometry=GRID)
    with pytest.raises(AttributeError, match="immutable"):
        parse.entities = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        parse.masks["liver"] = CUBE  # type: ignore[index]
