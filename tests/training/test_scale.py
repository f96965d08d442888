"""Training that does not fit: activations computed again, parameters left alone, and the largest published network."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from synth.decoder.checkpoint import save_checkpoint
from synth.decoder.maisi import MaisiAutoencoder, MaisiFlowNet
from synth.errors import InputError
from synth.training.cases import SetConfig
from synth.training.config import TrainConfig
from synth.training.flow import FlowTask
from synth.training.loop import _freeze, _Trainer, recompute, train

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PLACES = {"data": "", "phantoms": ""}


@pytest.fixture
def config(phantoms: Path) -> TrainConfig:
    return TrainConfig.read(CONFIGS / "tiny" / "flow.toml", {"data": "", "phantoms": str(phantoms)})


def test_activations_that_are_computed_again_give_the_same_gradients(config: TrainConfig) -> None:
    gradients = []
    for again in (False, True):
        task = FlowTask(config)
        if again:
            recompute(task.model)
        batch = task.batch(np.random.default_rng(0))
        loss, _ = task.loss(task.model, batch, torch.Generator().manual_seed(0))
        loss.backward()
        gradients.append({n: p.grad for n, p in task.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-6)


def test_the_average_of_a_run_that_computes_again_is_that_of_one_that_does_not(
    config: TrainConfig, tmp_path: Path
) -> None:
    ends = []
    for again in (False, True):
        task = FlowTask(replace(config, gradient_checkpointing=again))
        train(task, task.config, tmp_path / str(again), tmp_path / str(again) / "weights", log=lambda _: None)
        ends.append(dict(task.model.named_parameters()))
    assert all(torch.allclose(ends[0][n], ends[1][n], atol=1e-5) for n in ends[0])


def test_frozen_parameters_stay_and_a_beginning_that_none_has_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    task = FlowTask(replace(config, freeze=("encoder.", "body.")))
    before = {n: p.detach().clone() for n, p in task.model.named_parameters()}
    train(task, task.config, tmp_path / "run", tmp_path / "weights", log=lambda _: None)
    changed = {n for n, p in task.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert not any(n.startswith(("encoder.", "body.")) for n in changed)
    with pytest.raises(InputError, match="beginning of a parameter's name"):
        train(
            FlowTask(config), replace(config, freeze=("nothing",)), tmp_path / "no", tmp_path / "no", log=lambda _: None
        )


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*/*.toml")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_config_is_read(path: Path) -> None:
    config = TrainConfig.read(path, PLACES)
    assert config.task in ("direct", "autoencoder", "flow", "audit", "dynamics", "population")
    assert config.sets


@pytest.mark.slow
def test_the_millimetre_config_is_built_at_full_size_and_takes_a_step_on_a_small_crop(
    phantoms: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    save_checkpoint(
        tmp_path / "autoencoder",
        (autoencoder := MaisiAutoencoder()),
        {"decoder": "autoencoder", "network": autoencoder.config},
    )
    path = CONFIGS / "ct-1mm-maisi" / "flow.toml"
    config = TrainConfig.read(path, PLACES)
    sets = (SetConfig("generated", str(phantoms), crop=32, batch=1, tissue=True, appearance=True, limit=1),)
    small = replace(
        config,
        sets=sets,
        validation=(),
        autoencoder=str(tmp_path / "autoencoder"),
        spacing_mm=8.0,
        warmup=1,
        workers=0,
        precision="no",
        cache=str(tmp_path / "cache"),
    )  # the phantoms of the tests are coarse; the networks do not care
    task = FlowTask(small)
    assert isinstance(task.model, MaisiFlowNet)
    assert {k: v for k, v in task.model.config.items() if k in tomllib.loads(path.read_text())["model"]} == config.model
    assert 240e6 < sum(p.numel() for p in task.model.parameters()) < 260e6
    torch.nn.init.normal_(task.model.unet.out[-1].conv.weight, std=0.02)  # zero before any training, and frozen here
    _freeze(task.model, small.freeze)
    trainer = _Trainer.of(task, small)
    before = {n: p.detach().clone() for n, p in task.model.control.controlnet_mid_block.named_parameters()}
    trainer.step(0, next(trainer.batches(0)))
    after = dict(task.model.control.controlnet_mid_block.named_parameters())
    assert any(not torch.equal(before[n], after[n]) for n in before)
    assert all(torch.isfinite(p).all() for p in after.values())
