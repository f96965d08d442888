"""Two visits of one patient: matched, given persistent ids, compared."""

from __future__ import annotations

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Attribute, Circumstance, Entity, Parse, Relation
from synth.parse.diff import compare_visits, diff
from synth.parse.match import Matching, match, persist_ids, rename
from synth.volume import Geometry, Mask

SHAPE = (60, 60, 40)
GRID = Geometry.regular(SHAPE, 2.0)


def ball(centre: tuple[float, float, float], radius: float) -> Mask:
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    return Mask.from_dense(((index - np.array(centre)) ** 2).sum(axis=-1) <= radius**2)


def visit(day: float = 0.0, **findings: tuple[str, Mask]) -> Parse:
    return Parse(
        [Entity(id=id, name=name) for id, (name, _) in findings.items()],
        geometry=GRID,
        circumstance=Circumstance(day=day),
        masks={id: mask for id, (_, mask) in findings.items()},
    )


def pairs(matching: Matching) -> dict[str, str]:
    return {pair.first: pair.second for pair in matching.pairs}


def test_lesions_are_matched_by_place_whatever_their_ids() -> None:
    first = visit(a=("metastasis", ball((15, 15, 15), 4)), b=("metastasis", ball((40, 40, 20), 5)))
    second = visit(a=("metastasis", ball((41, 40, 20), 4)), z=("metastasis", ball((15, 16, 15), 5)))
    assert pairs(match(first, second)) == {"a": "z", "b": "a"}


def test_the_best_assignment_wins_over_the_greedy_one() -> None:
    first = visit(a=("metastasis", ball((20, 20, 20), 5)), b=("metastasis", ball((27, 20, 20), 5)))
    second = visit(c=("metastasis", ball((24, 20, 20), 5)), d=("metastasis", ball((31, 20, 20), 5)))
    assert pairs(match(first, second)) == {"a": "c", "b": "d"}


def test_a_lesion_that_moved_a_little_and_grew_is_the_same() -> None:
    first = visit(a=("lung_nodule", ball((20, 20, 20), 1.5)))
    second = visit(b=("lung_nodule", ball((23, 20, 20), 4)))
    assert pairs(match(first, second)) == {"a": "b"}


def test_a_lesion_far_away_is_another_one() -> None:
    found = match(visit(a=("metastasis", ball((10, 10, 10), 3))), visit(a=("metastasis", ball((50, 50, 30), 3))))
    assert (found.pairs, found.gone, found.new) == ((), ("a",), ("a",))


def test_a_more_precise_name_still_matches_and_another_type_does_not() -> None:
    first = visit(a=("lesion", ball((20, 20, 20), 4)))
    assert pairs(match(first, visit(b=("hepatocellular_carcinoma", ball((20, 20, 20), 4))))) == {"a": "b"}
    stone = visit(b=("kidney_stone", ball((20, 20, 20), 4)))
    assert not match(visit(a=("metastasis", ball((20, 20, 20), 4))), stone).pairs


def test_a_tracking_uid_decides_against_place() -> None:
    first = visit(a=("metastasis", ball((10, 10, 10), 3)), b=("metastasis", ball((40, 40, 20), 3)))
    second = visit(c=("metastasis", ball((10, 10, 10), 3)), d=("metastasis", ball((40, 40, 20), 3)))

    def tracked(parse: Parse, **uids: str) -> Parse:
        return parse.replace(entities=[e.changed(tracking_uid=uids[e.id]) for e in parse.entities])

    found = match(tracked(first, a="1.2.1", b="1.2.2"), tracked(second, c="1.2.2", d="1.2.1"))
    assert pairs(found) == {"a": "d", "b": "c"}


def test_sides_do_not_match_each_other() -> None:
    mask = ball((20, 20, 20), 6)
    assert not match(visit(k=("kidney_left", mask)), visit(k=("kidney_right", mask))).pairs


def test_an_organ_that_is_absent_now_is_still_the_same_organ() -> None:
    first = visit(spleen=("spleen", ball((20, 20, 20), 6)))
    second = Parse([Entity(id="s", name="spleen", presence="absent")], geometry=GRID)
    assert pairs(match(first, second)) == {"spleen": "s"}
    assert compare_visits(first, second).diff.presence_flips[0].sentence() == "spleen: present before, absent now"


def test_grids_may_differ() -> None:
    first = visit(a=("metastasis", ball((20, 20, 20), 6)), b=("metastasis", ball((40, 40, 20), 6)))
    second = rename(first, {"a": "b", "b": "a"}).resampled(GRID.with_spacing(3.0))
    assert pairs(match(first, second)) == {"a": "b", "b": "a"}


def test_two_lesions_that_grew_into_one_are_a_merge() -> None:
    first = visit(a=("metastasis", ball((20, 20, 20), 5)), b=("metastasis", ball((29, 20, 20), 3)))
    second = visit(m=("metastasis", ball((20, 20, 20), 5) | ball((29, 20, 20), 3) | ball((25, 20, 20), 3)))
    found = compare_visits(first, second)
    (merge,) = found.matching.regroups
    assert (merge.kind, merge.first, merge.second) == ("merge", ("a", "b"), ("m",))
    assert ("changed_from", "a", "b") in {edge.key for edge in found.edges}
    assert found.second.ids == ("a",)


