"""d_clin: nothing for what means nothing, a known amount for a known change."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from synth.distance import Term, clinical_distance
from synth.parse import Entity, Parse, Relation
from synth.volume import Geometry, Mask, Volume

SIDE = 40
GRID = Geometry.regular((SIDE,) * 3, 4.0)
Image = NDArray[np.float32]


def _ball(radius: float, at: tuple[float, float, float] = (20.0, 20.0, 20.0)) -> Image:
    """Share of each voxel inside a ball, by five points an axis."""
    fine = (np.arange(5 * SIDE) + 0.5) / 5 - 0.5
    x, y, z = np.meshgrid(*(fine - a for a in at), indexing="ij", sparse=True)
    inside = (x**2 + y**2 + z**2 <= radius**2).reshape(SIDE, 5, SIDE, 5, SIDE, 5)
    return inside.mean(axis=(1, 3, 5)).astype(np.float32)


def _scan(organ: Image, *, hu: float = 60.0, outside: float = -80.0, seed: int = 0) -> Volume:
    grain = np.random.default_rng(seed).normal(0, 8, organ.shape)
    return Volume((outside + (hu - outside) * organ + grain).astype(np.float32), GRID, "CT", "HU")


def _parse(organ: Image) -> Parse:
    return Parse([Entity(id="liver", name="liver")], geometry=GRID, masks={"liver": Mask.from_dense(organ > 0.5)})


def _terms(one: Volume, other: Volume, parse: Parse, **options: object) -> dict[str, Term]:
    (entity,) = clinical_distance(one, other, parse, **options).entities  # type: ignore[arg-type]  # as given
    return {term.name: term for term in entity.terms}


BALL = _ball(8.0)


@pytest.mark.parametrize(
    "again",
    [
        _scan(BALL, seed=1),  # other noise
        _scan(_ball(8.0, (20.4, 20.5, 19.6)), seed=1),  # lay half a voxel off
        _scan(BALL, hu=63.0, seed=1),
        _scan(BALL, seed=0).with_array(ndimage.gaussian_filter(_scan(BALL).array, 0.3)),
    ],
)
def test_another_scan_of_the_same_patient_costs_next_to_nothing(again: Volume) -> None:
    found = clinical_distance(_scan(BALL), again, _parse(BALL))
    assert found.mean() <= 0.1
    assert {t.name for t in found.entities[0].terms} >= {"volume", "surface", "mean_attenuation", "texture"}


@pytest.mark.parametrize("radius", [5.5, 6.5, 9.5, 10.5])
def test_the_volume_of_a_ball_that_grew_or_shrank_is_measured_to_a_fraction_of_a_voxel(radius: float) -> None:
    terms = _terms(_scan(BALL), _scan(_ball(radius), seed=1), _parse(BALL))
    assert terms["volume"].value == pytest.approx(abs(3 * np.log(radius / 8.0)), abs=0.05)
    assert terms["volume"].tolerance == 0.13  # 137 mL
    assert terms["volume"].cost > 0
    assert terms["surface"].value > 0.9  # more than a voxel off
    assert terms["mean_attenuation"].cost == 0


def test_a_density_change_is_its_hounsfield_units_and_touches_no_other_term() -> None:
    terms = _terms(_scan(BALL), _scan(BALL, hu=80.0, seed=1), _parse(BALL))
    assert terms["mean_attenuation"].value == pytest.approx(20.0, abs=1.0)
    assert terms["mean_attenuation"].cost == pytest.approx(3.0, abs=0.2)
    assert terms["histogram"].value == pytest.approx(20.0, abs=1.5)
    assert {n for n, t in terms.items() if t.cost > 0} <= {"mean_attenuation", "histogram"}


def test_a_border_that_cannot_be_seen_stays_where_the_parse_drew_it() -> None:
    flat = _scan(BALL, hu=0.0, outside=0.0)
    terms = _terms(flat, _scan(_ball(10.0), hu=0.0, outside=0.0, seed=1), _parse(BALL))
    assert terms["volume"].value == 0.0
    assert terms["surface"].value == 0.0
    assert "edge_sharpness" not in terms


def test_a_blurred_border_and_a_coarser_inside_are_told_apart() -> None:
    blurred = ndimage.gaussian_filter(_scan(BALL).array, 2.0)
    assert _terms(_scan(BALL), _scan(BALL).with_array(blurred), _parse(BALL))["edge_sharpness"].cost > 1
    grain = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=BALL.shape), 1.0)
    coarse = _scan(BALL).array + np.float32(20) * (grain / grain.std()).astype(np.float32) * BALL
    terms = _terms(_scan(BALL), _scan(BALL).with_array(coarse), _parse(BALL))
    assert terms["texture"].cost > 1
    assert terms["edge_sharpness"].cost < 0.5


def test_with_a_parse_of_the_other_image_its_own_masks_count() -> None:
    parse, other = _parse(BALL), _parse(_ball(10.0))
    flat = _scan(BALL, hu=0.0, outside=0.0)
    terms = _terms(flat, flat, parse, other_parse=other)
    ratio = other.masks["liver"].voxels / parse.masks["liver"].voxels
    assert terms["volume"].value == pytest.approx(np.log(ratio), abs=1e-5)
    gone = _terms(flat, flat, parse, other_parse=parse.with_presence("liver", "absent"))
    assert {n: t.cost for n, t in gone.items()} == {"presence": 4.0}


def test_a_relation_that_the_other_masks_deny_costs_the_most_and_a_gap_of_a_voxel_nothing() -> None:
    def two(gap: int) -> Parse:
        block = np.ones((6, 6, 6), bool)
        masks = {
            "liver": Mask.from_box((SIDE,) * 3, (10, 10, 10), block),
            "stomach": Mask.from_box((SIDE,) * 3, (16 + gap, 10, 10), block),
        }
        names = [Entity(id=n, name=n) for n in masks]
        return Parse(names, (), [Relation(type="abuts", subject="liver", object="stomach")], geometry=GRID, masks=masks)

    flat = _scan(BALL, hu=0.0, outside=0.0)
    for first, gap, cost in ((0, 0, 0.0), (0, 1, 0.0), (0, 3, 4.0), (3, 0, 4.0), (3, 3, 0.0)):
        found = clinical_distance(flat, flat, two(first), other_parse=two(gap), entities=["liver"])
        assert {t.name: t.cost for t in found.entities[0].terms}["relations"] == cost


def test_enhancement_is_compared_phase_by_phase() -> None:
    plain, arterial = _scan(BALL), _scan(BALL, hu=110.0, seed=2)
    less = _scan(BALL, hu=85.0, seed=3)
    terms = _terms(plain, _scan(BALL, seed=1), _parse(BALL), phases={"arterial": (arterial, less)})
    assert terms["enhancement_arterial"].value == pytest.approx(25.0, abs=1.5)
    assert terms["enhancement_arterial"].cost == pytest.approx(1.5, abs=0.15)


def test_what_was_told_to_a_render_can_be_left_out_of_the_sum() -> None:
    found = clinical_distance(_scan(BALL), _scan(BALL, hu=100.0, seed=1), _parse(BALL))
    assert found.mean() > 4
    assert found.mean(without=("mean_attenuation", "histogram")) < 0.1
    assert found.share_within() == 0.0
    assert found.share_within(without=("mean_attenuation", "histogram")) == 1.0


def test_another_grid_is_refused() -> None:
    small = Volume(np.zeros((8, 8, 8), np.float32), Geometry.regular((8, 8, 8), 4.0), "CT", "HU")
    with pytest.raises(ValueError, match="other: expected the grid of the parse"):
        clinical_distance(_scan(BALL), small, _parse(BALL))
    mask = Mask.from_box((8, 8, 8), (2, 2, 2), np.ones((3, 3, 3), bool))
    elsewhere = Parse([Entity(id="liver", name="liver")], geometry=small.geometry, masks={"liver": mask})
    with pytest.raises(ValueError, match="other parse: expected the grid of the parse"):
        clinical_distance(_scan(BALL), _scan(BALL), _parse(BALL), other_parse=elsewhere)
