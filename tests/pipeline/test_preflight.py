"""Preflight: what does not fit, said before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synth.errors import InputError
from synth.interop import import_labels
from synth.parse import Circumstance, Entity, Modality, Parse
from synth.pipeline.preflight import Finding, ModelRequirements, preflight, require
from synth.volume import Geometry, Mask, Volume, read_volume, to_ras

GRID = Geometry.regular((48, 40, 44), 4.0)
NEEDS = ModelRequirements(names=frozenset({"liver", "spleen", "vertebra", "lung", "kidney_left", "kidney_right"}))


def _box(low: tuple[int, int, int], size: tuple[int, int, int]) -> Mask:
    return Mask.from_box(GRID.shape, low, np.ones(size, bool))


MASKS = {
    "liver": (_box((26, 14, 22), (12, 14, 10)), 60),
    "spleen": (_box((8, 14, 22), (6, 8, 8)), 50),
    "kidney_left": (_box((10, 8, 12), (5, 5, 8)), 30),
    "kidney_right": (_box((32, 8, 12), (5, 5, 8)), 30),
    "vertebrae_L2": (_box((21, 5, 10), (6, 6, 6)), 250),
    "vertebrae_L1": (_box((21, 5, 17), (6, 6, 6)), 250),
    "sacrum": (_box((20, 5, 1), (8, 6, 5)), 250),
    "lung_lower_lobe_left": (_box((14, 10, 33), (10, 18, 8)), -800),
    "lung_lower_lobe_right": (_box((31, 10, 33), (10, 18, 8)), -800),
}


def _image() -> Volume:
    rng = np.random.default_rng(0)
    array = rng.normal(-1000, 5, GRID.shape)
    array[4:44, 4:36] = rng.normal(-90, 10, (40, 32, 44))
    for mask, hu in MASKS.values():
        array[mask.slices] = rng.normal(hu, 10, mask.box.shape)
    return Volume(array, GRID, "CT", "HU")


def _parse(grid: Geometry = GRID, **circumstance: object) -> Parse:
    masks = {id: mask for id, (mask, _) in MASKS.items()}
    entities = [Entity(id=id, name=id) for id in masks]
    return Parse(entities, geometry=grid, masks=masks, circumstance=Circumstance(**circumstance))


def _codes(findings: tuple[Finding, ...], severity: str | None = None) -> set[str]:
    return {finding.code for finding in findings if severity in (None, finding.severity)}


def test_what_fits_gives_no_error_and_no_warning() -> None:
    findings = preflight(_image(), _parse(modality=Modality.ct, image_sha256=_image().sha256()), NEEDS)
    assert _codes(findings, "error") | _codes(findings, "warning") <= {"unknown_names"}
    require(findings)


@pytest.mark.parametrize(
    ("wrong", "code", "word"),
    [
        (lambda a: a + 1024, "stored_values", "rescale was not applied"),
        (lambda a: (a + 1024) / 4095, "normalised", "0..1"),
        (lambda a: (a + 1024) / 2048 - 0.5, "normalised", "0..1"),
        (lambda a: np.clip((a + 160) / 400, 0, 1) * 255, "eight_bit", "windowed"),
        (lambda a: np.full_like(a, 7.0), "constant_image", "everywhere"),
        (lambda a: a * 100 - 30000, "no_soft_tissue", "soft tissue"),
    ],
)
def test_intensities_that_are_not_hounsfield_units_are_an_error(wrong: object, code: str, word: str) -> None:
    image = _image().with_array(np.maximum(_image().array, -1024))
    findings = preflight(image.with_array(wrong(image.array)), None, NEEDS)  # type: ignore[operator]
    assert code in _codes(findings, "error")
    with pytest.raises(InputError, match=word):
        require(findings)


def test_a_plain_ct_passes_the_intensity_check_and_one_without_air_is_remarked_on() -> None:
    assert not _codes(preflight(_image(), None, NEEDS), "error")
    inside = _image().cropped((slice(6, 42), slice(6, 34), slice(0, 30)))
    assert "no_air" in _codes(preflight(inside), "warning")


def test_the_modality_must_be_one_the_model_reads() -> None:
    mr = Volume(_image().array + 2000, GRID, "MR", "au")
    assert "modality" in _codes(preflight(mr, None, NEEDS), "error")
    unknown = Volume(_image().array, GRID, "unknown", "au")
    finding = next(f for f in preflight(unknown, None, NEEDS) if f.code == "modality")
    assert "state the modality" in finding.message
    assert not _codes(preflight(mr, None, ModelRequirements(modalities=("MR",))), "error")


def test_spacing_and_extent_are_compared_with_what_the_model_needs() -> None:
    coarse = Volume(_image().array, Geometry.regular(GRID.shape, (4, 4, 12)), "CT", "HU")
    assert "spacing_coarse" in _codes(preflight(coarse, None, NEEDS), "error")
    fine = Volume(_image().array, Geometry.regular(GRID.shape, (4, 4, 0.2)), "CT", "HU")
    found = preflight(fine, None, NEEDS)
    assert "spacing_fine" in _codes(found, "warning")
    assert "extent" in _codes(found, "error")
    bright = _image().array.copy()
    bright[20:30] = 3000
    assert "clipped" in _codes(preflight(_image().with_array(bright), None, NEEDS), "info")


def test_a_parse_of_another_shape_is_an_error_that_says_both_shapes() -> None:
    small = Geometry.regular((48, 40, 44), 4.0).cropped((slice(0, 48), slice(0, 40), slice(0, 43)))
    masks = {"liver": Mask.from_box(small.shape, (26, 14, 22), np.ones((12, 14, 10), bool))}
    parse = Parse([Entity(id="liver", name="liver")], geometry=small, masks=masks)
    finding = next(f for f in preflight(_image(), parse) if f.code == "shape")
    assert "(48, 40, 44)" in finding.message
    assert "(48, 40, 43)" in finding.message


@pytest.mark.parametrize(("axis", "name"), [(0, "left-right"), (1, "front-back"), (2, "head-foot")])
def test_an_affine_of_the_wrong_sign_is_named_by_its_axis(axis: int, name: str) -> None:
    sign = np.ones(4)
    sign[axis] = -1
    wrong = to_ras(np.zeros(GRID.shape, bool), GRID.affine @ np.diag(sign)).affine
    finding = next(f for f in preflight(_image(), _parse(Geometry(GRID.shape, wrong))) if f.severity == "error")
    assert finding.code == "flipped_affine"
    assert name in finding.message


def test_another_origin_is_an_error_but_no_flip() -> None:
    affine = GRID.affine.copy()
    affine[:3, 3] += 12
    findings = preflight(_image(), _parse(Geometry(GRID.shape, affine)))
    assert "grid" in _codes(findings, "error")
    assert "flipped_affine" not in _codes(findings)


@pytest.mark.parametrize(
    ("axis", "code"), [(0, "mirrored_left_right"), (1, "mirrored_front_back"), (2, "mirrored_head_foot")]
)
def test_masks_flipped_within_the_same_grid_are_found_by_their_content(axis: int, code: str) -> None:
    parse = _parse()
    flipped = {id: Mask.from_dense(np.flip(mask.dense(), axis)) for id, mask in parse.masks.items()}
    findings = preflight(_image(), parse.replace(masks=flipped))
    assert code in _codes(findings, "warning")
    assert "flipped_content" in _codes(findings, "warning")


def test_image_and_masks_flipped_together_are_found_by_the_anatomy_alone() -> None:
    parse = _parse()
    flipped = {id: Mask.from_dense(mask.dense()[::-1]) for id, mask in parse.masks.items()}
    findings = preflight(_image().with_array(_image().array[::-1]), parse.replace(masks=flipped))
    assert "mirrored_left_right" in _codes(findings, "warning")
    assert "flipped_content" not in _codes(findings)


def test_the_parse_of_another_patient_is_suspected() -> None:
    empty = np.full(GRID.shape, -1000.0)
    empty[:, :6] = 40
    assert "other_patient" in _codes(preflight(_image().with_array(empty), _parse()), "warning")


def test_a_parse_made_from_another_image_or_modality_is_named() -> None:
    findings = preflight(_image(), _parse(image_sha256="0" * 64, modality=Modality.mr))
    assert "other_image" in _codes(findings, "warning")
    assert "parse_modality" in _codes(findings, "error")


def test_names_that_the_model_does_not_know_are_listed() -> None:
    findings = {f.code: f for f in preflight(_image(), _parse(), NEEDS)}
    assert "sacrum" in findings["unknown_names"].message or "sacrum as vertebra" in findings["wider_names"].message
    assert "vertebrae_L1 as vertebra" in findings["wider_names"].message
    nothing = preflight(_image(), _parse(), ModelRequirements(names=frozenset({"brain"})))
    assert "vocabulary" in _codes(nothing, "error")


def test_errors_come_first_and_each_is_one_line() -> None:
    findings = preflight(_image().with_array(_image().array + 1024), _parse(modality=Modality.mr), NEEDS)
    severities = [finding.severity for finding in findings]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert all("\n" not in finding.message and finding.message for finding in findings)


def test_the_real_case_fits_and_its_flips_do_not(shared_data: Path) -> None:
    folder = shared_data / "totalsegmentator"
    image = read_volume(folder / "example_ct.nii.gz")
    parse = import_labels(folder / "example_seg_fast_force_split.nii.gz", source="totalsegmentator", image=image)
    assert not _codes(preflight(image, parse), "error") | _codes(preflight(image, parse), "warning")
    for axis in range(3):
        flipped = parse.replace(masks={k: Mask.from_dense(np.flip(m.dense(), axis)) for k, m in parse.masks.items()})
        assert "flipped_content" in _codes(preflight(image, flipped), "warning")
