"""A mask that fits is compared with its own neighbourhood."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from synth.residual.intensity_prior import IntensityPrior, bins_of
from synth.residual.nearby import SHIFTS, nearby_features
from synth.residual.neighbourhood import Neighbourhood
from synth.volume import Mask

SIDE = 28
AT = (9, 10, 11)
SIZE = (8, 7, 6)


def _block(at: tuple[int, int, int]) -> Mask:
    return Mask.from_box((SIDE,) * 3, at, np.ones(SIZE, bool))


def _image() -> NDArray[np.float32]:
    """A liver of 60 HU in fat, with noise."""
    image = np.random.default_rng(0).normal(-100, 10, (SIDE,) * 3).astype(np.float32)
    image[_block(AT).slices] += 160
    return image


@pytest.fixture(scope="module")
def prior() -> IntensityPrior:
    return IntensityPrior.fit([(_image(), {"liver": _block(AT)})] * 4)


def _features(prior: IntensityPrior, at: tuple[int, int, int]) -> dict[str, float]:
    around = Neighbourhood.of(_block(at))
    return nearby_features(prior.log_density("liver"), bins_of(_image()[around.box]), around)


def test_no_place_near_a_true_mask_fits_better(prior: IntensityPrior) -> None:
    found = _features(prior, AT)
    assert found["nearby_share"] == 0.0
    assert min(found[f"nearby_{layer}"] for layer in ("core", "rim", "outer")) > -0.05  # a tie, but for noise
    assert min(found["nearby_best"], found["nearby_mean"]) > 0.5


@pytest.mark.parametrize("off", [(2, 0, 0), (0, -2, 0), (0, 0, 3), (1, 1, 1), (-2, 2, 2)])
def test_near_a_moved_mask_lies_the_place_it_came_from(prior: IntensityPrior, off: tuple[int, int, int]) -> None:
    found = _features(prior, (AT[0] + off[0], AT[1] + off[1], AT[2] + off[2]))
    assert found["nearby_share"] > 0.0
    assert found["nearby_rim"] < 0.0
    assert found["nearby_best"] < _features(prior, AT)["nearby_best"] - 0.5


def test_an_entity_that_goes_on_beyond_the_image_is_not_compared_with_the_rest_of_itself(prior: IntensityPrior) -> None:
    column = Mask.from_box((SIDE, SIDE, 10), (8, 8, 0), np.ones((7, 7, 10), bool))
    image = np.random.default_rng(0).normal(-100, 10, (SIDE, SIDE, 10)).astype(np.float32)
    image[column.slices] += 160
    around = Neighbourhood.of(column)
    found = nearby_features(prior.log_density("liver"), bins_of(image[around.box]), around)
    assert found["nearby_share"] == 0.0
    assert found["nearby_best"] > 3.0  # along it another part would fit as well


def test_at_the_border_of_the_grid_only_places_on_it_are_tried(prior: IntensityPrior) -> None:
    cut = _features(prior, (AT[0], AT[1], 0))
    assert all(np.isfinite(v) for v in cut.values())
    assert len(cut) == 6
    assert _features(prior, (0, 0, 0)) == {}  # cut on every axis: it may go on in all directions
    everything = Mask.from_dense(np.ones((3, 3, 3), bool))
    around = Neighbourhood.of(everything)  # nothing lies outside: no outer layer to compare
    assert nearby_features(prior.log_density("liver"), bins_of(_image()[:3, :3, :3]), around) == {}


def test_shifts_point_everywhere_equally_and_start_with_none() -> None:
    assert (SHIFTS[0] == 0).all()
    assert (SHIFTS.sum(axis=0) == 0).all()
    assert len(np.unique(SHIFTS, axis=0)) == len(SHIFTS)
    assert np.linalg.norm(SHIFTS[1:], axis=1).min() >= 1.0
