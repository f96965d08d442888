"""Work that is left out changes no number: the head where nothing is hidden, the first tier asked twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synth.conditioning import Scene, collate
from synth.contracts import Box, Contrast, Refining
from synth.decoder import DirectDecoder, LatentDecoder
from synth.decoder.fused import FusedDecoder
from synth.parse import Entity, Parse
from synth.volume import Geometry, Mask, Volume

SHAPE = (24, 20, 22)


@pytest.fixture(scope="module")
def parse() -> Parse:
    masks = {
        "liver": Mask.from_box(SHAPE, (2, 2, 2), np.ones((12, 9, 10), bool)),
        "left": Mask.from_box(SHAPE, (9, 7, 8), np.ones((3, 4, 5), bool)),
    }
    entities = [Entity(id="liver", name="liver"), Entity(id="left", name="kidney_left")]
    return Parse(entities, geometry=Geometry.regular(SHAPE, 4.0), masks=masks)


@pytest.fixture(scope="module")
def image(parse: Parse) -> Volume:
    hu = np.random.default_rng(0).normal(40, 30, SHAPE).astype(np.float32)
    return Volume(hu, parse.geometry, "CT", "HU")


@pytest.mark.parametrize(
    "window",
    [
        (slice(5, 12), slice(7, 8), slice(2, 19)),
        (slice(0, 3), slice(1, 24), slice(23, 24)),
        (slice(0, 24), slice(0, 24), slice(0, 24)),
    ],
)
def test_a_window_of_the_head_is_the_head_of_that_window(window: Box, parse: Parse) -> None:
    net = DirectDecoder.from_pretrained().net
    codec = net.codec
    batch = collate([Scene.from_parse(parse, codec).crop((slice(0, 24), slice(0, 24), slice(0, 24)))])
    generator = torch.Generator().manual_seed(0)
    hu = 40 + 60 * torch.randn(1, 1, 24, 24, 24, generator=generator)
    hole = (torch.rand(1, 1, 24, 24, 24, generator=generator) > 0.7).float()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        whole = net(batch, hu, hole, torch.ones_like(hu))
        part = net(batch, hu, hole, torch.ones_like(hu), window)
    for name in ("log_weight", "location", "log_scale"):
        expected = getattr(whole, name)[(slice(None), slice(None), *window)]
        torch.testing.assert_close(getattr(part, name), expected, rtol=1e-5, atol=1e-5)


def test_what_the_first_tier_drew_is_taken_over_as_it_is(parse: Parse, image: Volume) -> None:
    fused = FusedDecoder(DirectDecoder.from_pretrained(), LatentDecoder.from_pretrained())
    assert isinstance(fused, Refining)
    encoded, region = fused.encode(image), parse.masks["left"]
    question = encoded, parse, [parse.without("left")], region

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    (asked,) = fused.contrast(*question, draws=1, generator=seeded())
    first = fused.first.contrast(fused.for_first(encoded), *question[1:], generator=seeded())
    (taken,) = fused.refine(first, *question, draws=1, generator=seeded())
    _same(asked, taken)


def _same(one: Contrast, other: Contrast) -> None:
    assert dict(one.features) == dict(other.features)
    assert one.box == other.box
    for name in ("ratio", "region", "core", "with_parse", "with_alternative"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
