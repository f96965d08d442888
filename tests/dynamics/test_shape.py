"""Shapes: the volume exact to a voxel, nested, connected, within the barriers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from synth.dynamics.arrival import arrival_mm
from synth.dynamics.barriers import Barriers, barriers
from synth.dynamics.core import core_to_rim
from synth.dynamics.shape import shape_of
from synth.errors import InputError
from synth.parse import Attribute, Parse
from synth.volume import Geometry, Mask

FACES = ndimage.generate_binary_structure(3, 1)


def parts(mask: Mask) -> int:
    return ndimage.label(mask.box, FACES)[1]


def blob(seed: int) -> Mask:
    """An irregular mask of one or several parts."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((22, 20, 18)), 2.0)
    return Mask.from_dense(noise > np.quantile(noise, 0.9))


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 3.0), min_size=2, max_size=4))
def test_masks_have_exactly_the_voxels_asked_for_and_each_holds_the_smaller(seed: int, ratios: list[float]) -> None:
    mask = blob(seed)
    shape = shape_of(mask, Geometry.regular(mask.shape, (1.0, 1.5, 3.0)), 3 * mask.voxels)
    smaller = Mask.empty(mask.shape)
    for voxels in sorted(round(r * mask.voxels) for r in ratios):
        grown = shape.at(voxels)
        assert grown.voxels == voxels
        assert (smaller - grown).is_empty
        assert (grown - mask).is_empty if voxels <= mask.voxels else (mask - grown).is_empty
        smaller = grown


@settings(max_examples=10)
@given(st.integers(0, 10_000))
def test_growth_hangs_together_with_the_lesion(seed: int) -> None:
    mask = blob(seed)
    shape = shape_of(mask, Geometry.regular(mask.shape, (1.0, 1.0, 2.5)), 2 * mask.voxels)
    for voxels in (mask.voxels + 1, round(1.3 * mask.voxels), 2 * mask.voxels):
        assert parts(shape.at(voxels)) <= parts(mask)


def test_the_size_of_now_is_the_mask_of_now_and_two_runs_agree(patient: Parse) -> None:
    mask = patient.mask("m1")
    one, other = (shape_of(mask, patient.geometry, 500, barriers(patient, "m1")) for _ in range(2))
    assert one.at(mask.voxels) is mask
    assert one.at(400) == other.at(400)
    assert one.at(0).is_empty


def test_a_ball_stays_round_when_it_grows_and_when_it_shrinks() -> None:
    grid = np.indices((41, 41, 41)) - 20
    radius = np.sqrt((grid**2).sum(axis=0))
    ball = Mask.from_dense(radius <= 8)
    shape = shape_of(ball, Geometry.regular(ball.shape, 1.0), 8 * ball.voxels)
    for voxels in (round(0.2 * ball.voxels), 3 * ball.voxels, 8 * ball.voxels):
        true = np.cbrt(3 * voxels / (4 * np.pi))
        ideal = Mask.from_dense(radius <= true)
        assert shape.at(voxels).dice(ideal) > 0.94


