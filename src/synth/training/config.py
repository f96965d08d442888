"""Experiment files: flat TOML, every value with its reason beside it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from synth.errors import InputError
from synth.training.cases import SetConfig

PARTS = ("attributes", "relations", "tokens")


@dataclass(frozen=True)
class TrainConfig:
    """One training.

    Attributes:
        task: "direct", "autoencoder", "flow", "audit" or "dynamics".
        name: of the weights folder that is written.
        spacing_mm: the decoder's grid.
        steps, learning_rate, warmup, ema_decay, gradient_clip, precision ("bf16" or "no"), seed: the optimisation.
        minutes: stop after this long even before `steps` (0: no limit); the run can be resumed.
        checkpoint_every, validate_every, validation_batches: in steps and batches.
        workers: processes that draw batches ahead; 0 draws them between the steps.
        cache: folder in which cases are prepared once and read from; without it all are prepared at every start.
        latents: encode the images of the training sets once and keep their latents in the cache.
        autoencoder: weights folder that the flow works in.
        start: weights folder whose tensors a new run begins with; what it lacks begins as in any new network.
        without: parts of the parse that the network is never told, for ablations: attributes, relations, tokens.
        freeze: beginnings of the names of parameters that stay as they are.
        gradient_checkpointing: compute activations again on the way back instead of keeping them.
        shard: spread weights, gradients and optimiser over the processes (FSDP) where there are several.
        sets, validation: what is trained on and what the curve is measured on.
        model: arguments of the network's constructor; loss: weights of the loss terms.
    """

    task: str
    name: str
    spacing_mm: float
    steps: int
    sets: tuple[SetConfig, ...]
    validation: tuple[SetConfig, ...] = ()
    learning_rate: float = 1e-3
    warmup: int = 100
    ema_decay: float = 0.995
    gradient_clip: float = 1.0
    precision: str = "bf16"
    seed: int = 0
    minutes: float = 0.0
    checkpoint_every: int = 100
    validate_every: int = 250
    validation_batches: int = 16
    workers: int = 0
    cache: str | None = None
    latents: bool = False
    autoencoder: str | None = None
    start: str | None = None
    without: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    gradient_checkpointing: bool = False
    shard: bool = False
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, places: Mapping[str, str]) -> TrainConfig:
        """Read a file, set paths completed from `places` (`{data}` and the like).

        Raises InputError for what is no such file, for an unknown key, and for a value that no training can have.
        """
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(str(path), expected="a TOML experiment file", got=str(error), fix="see configs/") from None
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise InputError(
                f"{path.name}", expected=f"keys among {sorted(known)}", got=str(unknown), fix="correct the spelling"
            )
        for key in ("sets", "validation"):
            entries = raw.get(key, [])
            if not isinstance(entries, list):
                raise InputError(f"{path.name}: {key}", expected="tables", got=repr(entries), fix=f"write [[{key}]]")
            raw[key] = tuple(_set(path, entry, places) for entry in entries)
        try:
            for key in ("freeze", "without"):
                raw[key] = tuple(raw.get(key, ()))
            return cls(**raw)._checked(path.name)
        except TypeError as error:
            raise InputError(
                path.name, expected="task, name, spacing_mm, steps, sets", got=str(error), fix="see configs/"
            ) from None

    def _checked(self, name: str) -> TrainConfig:
        """The config itself; raises InputError for a number out of range (TypeError for what is none)."""
        bounds = (
            ("spacing_mm", self.spacing_mm, 0.1, 50.0),
            ("steps", self.steps, 0, math.inf),
            ("checkpoint_every", self.checkpoint_every, 1, math.inf),
            ("validate_every", self.validate_every, 1, math.inf),
            ("validation_batches", self.validation_batches, 1, math.inf),
            ("workers", self.workers, 0, 256),
            ("ema_decay", self.ema_decay, 0.0, 1.0),
            ("sets", len(self.sets), 1, math.inf),
            *(("crop", s.crop, 8, 512) for s in self.sets),
            *(("batch", s.batch, 1, 4096) for s in self.sets),
            *(("weight", s.weight, 1e-9, math.inf) for s in self.sets),
        )
        for what, value, low, high in bounds:
            if not low <= value <= high:
                expected = f"from {low:g} to {high:g}"
                raise InputError(f"{name}: {what}", expected=expected, got=f"{value:g}", fix="correct the value")
        if self.latents and (self.cache is None or self.task != "flow"):
            got = f"latents = true for task {self.task!r} with cache = {self.cache!r}"
            fix = "name a cache, or leave latents out"
            raise InputError(f"{name}: latents", expected="a flow training with a cache", got=got, fix=fix)
        unknown = sorted(set(self.without) - set(PARTS))
        if unknown:
            got, fix = str(unknown), "correct the value"
            raise InputError(f"{name}: without", expected=f"some of {list(PARTS)}", got=got, fix=fix)
        return self


def _set(path: Path, entry: dict[str, Any], places: Mapping[str, str]) -> SetConfig:
    try:
        return SetConfig(**entry | {"path": str(entry.get("path", "")).format(**places)})
    except (TypeError, KeyError, ValueError, IndexError, AttributeError) as error:
        expected = f"{[f.name for f in fields(SetConfig)]} with places {sorted(places)}"
        raise InputError(f"{path.name}: set", expected=expected, got=str(error), fix="correct the entry") from None
