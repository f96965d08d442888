"""What the `config.json` of a weights folder says, read as hostile input: checked before a network is built from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from synth.conditioning import Codec
from synth.decoder.checkpoint import Checkpoint, fill
from synth.errors import InputError
from synth.parse import VOCABULARY

Net = TypeVar("Net", bound=nn.Module)

SPACING_MM = (0.1, 50.0)
BROKEN = (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError, ZeroDivisionError)


@dataclass(frozen=True)
class DecoderConfig:
    """The part that both decoders share.

    Attributes:
        codec: the vocabulary; spacing_mm: the isotropic grid; modalities: what it renders.
        network: arguments of the network's constructor.
    """

    codec: Codec
    spacing_mm: float
    modalities: tuple[str, ...]
    network: dict[str, Any]

    @classmethod
    def of(cls, checkpoint: Checkpoint, what: str) -> DecoderConfig:
        """Raises InputError where an entry is missing or of another kind."""
        config, network = checkpoint.config, network_arguments(checkpoint, what)
        try:
            codec = Codec.from_json(config["codec"])
            unknown = [name for name in (*codec.trained, *codec.names) if name not in VOCABULARY]
            if unknown:
                raise ValueError(f"names that are in no vocabulary: {unknown[:3]}")
            spacing = float(config["spacing_mm"])
            modalities = tuple(str(m) for m in config["modalities"])
        except BROKEN as error:
            raise _refused(what, f"{type(error).__name__}: {error}") from None
        if not (math.isfinite(spacing) and SPACING_MM[0] <= spacing <= SPACING_MM[1]):
            raise _refused(what, f"spacing_mm {spacing:g}")
        return cls(codec, spacing, modalities, network)


def network_arguments(checkpoint: Checkpoint, what: str) -> dict[str, Any]:
    """The arguments of the network's constructor, lists made tuples."""
    network = checkpoint.config.get("network")
    if not isinstance(network, dict):
        raise _refused(what, f"network {network!r:.60}")
    return {k: tuple(v) if isinstance(v, list) else v for k, v in network.items()}


def build(make: Callable[[], Net], checkpoint: Checkpoint, what: str) -> Net:
    """The network of a config, filled; the shapes it wants are compared with the file before memory is given to them.

    Raises InputError for a config that makes no network, or another one than the tensors are of.
    """
    try:
        with torch.device("meta"):
            wanted = {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}
    except BROKEN as error:
        raise _refused(what, f"a network that cannot be built ({error})") from None
    held = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    wrong = sorted(name for name in wanted.keys() | held.keys() if wanted.get(name) != held.get(name))
    if wrong:
        got = f"{wrong[0]} {held.get(wrong[0], 'missing')}, not {wanted.get(wrong[0], 'expected')}"
        raise InputError(what, expected="the tensors of its config", got=got, fix="fetch the weights again")
    model = make()
    fill(model, checkpoint, what)
    return model


def _refused(what: str, got: str) -> InputError:
    return InputError(f"config.json of the {what}", expected="a readable one", got=got, fix="fetch the weights again")
