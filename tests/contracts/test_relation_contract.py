"""What every relation type keeps; a new type is tested by being in the table."""

from __future__ import annotations

import pytest

from synth.errors import InputError
from synth.parse import RELATION_TYPES, Entity, Parse, Relation, RelationType, canonical_edge
from synth.volume import Geometry

GRID = Geometry.regular((4, 4, 4), 4.0)
ENTITIES = (Entity(id="a", name="liver"), Entity(id="b", name="spleen"), Entity(id="c", name="stomach"))
each_type = pytest.mark.parametrize("kind", RELATION_TYPES.values(), ids=lambda kind: kind.name)


def ring(kind: RelationType) -> list[Relation]:
    """Three edges that come back to where they began."""
    ends = (("a", "b"), ("b", "c"), ("c", "a"))
    return [Relation(type=kind.name, subject=subject, object=object) for subject, object in ends]


@each_type
def test_an_inverse_is_mutual_and_of_the_same_family(kind: RelationType) -> None:
    if kind.inverse is not None:
        inverse = RELATION_TYPES[kind.inverse]
        assert inverse.inverse == kind.name
        assert inverse.family == kind.family


@each_type
def test_an_edge_and_its_inverse_are_one_canonical_edge(kind: RelationType) -> None:
    edge = canonical_edge(kind.name, "a", "b")
    assert canonical_edge(*edge) == edge
    if kind.inverse is not None:
        assert canonical_edge(kind.inverse, "b", "a") == edge


@each_type
def test_an_endpoint_that_is_not_declared_names_its_path(kind: RelationType) -> None:
    for end in ("subject", "object"):
        ends = {"subject": "a", "object": "b"} | {end: "nobody"}
        with pytest.raises(InputError, match=rf"relations\[0\]\.{end}: .*nobody"):
            Parse(ENTITIES, (), [Relation(type=kind.name, **ends)], geometry=GRID)


@each_type
def test_a_ring_is_refused_exactly_where_the_type_is_acyclic(kind: RelationType) -> None:
    if kind.acyclic:
        with pytest.raises(InputError, match="cycle"):
            Parse(ENTITIES, (), ring(kind), geometry=GRID)
    else:
        assert len(Parse(ENTITIES, (), ring(kind), geometry=GRID).relations) == 3


@each_type
def test_an_edge_from_an_entity_to_itself_needs_a_reflexive_type(kind: RelationType) -> None:
    if kind.reflexive:
        assert Relation(type=kind.name, subject="a", object="a").key == (kind.name, "a", "a")
    else:
        with pytest.raises(InputError, match="object"):
            Relation(type=kind.name, subject="a", object="a")


@each_type
def test_a_relation_survives_json_unchanged(kind: RelationType) -> None:
    edge = Relation(type=kind.name, subject="a", object="b", payload={"volume_ml": 1.5})
    assert Relation.model_validate_json(edge.model_dump_json()) == edge