def test_a_thin_neck_breaks_and_a_ball_does_not() -> None:
    grid = np.indices((44, 24, 24))
    ends = [(grid[0] - x) ** 2 + (grid[1] - 12) ** 2 + (grid[2] - 12) ** 2 <= 64 for x in (12, 32)]
    neck = (abs(grid[0] - 22) < 12) & (abs(grid[1] - 12) < 2) & (abs(grid[2] - 12) < 2)
    dumbbell = Mask.from_dense(ends[0] | ends[1] | neck)
    geometry = Geometry.regular(dumbbell.shape, 1.0)
    assert parts(shape_of(dumbbell, geometry, 0).at(dumbbell.voxels // 4)) == 2
    alone = Mask.from_dense(ends[0])
    shape = shape_of(alone, geometry, 0)
    assert [parts(shape.at(n)) for n in range(1, alone.voxels, 97)] == [1] * len(range(1, alone.voxels, 97))


def test_a_lesion_stays_in_its_host_until_that_is_full_and_never_enters_bone_vessel_or_air(patient: Parse) -> None:
    mask, liver, vein = (patient.mask(id) for id in ("m1", "liver", "portal_vein_and_splenic_vein"))
    shape = shape_of(mask, patient.geometry, liver.voxels + 900, barriers(patient, "m1"))
    labels, _ = ndimage.label((liver - vein - patient.mask("m2")).dense(), FACES)
    room = int((labels == labels[14, 14, 16]).sum())
    assert shape.broken == room
    full = shape.at(room)
    assert (full - liver).is_empty
    assert full.overlap(vein) == full.overlap(patient.mask("m2")) == 0
    beyond = shape.at(room + 400)
    assert (beyond - liver).voxels > 0
    assert (beyond - patient.mask("body")).is_empty
    assert beyond.overlap(patient.mask("m2")) == 0


def test_without_its_barriers_the_same_lesion_leaves_its_host(patient: Parse) -> None:
    mask, liver = patient.mask("m1"), patient.mask("liver")
    confined = shape_of(mask, patient.geometry, 6000, barriers(patient, "m1")).at(6000)
    free = shape_of(mask, patient.geometry, 6000).at(6000)
    assert (confined - liver).is_empty
    assert (free - liver).voxels > 0


def test_an_infiltrative_lesion_enters_the_organ_that_it_abuts(patient: Parse) -> None:
    kidney, liver = patient.mask("kidney_right"), patient.mask("liver")
    rim = Mask.from_box(liver.shape, (29, 18, 14), np.ones((5, 5, 5), bool)) & liver
    placed = patient.without("m2").with_mask("m1", rim)
    touching = placed.replace(relations=[*[r for r in placed.relations if not r.derived]])
    from synth.parse.derive.relations import derive_relations

    touching = derive_relations(touching)
    assert any(r.type == "abuts" and "kidney_right" in (r.subject, r.object) for r in touching.relations_of("m1"))
    margins = [a for a in touching.attributes if a.type != "margin"]
    invasive = touching.replace(attributes=[*margins, Attribute(entity="m1", type="margin", value="infiltrative")])
    grown = [shape_of(rim, z.geometry, 1200, barriers(z, "m1")).at(1200).overlap(kidney) for z in (touching, invasive)]
    assert grown[0] == 0
    assert grown[1] > 0


def test_an_exophytic_lesion_may_grow_outside_and_a_central_one_may_not(patient: Parse) -> None:
    assert not barriers(patient, "m1").leaves
    outside = Mask.from_box(patient.geometry.shape, (19, 31, 14), np.ones((4, 6, 4), bool))
    assert barriers(patient.with_mask("m1", outside), "m1").leaves


def test_more_than_there_is_room_for_gives_all_the_room() -> None:
    mask = Mask.from_box((5, 5, 5), (2, 2, 2), np.ones((1, 1, 1), bool))
    body = Mask.from_box((5, 5, 5), (1, 1, 1), np.ones((3, 3, 3), bool))
    shape = shape_of(mask, Geometry.regular((5, 5, 5), 2.0), 1000, Barriers(body=body))
    assert shape.room == 27
    assert shape.at(1000) == body


def test_a_slower_field_is_filled_later() -> None:
    mask = Mask.from_box((21, 5, 5), (10, 2, 2), np.ones((1, 1, 1), bool))
    speed = np.ones(mask.shape)
    speed[11:] = 0.25
    grown = shape_of(mask, Geometry.regular(mask.shape, 1.0), 60, speed=speed).at(60)
    centre = grown.centroid_voxel()[0]
    assert centre < 9.5


def test_a_front_goes_around_a_wall() -> None:
    source = np.zeros((9, 9, 1), bool)
    source[4, 0] = True
    speed = np.ones(source.shape)
    speed[1:, 4] = 0.0
    times = arrival_mm(source, speed, (1.0, 1.0, 1.0))
    straight = arrival_mm(source, np.ones(source.shape), (1.0, 1.0, 1.0))
    assert np.isinf(times[1:, 4]).all()
    assert times[8, 8, 0] > straight[8, 8, 0] + 6
    assert times[4, 3, 0] == straight[4, 3, 0]


def test_every_reached_voxel_touches_one_that_was_reached_before() -> None:
    rng = np.random.default_rng(3)
    source = rng.random((12, 12, 12)) > 0.995
    source[6, 6, 6] = True
    speed = rng.uniform(0.2, 1.0, source.shape) * (rng.random(source.shape) > 0.3)
    times = arrival_mm(source, speed, (1.0, 2.0, 3.0))
    for x, y, z in np.argwhere(np.isfinite(times) & ~source):
        window = times[max(0, x - 1) : x + 2, max(0, y - 1) : y + 2, max(0, z - 1) : z + 2]
        near = [times[p] for p in _faces(x, y, z, times.shape)]
        assert min(near) < times[x, y, z], window


def _faces(x: int, y: int, z: int, shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    steps = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
    moved = [(x + a, y + b, z + c) for a, b, c in steps]
    return [m for m in moved if all(0 <= i < n for i, n in zip(m, shape, strict=True))]


def test_every_voxel_has_its_place_in_the_order() -> None:
    mask = blob(4).dense()
    order = core_to_rim(mask, (1.0, 1.0, 2.0))
    assert sorted(order.tolist()) == np.flatnonzero(mask).tolist()


def test_bad_input_is_refused() -> None:
    geometry = Geometry.regular((5, 5, 5), 2.0)
    with pytest.raises(InputError, match="empty"):
        shape_of(Mask.empty((5, 5, 5)), geometry, 3)
    mask = Mask.from_box((5, 5, 5), (2, 2, 2), np.ones((1, 1, 1), bool))
    with pytest.raises(InputError, match="no less than nothing"):
        shape_of(mask, geometry, 3).at(-1)
