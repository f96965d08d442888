"""Every decoder of the registry, with its shipped weights, keeps the promises of `synth.contracts`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from synth.contracts import Decoder, EncodedImage
from synth.decoder import DECODERS, load_decoder
from synth.errors import InputError
from synth.parse import Parse
from synth.phantom import make
from synth.volume import Geometry, Mask, Volume, resample


@dataclass(frozen=True, eq=False)
class Case:
    decoder: Decoder
    image: Volume
    parse: Parse
    encoded: EncodedImage


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module", params=sorted(DECODERS))
def case(request: pytest.FixtureRequest) -> Case:
    decoder = load_decoder(request.param)
    made = make(4)
    kidney = made.parse.masks[made.parse.by_name("kidney_left")[0].id]
    window = kidney.padded_slices(6)
    grid = made.image.geometry.cropped(window).with_spacing(decoder.spacing_mm)
    image, parse = resample(made.image, grid), made.parse.resampled(grid)
    return Case(decoder, image, parse, decoder.encode(image))


def _kidney(parse: Parse) -> str:
    return parse.by_name("kidney_left")[0].id


def test_a_decoder_says_what_it_is_and_what_it_knows(case: Case) -> None:
    assert isinstance(case.decoder, Decoder)
    assert DECODERS.keys() >= {case.decoder.name}
    assert case.decoder.modalities == ("CT",)
    assert {"liver", "mandible"} <= case.decoder.vocabulary
    assert len(case.decoder.weights_sha256) >= 64


def test_a_render_has_the_parses_grid_and_its_seed_reproduces_it(case: Case) -> None:
    first, again = (case.decoder.render(case.parse, n=2, generator=_generator(7)) for _ in range(2))
    other = case.decoder.render(case.parse, n=1, generator=_generator(8))
    assert first.images.shape == (2, *case.parse.geometry.shape)
    assert first.geometry == case.parse.geometry
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images[0], first.images[1])
    assert not np.array_equal(first.images[0], other.images[0])
    assert first.provenance["seed"] == 7
    assert first.provenance["decoder"]
    assert np.isfinite(first.images).all()
    assert first.images.min() >= -1100


def test_with_context_only_the_region_is_drawn_and_the_rest_is_kept_bit_for_bit(case: Case) -> None:
    region = case.parse.masks[_kidney(case.parse)]
    drawn = case.decoder.render(case.parse, case.encoded, region, generator=_generator()).images[0]
    inside = region.dense()
    assert np.array_equal(drawn[~inside], case.image.array[~inside])
    assert not np.array_equal(drawn[inside], case.image.array[inside])


def test_a_contrast_is_given_for_every_alternative_and_is_zero_outside_its_region(case: Case) -> None:
    kidney = _kidney(case.parse)
    alternatives = [case.parse.without(kidney), case.parse]
    region = case.parse.masks[kidney]
    contrasts = case.decoder.contrast(case.encoded, case.parse, alternatives, region, draws=2, generator=_generator())
    assert len(contrasts) == 2
    absent, same = contrasts
    assert np.abs(absent.ratio).max() > 0
    assert np.allclose(same.ratio, 0, atol=1e-6)
    for contrast in contrasts:
        shape = tuple(s.stop - s.start for s in contrast.box)
        assert contrast.ratio.shape[1:] == contrast.region.shape == contrast.core.shape == shape
        assert contrast.core.sum() == region.voxels
        assert not contrast.ratio[:, ~contrast.region].any()
        assert contrast.unit in ("nats", "flow-matching error")
        assert all(np.isfinite(v) for v in contrast.features.values())


def test_a_contrast_is_reproduced_by_its_seed_and_does_not_depend_on_the_other_alternatives(case: Case) -> None:
    kidney = _kidney(case.parse)
    region, absent = case.parse.masks[kidney], case.parse.without(kidney)

    def ask(alternatives: list[Parse]) -> np.ndarray:
        return case.decoder.contrast(case.encoded, case.parse, alternatives, region, generator=_generator(3))[0].ratio

    assert np.array_equal(ask([absent]), ask([absent]))
    assert np.allclose(ask([absent]), ask([absent, case.parse]), atol=0.2)


def test_the_image_inside_the_region_is_hidden_from_the_decoder(case: Case) -> None:
    kidney = _kidney(case.parse)
    region = case.parse.masks[kidney]
    changed = case.image.array.copy()
    changed[region.slices][region.box] = 900.0
    other = case.decoder.encode(Volume(changed, case.image.geometry, "CT", "HU"))
    renders = [
        case.decoder.render(case.parse, encoded, region, generator=_generator(1)) for encoded in (case.encoded, other)
    ]
    inside = region.dense()
    # The autoencoder's receptive field lets a little of the border through; the 900 HU must not come back.
    assert np.abs(renders[0].images[0] - renders[1].images[0])[inside].mean() < 60.0


def test_what_is_on_another_grid_is_refused(case: Case) -> None:
    coarse = Geometry.regular((12, 12, 12), 7.0)
    image = resample(case.image, coarse)
    with pytest.raises(InputError, match="voxels of 4 mm"):
        case.decoder.encode(image)
    with pytest.raises(InputError, match="voxels of 4 mm"):
        case.decoder.render(case.parse.resampled(coarse), generator=_generator())
    smaller = case.parse.cropped((slice(0, 10), slice(0, 10), slice(0, 10)))
    region = Mask.from_box((10, 10, 10), (2, 2, 2), np.ones((3, 3, 3), bool))
    with pytest.raises(InputError, match="the grid of the image"):
        case.decoder.contrast(case.encoded, smaller, [smaller], region, generator=_generator())


def test_an_image_encoded_by_another_decoder_is_refused(case: Case) -> None:
    foreign = EncodedImage(case.image, "someone else's", None)
    region = case.parse.masks[_kidney(case.parse)]
    with pytest.raises(InputError, match="encoded image"):
        case.decoder.contrast(foreign, case.parse, [case.parse], region, generator=_generator())
