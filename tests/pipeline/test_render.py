from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from synth.errors import InputError
from synth.pipeline.render import render
from synth.volume import Mask, resample_mask


@pytest.fixture(scope="module")
def world() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "residual" / "world.py"
    if "synth_tests_world" not in sys.modules:
        found = importlib.util.spec_from_file_location("synth_tests_world", path)
        assert found is not None
        assert found.loader is not None
        sys.modules["synth_tests_world"] = importlib.util.module_from_spec(found)
        found.loader.exec_module(sys.modules["synth_tests_world"])
    return sys.modules["synth_tests_world"]


def test_a_whole_parse_is_drawn_on_the_decoders_grid(world):
    toy = world.toy_patient(1)
    (image,) = render(toy.parse, decoder=world.decoder(), seed=1).images
    assert image.spacing_mm == (4.0, 4.0, 4.0)
    liver = toy.parse.masks["liver"].values(image.array)
    assert abs(liver.mean() - 110) < 15


def test_with_context_only_the_region_changes(world):
    toy = world.toy_patient(2)
    parse = toy.parse.without("spleen").with_entity(toy.parse.entity("spleen"), toy.places["spleen"])
    (image,) = render(parse, decoder=world.decoder(), context=toy.image, region="spleen").images
    inside = toy.places["spleen"].dense()
    np.testing.assert_array_equal(image.array[~inside], toy.image.array[~inside])
    assert (image.array[inside] != toy.image.array[inside]).any()


def test_on_a_finer_image_nothing_outside_the_region_changes_either(world):
    toy = world.toy_patient(3)
    fine_grid = toy.image.geometry.with_spacing(2.0)
    fine = toy.parse.resampled(fine_grid)
    image = toy.image.with_array(toy.image.array)
    from synth.volume import resample

    context = resample(image, fine_grid)
    region = resample_mask(toy.places["liver"], toy.image.geometry, fine_grid)
    (drawn,) = render(fine, decoder=world.decoder(), context=context, region=region).images
    outside = ~region.dense()
    np.testing.assert_array_equal(drawn.array[outside], context.array[outside])


def test_seeds_decide_the_samples(world):
    toy = world.toy_patient(4)
    first, again, other = (render(toy.parse, decoder=world.decoder(), n=2, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(first.images[1].array, again.images[1].array)
    assert (first.images[0].array != other.images[0].array).any()
    assert (first.images[0].array != first.images[1].array).any()
    assert "seed 5" in first.mark


def test_bad_requests_are_refused(world):
    toy = world.toy_patient(5)
    decoder = world.decoder()
    with pytest.raises(InputError, match="1 to"):
        render(toy.parse, decoder=decoder, n=0)
    with pytest.raises(InputError, match="together with the region"):
        render(toy.parse, decoder=decoder, context=toy.image)
    with pytest.raises(InputError, match="empty mask"):
        render(toy.parse, decoder=decoder, context=toy.image, region=Mask.empty(toy.image.shape))
    with pytest.raises(InputError, match="shape"):
        render(toy.parse, decoder=decoder, context=toy.image, region=Mask.from_dense(np.ones((4, 4, 4), bool)))
    with pytest.raises(InputError):
        render(toy.parse, decoder=decoder, context=toy.image, region="pancreas")
