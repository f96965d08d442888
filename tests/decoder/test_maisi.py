"""MAISI's networks behind our interfaces, and its checkpoints converted."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.schedulers import RFlowScheduler
from torch import Tensor, nn
from typer.testing import CliRunner

from synth.cli.app import app
from synth.conditioning import Codec, Scene, collate
from synth.decoder.checkpoint import begin_from, load_checkpoint
from synth.decoder.config import build, network_arguments
from synth.decoder.flow import sample
from synth.decoder.maisi import MaisiAutoencoder, MaisiFlowNet
from synth.decoder.networks import make_autoencoder, make_flow
from synth.parse import VOCABULARY, Entity, Parse
from synth.volume import Geometry, Mask

CODEC = Codec.for_names(VOCABULARY.names)
SMALL_UNET: dict[str, Any] = {
    "kind": "maisi",
    "num_channels": [8, 16],
    "attention_levels": [False, True],
    "num_head_channels": [0, 8],
    "num_res_blocks": 1,
    "norm_num_groups": 8,
    "embedding_channels": [4, 8, 8],
    "token_width": 16,
    "map_channels": 2,
}
SMALL_VAE: dict[str, Any] = {
    "kind": "maisi",
    "num_channels": [8, 8, 8],
    "num_res_blocks": [1, 1, 1],
    "norm_num_groups": 8,
}


def _given(net: MaisiFlowNet) -> tuple[Any, ...]:
    """Condition, context, hole, field of view of one scene of 16³ voxels."""
    shape = (16, 16, 16)
    mask = Mask.from_box(shape, (4, 4, 4), torch.ones(6, 6, 6).bool().numpy())
    parse = Parse([Entity(id="liver", name="liver")], geometry=Geometry.regular(shape, 1.0), masks={"liver": mask})
    scene = Scene.from_parse(parse, CODEC).crop((slice(0, 16), slice(0, 16), slice(0, 16)))
    latent = (1, 1, 4, 4, 4)
    return net.condition(collate([scene])), torch.zeros(1, 4, 4, 4, 4), torch.ones(latent), torch.ones(latent)


def test_before_training_it_is_the_network_that_it_started_from_and_samples_as_monai_does() -> None:
    torch.manual_seed(0)
    net = MaisiFlowNet(CODEC, **_arguments(SMALL_UNET))
    for parameter in net.unet.parameters():
        nn.init.normal_(parameter, std=0.15)
    net.eval()
    given, spacing = _given(net), torch.full((1, 3), 100.0)  # 1 mm
    noise = torch.randn(1, 4, 4, 4, 4)
    scheduler = RFlowScheduler(num_train_timesteps=1000, use_discrete_timesteps=False)
    scheduler.set_timesteps(num_inference_steps=200)
    x = noise
    steps = [*scheduler.timesteps.tolist(), 0.0]
    with torch.no_grad():
        for now, after in pairwise(steps):
            v = net.unet(x, torch.tensor([now]), class_labels=torch.tensor([1]), spacing_tensor=spacing)
            x = x + v * (now - after) / 1000
        ours = sample(lambda z, t: net.velocity(z, t, *given), noise, 40)
    assert (x - noise).abs().mean() > 0.05, "the network does something"
    assert (ours - x).abs().mean() < 0.02 * (x - noise).abs().mean()


def test_the_scene_reaches_the_image_once_the_control_branch_has_learned_anything() -> None:
    torch.manual_seed(0)
    net = make_flow(CODEC, SMALL_UNET)
    assert isinstance(net, MaisiFlowNet)
    for parameter in net.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    condition, *rest = _given(net)
    x, t = torch.randn(1, 4, 4, 4, 4), torch.tensor([0.5])
    empty = condition._replace(painted=torch.zeros_like(condition.painted))
    with torch.no_grad():
        drawn, blank = (net.velocity(x, t, c, *rest) for c in (condition, empty))
    assert (drawn - blank).abs().max() > 1e-4


def test_the_autoencoder_speaks_hu_and_the_scale_of_the_latents_cancels() -> None:
    torch.manual_seed(0)
    one, two = (MaisiAutoencoder(**{**_arguments(SMALL_VAE), "scale_factor": s}).eval() for s in (1.0, 0.7))
    two.load_state_dict(one.state_dict())
    hu = torch.randn(1, 1, 16, 16, 16) * 300
    with torch.no_grad():
        latents, scaled = one.encode(hu), two.encode(hu)
        assert latents.shape == (1, 4, 4, 4, 4)
        assert torch.allclose(scaled, 0.7 * latents, atol=1e-6)
        assert torch.allclose(one.decode(latents), two.decode(scaled), atol=1e-2)
        assert one.decode(latents).amin() >= -1000


def _arguments(network: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in network.items() if k != "kind"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Checkpoints as MAISI writes them, of small networks, and the arguments of those."""
    torch.manual_seed(1)
    unet = MaisiFlowNet(CODEC, **_arguments(SMALL_UNET)).unet
    torch.save({"unet_state_dict": unet.state_dict(), "scale_factor": torch.tensor(0.7)}, tmp_path / "unet.pt")
    vae = MaisiAutoencoder(**_arguments(SMALL_VAE)).net
    torch.save({f"module.{k}": v for k, v in vae.state_dict().items()}, tmp_path / "vae.pt")
    (tmp_path / "unet.json").write_text(json.dumps(_plain(SMALL_UNET)))
    (tmp_path / "vae.json").write_text(json.dumps(_plain(SMALL_VAE)))
    return tmp_path


