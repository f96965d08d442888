"""An outline is wrong where the image does not end with it; a jittered correct one is left alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synth.decoder.checkpoint import weights_folder
from synth.errors import InputError
from synth.fault import FaultSpec, inject, jitter
from synth.interop.openkbp import read_patient
from synth.parse import Entity, Kind, Parse
from synth.phantom import make
from synth.residual.border import SIDES
from synth.residual.conformal import Calibration, CalibrationScore
from synth.residual.extent import MOST, OWN_OUTLINES, ExtentJudge, beyond_chance, check_extents, measure_extent
from synth.residual.fragments import fragments
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.judge import PRIOR
from synth.residual.verdict import Scored
from synth.volume import Geometry, Mask, Volume

SHAPE, GRID = (28, 28, 28), Geometry.regular((28, 28, 28), 4.0)
LIVER = Mask.from_box(SHAPE, (9, 9, 9), np.ones((10, 10, 10), bool))


@pytest.fixture(scope="module")
def image() -> Volume:
    array = np.random.default_rng(0).normal(-100, 8, SHAPE).astype(np.float32)
    array[LIVER.slices] += 160
    return Volume(array, GRID, "CT", "HU")


@pytest.fixture(scope="module")
def prior(image: Volume) -> IntensityPrior:
    return IntensityPrior.fit([(image.array, {"liver": LIVER})] * 9)


@pytest.fixture(scope="module")
def population() -> IntensityPrior:
    return IntensityPrior.load(weights_folder("audit") / PRIOR)


def _parse(mask: Mask, *others: tuple[Entity, Mask]) -> Parse:
    entities = [Entity(id="liver", name="liver"), *(e for e, _ in others)]
    return Parse(entities, geometry=GRID, masks={"liver": mask, **{e.id: m for e, m in others}})


def _longer(axis: int, sign: int, voxels: int) -> Mask:
    """The liver with one face moved out (or in, where `voxels` is negative)."""
    start, shape = list(LIVER.origin), list(LIVER.box.shape)
    shape[axis] += voxels
    start[axis] -= voxels if sign < 0 else 0
    return Mask.from_box(SHAPE, (start[0], start[1], start[2]), np.ones(shape, bool))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("voxels", [2, -2])
def test_the_side_that_is_wrong_is_named_with_its_distance(
    image: Volume, prior: IntensityPrior, side: str, voxels: int
) -> None:
    axis, sign = SIDES.index(side) % 3, 1 if SIDES.index(side) < 3 else -1
    found = measure_extent(image, _parse(_longer(axis, sign, voxels)), "liver", prior)
    assert found is not None
    assert (found.reaches()[0].side, found.reaches()[0].mm) == (side, 4.0 * voxels)
    assert ("too far" in found.reaches()[0].words) is (voxels > 0)


def test_a_correct_outline_is_wrong_on_no_side(image: Volume, prior: IntensityPrior) -> None:
    found = measure_extent(image, _parse(LIVER), "liver", prior)
    assert found is not None
    assert found.reaches() == ()


def test_a_shift_is_short_on_one_side_and_too_far_on_the_other(image: Volume, prior: IntensityPrior) -> None:
    there = measure_extent(image, _parse(LIVER), "liver", prior)
    off = measure_extent(image, _parse(Mask.from_box(SHAPE, (11, 9, 9), LIVER.box)), "liver", prior)
    assert there is not None
    assert off is not None
    assert off.features["shifted"] < there.features["shifted"] - 1.0
    assert {(r.side, r.mm > 0) for r in off.reaches()} == {("right", True), ("left", False)}


def test_what_belongs_to_another_entity_is_not_missed_here(image: Volume, prior: IntensityPrior) -> None:
    half = _longer(0, 1, -4)
    rest = Mask.from_box(SHAPE, (15, 9, 9), np.ones((4, 10, 10), bool))
    alone = measure_extent(image, _parse(half), "liver", prior)
    beside = measure_extent(image, _parse(half, (Entity(id="spleen", name="spleen"), rest)), "liver", prior)
    assert alone is not None
    assert beside is not None
    assert [r.side for r in alone.reaches()] == ["right"]
    assert beside.reaches() == ()


def test_a_mask_that_fills_the_image_has_no_outline(image: Volume, prior: IntensityPrior) -> None:
    assert measure_extent(image, _parse(Mask.from_dense(np.ones(SHAPE, bool))), "liver", prior) is None


def test_an_organ_cut_by_the_field_of_view_has_no_size(image: Volume, prior: IntensityPrior) -> None:
    window = (slice(0, 14), slice(0, 28), slice(0, 28))
    part = Volume(image.array[window], Geometry.regular((14, 28, 28), 4.0), "CT", "HU")
    cut = Parse([Entity(id="liver", name="liver")], geometry=part.geometry, masks={"liver": LIVER.cropped(window)})
    found = measure_extent(part, cut, "liver", prior)
    assert found is not None
    assert np.isnan(found.features["log_voxels"])
    assert found.reaches() == ()


def _scored(*p_values: float, family: str = "anatomy") -> list[Scored]:
    known = Calibration(tuple(CalibrationScore("liver", 1500.0, float(s)) for s in range(1, 1000)))
    return [Scored("liver", 1500.0, 1000.0 * p - 1000.0 + 0.5, known, family) for p in p_values]


def _wrong(scored: Sequence[Scored], alpha: float) -> list[bool]:
    shifted = [replace(s, calibration=_below(s.calibration)) for s in scored]
    return beyond_chance(shifted, [s.conformal(99) for s in shifted], alpha)


def _below(known: Calibration) -> Calibration:
    """The same scores a thousand lower: all of them negative."""
    return Calibration(tuple(replace(s, score=s.score - 1000.0) for s in known.scores))


def test_no_p_value_above_one_percent_is_wrong_however_large_alpha_is() -> None:
    assert _wrong(_scored(0.001, 0.005), 0.5) == [True, True]
    assert _wrong(_scored(0.001, MOST + 0.02), 0.5) == [True, False]


def test_a_score_that_hardly_speaks_against_an_outline_is_not_enough() -> None:
    known = Calibration(tuple(CalibrationScore("liver", 1500.0, float(s)) for s in range(999)))
    for score, wrong in ((-0.9, False), (-1.1, True)):
        scored = Scored("liver", 1500.0, score, known)
        assert beyond_chance([scored], [scored.conformal(99)], 0.1) == [wrong]


def test_among_many_outlines_a_p_value_must_be_smaller() -> None:
    assert _wrong(_scored(0.005), 0.1) == [True]
    assert not any(_wrong(_scored(0.005, *[0.9] * 30), 0.1))
    assert _wrong([*_scored(0.005), *_scored(*[0.9] * 30, family="findings")], 0.1)[0]


def test_the_shipped_judge_is_that_of_the_shipped_population(population: IntensityPrior, prior: IntensityPrior) -> None:
    assert ExtentJudge.shipped_for(population) is not None
    assert ExtentJudge.shipped_for(prior) is None


def test_a_judge_reads_what_it_wrote(tmp_path: Path, population: IntensityPrior) -> None:
    judge = ExtentJudge.load()
    judge.save(tmp_path / "judge.json")
    again = ExtentJudge.load(tmp_path / "judge.json")
    features = {"shifted": -2.0, "far_most": -3.0}
    assert again.fusion.score(features, "liver") == judge.fusion.score(features, "liver")
    assert again.calibration.scores == judge.calibration.scores
    assert again.prior_sha256 == population.digest


def test_muscles_are_judged_where_a_site_has_calibrated_on_its_own(image: Volume, prior: IntensityPrior) -> None:
    shipped = ExtentJudge.load()
    assert shipped.judges("liver")
    assert not shipped.judges("autochthon_left")
    own = {OWN_OUTLINES: {"anatomy": True}}
    livers = Calibration(tuple(CalibrationScore("liver", 900.0, float(s)) for s in range(200)))
    muscles = Calibration((*livers.scores, CalibrationScore("gluteus_medius_left", 200.0, 1.0)))
    assert not replace(shipped, facts=own, calibration=livers).judges("autochthon_left")
    assert replace(shipped, facts=own, calibration=muscles).judges("autochthon_left")
    mask = Mask.from_box(SHAPE, (8, 8, 8), np.ones((8, 8, 8), bool))
    for name, asked in (("liver", 1), ("autochthon_left", 0)):
        parse = Parse([Entity(id="a", name=name)], geometry=image.geometry, masks={"a": mask})
        assert len(check_extents(image, parse, ["a"], prior, shipped, 0.1)) == asked


def test_a_judge_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "judge.json").write_text('{"form": "synth-extent-0"}')
    with pytest.raises(InputError, match="synth-extent-0"):
        ExtentJudge.load(tmp_path / "judge.json")


def _called(image: Volume, parse: Parse, ids: Sequence[str], population: IntensityPrior) -> dict[str, bool]:
    judge = ExtentJudge.load()
    return {c.entity_id: c.wrong for c in check_extents(image, parse, ids, population, judge, 0.1)}


ORGANS = ("liver", "spleen", "kidney_left", "urinary_bladder", "vertebrae_L3", "aorta")


def test_outlines_of_a_phantom(population: IntensityPrior) -> None:
    phantom, rng = make(91_001), np.random.default_rng(0)
    parse = phantom.parse.without_derived()
    ids = [i for i in ORGANS if i in parse.present_ids]
    right = parse.replace(masks={i: jitter(m, parse.geometry, rng) for i, m in parse.masks.items()})
    assert sum(_called(phantom.image, right, ids, population).values()) <= 1
    found = []
    for family in ("move", "dilate"):
        for organ in ids:
            fault = inject(parse, FaultSpec(family, entity=organ, severity_mm=(12, 16)), rng, image=phantom.image)
            found.append(_called(phantom.image, fault.parse, [organ], population)[organ])
    assert np.mean(found) > 0.5


def test_outlines_of_real_patients(shared_data: Path, population: IntensityPrior) -> None:
    named, called = [], 0
    for number in (208, 211):  # their references are right, which not all are
        patient = read_patient(shared_data / "openkbp" / "validation" / f"pt_{number}").resampled(4.0)
        image, parse, rng = patient.image, patient.parse, np.random.default_rng(0)
        ids = parse.present_ids
        right = parse.replace(masks={i: jitter(m, parse.geometry, rng) for i, m in parse.masks.items()})
        called += sum(_called(image, right, ids, population).values())
        for organ in ids:
            spec = FaultSpec("move", entity=organ, severity_mm=(16, 20))
            fault = inject(parse, spec, rng, image=image)
            named.append(_called(image, fault.parse, ids, population)[organ])
    assert called == 0
    assert len(named) >= 8
    assert np.mean(named) > 0.6


@pytest.mark.parametrize("organ", ["liver", "kidney_right"])
def test_an_organ_cut_in_two_is_told_by_its_name(organ: str) -> None:
    parse = make(5, spacing_mm=(6.0, 6.0, 6.0)).parse
    assert fragments(parse) == ()
    fault = inject(parse, FaultSpec("split", entity=organ), np.random.default_rng(0))
    assert {f.entity.id for f in fragments(fault.parse)} == {e.entity for e in fault.record.expected}


@pytest.mark.parametrize(("name", "cut"), [("liver", True), ("metastasis", False), ("vertebra", False)])
def test_lesions_and_names_with_several_sorts_may_touch(name: str, cut: bool) -> None:
    two = [Mask.from_box(SHAPE, (x, 4, 4), np.ones((3, 3, 3), bool)) for x in (4, 7)]
    entities = [Entity(id=f"a{k}", name=name) for k in range(2)]
    parse = Parse(entities, geometry=GRID, masks={"a0": two[0], "a1": two[1]})
    assert (entities[0].kind is Kind.finding) is (name == "metastasis")
    assert bool(fragments(parse)) is cut
