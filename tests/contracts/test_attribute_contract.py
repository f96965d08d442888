"""What every attribute type keeps; a new type is tested by being in the table."""

from __future__ import annotations

import re

import pytest

from synth.errors import InputError
from synth.parse import ATTRIBUTE_TYPES, VOCABULARY, Attribute, AttributeType, Entity, Kind, Parse
from synth.volume import Geometry

GRID = Geometry.regular((4, 4, 4), 4.0)
each_type = pytest.mark.parametrize("kind", ATTRIBUTE_TYPES.values(), ids=lambda kind: kind.name)


def legal_values(kind: AttributeType) -> tuple[float | str, ...]:
    """Every category, or both ends of the range and its middle."""
    if kind.values is not None:
        return kind.values
    assert kind.low is not None
    assert kind.high is not None
    return kind.low, (kind.low + kind.high) / 2, kind.high


@each_type
def test_a_type_is_either_categorical_or_numeric_and_says_where_it_is_from(kind: AttributeType) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", kind.name)
    assert kind.guideline
    assert kind.kinds
    assert (kind.values is None) == (kind.unit is not None) == (kind.low is not None)
    if kind.values is not None:
        assert len(set(kind.values)) == len(kind.values) > 1
    else:
        assert kind.low < kind.high
        assert kind.tolerance >= 0


@each_type
def test_an_ordinal_type_ranks_its_scale_in_order_and_nothing_beside_it(kind: AttributeType) -> None:
    ranks = {value: kind.rank(value) for value in kind.values or ()}
    on_scale = [rank for value, rank in ranks.items() if rank is not None]
    assert on_scale == list(range(len(on_scale)))
    assert bool(on_scale) == kind.ordinal
    assert {value for value in ranks if ranks[value] is None} >= set(kind.beside_scale)


@each_type
def test_every_legal_value_binds_to_every_kind_of_entity_it_is_for(kind: AttributeType) -> None:
    for allowed in kind.kinds:
        name = next(term.name for term in VOCABULARY if term.kind is allowed)
        for value in legal_values(kind):
            attribute = Attribute(entity="e", type=kind.name, value=value)
            parse = Parse([Entity(id="e", name=name)], [attribute], geometry=GRID)
            assert parse.attributes_of("e")[0].value == value
            assert kind.same(value, value)


@each_type
def test_a_type_refuses_an_entity_of_another_kind(kind: AttributeType) -> None:
    others = [other for other in Kind if other not in kind.kinds]
    assert others, "a planning target has no attributes of the image"
    for other in others:
        name = next(term.name for term in VOCABULARY if term.kind is other)
        with pytest.raises(InputError, match=r"attributes\[0\]\.entity"):
            Parse(
                [Entity(id="e", name=name)],
                [Attribute(entity="e", type=kind.name, value=legal_values(kind)[0])],
                geometry=GRID,
            )


@each_type
def test_a_type_refuses_a_value_outside_its_set_or_range_and_a_foreign_unit(kind: AttributeType) -> None:
    wrong = ("no such category", 1e9) if kind.values is not None else ("a word", (kind.high or 0) + 1e9)
    for value in wrong:
        with pytest.raises(InputError, match="value"):
            Attribute(entity="e", type=kind.name, value=value)
    with pytest.raises(InputError, match="unit"):
        Attribute(entity="e", type=kind.name, value=legal_values(kind)[0], unit="furlong")


@each_type
def test_a_value_survives_json_unchanged(kind: AttributeType) -> None:
    for value in legal_values(kind):
        attribute = Attribute(entity="e", type=kind.name, value=value)
        assert Attribute.model_validate_json(attribute.model_dump_json()) == attribute
