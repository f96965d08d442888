"""Training state that is sharded over the processes: weights, gradients, optimiser and average (FSDP2).

Every block of the network is a unit of its own, gathered when it is used and given back after; what no block holds is
gathered for the whole pass. Zhao et al. 2023, "PyTorch FSDP"; torch's `fully_shard`, on any device that its process
group has a backend for, the CPU included.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as read_shards
from torch.distributed.checkpoint.state_dict_saver import save as write_shards
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

FOLDER = "shards"  # within a checkpoint


def shard(model: nn.Module, blocks: Sequence[str], device: torch.device, processes: int) -> None:
    """Shard a module in place; modules whose class has a name in `blocks` are units of their own.

    Numbers without a side cannot be cut: each process keeps them, and `agree` makes their gradients the same.
    """
    mesh = init_device_mesh(device.type, (processes,))
    whole = {p for p in model.parameters() if p.ndim == 0}
    for module in [m for m in model.modules() if type(m).__name__ in blocks]:
        fully_shard(module, mesh=mesh, ignored_params=whole)
    fully_shard(model, mesh=mesh, ignored_params=whole)


def kinds(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """The parameters that are sharded and those that are not: no operation takes both."""
    split: dict[bool, list[nn.Parameter]] = {}
    for p in parameters:
        split.setdefault(isinstance(p, DTensor), []).append(p)
    return list(split.values())


def agree(model: nn.Module, most: float) -> Tensor:
    """Average the gradients of what is not sharded and cut the norm of all gradients to `most`; the norm before."""
    held = [p.grad for p in model.parameters() if p.grad is not None]
    shards = [_local(g) for g in held if isinstance(g, DTensor)]
    whole = [g for g in held if not isinstance(g, DTensor)]
    for gradient in whole:
        dist.all_reduce(gradient)
        gradient /= dist.get_world_size()
    square = sum((g.square().sum() for g in shards), torch.zeros((), device=held[0].device))
    dist.all_reduce(square)
    norm = (square + sum(g.square().sum() for g in whole)).sqrt()
    for gradient in (*shards, *whole):
        gradient *= (most / (norm + 1e-6)).clamp(max=1.0)
    return norm


def touched(model: nn.Module) -> Tensor:
    """Zero, with a gradient for whatever is gathered: all processes then reduce the same gradients, though a batch of
    one of them may leave some out."""
    here = [p for p in model.parameters() if p.requires_grad and not isinstance(p, DTensor)]
    return torch.stack([p.flatten()[0] for p in here]).sum() * 0 if here else torch.zeros(())


class ShardedAverage:
    """Exponential moving average of the shards that this process holds.

    Args:
        network: sharded; plain: a copy made before, which `module` fills; decay: as in `TrainConfig`.
    """

    def __init__(self, network: nn.Module, plain: nn.Module, decay: float) -> None:
        self.plain, self.decay, self.steps = plain, decay, 0
        self.parameters = {name: p.detach().clone() for name, p in network.named_parameters()}

    def update_parameters(self, network: nn.Module) -> None:
        """Move towards the network; the first time, take what it has."""
        weight = 1.0 if self.steps == 0 else 1 - self.decay
        for name, p in network.named_parameters():
            _local(self.parameters[name]).lerp_(_local(p.detach()), weight)
        self.steps += 1

    @property
    def module(self) -> nn.Module:
        """The averaged network, whole; every process has to ask at once."""
        whole = {n: p.full_tensor() if isinstance(p, DTensor) else p for n, p in self.parameters.items()}
        with torch.no_grad():
            for name, p in self.plain.named_parameters():
                p.copy_(whole[name])
        return self.plain


def plain_copy(network: nn.Module) -> nn.Module:
    """A copy that is not trained."""
    return copy.deepcopy(network).requires_grad_(False)


def save(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: ShardedAverage) -> None:
    """Write every process's part."""
    write_shards(_state(model, optimiser, average), checkpoint_id=str(folder / FOLDER))


def load(folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, average: ShardedAverage) -> None:
    """Read what `save` wrote; the number of processes may be another."""
    state = _state(model, optimiser, average)
    read_shards(state, checkpoint_id=str(folder / FOLDER))
    set_model_state_dict(model, state["model"])
    set_optimizer_state_dict(model, optimiser, state["optimiser"])
    average.steps = 1  # it has begun


def _state(model: nn.Module, optimiser: torch.optim.Optimizer, average: ShardedAverage) -> dict[str, Any]:
    return {
        "model": get_model_state_dict(model),
        "optimiser": get_optimizer_state_dict(model, optimiser),
        "average": average.parameters,
    }


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
