"""Latents that were encoded beforehand stand for those that would be encoded at every step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from synth.decoder.latent_net import blank
from synth.errors import InputError
from synth.training import latents
from synth.training.config import TrainConfig
from synth.training.flow import FlowTask
from synth.training.loop import train
from synth.training.prepared import Latents

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "tiny" / "flow.toml"


@pytest.fixture(scope="module")
def config(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    read = TrainConfig.read(CONFIG, {"data": "", "phantoms": str(phantoms)})
    return replace(read, cache=str(tmp_path_factory.mktemp("cache")), latents=True)


@pytest.fixture(scope="module")
def task(config: TrainConfig) -> FlowTask:
    made = FlowTask(config)
    made.place(torch.device("cpu"))
    return made


def _rms(values: torch.Tensor) -> float:
    return float((values**2).mean().sqrt())


def test_a_crop_of_them_is_what_the_crop_would_be_encoded_as(task: FlowTask) -> None:
    found = 0
    for seed in range(12):
        batch = task.batch(np.random.default_rng(seed))
        for row in batch.cached.nonzero()[:, 0].tolist():
            assert batch.latents is not None
            fresh = task.autoencoder.encode(batch.hu[row : row + 1]).float()[0]
            off = batch.latents[row] - fresh
            middle = (slice(None), *[slice(3, -3)] * 3)  # a crop's border is encoded without its neighbours
            assert _rms(off[middle]) < 0.1 * _rms(fresh[middle]) + 0.05
            assert _rms(batch.latents[row].flip(1)[middle] - fresh[middle]) > _rms(off[middle])
            found += 1
    assert found >= 4


def test_an_image_that_was_changed_is_encoded_anew(task: FlowTask) -> None:
    changed = 0
    for seed in range(12):
        batch = task.batch(np.random.default_rng(seed))
        made = task._encoded(batch)
        for row in (~batch.cached).nonzero()[:, 0].tolist():
            fresh = task.autoencoder.encode(batch.hu).float()[row]
            torch.testing.assert_close(made[row], fresh, rtol=1e-3, atol=1e-3)
            changed += 1
    assert changed >= 4


def test_a_crop_hidden_whole_is_encoded_as_any_other(task: FlowTask) -> None:
    batch = task.batch(np.random.default_rng(0))
    hole = torch.zeros(len(batch.hu), 1, *(n // 2 for n in batch.hu.shape[2:]))
    hole[0] = 1
    hole[1:, :, 2:5] = 1
    for holes in (hole, torch.ones_like(hole), hole[1:].repeat(2, 1, 1, 1, 1)):
        with torch.no_grad():
            plain = task.autoencoder.encode(blank(batch.hu[: len(holes)], holes, 2)).float()
        torch.testing.assert_close(task._context(batch.hu[: len(holes)], holes), plain, rtol=1e-4, atol=1e-4)


def test_a_training_with_them_runs_and_encodes_each_image_once(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    encode = latents.encoded

    def counting(*given: object) -> object:
        made.append(1)
        if len(made) == 2:
            raise KeyboardInterrupt
        return encode(*given)  # type: ignore[arg-type]  # passed on

    fresh = replace(config, cache=str(tmp_path / "cache"))
    monkeypatch.setattr(latents, "encoded", counting)
    with pytest.raises(KeyboardInterrupt):
        train(FlowTask(fresh), fresh, tmp_path / "run", tmp_path / "weights", log=lambda row: None)
    assert len(list((tmp_path / "cache").rglob("latents-*/*"))) == 1
    scores = train(FlowTask(fresh), fresh, tmp_path / "run", tmp_path / "weights", log=lambda row: None)
    count = len(FlowTask(fresh).sets[0])
    assert len(made) == count + 1  # the one that was stopped
    assert all(np.isfinite(list(scores.values())))


def test_beyond_the_image_there_is_air() -> None:
    values = np.arange(2 * 4**3, dtype=np.float16).reshape(2, 4, 4, 4)
    kept = Latents(values, -2, 2)
    box = kept.aligned((slice(-5, 3), slice(0, 8), slice(1, 9)))
    assert box == (slice(-6, 2), slice(0, 8), slice(0, 8))
    crop = kept.crop(box)
    assert crop.shape == (2, 4, 4, 4)
    assert np.array_equal(crop[:, 2:, :3, :3], values[:, :2, 1:, 1:])
    assert (crop[0, :2] == values[0, 0, 0, 0]).all()
    assert (crop[1, :, 3:] == values[1, 0, 0, 0]).all()


def test_they_are_refused_without_a_place_to_keep_them(phantoms: Path, tmp_path: Path) -> None:
    asked = tmp_path / "flow.toml"
    asked.write_text("latents = true\n" + CONFIG.read_text())
    with pytest.raises(InputError, match="cache"):
        TrainConfig.read(asked, {"data": "", "phantoms": str(phantoms)})
