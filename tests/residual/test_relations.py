"""Declared relations are compared with the masks, with room for the jitter of a correct outline."""

from __future__ import annotations

import numpy as np
import pytest

from synth.fault import FaultSpec, inject, jitter
from synth.parse import RELATION_TYPES, Entity, Parse, Relation
from synth.parse.derive import derive_relations
from synth.phantom import make
from synth.residual.relations import MEASURES, check_relations, measure
from synth.volume import Geometry, Mask

SHAPE, GRID = (32, 32, 32), Geometry.regular((32, 32, 32), 2.0)


def _cube(at: tuple[int, int, int], side: int = 6) -> Mask:
    return Mask.from_box(SHAPE, at, np.ones((side,) * 3, bool))


def _parse(type: str, first: Mask | None, second: Mask, names: tuple[str, str] = ("metastasis", "liver")) -> Parse:
    masks = {"a": first, "b": second}
    return Parse(
        [Entity(id="a", name=names[0]), Entity(id="b", name=names[1])],
        relations=[Relation(type=type, subject="a", object="b")],
        geometry=GRID,
        masks={i: m for i, m in masks.items() if m is not None},
    )


def _only(parse: Parse) -> tuple[bool | None, float]:
    (checked,) = check_relations(parse)
    assert checked.measured is not None
    return checked.wrong, checked.measured.value


def test_every_spatial_relation_can_be_measured() -> None:
    assert {name for name, kind in RELATION_TYPES.items() if kind.family == "spatial"} == set(MEASURES)


@pytest.mark.parametrize(
    ("at", "wrong", "gap"), [((16, 10, 10), False, 0.0), ((17, 10, 10), False, -4.0), ((26, 10, 10), True, -22.0)]
)
def test_neighbours_touch_or_nearly(at: tuple[int, int, int], wrong: bool, gap: float) -> None:
    assert _only(_parse("abuts", _cube((10, 10, 10)), _cube(at))) == (wrong, gap)


def test_a_gap_between_two_and_four_voxels_is_left_open() -> None:
    assert _only(_parse("abuts", _cube((10, 10, 10)), _cube((18, 10, 10)))) == (None, -6.0)


@pytest.mark.parametrize(("at", "wrong"), [((12, 12, 12), False), ((26, 26, 26), True), ((19, 12, 12), None)])
def test_a_finding_lies_in_its_host(at: tuple[int, int, int], wrong: bool | None) -> None:
    host = _cube((8, 8, 8), 12)
    assert _only(_parse("located_in", _cube(at, 3 if wrong is None else 6), host))[0] is wrong


def test_a_hole_in_the_host_still_holds_the_finding() -> None:
    lesion = _cube((12, 12, 12))
    assert _only(_parse("located_in", lesion, _cube((8, 8, 8), 14) - lesion))[0] is False


def test_a_finding_whose_outline_reaches_into_the_rim_of_its_hole_is_still_held() -> None:
    lesion = _cube((12, 12, 12))
    host = _cube((8, 8, 8), 14) - lesion
    drawn = lesion | _cube((17, 12, 12), 3)  # two voxels further than the hole: a twelfth of it lies in the host
    assert 0 < drawn.overlap(host) / drawn.voxels < 0.1
    assert _only(_parse("located_in", drawn, host))[0] is False
    derived = [r for r in derive_relations(_parse("abuts", drawn, host)).relations if r.type == "located_in"]
    assert [(r.subject, r.object) for r in derived] == [("a", "b")]


def test_a_small_finding_beside_the_rim_of_its_host_is_left_open_and_one_farther_off_is_wrong() -> None:
    host = _cube((8, 8, 8), 12)
    small = [Mask.from_box(SHAPE, (x, 12, 12), np.ones((2, 2, 2), bool)) for x in (20, 21)]
    (near,) = check_relations(_parse("located_in", small[0], host))
    assert near.measured is not None
    assert near.measured.score < -1
    assert near.wrong is None
    assert "more within a voxel" in near.reason
    assert _only(_parse("located_in", small[1], host))[0] is True


def test_two_that_go_on_beyond_the_same_face_of_the_image_may_touch_there() -> None:
    top, below, bottom, farther = (6, 10, 26), (6, 10, 25), (6, 10, 0), (1, 10, 26)
    far = _cube((22, 10, 26))
    (open_,) = check_relations(_parse("abuts", _cube(top), far))
    assert open_.wrong is None
    assert "22 mm apart in view; both go on beyond the image" in open_.reason
    for elsewhere in (below, bottom, farther):
        (closed,) = check_relations(_parse("abuts", _cube(elsewhere), far))
        assert closed.wrong is True


@pytest.mark.parametrize(
    ("type", "wrong"),
    [("right_of", False), ("left_of", True), ("superior_to", True), ("inferior_to", False), ("anterior_to", False)],
)
def test_directions_are_the_patients(type: str, wrong: bool) -> None:
    first, second = _cube((22, 20, 4)), _cube((4, 10, 20))
    assert _only(_parse(type, first, second))[0] is wrong


def test_a_tumour_that_encases_covers_half_of_the_wall() -> None:
    vessel = Mask.from_box(SHAPE, (14, 14, 4), np.ones((3, 3, 24), bool))
    around = _cube((11, 11, 10), 9) - vessel
    aside = _cube((17, 11, 10), 9)
    names = ("pancreatic_carcinoma", "portal_vein_and_splenic_vein")
    assert _only(_parse("encases", around, vessel, names))[0] is False
    assert _only(_parse("encases", aside, vessel, names))[0] is None
    assert _only(_parse("encases", _cube((24, 24, 10)), vessel, names))[0] is True


def test_what_masks_cannot_show_is_not_judged() -> None:
    host = _cube((8, 8, 8), 12)
    for parse in (_parse("located_in", None, host), _parse("supplies", _cube((2, 2, 2)), host)):
        (checked,) = check_relations(parse)
        assert checked.wrong is None
        assert checked.measured is None
        assert checked.reason


def test_derived_relations_are_not_asked_about() -> None:
    parse = _parse("abuts", _cube((10, 10, 10)), _cube((16, 10, 10)))
    assert check_relations(parse.replace(relations=[r.changed(derived=True) for r in parse.relations])) == ()


def test_jitter_is_forgiven_and_a_planted_relation_is_not() -> None:
    rng = np.random.default_rng(0)
    true = derive_relations(make(3, spacing_mm=(6.0, 6.0, 6.0)).parse.without_derived())
    declared = true.replace(relations=[r.changed(derived=False) for r in true.relations])
    declared = declared.replace(masks={i: jitter(m, declared.geometry, rng) for i, m in declared.masks.items()})
    checked = check_relations(declared)
    assert len(checked) > 50
    assert np.mean([c.wrong is True for c in checked]) < 0.02
    scores = []
    for _ in range(30):
        planted = inject(declared, FaultSpec("wrong_relation"), rng)
        (wrong,) = [r for r in planted.parse.relations if r.key == tuple(planted.record.parameters["to"])]
        found = measure(planted.parse, wrong)
        assert found is not None
        scores.append(found.score)
    assert np.mean(np.asarray(scores) < -1) > 0.7
