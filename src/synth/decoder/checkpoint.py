"""Weights folders: `config.json` beside `model.safetensors`, nothing that is executed on loading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from synth.errors import InputError
from synth.volume import write_bytes
from synth.weights import CONFIG as CONFIG
from synth.weights import weights_folder as weights_folder

WEIGHTS = "model.safetensors"
LARGEST_CONFIG_BYTES = 4 * 2**20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A weights folder, read: its config, its tensors, and the hash that provenance quotes."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    sha256: str


def part_of(folder: Path, name: str) -> Path:
    """The folder of a part that a weights folder names: inside it, beside it, or among the shipped weights.

    Raises InputError for a name that is a path.
    """
    if Path(name).name != name:
        raise InputError(f"{folder}: part", expected="a plain name", got=repr(name), fix="fetch the weights again")
    for place in (folder / name, folder.parent / name):
        if (place / CONFIG).exists():
            return place
    return weights_folder(name)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a weights folder; half-precision tensors come back as float32."""
    try:
        size = (folder / CONFIG).stat().st_size
        if size > LARGEST_CONFIG_BYTES:
            raise ValueError(f"a {CONFIG} of {size} bytes")
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"a {CONFIG} that holds no object")
        tensors = load_file(folder / WEIGHTS)
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    except (OSError, ValueError, RuntimeError, RecursionError, SafetensorError) as error:
        expected = f"{CONFIG} and {WEIGHTS}"
        raise InputError(str(folder), expected=expected, got=str(error), fix="fetch the weights again") from None
    return Checkpoint(config, {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, digest)


def save_checkpoint(folder: Path, model: nn.Module, config: Mapping[str, Any]) -> None:
    """Write a weights folder, tensors as float16; the config last, since it is what makes the folder count."""
    save_tensors(folder, model.state_dict(), config)


def save_tensors(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """As `save_checkpoint`, from tensors by name."""
    folder.mkdir(parents=True, exist_ok=True)
    halves = {
        k: (v.detach().half() if v.is_floating_point() else v.detach()).contiguous().cpu() for k, v in tensors.items()
    }
    write_bytes(folder / WEIGHTS, save(halves))
    write_bytes(folder / CONFIG, (json.dumps(config, indent=1, sort_keys=True) + "\n").encode())


def begin_from(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Start a network from another's tensors, which must be among its own; those that it has beyond stay as they are.

    Raises InputError for tensors that the network does not have, or has in another shape.
    """
    own = {k: v.shape for k, v in model.state_dict().items()}
    odd = [k for k, v in checkpoint.tensors.items() if own.get(k) != v.shape]
    if odd:
        got = f"{odd[0]} {tuple(checkpoint.tensors[odd[0]].shape)}" + (f" and {len(odd) - 1} more" if odd[1:] else "")
        fix = "start from weights of the same kind and size"
        raise InputError("start", expected="tensors of this network", got=got, fix=fix)
    model.load_state_dict(checkpoint.tensors, strict=False)


def fill(model: nn.Module, checkpoint: Checkpoint, what: str) -> None:
    """Load the tensors into the model, all of them and nothing else."""
    try:
        model.load_state_dict(checkpoint.tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise InputError(what, expected="the tensors of its config", got=first, fix="fetch the weights again") from None
    model.eval()
