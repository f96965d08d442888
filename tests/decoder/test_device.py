"""A decoder draws the same image wherever it runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import synth
from synth.contracts import Decoder
from synth.decoder import load_decoder
from synth.decoder.device import device_named
from synth.errors import InputError
from synth.parse import Parse
from synth.pipeline.render import RenderPipeline

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def parse() -> Parse:
    made = synth.make_phantom(0, spacing_mm=(8.0, 8.0, 8.0))
    return made.parse


@pytest.mark.parametrize("name", ["cuda:99", "nowhere", "meta"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="device"):
        device_named(name)


@pytest.mark.parametrize("name", ["direct", "latent", "fused"])
def test_every_decoder_can_be_moved(name: str) -> None:
    decoder = load_decoder(name, "cpu")
    assert isinstance(decoder, Decoder)
    with pytest.raises(InputError, match="device"):
        load_decoder(name, "nowhere")


@GPU
@pytest.mark.parametrize("name", ["direct", "latent"])
def test_a_gpu_draws_what_the_cpu_draws(name: str, parse: Parse) -> None:
    here, there = (
        RenderPipeline.from_pretrained(name, device=device)(parse, seed=3).images[0].array for device in ("cpu", "cuda")
    )
    off = np.abs(here - there)
    assert float(off.mean()) < 3.0  # both work in bfloat16
    assert np.corrcoef(here.ravel(), there.ravel())[0, 1] > 0.99


@GPU
def test_a_gpu_judges_as_the_cpu_does(parse: Parse) -> None:
    from synth.pipeline.audit import AuditOptions, audit

    made = synth.make_phantom(0, spacing_mm=(8.0, 8.0, 8.0))
    found = [audit(made.image, made.parse, AuditOptions(search=False, device=d)) for d in ("cpu", "cuda")]
    for one, two in zip(*(r.entities for r in found), strict=True):
        assert one.verdict == two.verdict
        if one.score is not None:
            assert two.score == pytest.approx(one.score, abs=0.3)
