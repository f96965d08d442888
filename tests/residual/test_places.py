"""A place against the other places of its organ: the p-value holds, and no more is asked than it needs."""

from __future__ import annotations

import numpy as np

from synth.parse import Entity, Parse
from synth.residual.places import LEAST_PLACES, drawn_within, other_places, ranked
from synth.volume import Geometry, Mask

SHAPE = (30, 30, 30)
AXES = np.indices(SHAPE)


def ball(centre: tuple[int, int, int], radius: float) -> Mask:
    return Mask.from_dense(np.linalg.norm(AXES - np.reshape(centre, (3, 1, 1, 1)), axis=0) <= radius)


ORGAN, LESION, OTHER = ball((15, 15, 15), 11), ball((12, 15, 15), 2.5), ball((20, 15, 15), 3)


def places(seed: int = 0, taken: np.ndarray | None = None) -> list[Mask]:
    free = LESION.dense() if taken is None else taken
    return list(other_places(LESION, ORGAN, free, np.random.default_rng(seed)))


def test_other_places_lie_in_the_organ_beside_what_is_drawn_and_beside_each_other() -> None:
    parse = Parse(
        [Entity(id="liver", name="liver"), Entity(id="m", name="metastasis")],
        geometry=Geometry.regular(SHAPE, 4.0),
        masks={"liver": ORGAN, "m": OTHER},
    )
    found = places(taken=drawn_within(parse, LESION))
    assert len(found) > LEAST_PLACES
    assert all(mask.voxels == LESION.voxels for mask in found)
    assert all(mask.overlap(ORGAN) >= 0.85 * mask.voxels for mask in found)
    assert all(mask.overlap(OTHER) == 0 and mask.overlap(LESION) == 0 for mask in found)
    centres = np.array([mask.centroid_voxel() for mask in found])
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=-1) + 99 * np.eye(len(found))
    assert apart.min() >= 1.0


def test_a_lesion_half_outside_is_compared_with_places_half_outside() -> None:
    edge = ball((4, 15, 15), 2.5)
    found = list(other_places(edge, ORGAN, edge.dense(), np.random.default_rng(0)))
    share = edge.overlap(ORGAN) / edge.voxels
    assert found
    assert share < 0.7
    assert all(abs(mask.overlap(ORGAN) / mask.voxels - share) <= 0.15 for mask in found)


def test_a_place_like_the_others_is_called_different_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(0)
    own, *others = places()
    alpha, called, draws = 0.1, 0, 400
    for _ in range(draws):
        found = ranked(lambda _mask: float(rng.normal()), own, iter(others), alpha=alpha)
        assert found is not None
        called += found.p_value <= alpha
    assert 0.05 * draws < called < 0.15 * draws  # 39 places: 3 in 40 of them stay below, and not none


def test_asking_stops_when_the_place_cannot_be_different_any_more() -> None:
    own, *others = places()
    dull = ranked(lambda mask: 0.0, own, iter(others), alpha=0.1)
    bright = ranked(lambda mask: float(mask is own), own, iter(others), alpha=0.1)
    assert dull is not None
    assert bright is not None
    assert (dull.places, dull.p_value) == (4, 1.0)
    assert (bright.places, bright.p_value) == (39, 1 / 40)


def test_an_organ_without_room_says_nothing() -> None:
    own = ball((15, 15, 15), 8)
    others = other_places(own, ORGAN, own.dense(), np.random.default_rng(0))
    assert ranked(lambda mask: float(mask is own), own, others, alpha=0.1) is None
