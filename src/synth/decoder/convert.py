"""Checkpoints of MONAI's MAISI, made weights folders of ours.

Read with `weights_only`, so that nothing in the file is executed; every tensor is compared with the network that it is
said to be of before anything is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synth.conditioning import Codec
from synth.decoder.checkpoint import save_tensors
from synth.decoder.maisi import MaisiAutoencoder, MaisiFlowNet
from synth.errors import InputError
from synth.parse import VOCABULARY

INSIDE = ("unet_state_dict", "autoencoder_state_dict", "controlnet_state_dict", "state_dict", "model")
KINDS = ("maisi-autoencoder", "maisi-unet")


def convert(file: Path, folder: Path, kind: str, network: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write the weights folder of a MAISI checkpoint.

    `maisi-autoencoder` gives an autoencoder that a flow can be trained in; `maisi-unet` gives what the `start` of a
    training needs, the control branch begun as a copy of the encoder.

    Args:
        file: a `.pt` of MAISI's; folder: where to; kind: one of `KINDS`; network: arguments of the network, where they
            are not the published ones.

    Returns the config that was written. Raises InputError for a file that is none, and for tensors of another network.
    """
    if kind not in KINDS:
        raise InputError("kind", expected=f"one of {list(KINDS)}", got=kind, fix="name one of them")
    tensors, scale = _read(file)
    arguments = dict(network or {})
    model: nn.Module
    with torch.device("meta"):
        if kind == "maisi-autoencoder":
            made = MaisiAutoencoder(**arguments | ({} if scale is None else {"scale_factor": scale}))
            model, config, part = made, made.config, "net"
        else:
            flow = MaisiFlowNet(Codec.for_names(VOCABULARY.names), **arguments)
            model, config, part = flow, flow.config, "unet"
    found = {f"{part}.{name}": tensor for name, tensor in tensors.items()}
    _check(model, found, part, file)
    if part == "unet":
        control = {name for name in model.state_dict() if name.startswith("control.")}
        copies = {f"control.{name.removeprefix('unet.')}": tensor for name, tensor in found.items()}
        wanted = model.state_dict()
        found |= {n: t.clone() for n, t in copies.items() if n in control and wanted[n].shape == t.shape}
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "scale_factor": scale}
    written: dict[str, Any] = {
        "decoder": "autoencoder" if part == "net" else "start of a flow",
        "network": config,
        "source": source,
    }
    save_tensors(folder, found, written)
    return written


def _read(file: Path) -> tuple[dict[str, Tensor], float | None]:
    """The tensors of a checkpoint, and the scale of the latents where it holds one."""
    try:
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # what a broken or hostile file raises is not documented
        got = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise InputError(str(file), expected="a checkpoint of tensors (.pt)", got=got, fix="fetch it again") from None
    scale = held.get("scale_factor") if isinstance(held, dict) else None
    for name in INSIDE:
        if isinstance(held, dict) and isinstance(held.get(name), dict):
            held = held[name]
    tensors = held if isinstance(held, dict) else {}
    tensors = {str(k).removeprefix("module."): v for k, v in tensors.items() if isinstance(v, Tensor) and v.dim()}
    if not tensors:
        raise InputError(str(file), expected="a checkpoint of tensors (.pt)", got="none in it", fix="name another file")
    return tensors, None if scale is None else float(scale)


def _check(model: nn.Module, found: Mapping[str, Tensor], part: str, file: Path) -> None:
    wanted = {name: tuple(t.shape) for name, t in model.state_dict().items() if name.startswith(f"{part}.")}
    held = {name: tuple(t.shape) for name, t in found.items()}
    wrong = sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name))
    if wrong:
        got = f"{wrong[0]} {held.get(wrong[0], 'missing')}, not {wanted.get(wrong[0], 'expected')} ({len(wrong)} such)"
        fix = "give the arguments of its network with --network"
        raise InputError(str(file), expected="the tensors of MAISI's published network", got=got, fix=fix)
