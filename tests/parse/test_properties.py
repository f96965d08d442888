"""Properties that hold for every parse: closure, round trip, and the difference of two."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synth.errors import InputError
from synth.parse import (
    ATTRIBUTE_TYPES,
    RELATION_TYPES,
    VOCABULARY,
    Attribute,
    Circumstance,
    Entity,
    Parse,
    Phase,
    Presence,
    Relation,
    load_bundle,
    save_bundle,
)
from synth.parse.diff import apply, diff
from synth.volume import Geometry, Mask

SHAPE = (6, 5, 4)
SPACINGS = st.tuples(*[st.floats(0.5, 6.0)] * 3)
IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,3}", fullmatch=True)
quick = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Any mask from one voxel to all of them; the seed is what is drawn, which shrinks and is fast."""
    voxels = np.random.default_rng(draw(st.integers(0, 999))).permutation(120)[: draw(st.integers(1, 120))]
    dense = np.zeros(120, dtype=bool)
    dense[voxels] = True
    return Mask.from_dense(dense.reshape(SHAPE))


@st.composite
def entities(draw: st.DrawFn, id: str) -> Entity:
    return Entity(
        id=id,
        name=draw(st.sampled_from(VOCABULARY.names)),
        presence=draw(st.sampled_from(list(Presence))),
        confidence=draw(st.none() | st.floats(0, 1)),
        truncated=draw(st.booleans()),
    )


@st.composite
def attributes(draw: st.DrawFn, entity: Entity) -> Attribute | None:
    fitting = [kind for kind in ATTRIBUTE_TYPES.values() if entity.kind in kind.kinds]
    if not fitting:
        return None
    kind = draw(st.sampled_from(fitting))
    value = draw(st.sampled_from(kind.values) if kind.values is not None else st.floats(kind.low, kind.high))
    phase = draw(st.none() | st.sampled_from(list(Phase))) if kind.phased else None
    return Attribute(entity=entity.id, type=kind.name, value=value, phase=phase, derived=draw(st.booleans()))


@st.composite
def relations(draw: st.DrawFn, ids: list[str]) -> Relation:
    """Edges run from later to earlier ids, so that no cycle can arise."""
    later, earlier = sorted(draw(st.lists(st.integers(0, len(ids) - 1), min_size=2, max_size=2, unique=True)))[::-1]
    payload = draw(st.none() | st.dictionaries(st.text(max_size=5), st.floats(-9, 9) | st.text(max_size=5), max_size=2))
    type = draw(st.sampled_from(list(RELATION_TYPES)))
    return Relation(type=type, subject=ids[later], object=ids[earlier], payload=payload)


@st.composite
def parses(draw: st.DrawFn) -> Parse:
    ids = draw(st.lists(IDS, max_size=4, unique_by=str.casefold))
    items = [draw(entities(id)) for id in ids]
    facts = [fact for item in items for fact in draw(st.lists(attributes(item), max_size=3)) if fact is not None]
    edges = draw(st.lists(relations(ids), max_size=4)) if len(ids) > 1 else []
    may_have = [item.id for item in items if item.presence in (Presence.present, Presence.uncertain)]
    drawn = {id: draw(masks()) for id in may_have if draw(st.booleans())}
    return Parse(
        items,
        {fact.key: fact for fact in facts}.values(),
        {edge.key: edge for edge in edges}.values(),
        geometry=Geometry.regular(SHAPE, draw(SPACINGS)),
        circumstance=Circumstance(
            day=draw(st.none() | st.floats(0, 1e4)), phase=draw(st.none() | st.sampled_from(Phase))
        ),
        masks=drawn,
    )


def rebuilt(parse: Parse) -> Parse:
    """The same parts through the public constructor, which checks closure."""
    return Parse(
        parse.entities,
        parse.attributes,
        parse.relations,
        geometry=parse.geometry,
        circumstance=parse.circumstance,
        masks=parse.masks,
    )


