from __future__ import annotations

import numpy as np
import pytest

from synth.action import Ablation, Plan, Surgery
from synth.dynamics.evolution import Change, Evolution, lesion_shapes
from synth.dynamics.removal import removals
from synth.parse import Entity, Parse
from synth.volume import Mask, dilated

SEGMENTS = ("liver_segment_5", "liver_segment_8")


@pytest.fixture
def parted(patient: Parse) -> Parse:
    """The small patient's liver in two segments, m1 and beside it `near` in the first, m2 in the second."""
    liver = patient.masks["liver"]
    low = Mask.from_dense(liver.dense() & (np.indices(liver.shape)[1] < 20))
    masks = {
        SEGMENTS[0]: low,
        SEGMENTS[1]: liver - low,
        "near": Mask.from_box(liver.shape, (18, 13, 15), np.ones((2, 2, 2), bool)),
    }
    named = [*(Entity(id=id, name=id) for id in SEGMENTS), Entity(id="near", name="liver_metastasis")]
    return patient.replace(entities=(*patient.entities, *named), masks={**patient.masks, **masks})


def cut(*ids: str, margin: float = 0.0) -> Plan:
    return Plan(name="cut", actions=(Surgery(start_day=5, stop_day=5, entities=ids, margin_mm=margin),))


def test_an_organ_loses_the_part_that_is_taken_out_and_the_lesions_in_it(parted: Parse) -> None:
    found = removals(parted, cut(SEGMENTS[0]), 5)
    assert set(found.gone) == {SEGMENTS[0], "m1", "near"}
    assert found.masks == {"liver": parted.masks["liver"] - parted.masks[SEGMENTS[0]]}


def test_a_margin_is_cut_from_the_organ_from_all_of_its_parts_and_takes_lesions_with_it(parted: Parse) -> None:
    found = removals(parted, cut("m1", margin=20.0), 5)
    region = dilated(parted.masks["m1"], parted.geometry, 20.0)
    assert set(found.gone) == {"m1", "near"}
    assert found.masks == {id: parted.masks[id] - region for id in ("liver", *SEGMENTS)}
    assert parted.masks[SEGMENTS[1]].overlap(region) > 0
    liver = found.masks["liver"]
    assert all(liver.overlap(found.masks[id]) == found.masks[id].voxels for id in SEGMENTS)


def test_a_part_that_the_margin_takes_whole_is_gone(parted: Parse) -> None:
    small = parted.with_mask(SEGMENTS[1], Mask.from_box(parted.geometry.shape, (16, 15, 15), np.ones((2, 2, 2), bool)))
    found = removals(small, cut("m1", margin=20.0), 5)
    assert SEGMENTS[1] in found.gone
    assert SEGMENTS[1] not in found.masks


def test_lesions_in_an_ablation_zone_are_destroyed_too(parted: Parse) -> None:
    burn = Plan(name="burn", actions=(Ablation(start_day=5, stop_day=5, entity="m1", margin_mm=20.0),))
    found = removals(parted, burn, 5)
    assert set(found.gone) == {"m1", "near"}
    assert not removals(parted, burn, 4).gone


def test_a_lesion_that_goes_with_another_does_not_grow_on(parted: Parse) -> None:
    shapes = lesion_shapes(parted, {"m1": 1.0, "m2": 1.0, "near": 1.0})
    then = Evolution(parted, cut("m1", margin=20.0), (), shapes).at(Change(90.0, {"m1": 0.5, "m2": 0.5, "near": 0.5}))
    assert then.parse.entity("near").presence == then.parse.entity("m1").presence == "absent"
    assert then.parse.masks["m2"].voxels > parted.masks["m2"].voxels
