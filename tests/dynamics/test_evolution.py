"""Futures: closed, exact at Δt = 0, and true to what was asked for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth.action import Ablation, Observation, Plan, Surgery
from synth.dynamics.edges import updated
from synth.dynamics.evolution import Change, Evolution, lesion_shapes, site_shapes
from synth.dynamics.regroup import fragments, merges, touch
from synth.dynamics.sites import DOUBLING_DAYS, birth_sites, volume_at
from synth.errors import InputError
from synth.parse import Entity, Parse, Presence, save_bundle
from synth.parse.derive.relations import derive_relations
from synth.parse.diff import apply, diff
from synth.volume import Geometry, Mask

WATCH = Plan(name="watch", actions=(Observation(start_day=0, stop_day=400),))


@pytest.fixture(scope="module")
def evolution(causal: Parse) -> Evolution:
    sites = birth_sites(causal, 2, seed=4)
    shapes = lesion_shapes(causal, {"m1": 4.0, "m2": 4.5}) | site_shapes(causal, sites, 20.0)
    return Evolution(causal, WATCH, sites, shapes)


def test_no_time_under_observation_gives_the_parse_itself_and_its_bytes(
    evolution: Evolution, causal: Parse, tmp_path: Path
) -> None:
    future = evolution.at(Change(0.0, {"m1": 0.0, "m2": 0.0}))
    assert future.parse is causal
    for name, parse in (("now", causal), ("then", future.parse)):
        save_bundle(parse, tmp_path / name)
    files = [p.relative_to(tmp_path / "now") for p in (tmp_path / "now").rglob("*") if p.is_file()]
    assert [f for f in files if (tmp_path / "now" / f).read_bytes() != (tmp_path / "then" / f).read_bytes()] == []


def test_time_without_change_moves_the_day_and_nothing_else(evolution: Evolution, causal: Parse) -> None:
    then = evolution.at(Change(30.0, {"m1": 0.0, "m2": 0.0})).parse
    change = diff(causal, then)
    assert change.changes == (change.circumstance,)
    assert then.circumstance.day == 40.0
    assert then.circumstance.image_sha256 is None
    assert "watch" in then.circumstance.made_by


@settings(max_examples=12)
@given(
    st.floats(-6, 3.5) | st.just(-math.inf),
    st.floats(-6, 3.5) | st.just(-math.inf),
    st.integers(0, 2),
    st.floats(1, 999),
)
def test_every_future_is_closed_with_volumes_exact_to_a_voxel(
    evolution: Evolution, causal: Parse, one: float, two: float, births: int, day: float
) -> None:
    ml = causal.geometry.voxel_ml
    future = evolution.at(Change(day, {"m1": one, "m2": two}, (6 * ml,) * births))
    then = Parse.replace(future.parse)  # builds it anew, with every check of closure
    assert then == future.parse
    assert set(causal.ids) <= set(then.ids)
    assert apply(diff(causal, then), causal) == then
    wanted = sum(round(causal.mask(id).voxels * math.exp(r)) for id, r in (("m1", one), ("m2", two)))
    lesions = [e.id for e in then.entities if e.kind == "finding" and e.id in then.masks]
    drawn = sum(then.mask(id).voxels for id in lesions)
    assert drawn < wanted + 6 * births if future.limited else drawn == wanted + 6 * births
    assert set(future.limited) <= {"new-1", "new-2"}  # their places may be taken, those of the others never
    if not future.regroups:
        for id, ratio in (("m1", one), ("m2", two)):
            voxels = round(causal.mask(id).voxels * math.exp(ratio))
            assert (then.mask(id).voxels if id in then.masks else 0) == voxels
            assert (then.entity(id).presence is Presence.absent) == (voxels == 0)


def test_organs_that_nothing_was_done_to_stay_as_they_are(evolution: Evolution, causal: Parse) -> None:
    then = evolution.at(Change(90.0, {"m1": 1.0, "m2": -1.0})).parse
    for id in ("liver", "kidney_right", "body"):
        assert then.mask(id) is causal.mask(id)
        assert then.entity(id) == causal.entity(id)


def test_relations_of_a_future_are_those_of_its_masks(evolution: Evolution, causal: Parse) -> None:
    then = evolution.at(Change(90.0, {"m1": 3.0, "m2": -math.inf})).parse
    fresh = {r.key for r in derive_relations(then).relations if r.derived and r.definition.family == "spatial"}
    assert {r.key for r in then.relations if r.derived and r.definition.family == "spatial"} == fresh
    assert ("drains_from", "m1", "portal_vein_and_splenic_vein") in {r.key for r in then.relations}


def test_a_wrong_claim_about_something_that_stays_is_not_corrected(causal: Parse) -> None:
    from synth.parse import Relation

    wrong = causal.replace(relations=[*causal.relations, Relation(type="abuts", subject="m2", object="kidney_right")])
    assert ("abuts", "m2", "kidney_right") in {r.key for r in updated(wrong, wrong, ["m2"])}


def test_what_was_measured_in_the_image_of_now_lapses_with_the_change(evolution: Evolution, causal: Parse) -> None:
    grown = evolution.at(Change(90.0, {"m1": 1.0})).parse
    assert {a.type for a in grown.attributes_of("m1")} == {"margin"}
    assert grown.attributes_of("liver") == causal.attributes_of("liver")
    same = evolution.at(Change(90.0, {"m2": 1.0})).parse
    assert same.attributes_of("m1") == causal.attributes_of("m1")


def test_a_change_is_told_by_an_edge_with_its_volumes(evolution: Evolution, causal: Parse) -> None:
    then = evolution.at(Change(90.0, {"m1": math.log(2)})).parse
    (edge,) = [r for r in then.relations if r.type == "changed_from"]
    assert (edge.subject, edge.object) == ("m1", "m1")
    before, after = (z.mask("m1").volume_ml(z.geometry) for z in (causal, then))
    assert edge.payload["volume_ml"] == {"before": before, "after": after}


def test_surgery_takes_the_lesion_and_the_margin_of_its_host_from_its_day_on(causal: Parse) -> None:
    plan = Plan(name="cut", actions=(Surgery(start_day=7, stop_day=7, entities=("m1",), margin_mm=6.0),))
    evolution = Evolution(causal, plan, (), lesion_shapes(causal, {"m1": 1.0, "m2": 1.0}))
    assert "m1" in evolution.at(Change(6.0, {"m1": 0.1})).parse.masks
    then = evolution.at(Change(30.0, {"m1": 0.5, "m2": 0.1})).parse
    assert then.entity("m1").presence is Presence.absent
    assert then.mask("liver").overlap(causal.mask("m1")) == 0
    assert causal.mask("liver").voxels > then.mask("liver").voxels > 0.9 * causal.mask("liver").voxels
    assert then.attributes_of("m1") == ()
    assert not [r for r in then.relations_of("m1") if r.definition.family == "spatial"]


def test_removing_an_organ_removes_what_lies_in_it(causal: Parse) -> None:
    plan = Plan(name="cut", actions=(Surgery(start_day=0, stop_day=0, entities=("liver",)),))
    then = Evolution(causal, plan, (), lesion_shapes(causal, {"m1": 1.0})).at(Change(0.0, {"m1": 0.0})).parse
    assert {e.id for e in then.entities if e.presence is Presence.absent} == {"liver", "m1", "m2"}


def test_ablation_leaves_a_zone_that_is_wider_by_the_margin_within_the_host(causal: Parse) -> None:
    plan = Plan(name="burn", actions=(Ablation(start_day=1, stop_day=1, entity="m1", margin_mm=6.0),))
    then = Evolution(causal, plan, (), lesion_shapes(causal, {"m1": 1.0})).at(Change(30.0, {"m1": 0.0})).parse
    zone = then.mask("m1-zone")
    assert then.entity("m1").presence is Presence.absent
    assert then.entity("m1-zone").name == "ablation_zone"
    assert zone.voxels > 2 * causal.mask("m1").voxels
    assert (causal.mask("m1") - zone).is_empty
    assert (zone - causal.mask("liver")).is_empty
    assert then.mask("liver") is causal.mask("liver")


def test_lesions_that_grow_together_become_the_larger_one(evolution: Evolution, causal: Parse) -> None:
    future = evolution.at(Change(300.0, {"m1": 3.9, "m2": 4.2}))
    (group,) = future.regroups
    assert (group.kind, set(group.first), group.second) == ("merge", {"m1", "m2"}, ("m1",))
    assert future.parse.entity("m2").presence is Presence.absent
    edges = {(r.subject, r.object): r.payload for r in future.parse.relations if r.type == "changed_from"}
    assert edges["m1", "m2"] == {"regrouped": "merge"}


def test_lesions_that_touch_already_are_no_merge() -> None:
    a, b = (Mask.from_box((9, 3, 3), (x, 1, 1), np.ones((2, 1, 1), bool)) for x in (2, 4))
    assert touch(a, b)
    assert merges({"a": a, "b": b}, {"a": a, "b": b}) == ()


def test_a_lesion_that_falls_apart_becomes_two_with_one_history() -> None:
    grid = np.indices((44, 24, 24))
    ends = [(grid[0] - x) ** 2 + (grid[1] - 12) ** 2 + (grid[2] - 12) ** 2 <= 49 for x in (12, 32)]
    neck = (abs(grid[0] - 22) < 12) & (abs(grid[1] - 12) < 2) & (abs(grid[2] - 12) < 2)
    whole = Mask.from_dense(ends[0] | ends[1] | neck)
    now = Parse([Entity(id="m", name="metastasis")], geometry=Geometry.regular(whole.shape, 2.0), masks={"m": whole})
    future = Evolution(now, None, (), lesion_shapes(now, {"m": 0.0})).at(Change(60.0, {"m": math.log(0.3)}))
    assert [g.second for g in future.regroups] == [("m", "m-2")]
    assert future.parse.mask("m").voxels + future.parse.mask("m-2").voxels == round(0.3 * whole.voxels)
    assert any(r.key == ("changed_from", "m-2", "m") for r in future.parse.relations)
    assert fragments(whole, whole) == (whole,)


def test_lesions_that_overlap_now_are_left_as_they_are_when_nothing_happens() -> None:
    outer = Mask.from_box((12, 12, 12), (3, 3, 3), np.ones((6, 6, 6), bool))
    inner = Mask.from_box((12, 12, 12), (5, 5, 5), np.ones((2, 2, 2), bool))
    entities = [Entity(id="t", name="glioma"), Entity(id="n", name="tumour_necrosis")]
    now = Parse(entities, geometry=Geometry.regular((12, 12, 12), 2.0), masks={"t": outer, "n": inner})
    evolution = Evolution(now, None, (), lesion_shapes(now, {"t": 1.0, "n": 1.0}))
    assert evolution.at(Change(0.0, {"t": 0.0, "n": 0.0})).parse is now
    assert evolution.at(Change(9.0, {"t": 0.5, "n": 0.0})).parse.mask("n") == inner


def test_new_lesions_lie_in_their_organ_apart_and_do_not_move(causal: Parse) -> None:
    one, two = (birth_sites(causal, n, seed=9) for n in (1, 3))
    assert one[0].mask == two[0].mask
    hosts = {site.host for site in two}
    assert hosts == {"liver"}  # where its lesions are
    liver = causal.mask("liver")
    for site in two:
        assert (site.mask - liver).is_empty
        assert site.mask.overlap(causal.mask("m1")) == 0
        assert site.entity.name == "liver_metastasis"
    assert len({s.mask for s in two}) == 3
    assert birth_sites(causal, 1, seed=10)[0].mask != one[0].mask


def test_new_lesions_without_an_organ_are_claimed_and_not_drawn() -> None:
    now = Parse([Entity(id="w", name="white_matter_lesion")], geometry=Geometry.regular((8, 8, 8), 3.0))
    (site,) = birth_sites(now, 1, seed=0)
    then = Evolution(now, None, (site,), {}).at(Change(50.0, {}, (0.2,))).parse
    assert (site.host, site.mask) == (None, None)
    assert then.entity("new-1").presence is Presence.present
    assert "new-1" not in then.masks


def test_a_new_lesion_grows_with_its_age(evolution: Evolution) -> None:
    small, large = (evolution.at(Change(90.0, {}, (volume_at(0.3, age),))).parse for age in (0, 2 * DOUBLING_DAYS))
    assert large.mask("new-1").voxels == pytest.approx(4 * small.mask("new-1").voxels, abs=3)
    assert (small.mask("new-1") - large.mask("new-1")).is_empty


def test_bad_changes_are_refused(evolution: Evolution) -> None:
    for change, message in (
        (Change(-1.0), "0 or later"),
        (Change(1.0, {"liver": 0.1}), "findings"),
        (Change(1.0, {"nobody": 0.1}), "findings"),
        (Change(1.0, {"m1": math.nan}), "numbers"),
        (Change(1.0, {}, (0.1, 0.1, 0.1)), "at most 2"),
    ):
        with pytest.raises(InputError, match=message):
            evolution.at(change)
