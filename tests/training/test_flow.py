"""What the flow's loss says of images that follow from one step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from synth.training.claims import NOTHING
from synth.training.config import TrainConfig
from synth.training.direct import ClaimBatch
from synth.training.flow import CLINICAL_HU, FlowTask

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "tiny" / "flow.toml"


@pytest.fixture(scope="module")
def task(phantoms: Path) -> FlowTask:
    return FlowTask(TrainConfig.read(CONFIG, {"data": "", "phantoms": str(phantoms)}))


def _hidden(task: FlowTask) -> ClaimBatch:
    """A batch of places without a claim, all hidden."""
    for seed in range(50):
        batch = task.batch(np.random.default_rng(seed))
        if bool((batch.truth == NOTHING).any()):
            truth, everywhere = torch.full_like(batch.truth, NOTHING), torch.ones_like(batch.hidden)
            return replace(batch, truth=truth, hidden=everywhere, inside=everywhere)
    raise AssertionError("no place without a claim was drawn")


def test_an_image_that_is_too_dense_costs_its_hounsfield_units_in_every_entity(task: FlowTask) -> None:
    batch = _hidden(task)
    hole = torch.ones(len(batch.hu), 1, *(n // 2 for n in batch.hu.shape[2:]))
    latents = task.autoencoder.encode(batch.hu)
    back = task.autoencoder.decode(latents).float()
    same = replace(batch, hu=back.clamp(-1000, 1500))  # what the autoencoder makes of it is the truth here
    t = torch.ones(len(batch.hu))
    mean, clinical = task._picture_errors(same, latents, t, hole)
    assert float(mean) < 1e-3
    assert float(clinical) < 1e-3
    off = replace(batch, hu=same.hu - 40.0)
    mean, clinical = task._picture_errors(off, latents, t, hole)
    assert float(mean) == pytest.approx((40 / 300) ** 2, rel=0.2)
    assert float(clinical) == pytest.approx(40 / CLINICAL_HU - 0.5, rel=0.1)
    early, late = (task._picture_errors(off, latents, s, hole) for s in (t, t * 0.5))
    assert float(late[0]) == 0.0  # the mean image is known from noise alone
    assert float(late[1]) == pytest.approx(float(early[1]))


def test_bone_drawn_too_dense_pulls_back(task: FlowTask) -> None:
    batch = _hidden(task)
    hole = torch.ones(len(batch.hu), 1, *(n // 2 for n in batch.hu.shape[2:]))
    dense = task.autoencoder.encode(torch.full_like(batch.hu, 1400.0)).requires_grad_()
    bone = replace(batch, hu=torch.full_like(batch.hu, 900.0))
    mean, _ = task._picture_errors(bone, dense, torch.ones(len(batch.hu)), hole)
    (gradient,) = torch.autograd.grad(mean, dense)
    assert float(gradient.abs().sum()) > 0