def test_a_lesion_that_fell_apart_is_a_split() -> None:
    first = visit(m=("metastasis", ball((24, 20, 20), 9)))
    second = visit(x=("metastasis", ball((20, 20, 20), 4)), y=("metastasis", ball((29, 20, 20), 3)))
    found = compare_visits(first, second)
    (split,) = found.matching.regroups
    assert (split.kind, split.first, set(split.second)) == ("split", ("m",), {"x", "y"})
    assert found.second.ids == ("m", "y")
    history = found.with_history()
    assert ("changed_from", "y", "m") in {relation.key for relation in history.relations}


def test_new_entities_never_take_an_id_of_the_first_visit() -> None:
    first = visit(a=("metastasis", ball((10, 10, 10), 3)))
    second = visit(a=("metastasis", ball((50, 50, 30), 3)), b=("metastasis", ball((10, 10, 10), 3)))
    renamed = persist_ids(second, match(first, second), first)
    assert renamed.ids == ("a-2", "a")
    assert renamed.mask("a") == second.mask("b")


def test_renaming_moves_attributes_relations_and_masks_along() -> None:
    parse = visit(a=("metastasis", ball((10, 10, 10), 3)), b=("liver", ball((12, 12, 12), 9))).replace(
        attributes=[Attribute(entity="a", type="margin", value="irregular")],
        relations=[Relation(type="located_in", subject="a", object="b")],
    )
    renamed = rename(parse, {"a": "lesion", "b": "liver"})
    assert renamed.relations[0].key == ("located_in", "lesion", "liver")
    assert renamed.attributes_of("lesion")[0].value == "irregular"
    assert rename(renamed, {"lesion": "a", "liver": "b"}) == parse
    with pytest.raises(InputError, match=r"ids after renaming.*'b'"):
        rename(parse, {"a": "b"})


def test_every_kind_of_change_is_one_readable_sentence() -> None:
    liver, lesion = ball((25, 25, 20), 12), ball((25, 25, 20), 3)
    first = visit(liver=("liver", liver), m1=("metastasis", lesion), ivc=("inferior_vena_cava", ball((45, 25, 20), 3)))
    first = first.replace(
        attributes=[
            Attribute(entity="liver", type="mean_attenuation", value=60, phase="portal_venous"),
            Attribute(entity="m1", type="margin", value="circumscribed"),
        ],
        relations=[Relation(type="abuts", subject="m1", object="ivc")],
    )
    second = first.with_mask("m1", ball((25, 25, 20), 4)).replace(
        attributes=[
            Attribute(entity="liver", type="mean_attenuation", value=42, phase="portal_venous"),
            Attribute(entity="m1", type="margin", value="irregular"),
        ],
        relations=[Relation(type="located_in", subject="m1", object="liver")],
        circumstance=Circumstance(day=90),
    )
    assert diff(first, second).sentences() == (
        "metastasis (m1): grew from 0.984 to 2.06 mL (+109%)",
        "liver: mean attenuation fell from 60 to 42 HU (portal venous)",
        "metastasis (m1): margin changed from circumscribed to irregular",
        "metastasis (m1): no longer abuts inferior vena cava (ivc)",
        "metastasis (m1): now located in liver",
        "circumstance: day from 0.0 to 90.0",
    )


def test_each_changed_entity_gets_an_edge_with_the_difference_as_payload() -> None:
    first = visit(m1=("metastasis", ball((25, 25, 20), 3)), n=("lung_nodule", ball((45, 45, 20), 3)))
    second = first.with_mask("m1", ball((25, 25, 20), 4))
    (edge,) = diff(first, second).edges()
    assert edge.key == ("changed_from", "m1", "m1")
    assert edge.payload is not None
    assert edge.payload["volume_ml"]["after"] == pytest.approx(second.mask("m1").volume_ml(GRID))  # type: ignore[index, call-overload]
    found = compare_visits(first, second)
    assert [relation.key for relation in found.with_history().relations] == [edge.key]


def test_a_difference_is_plain_json_without_masks() -> None:
    import json

    first = visit(m1=("metastasis", ball((25, 25, 20), 3)))
    data = json.loads(json.dumps(diff(first, first.without("m1")).to_json()))
    assert data["entities"][0]["after"] is None
    assert data["masks"][0]["after_ml"] is None
    assert data["sentences"]


def test_values_within_the_tolerance_of_their_type_say_the_same() -> None:
    first = visit(liver=("liver", ball((25, 25, 20), 9)))

    def with_mean(value: float) -> Parse:
        return first.replace(attributes=[Attribute(entity="liver", type="mean_attenuation", value=value)])

    (small,) = diff(with_mean(60), with_mean(66)).attributes
    (large,) = diff(with_mean(60), with_mean(80)).attributes
    assert small.says_the_same
    assert not large.says_the_same
