"""Weights folders: found, read whole or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from synth.decoder import load_decoder
from synth.decoder.checkpoint import begin_from, fill, load_checkpoint, save_checkpoint, weights_folder
from synth.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "net", nn.Linear(3, 2), {"decoder": "direct"})
    return tmp_path / "net"


def test_weights_come_back_as_they_were_in_half_precision(folder: Path) -> None:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    save_checkpoint(folder, net, {})
    other = nn.Linear(3, 2)
    fill(other, load_checkpoint(folder), "net")
    assert torch.allclose(other.weight, net.weight, atol=1e-3)
    assert other.weight.dtype == torch.float32


def test_the_environment_names_another_place_for_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTH_WEIGHTS", str(folder.parent))
    assert weights_folder("net") == folder


def test_missing_truncated_and_foreign_weights_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="weights 'nowhere'"):
        weights_folder("nowhere")
    with pytest.raises(InputError, match="the tensors of its config"):
        fill(nn.Linear(4, 2), load_checkpoint(folder), "net")
    (folder / "config.json").write_text(json.dumps({"decoder": "gan"}))
    with pytest.raises(InputError, match="gan"):
        load_decoder(str(folder))
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:40])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_checkpoint(folder)


def test_an_unknown_decoder_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"direct.*fused.*latent"):
        load_decoder("dirrect")


def test_a_network_begins_from_a_smaller_one_and_keeps_what_that_lacks(folder: Path) -> None:
    larger = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    save_checkpoint(folder, nn.Sequential(nn.Linear(3, 2)), {})
    own = larger[1].weight.clone()
    begin_from(larger, load_checkpoint(folder))
    assert torch.equal(larger[0].weight, load_checkpoint(folder).tensors["0.weight"])
    assert torch.equal(larger[1].weight, own)


def test_a_network_does_not_begin_from_tensors_that_it_does_not_have(folder: Path) -> None:
    with pytest.raises(InputError, match=r"got weight \(2, 3\)"):
        begin_from(nn.Linear(4, 2), load_checkpoint(folder))
    with pytest.raises(InputError, match="tensors of this network"):
        begin_from(nn.Conv3d(1, 1, 1), load_checkpoint(folder))
