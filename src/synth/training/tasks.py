"""Which trainings there are; a new one is a new file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from synth.errors import InputError
from synth.training.autoencoder import AutoencoderTask
from synth.training.config import TrainConfig
from synth.training.direct import DirectTask
from synth.training.flow import FlowTask
from synth.training.loop import Task

TASKS: dict[str, Callable[[TrainConfig], Task]] = {
    "direct": DirectTask,
    "autoencoder": AutoencoderTask,
    "flow": FlowTask,
}


def make_task(config: TrainConfig) -> Task:
    """The task of an experiment file, its data loaded and its network built."""
    if config.task not in TASKS:
        raise InputError("task", expected=f"one of {sorted(TASKS)}", got=config.task, fix="correct the config")
    return TASKS[config.task](config)
