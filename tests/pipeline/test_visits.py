"""Visits: registered where there are images, and one set of ids through all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Circumstance, Entity, Parse
from synth.parse.match import rename
from synth.pipeline.patient import history_of
from synth.pipeline.visits import persistent
from synth.volume import Geometry, Mask, Volume, read_mask, read_volume, resample, resample_mask


def dated(parse: Parse, day: float) -> Parse:
    return parse.replace(circumstance=parse.circumstance.changed(day=day))


def test_every_visit_gets_the_ids_of_the_last(patient: Parse) -> None:
    first = dated(rename(patient, {"m1": "lesion-9", "m2": "lesion-4"}), 0.0)
    second = dated(rename(patient, {"m1": "a", "m2": "b"}), 5.0)
    visits = persistent([first, second, patient])
    assert all(set(v.ids) == set(patient.ids) for v in visits)
    assert visits[0].mask("m1") == patient.mask("m1")
    assert visits[2] is patient
    assert [lesion.days for lesion in history_of(visits).lesions] == [(0.0, 5.0, 10.0)] * 2


def test_a_lesion_that_was_not_there_before_has_no_past(patient: Parse) -> None:
    first = dated(patient.without("m2"), 0.0)
    one, two = history_of(persistent([first, patient])).lesions
    assert (one.days, two.days) == ((0.0, 10.0), (10.0,))


def test_what_grew_together_was_all_of_its_parts_before(patient: Parse) -> None:
    shape = patient.geometry.shape
    box = np.zeros(shape, bool)
    box[11:18, 11:18, 13:20] = True
    one = patient.with_mask("m1", Mask.from_dense(box)).without("m2")
    halves = {"x": box & (np.indices(shape)[0] < 14), "y": box & (np.indices(shape)[0] >= 15)}
    first = dated(one.without("m1"), 0.0)
    for id, half in halves.items():
        first = first.with_entity(Entity(id=id, name="liver_metastasis"), Mask.from_dense(half))
    (lesion,) = history_of(persistent([first, one])).lesions
    parts = sum(first.masks[id].volume_ml(first.geometry) for id in halves)
    assert lesion.days == (0.0, 10.0)
    assert lesion.volume_ml == pytest.approx((parts, one.masks["m1"].volume_ml(one.geometry)))


def test_visits_in_different_places_are_registered_by_their_images(patient: Parse, scan: Volume) -> None:
    shift = np.eye(4)
    shift[:3, 3] = (24.0, -12.0, 0.0)
    grid = patient.geometry
    there = Geometry(grid.shape, shift @ grid.affine)
    image = resample(Volume(scan.array, there, "CT", "HU"), grid)
    masks = {id: resample_mask(mask, there, grid) for id, mask in patient.masks.items()}
    first = dated(rename(patient.replace(masks=masks), {"m1": "x", "m2": "y"}), 0.0)
    registered = persistent([first, patient], [image, scan])
    assert registered[0].mask("m1") == masks["m1"]  # on its own grid, under the id of the last visit
    blind = persistent([first, patient])
    assert "m1" not in blind[0].ids


def test_images_that_do_not_fit_are_refused(patient: Parse, scan: Volume) -> None:
    with pytest.raises(InputError, match="2, one a parse"):
        persistent([patient, patient], [scan])
    small = scan.cropped((slice(0, 20), slice(0, 20), slice(0, 20)))
    with pytest.raises(InputError, match="image of visit 1"):
        persistent([patient, patient], [small, scan])
    unscaled = scan.with_array(scan.array + 1024.0)  # as stored, air at 0
    with pytest.raises(InputError, match="visit 1: image intensities"):
        persistent([patient, patient], [unscaled, scan])


@pytest.mark.slow
def test_a_real_tumour_keeps_its_id_between_visits(shared_data: Path) -> None:
    case = shared_data / "brain_tumor_progression" / "10"
    grid = Geometry.regular((256, 256, 20), (0.9, 0.9, 6.0))  # the header holds a placeholder
    parses, images = [], []
    for number, (id, day) in enumerate((("t-a", 0.0), ("t-b", 90.0)), start=1):
        image = read_volume(case / f"visit{number}_t1post.nii.gz", modality="MR")
        images.append(Volume(image.array, grid, "MR"))
        mask, _ = read_mask(case / f"visit{number}_tumour.nii.gz")
        circumstance = Circumstance(modality="MR", day=day)
        entities = [Entity(id=id, name="glioma_enhancing")]
        parses.append(Parse(entities, geometry=grid, circumstance=circumstance, masks={id: mask}))
    (lesion,) = history_of(persistent(parses, images)).lesions
    assert (lesion.entity, lesion.days) == ("t-b", (0.0, 90.0))
    assert lesion.volume_ml[0] > lesion.volume_ml[1]


def test_new_lesions_of_a_real_patient_have_no_past(shared_data: Path) -> None:
    case = shared_data / "ms_flair_pairs" / "patient01"
    new, grid = read_mask(case / "new_lesions.nii.gz")
    brain, _ = read_mask(case / "brain.nii.gz")
    entities = [Entity(id="brain", name="brain")]
    circumstances = [Circumstance(modality="MR", day=day) for day in (0.0, 203.0)]
    first = Parse(entities, geometry=grid, circumstance=circumstances[0], masks={"brain": brain})
    second = Parse(entities, geometry=grid, circumstance=circumstances[1], masks={"brain": brain})
    second = second.with_entity(Entity(id="new", name="white_matter_lesion"), new)
    (lesion,) = history_of(persistent([first, second])).lesions
    assert lesion.days == (203.0,)
    assert lesion.inside == ("brain",)
