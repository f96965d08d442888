"""Baselines and measures of the reconstruction benchmark."""

from __future__ import annotations

import math

import numpy as np
import pytest

from synth.benchmark.controls import REST, Image, mean_fill, mean_hu, nearest_patient, pooled, shuffled
from synth.benchmark.reconstruction import measure, rows_of
from synth.benchmark.subjects import ALONE, Subject, Told, read_phantoms
from synth.parse import Attribute, Entity, Kind, Parse
from synth.volume import Geometry, Mask, Volume

SHAPE = (16, 16, 16)


def _subject(name: str, organs: dict[str, tuple[int, int, int]], hu: float = 40.0) -> Subject:
    """A block of a body at 0 HU in air, with 3x3x3 organs at these places."""
    body = Mask.from_box(SHAPE, (2, 2, 2), np.ones((12, 12, 12), bool))
    masks = {organ: Mask.from_box(SHAPE, at, np.ones((3, 3, 3), bool)) for organ, at in organs.items()}
    image = np.full(SHAPE, -1000, np.float32)
    image[body.slices] = 0
    for mask in masks.values():
        image[mask.slices] = hu
    grid = Geometry.regular(SHAPE, 4.0)
    parse = Parse([Entity(id=o, name=o) for o in organs], geometry=grid, masks=masks)
    tissue = parse.with_entity(Entity(id="body", name="body"), body)
    return Subject(name, Volume(image, grid, "CT", "HU"), parse, tissue, body)


def _values(subject: Subject, render: Image) -> dict[str, float]:
    return {s.metric: s.value for s in measure(subject, "ours", ALONE, render) if s.terms == "all"}


def test_the_image_itself_is_perfect_and_an_offset_is_measured() -> None:
    subject = _subject("a", {"larynx": (5, 5, 5)})
    perfect = {"psnr": math.inf, "ssim": pytest.approx(1.0), "mae": 0.0, "d_clin": 0.0, "d_clin_share": 1.0}
    assert _values(subject, subject.image.array) == perfect
    off = _values(subject, subject.image.array + np.float32(20))
    assert off["psnr"] == pytest.approx(40.0)  # 2000 HU over 20 HU
    assert off["mae"] == pytest.approx(20.0)
    assert off["d_clin"] == pytest.approx(math.hypot(3.0, 1.0), abs=0.1)  # 20 HU in a mean and in a histogram
    assert off["d_clin_share"] == 0.0
    (told,) = [
        s
        for s in measure(subject, "ours", ALONE, subject.image.array + np.float32(20))
        if s.metric == "d_clin" and s.terms == "not_told"
    ]
    assert told.value == 0.0  # both follow from what was told


def test_a_mean_fill_is_told_the_mean_of_every_mask_and_of_the_rest_of_the_body() -> None:
    subject = _subject("a", {"larynx": (5, 5, 5)})
    image, mask = subject.image.array, subject.parse.masks["larynx"]
    plain = mean_fill(subject.parse, mean_hu(subject))
    assert (mask.values(plain) == 40).all()
    assert (plain[~mask.dense()] == 0).all()  # air outside the body does not darken it
    whole = mean_fill(subject.with_tissue, mean_hu(subject))
    assert np.array_equal(whole[~subject.body.dense()], image[image < -900])


def test_what_is_usual_is_the_mean_of_the_patients_that_have_it() -> None:
    one, two = mean_hu(_subject("a", {"larynx": (5, 5, 5)}, hu=30.0)), mean_hu(_subject("b", {"mandible": (5, 5, 5)}))
    assert pooled([one, two]) | {"body": 0.0} == {"larynx": 30.0, "mandible": 40.0, REST: 0.0, "body": 0.0}


def test_a_parse_is_told_as_the_row_says() -> None:
    subject = _subject("a", {"larynx": (5, 5, 5)})
    assert [a.type for a in subject.told(Told("none", "none")).attributes] == []
    assert "mean_attenuation" in {a.type for a in subject.told(Told("all", "measured")).attributes}
    assert {e.name for e in subject.told(Told("all", "none")).entities} == {"larynx", "body"}


def test_the_nearest_patient_agrees_in_all_organs_not_in_the_one_it_has() -> None:
    subject = _subject("a", {"larynx": (4, 4, 4), "mandible": (9, 9, 9)})
    one = _subject("one", {"larynx": (6, 6, 6)}, hu=900.0)
    both = _subject("both", {"larynx": (5, 4, 4), "mandible": (10, 9, 10)}, hu=50.0)
    taken = nearest_patient(subject, [one, both])
    assert taken.max() == 50.0
    same = nearest_patient(subject, [one, both, subject])
    assert np.array_equal(same, subject.image.array)
    assert (nearest_patient(subject, []) == -1000).all()


def test_rows_average_over_patients_and_pool_the_organs() -> None:
    subjects = [_subject("a", {"larynx": (5, 5, 5)}), _subject("b", {"mandible": (5, 5, 5)})]
    scores = [
        s for k, subject in enumerate(subjects) for s in measure(subject, "ours", ALONE, subject.image.array + 10 * k)
    ]
    rows = {(r.metric, r.group["organ"]): r for r in rows_of(scores)}
    assert rows["mae", "all"].value == pytest.approx(5.0)
    assert rows["mae", "larynx"].n == 1
    assert rows["ssim", "all"].n == 2


def test_shuffling_deals_the_same_values_to_other_entities() -> None:
    places = {"larynx": (4, 4, 4), "brainstem": (8, 4, 4), "esophagus": (4, 8, 4), "spinal_cord": (8, 8, 4)}
    parse = _subject("a", places).parse
    attributes = [
        Attribute(entity=organ, type="mean_attenuation", value=float(10 * k)) for k, organ in enumerate(places)
    ]
    dealt = shuffled(parse.replace(attributes=attributes), np.random.default_rng(0)).attributes
    assert [(a.entity, a.type) for a in dealt] == [(a.entity, a.type) for a in attributes]
    assert sorted(a.value for a in dealt) == [0.0, 10.0, 20.0, 30.0]
    assert [a.value for a in dealt] != [a.value for a in attributes]


def test_phantoms_have_lesions_and_nothing_measured() -> None:
    (subject,) = read_phantoms(8.0, 1)
    kinds = {e.kind for e in subject.parse.entities if e.id in subject.parse.masks}
    assert Kind.finding in kinds
    assert not any(a.derived for a in subject.parse.attributes)
    assert any(a.derived for a in subject.told(Told("all", "measured")).attributes)
    assert {e.kind for e in subject.with_tissue.entities} >= {Kind.tissue}
