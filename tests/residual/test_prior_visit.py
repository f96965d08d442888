"""What a prior visit lets one expect: only what the present parse does not speak of counts as left out."""

from __future__ import annotations

import numpy as np

from synth.parse import Entity, Parse, Presence
from synth.residual.prior_visit import Expected, expected
from synth.volume import Geometry, Mask

SHAPE = (40, 40, 40)
GRID = Geometry.regular(SHAPE, 4.0)
KNOWN = frozenset({"liver", "spleen", "kidney_left", "metastasis", "lesion"})


def cube(at: tuple[int, int, int], side: int) -> Mask:
    return Mask.from_box(SHAPE, at, np.ones((side,) * 3, bool))


MASKS = {
    "liver": cube((20, 20, 20), 12),
    "spleen": cube((4, 20, 20), 7),
    "kidney_left": cube((5, 6, 6), 6),
    "m1": cube((22, 22, 22), 3),
    "m2": cube((28, 28, 28), 3),
}


def parse(*ids: str, **others: str) -> Parse:
    """These are there; the others have another presence."""
    names = {"m1": "metastasis", "m2": "metastasis"}
    entities = [Entity(id=id, name=names.get(id, id)) for id in ids]
    entities += [Entity(id=id, name=names.get(id, id), presence=Presence(p)) for id, p in others.items()]
    return Parse(entities, geometry=GRID, masks={id: MASKS[id] for id in ids})


def told(before: Parse, now: Parse) -> Expected:
    return expected(before, before, now, KNOWN)


def test_what_is_drawn_again_is_not_left_out() -> None:
    whole = parse("liver", "spleen", "m1")
    assert told(whole, whole).left_out == ()


def test_a_lesion_and_an_organ_that_nothing_is_said_of_are_left_out() -> None:
    found = {r.entity.id: r for r in told(parse("liver", "spleen", "m1", "m2"), parse("liver", "m1")).left_out}
    assert set(found) == {"spleen", "m2"}
    assert (found["m2"].host, found["spleen"].host) == ("liver", None)
    assert found["m2"].unchecked is None
    assert found["m2"].mask == MASKS["m2"]


def test_what_the_parse_speaks_of_in_any_way_is_not_left_out() -> None:
    for presence in ("absent", "uncertain", "not_assessed"):
        assert told(parse("liver", "spleen"), parse("liver", spleen=presence)).left_out == ()


def test_an_organ_declared_absent_now_has_its_old_place_as_its_bed() -> None:
    assert told(parse("liver", "spleen"), parse("liver", spleen="absent")).beds == {"spleen": MASKS["spleen"]}


def test_an_organ_that_came_back_is_named_and_a_new_lesion_is_not() -> None:
    before = parse("liver", spleen="absent", m1="absent")
    assert told(before, parse("liver", "spleen", "m1")).denied == ("spleen",)


def test_a_place_that_is_drawn_as_something_else_is_not_asked_about() -> None:
    renamed = parse("liver").with_entity(Entity(id="x", name="liver_cyst"), MASKS["m1"])
    (left,) = told(parse("liver", "m1"), renamed).left_out
    assert left.unchecked == "its place is drawn as x"
    swallowed = parse("liver").with_mask("liver", MASKS["liver"] | MASKS["spleen"])
    (left,) = told(parse("liver", "spleen"), swallowed).left_out
    assert left.unchecked == "its place is drawn as liver"


def test_a_lesion_that_grew_into_another_is_not_left_out() -> None:
    grown = parse("liver", "m1").with_mask("m1", cube((22, 22, 22), 9))
    assert told(parse("liver", "m1", "m2"), grown).left_out == ()


def test_what_lies_outside_the_image_cannot_be_asked_about() -> None:
    before = parse("liver", "kidney_left")
    view = (slice(9, 40), slice(0, 40), slice(0, 40))
    (left,) = expected(before.cropped(view), before, parse("liver").cropped(view), KNOWN).left_out
    assert left.unchecked is not None
    assert "outside the field of view" in left.unchecked


def test_a_finding_declared_absent_is_denied_by_what_is_left_out() -> None:
    (left,) = told(parse("liver", "m1"), parse("liver", m2="absent")).left_out
    assert (left.entity.id, left.denies) == ("m1", "m2")
