"""One training loop for every task: accelerate, EMA, validation, and a checkpoint from which any kill resumes.

Batches are a function of (seed, step, process), so that a resumed run sees what the uninterrupted one would have seen,
and several processes see different ones. The network and its loss are wrapped as one module: what distributed training
does to a forward pass then covers everything that the loss uses.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

from synth.decoder.checkpoint import begin_from, load_checkpoint, weights_folder
from synth.errors import InputError
from synth.training import sharded
from synth.training.config import TrainConfig

BLOCKS = (
    "Block",
    "GraphBlock",
    "CrossAttention",
    "DiffusionUNetResnetBlock",
    "SpatialTransformer",
    "SpatialAttentionBlock",
)
"""Classes of modules, ours and MONAI's, that gradient checkpointing wraps."""

Log = Callable[[Mapping[str, Any]], None]


class Task(Protocol):
    """What a training is made of."""

    model: nn.Module

    def place(self, device: torch.device) -> None:
        """Move what the loss uses beside the model."""
        ...

    def batch(self, rng: np.random.Generator) -> Any:
        """Draw one batch, on the CPU; it has `to(device)`."""
        ...

    def loss(self, model: nn.Module, batch: Any, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Scalar to minimise, and numbers for the log."""
        ...

    def validate(self, model: nn.Module, batches: int) -> dict[str, float]:
        """Scores on held-out cases; the same cases and draws every time."""
        ...

    def export(self, model: nn.Module, folder: Path, facts: Mapping[str, Any]) -> None:
        """Write the weights folder."""
        ...


def speaks() -> bool:
    """Whether this process is the one that reports: of several that train together, the first."""
    return bool(PartialState().is_main_process)


def train(task: Task, config: TrainConfig, run: Path, weights: Path, *, log: Log) -> dict[str, float]:
    """Train until `steps` or `minutes`, then export the averaged model to `weights`; returns the last validation.

    A run that had ended already is validated and exported again: it may have been stopped just before.
    """
    saved = _last_checkpoint(run)
    if saved is None and config.start:
        begin_from(task.model, load_checkpoint(weights_folder(config.start)))
    _freeze(task.model, config.freeze)
    trainer = _Trainer.of(task, config)
    step, history = (0, []) if saved is None else trainer.resume(saved)
    batches = trainer.batches(step)
    started = time.monotonic()
    facts: dict[str, Any] = {"precision": config.precision, "validation": {}, "validated_step": None}
    over = False
    while not over:
        if step < config.steps:
            numbers = trainer.step(step, next(batches))
            step += 1
            history.append({"step": step, "minutes": (time.monotonic() - started) / 60, **numbers})
            if step % 10 == 0:
                trainer.say(log, _mean(history[-10:]))
        over = step >= config.steps or trainer.any(_over(started, config.minutes))
        if over or step % config.validate_every == 0:
            facts |= {"validation": trainer.validate(), "validated_step": step}
            if history:
                history[-1].update(facts["validation"])
            trainer.say(log, {"step": step, **facts["validation"]})
        if over or step % config.checkpoint_every == 0:
            trainer.save(run, step, history)
            trainer.export(weights, {"step": step, **facts})
    return dict(facts["validation"])


@dataclass(frozen=True, eq=False)
class _Trainer:
    """A task's network with everything that moves its weights."""

    task: Task
    config: TrainConfig
    accelerator: Accelerator
    model: nn.Module
    optimiser: Any
    schedule: Any
    average: AveragedModel | sharded.ShardedAverage

    @classmethod
    def of(cls, task: Task, config: TrainConfig) -> _Trainer:
        # A batch without claims leaves the evidence's parameters out.
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        accelerator = Accelerator(
            mixed_precision=config.precision,
            cpu=not torch.cuda.is_available(),
            step_scheduler_with_optimizer=False,  # else the rate falls as many times faster as there are processes
            kwargs_handlers=[unused],
        )
        task.place(accelerator.device)
        if config.shard and accelerator.num_processes > 1:
            return cls._of_shards(task, config, accelerator)
        model: nn.Module = _Learner(task)
        if not torch.cuda.is_available():
            model = model.to(memory_format=torch.channels_last_3d)
        model, optimiser, schedule = accelerator.prepare(model, *_optimiser(model, config))
        network = accelerator.unwrap_model(model).network
        average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        accelerator.register_for_checkpointing(average)
        if config.gradient_checkpointing:
            recompute(network)  # the average has been copied: a copy made now would call the network's own forward
        return cls(task, config, accelerator, model, optimiser, schedule, average)

    @classmethod
    def _of_shards(cls, task: Task, config: TrainConfig, accelerator: Accelerator) -> _Trainer:
        """With weights, gradients, optimiser and average spread over the processes."""
        task.model.to(accelerator.device)
        plain = sharded.plain_copy(task.model)
        if config.gradient_checkpointing:
            recompute(task.model)
        model = _Learner(task, shared=True)
        sharded.shard(model, BLOCKS, accelerator.device, accelerator.num_processes)
        average = sharded.ShardedAverage(task.model, plain, config.ema_decay)
        return cls(task, config, accelerator, model, *_optimiser(model, config), average)

    def batches(self, first: int) -> Iterator[tuple[Any, int]]:
        """The batches from step `first` on, each with the seed of its noise, drawn ahead by the config's workers."""
        drawn = _Batches(self.task, self.config, self.accelerator.process_index)
        workers = self.config.workers
        steps = range(first, self.config.steps)
        return iter(
            DataLoader(
                drawn,
                batch_size=None,
                sampler=steps,
                num_workers=workers,
                multiprocessing_context="fork" if workers else None,
            )
        )

    def step(self, number: int, drawn: tuple[Any, int]) -> dict[str, float]:
        """One update; one whose gradient is not finite is left out."""
        device = self.accelerator.device
        batch, seed = drawn
        noise = torch.Generator(device=device).manual_seed(seed)
        with self.accelerator.autocast():
            loss, numbers = self.model(batch.to(device), noise)
        self.accelerator.backward(loss)
        parameters, most = self.model.parameters(), self.config.gradient_clip
        if isinstance(self.average, sharded.ShardedAverage):
            norm = sharded.agree(self.model, most)
        else:
            norm = torch.as_tensor(self.accelerator.clip_grad_norm_(parameters, most))
        if torch.isfinite(norm):
            self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.schedule.step()
        self.average.update_parameters(self.accelerator.unwrap_model(self.model).network)
        return {"loss": float(loss.detach()), **numbers}

    def validate(self) -> dict[str, float]:
        with self.accelerator.autocast():
            return self.task.validate(self.average.module, self.config.validation_batches)

    def say(self, log: Log, row: Mapping[str, Any]) -> None:
        """Log once, however many processes there are."""
        if self.accelerator.is_main_process:
            log(row)

    def any(self, here: bool) -> bool:
        """Whether it is so in any process: all stop at the same step."""
        told = torch.tensor(float(here), device=self.accelerator.device)
        return bool(self.accelerator.reduce(told, "sum") > 0) if self.accelerator.num_processes > 1 else here

    def export(self, weights: Path, facts: Mapping[str, Any]) -> None:
        network = self.average.module  # of shards, all processes have to ask
        if self.accelerator.is_main_process:
            self.task.export(network, weights, facts)

    def save(self, run: Path, step: int, history: list[dict[str, float]]) -> None:
        """Write the new checkpoint whole, then drop the old: a kill at any moment leaves one of them."""
        fresh, last, old = run / "checkpoint.new", run / "checkpoint", run / "checkpoint.old"
        accelerator = self.accelerator
        if accelerator.is_main_process:
            shutil.rmtree(fresh, ignore_errors=True)
        accelerator.wait_for_everyone()
        progress: dict[str, Any] = {"step": step, "history": history}
        if isinstance(self.average, sharded.ShardedAverage):
            sharded.save(fresh, self.model, self.optimiser, self.average)
            progress["schedule"] = {"last_epoch": self.schedule.last_epoch}
        else:
            accelerator.save_state(str(fresh), safe_serialization=True)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            (fresh / "progress.json").write_text(json.dumps(progress), encoding="utf-8")
            if last.exists():  # else the old one is all there is
                shutil.rmtree(old, ignore_errors=True)
                last.replace(old)
            fresh.replace(last)
            shutil.rmtree(old, ignore_errors=True)
        accelerator.wait_for_everyone()

    def resume(self, folder: Path) -> tuple[int, list[dict[str, float]]]:
        """Load a checkpoint; its step and history. Raises InputError for one of a run that was not sharded alike."""
        progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
        parted = isinstance(self.average, sharded.ShardedAverage)
        if parted != ("schedule" in progress):
            kinds = ("a whole checkpoint", "a sharded checkpoint")
            raise InputError(
                str(folder), expected=kinds[parted], got=kinds[not parted], fix="go on as the run was begun, or anew"
            )
        if isinstance(self.average, sharded.ShardedAverage):
            sharded.load(folder, self.model, self.optimiser, self.average)
            self.schedule.last_epoch = int(progress["schedule"]["last_epoch"]) - 1
            self.schedule.step()
        else:
            self.accelerator.load_state(str(folder))
        return int(progress["step"]), list(progress["history"])


class _Learner(nn.Module):
    """A task's network and its loss; `shared` where the network is sharded."""

    def __init__(self, task: Task, *, shared: bool = False) -> None:
        super().__init__()
        self.network, self.task, self.shared = task.model, task, shared

    def forward(self, batch: Any, rng: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """The loss of one batch."""
        total, numbers = self.task.loss(self.network, batch, rng)
        return (total + sharded.touched(self.network) if self.shared else total), numbers


class _Batches(Dataset[tuple[Any, int]]):
    """Batch number i of one process, and a seed for its noise."""

    def __init__(self, task: Task, config: TrainConfig, process: int) -> None:
        self.task, self.seed, self.process = task, config.seed, process

    def __getitem__(self, number: int) -> tuple[Any, int]:
        rng = np.random.default_rng([self.seed, number, self.process])
        seed = int(rng.integers(2**62))
        return self.task.batch(rng), seed


def _optimiser(model: nn.Module, config: TrainConfig) -> tuple[Any, Any]:
    """AdamW of what is learned, and the schedule of its rate."""
    groups = [{"params": some} for some in sharded.kinds(p for p in model.parameters() if p.requires_grad)]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: _rate(s, config))


def recompute(network: nn.Module) -> None:
    """Keep no activations inside the network's blocks; they are computed again when gradients ask for them."""

    def wrapped(forward: Callable[..., Any]) -> Callable[..., Any]:
        def again(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return forward(*args, **kwargs)
            return checkpoint(forward, *args, use_reentrant=False, **kwargs)

        return again

    for module in network.modules():
        if type(module).__name__ in BLOCKS:
            module.forward = wrapped(module.forward)


def _freeze(network: nn.Module, beginnings: Sequence[str]) -> None:
    """Raises InputError for a beginning that no parameter has."""
    names = [name for name, _ in network.named_parameters()]
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in names):
            got, fix = f"{beginning!r}, which none begins with", "correct the config"
            raise InputError("freeze", expected="the beginning of a parameter's name", got=got, fix=fix)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(beginnings)))


def _rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to a twentieth."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))


def _over(started: float, minutes: float) -> bool:
    return minutes > 0 and time.monotonic() - started > 60 * minutes


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    keys = {k for row in rows for k in row}
    means = {k: float(np.mean([row[k] for row in rows if k in row])) for k in sorted(keys)}
    return means | {"step": rows[-1]["step"]}


def _last_checkpoint(run: Path) -> Path | None:
    """The last whole checkpoint; None for a new run, whose folder is made."""
    run.mkdir(parents=True, exist_ok=True)
    folders = (run / "checkpoint", run / "checkpoint.old")
    return next((f for f in folders if (f / "progress.json").exists()), None)
