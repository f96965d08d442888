"""A difference as a radiologist would dictate it."""

from __future__ import annotations

import numpy as np
import pytest

from synth.parse import Circumstance, Entity, Parse
from synth.parse.derive.relations import derive_relations
from synth.parse.diff import changed_from, diff
from synth.parse.narrative import narrative
from synth.volume import Geometry, Mask

SHAPE = (30, 20, 20)


def box(x: int, wide: int, high: int = 4) -> Mask:
    return Mask.from_box(SHAPE, (x, 8, 8), np.ones((wide, high, high), bool))


def visit(day: float, **masks: Mask) -> Parse:
    """A liver with metastases of these ids beside a vena cava."""
    drawn = {"liver": Mask.from_box(SHAPE, (2, 2, 2), np.ones((18, 16, 16), bool)), **masks}
    drawn["inferior_vena_cava"] = Mask.from_box(SHAPE, (20, 6, 2), np.ones((4, 6, 16), bool))
    names = dict.fromkeys(masks, "liver_metastasis")
    entities = [Entity(id=id, name=names.get(id, id)) for id in drawn]
    made = Parse(entities, geometry=Geometry.regular(SHAPE, 5.0), circumstance=Circumstance(day=day), masks=drawn)
    return derive_relations(made).replace(circumstance=made.circumstance)


def told(first: Parse, second: Parse) -> tuple[str, ...]:
    return narrative(first, second, diff(first, second))


def test_growth_with_a_contact_that_it_brings() -> None:
    (sentence,) = told(visit(0, m1=box(6, 4)), visit(90, m1=box(6, 14)))
    assert sentence == (
        "Liver metastasis (m1) grew from 8 to 28 mL (+250%), longest axis 25 to 72 mm within 90 days;"
        " now abuts inferior vena cava."
    )


def test_shrinking_loses_the_contact_and_a_tenth_is_stable() -> None:
    (sentence,) = told(visit(0, m1=box(6, 14)), visit(30, m1=box(6, 4)))
    assert "shrank from 28 to 8 mL (-71%)" in sentence
    assert sentence.endswith("no longer abuts inferior vena cava.")
    (sentence,) = told(visit(0, m1=box(4, 11)), visit(30, m1=box(4, 12)))
    assert "is stable at 24 mL (+9%)" in sentence


def test_gone_and_new() -> None:
    first, second = visit(0, m1=box(6, 4)), visit(60, m1=box(6, 4), m2=box(14, 2))
    assert told(first, second) == ("Liver metastasis (m2) is new in liver, 4 mL, longest axis 21 mm within 60 days.",)
    gone = second.with_presence("m1", "absent")
    assert told(second, gone) == ("Liver metastasis (m1) is gone.",)


def test_merge_and_split() -> None:
    apart, joined = visit(0, m1=box(4, 4), m2=box(12, 3)), visit(9, m1=box(4, 11))
    joined = joined.with_entity(Entity(id="m2", name="liver_metastasis", presence="absent"))
    joined = joined.replace(relations=[*joined.relations, changed_from("m1", "m2", {"regrouped": "merge"})])
    sentences = told(apart, joined)
    assert "Liver metastasis (m2) has merged into liver metastasis (m1) within 9 days." in sentences
    assert any("(m1) has merged with liver metastasis (m2) and grew" in s for s in sentences)
    split = visit(9, m1=box(4, 4), m2=box(12, 3))
    split = split.replace(relations=[*split.relations, changed_from("m2", "m1", {"regrouped": "split"})])
    assert any("(m2) has split off liver metastasis (m1), 6 mL" in s for s in told(visit(0, m1=box(4, 11)), split))


def test_findings_come_before_organs_and_new_ones_after_known_ones() -> None:
    first, second = visit(0, m2=box(4, 4)), visit(9, m2=box(4, 5), m1=box(14, 2))
    smaller = second.with_mask("liver", Mask.from_box(SHAPE, (2, 2, 2), np.ones((18, 16, 12), bool)))
    sentences = told(first, smaller)
    assert [s.split("(")[-1][:2] if "metastasis" in s else "organ" for s in sentences][-1] == "organ"
    assert sentences[0].startswith("Liver metastasis (m2)")
    assert sentences[-1].startswith("Liver shrank from")


@pytest.mark.parametrize("presence", ["uncertain", "not_assessed"])
def test_other_claims_are_told_as_they_are(presence: str) -> None:
    now = visit(0, m1=box(6, 4))
    (sentence,) = told(now, now.with_presence("m1", presence))
    assert sentence == f"Liver metastasis (m1) was present and is {presence.replace('_', ' ')}."
