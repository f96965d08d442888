"""Experiment files: flat TOML, every value with its reason beside it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from synth.errors import InputError
from synth.training.cases import SetConfig


@dataclass(frozen=True)
class TrainConfig:
    """One training.

    Attributes:
        task: "direct", "autoencoder" or "flow".
        name: of the weights folder that is written.
        spacing_mm: the decoder's grid.
        steps, learning_rate, warmup, ema_decay, gradient_clip, precision ("bf16" or "no"), seed: the optimisation.
        minutes: stop after this long even before `steps` (0: no limit); the run can be resumed.
        checkpoint_every, validate_every, validation_batches: in steps and batches.
        autoencoder: weights folder that the flow works in.
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
    autoencoder: str | None = None
    model: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, places: Mapping[str, str]) -> TrainConfig:
        """Read a file; an unknown key is an error, not ignored. `{data}` and the like in set paths come from `places`."""
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(str(path), expected="a TOML experiment file", got=str(error), fix="see configs/") from None
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(raw) - known)
        if unknown:
            raise InputError(f"{path.name}", expected=f"keys among {sorted(known)}", got=str(unknown), fix="correct the spelling")
        for key in ("sets", "validation"):
            raw[key] = tuple(_set(path, entry, places) for entry in raw.get(key, []))
        try:
            return cls(**raw)
        except TypeError as error:
            raise InputError(path.name, expected="task, name, spacing_mm, steps, sets", got=str(error), fix="see configs/") from None


def _set(path: Path, entry: dict[str, Any], places: Mapping[str, str]) -> SetConfig:
    try:
        return SetConfig(**entry | {"path": str(entry.get("path", "")).format(**places)})
    except (TypeError, KeyError) as error:
        expected = f"{[f.name for f in fields(SetConfig)]} with places {sorted(places)}"
        raise InputError(f"{path.name}: set", expected=expected, got=str(error), fix="correct the entry") from None