@quick
@given(parses(), st.data())
def test_every_operation_keeps_closure(parse: Parse, data: st.DataObject) -> None:
    assert rebuilt(parse.without_derived()) == parse.without_derived()
    assert rebuilt(parse.cropped((slice(1, 4), slice(0, 3), slice(2, 4)))).geometry.shape == (3, 3, 2)
    assert rebuilt(parse.resampled(parse.geometry.with_spacing(4.0)))
    if parse.ids:
        id = data.draw(st.sampled_from(parse.ids))
        assert id not in rebuilt(parse.without(id))
        presence = data.draw(st.sampled_from(list(Presence)))
        assert rebuilt(parse.with_presence(id, presence)).entity(id).presence is presence


@quick
@given(parses(), st.data())
def test_a_parse_with_one_broken_reference_cannot_be_built(parse: Parse, data: st.DataObject) -> None:
    nobody, other = "nobody-at-all", "somebody-else"
    ends = {"subject": other, "object": other}
    entity = Entity(id=other, name="liver")
    broken = data.draw(st.sampled_from(["attribute", "subject", "object", "mask"]))
    parts: dict[str, object] = {"entities": (*parse.entities, entity)}
    if broken == "attribute":
        parts["attributes"] = (*parse.attributes, Attribute(entity=nobody, type="margin", value="irregular"))
    elif broken == "mask":
        parts["masks"] = {**parse.masks, nobody: Mask.from_dense(np.ones(SHAPE, bool))}
    else:
        parts["relations"] = (*parse.relations, Relation(type="abuts", **{**ends, broken: nobody}))
    with pytest.raises(InputError, match=r"attributes\[\d+\].entity|relations\[\d+\].(subject|object)|masks\[nobody"):
        parse.replace(**parts)


@quick
@given(parses())
def test_a_bundle_gives_back_exactly_the_parse(parse: Parse) -> None:
    with tempfile.TemporaryDirectory() as top:
        save_bundle(parse, Path(top) / "case")
        again = load_bundle(Path(top) / "case")
    assert again == parse
    assert (again.entities, again.attributes, again.relations) == (parse.entities, parse.attributes, parse.relations)
    assert np.array_equal(again.geometry.affine, parse.geometry.affine)


@quick
@given(parses())
def test_a_pickled_parse_is_the_same_parse(parse: Parse) -> None:
    assert pickle.loads(pickle.dumps(parse)) == parse


@quick
@given(parses())
def test_the_order_of_items_has_no_meaning(parse: Parse) -> None:
    assert parse.replace(entities=parse.entities[::-1], relations=parse.relations[::-1]) == parse


@quick
@given(parses())
def test_the_difference_of_a_parse_with_itself_is_empty(parse: Parse) -> None:
    assert diff(parse, parse).is_empty
    assert diff(parse, rebuilt(parse)).sentences() == ()


@quick
@given(parses(), parses())
def test_applying_a_difference_gives_the_second_parse(first: Parse, second: Parse) -> None:
    change = diff(first, second)
    assert apply(change, first) == second
    assert apply(diff(second, first), second) == first
    assert change.is_empty == (first == second)
    assert all(change.sentences())


@quick
@given(parses(), parses(), parses())
def test_a_difference_only_applies_where_it_was_made(first: Parse, second: Parse, third: Parse) -> None:
    change = diff(first, second)
    touched = {(type(each), each.entity.id) for each in change.entities if each.before is not None}
    if touched and not {id for _, id in touched} & set(third.ids):
        with pytest.raises(InputError, match="diff of entities"):
            apply(change, third)


@quick
@given(parses())
def test_every_changed_from_edge_of_a_difference_can_be_added_to_the_second_parse(parse: Parse) -> None:
    change = diff(parse, parse.without_derived())
    have = {relation.key for relation in parse.relations}
    fresh = [edge for edge in change.edges() if edge.key not in have]
    assert len(parse.replace(relations=(*parse.relations, *fresh)).relations) == len(parse.relations) + len(fresh)