def _plain(network: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in network.items() if k != "kind"}


def _convert(folder: Path, name: str, kind: str) -> Any:
    options = ["--as", kind, "-o", str(folder / name), "--network", str(folder / f"{name}.json"), "--json"]
    return CliRunner().invoke(app, ["weights", "convert", str(folder / f"{name}.pt"), *options])


def test_a_converted_autoencoder_is_the_one_in_the_file(files: Path) -> None:
    result = _convert(files, "vae", "maisi-autoencoder")
    assert result.exit_code == 0, result.output
    checkpoint = load_checkpoint(files / "vae")
    arguments = network_arguments(checkpoint, "autoencoder")
    net = build(lambda: make_autoencoder(arguments), checkpoint, "autoencoder")
    held = torch.load(files / "vae.pt", weights_only=True)
    for name, tensor in net.net.state_dict().items():
        assert torch.equal(tensor.half(), held[f"module.{name}"].half())


def test_a_converted_network_starts_a_training_with_its_encoder_in_the_control_branch(files: Path) -> None:
    result = _convert(files, "unet", "maisi-unet")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["config"]["source"]["scale_factor"] == pytest.approx(0.7)
    net = make_flow(CODEC, SMALL_UNET)
    begin_from(net, load_checkpoint(files / "unet"))
    held: dict[str, Tensor] = torch.load(files / "unet.pt", weights_only=True)["unet_state_dict"]
    for name, tensor in net.unet.state_dict().items():  # type: ignore[union-attr]  # it is MAISI's
        assert torch.equal(tensor, held[name].half().float())
    assert torch.equal(net.control.state_dict()["conv_in.conv.weight"], held["conv_in.conv.weight"].half().float())  # type: ignore[union-attr]  # likewise


def test_tensors_of_another_network_are_refused_and_nothing_is_written(files: Path) -> None:
    (files / "unet.json").write_text(json.dumps(_plain(SMALL_UNET) | {"num_channels": [16, 16]}))
    result = _convert(files, "unet", "maisi-unet")
    assert result.exit_code == 2
    assert "the tensors of MAISI's published network" in result.stderr
    assert not (files / "unet").exists()


def test_a_checkpoint_that_would_run_something_is_refused(files: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (files / "ran",))

    (files / "vae.pt").write_bytes(pickle.dumps(Evil()))
    result = _convert(files, "vae", "maisi-autoencoder")
    assert result.exit_code == 2
    assert "expected a checkpoint of tensors" in result.stderr
    assert not (files / "ran").exists()
    assert not (files / "vae").exists()
