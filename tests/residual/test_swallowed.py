"""An organ that covers the place of another one took it in; only of places that are known and large."""

from __future__ import annotations

import numpy as np
import pytest

from synth.fault import FaultSpec, inject, jittered
from synth.parse import Entity, Kind, Parse, Presence
from synth.phantom import PhantomSpec, make
from synth.population import Population
from synth.population.place import Ellipsoid
from synth.residual.swallowed import COVERED, swallowed
from synth.volume import Geometry


@pytest.fixture(scope="module")
def population() -> Population:
    return Population.load()


@pytest.fixture(scope="module")
def parse() -> Parse:
    """Organs and findings under outlines as a segmenter draws them."""
    truth = make(91_002).parse
    tissues = [e.id for e in truth.entities if e.kind in (Kind.tissue, Kind.substructure)]
    return jittered(truth.without(*tissues), np.random.default_rng(0))


@pytest.mark.parametrize(("organ", "neighbour"), [("kidney_left", "spleen"), ("stomach", "spleen")])
def test_an_organ_that_swallowed_its_neighbour_is_named_with_it(
    parse: Parse, population: Population, organ: str, neighbour: str
) -> None:
    spec = FaultSpec("merge", entity=organ, to=neighbour)
    merged = inject(parse, spec, np.random.default_rng(0)).parse
    (found,) = swallowed(merged, population)
    assert (found.entity.id, found.name) == (organ, neighbour)
    assert found.covered > COVERED
    assert f"of the place of the {neighbour}" in found.reason


def test_a_parse_that_leaves_organs_out_has_swallowed_none(parse: Parse, population: Population) -> None:
    assert swallowed(parse, population) == ()
    for gone in ("spleen", "kidney_left", "stomach", "vertebrae_L2"):
        assert swallowed(parse.without(gone), population) == ()


def test_an_organ_that_was_removed_leaves_a_place_that_others_do_not_cover(population: Population) -> None:
    removed = ("kidney_left", "spleen")
    after = make(91_004, spec=PhantomSpec(absent=removed)).parse
    assert all(after.entity(i).presence is Presence.absent for i in removed)
    assert swallowed(after.without(*removed), population) == ()


def test_what_is_declared_absent_is_not_looked_for_in_others(parse: Parse, population: Population) -> None:
    spec = FaultSpec("merge", entity="kidney_left", to="spleen")
    merged = inject(parse, spec, np.random.default_rng(0)).parse
    spleen = parse.entity("spleen").changed(presence=Presence.absent, delineated=False)
    denied = merged.replace(entities=[*merged.entities, spleen])
    assert swallowed(denied, population) == ()


def test_what_a_parser_knows_and_did_not_draw_is_not_there(parse: Parse, population: Population) -> None:
    """A label map without a voxel of the spleen is imported with a spleen that is not assessed."""
    spec = FaultSpec("merge", entity="kidney_left", to="spleen")
    merged = inject(parse, spec, np.random.default_rng(0)).parse
    empty = parse.entity("spleen").changed(presence=Presence.not_assessed, delineated=False)
    told = merged.replace(entities=[*merged.entities, empty])
    assert [s.name for s in swallowed(told, population)] == ["spleen"]
    assert swallowed(told, population, drawn=("spleen",)) == ()


@pytest.mark.parametrize(
    ("organ", "name", "other"), [("sacrum", "sacrum", "vertebrae_S1"), ("kidney_left", "kidney", None)]
)
def test_a_wider_name_holds_the_narrower_ones(population: Population, organ: str, name: str, other: str | None) -> None:
    truth = make(91_003, spec=PhantomSpec(field_of_view="torso")).parse
    mask = truth.masks[organ] if other is None else truth.masks[organ] | truth.masks[other]
    gone = {organ, *([other] if other else [])}
    told = truth.without(*gone).with_entity(Entity(id="wide", name=name), mask)
    assert swallowed(told, population) == ()


def test_too_few_organs_place_nothing(parse: Parse, population: Population) -> None:
    few = parse.without(*(e.id for e in parse.entities if e.id not in ("stomach", "spleen", "liver")))
    merged = inject(few, FaultSpec("merge", entity="stomach", to="spleen"), np.random.default_rng(0)).parse
    assert swallowed(merged, population) == ()


def test_an_ellipsoid_has_the_volume_and_the_covariance_that_it_is_given() -> None:
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    covariance = turned @ np.diag([100.0, 200.0, 400.0]) @ turned.T
    grid = Geometry.regular((70, 70, 70), 2.0)
    place = Ellipsoid(np.asarray(grid.world((35, 34, 36))), covariance)
    mask = place.mask(grid)
    assert mask is not None
    assert mask.volume_ml(grid) == pytest.approx(place.ml, rel=0.02)
    np.testing.assert_allclose(place.half_axes_mm, np.sqrt([500.0, 1000.0, 2000.0]))
    spots = grid.world(mask.indices())
    np.testing.assert_allclose(np.cov(spots.T), covariance, rtol=0.05, atol=5)
    middle = place.mask(grid, 0.4)
    assert middle is not None
    assert middle.voxels == pytest.approx(mask.voxels * 0.4**1.5, rel=0.05)
    assert Ellipsoid(np.array([900.0, 0, 0]), covariance).mask(grid) is None
