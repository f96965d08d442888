"""A dynamics model as a weights folder: `config.json` and `model.safetensors`, nothing that is executed on loading."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from synth.dynamics.actions_seen import Effects, Vocabulary
from synth.dynamics.boosted import BoostedMedian
from synth.dynamics.conformal import TABLE, Calibration
from synth.dynamics.forest import QuantileForest
from synth.dynamics.learner import Ensemble, Learner
from synth.dynamics.trend import ShrunkenTrend
from synth.errors import InputError
from synth.volume import write_bytes
from synth.weights import CONFIG, weights_folder

if TYPE_CHECKING:
    from synth.dynamics.model import DynamicsModel

WEIGHTS, CARD, NAME = "model.safetensors", "README.md", "dynamics"
LARGEST_BYTES = 64 * 2**20
FORMAT = 2


def save(model: DynamicsModel, folder: Path, card: str = "") -> None:
    """Write the folder; the same model gives the same bytes."""
    parts = model.learner.ensemble
    blind = {} if parts.blind is None else parts.blind.tensors()
    tensors: dict[str, NDArray[np.generic]] = {
        **{f"forest.{name}": array for name, array in parts.forest.tensors().items()},
        **{f"boosted.{name}": array for name, array in parts.boosted.tensors().items()},
        **{f"blind.{name}": array for name, array in blind.items()},
        **{f"trend.{name}": array for name, array in parts.trend.tensors().items()},
        "calibration.edges": model.learner.calibration.edges,
        "calibration.levels": model.learner.calibration.levels,
    }
    data = save_tensors({name: np.ascontiguousarray(array) for name, array in sorted(tensors.items())})
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / WEIGHTS, data)
    write_bytes(folder / CONFIG, (json.dumps(_config(model, data), indent=1, sort_keys=True) + "\n").encode())
    if card:
        write_bytes(folder / CARD, card.encode())


def load(path: str | Path | None = None) -> DynamicsModel:
    """Read a folder; None is the shipped one. Raises InputError for what is no dynamics model."""
    from synth.dynamics.model import DynamicsModel

    folder = weights_folder(NAME if path is None else str(path))
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if (folder / WEIGHTS).stat().st_size > LARGEST_BYTES:
            raise ValueError("weights of more than 64 MiB")
        data = (folder / WEIGHTS).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        if config["task"] == NAME and config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}, where this version reads {FORMAT}: train it again")
        if config["task"] != NAME or config["sha256"] != sha256:
            raise ValueError("other weights than config.json describes")
        return DynamicsModel(**_fields(config, load_tensors(data)), sha256=sha256)
    except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        expected, fix = f"{CONFIG} and {WEIGHTS} of a dynamics model", "fetch the weights again"
        raise InputError(str(folder), expected=expected, got=f"{type(error).__name__}: {error}", fix=fix) from None


def _config(model: DynamicsModel, data: bytes) -> dict[str, Any]:
    parts = model.learner.ensemble
    effects = parts.effects
    return {
        "task": NAME,
        "format": FORMAT,
        "sha256": hashlib.sha256(data).hexdigest(),
        "group": model.group,
        "actions": list(parts.vocabulary.parts),
        "groups": list(parts.vocabulary.groups),
        "blend": list(parts.blend),
        "with_action": parts.blind is not None,
        "trust": model.learner.trust,
        "shortest_days": model.learner.shortest_days,
        "effects": {
            "mean": effects.mean,
            "by_action": dict(effects.by_action),
            "by_group": [[a, g, value] for (a, g), value in sorted(effects.by_group.items())],
            "of_group": dict(effects.of_group),
        },
        "correlation": asdict(model.correlation),
        "births": asdict(model.births),
    }


def _fields(config: dict[str, Any], tensors: dict[str, NDArray[np.generic]]) -> dict[str, Any]:
    """What a model is built from."""
    from synth.dynamics.births import Births
    from synth.dynamics.model import Correlation

    def part(name: str) -> dict[str, NDArray[np.generic]]:
        return {key.partition(".")[2]: array for key, array in tensors.items() if key.startswith(f"{name}.")}

    told = config["effects"]
    effects = Effects(
        mean=float(told["mean"]),
        by_action={str(a): float(v) for a, v in told["by_action"].items()},
        by_group={(str(a), str(g)): float(v) for a, g, v in told["by_group"]},
        of_group={str(g): float(v) for g, v in told["of_group"].items()},
    )
    first, second, third = (float(share) for share in config["blend"])
    ensemble = Ensemble(
        vocabulary=Vocabulary(tuple(config["actions"]), tuple(config["groups"])),
        effects=effects,
        forest=QuantileForest.from_tensors(part("forest")),
        boosted=BoostedMedian.from_tensors(part("boosted")),
        blind=BoostedMedian.from_tensors(part("blind")) if config["with_action"] else None,
        trend=ShrunkenTrend.from_tensors(part("trend")),
        blend=(first, second, third),
    )
    trust, shortest = float(config["trust"]), float(config["shortest_days"])
    if not (0.0 <= trust <= 1.0 and math.isfinite(shortest)):
        raise ValueError(f"a trust of {trust}, a shortest horizon of {shortest}")
    learner = Learner(ensemble, trust, _calibration(part("calibration")), shortest)
    return {
        "learner": learner,
        "group": str(config["group"]),
        "correlation": Correlation(**config["correlation"]),
        "births": Births(**config["births"]),
    }


def _calibration(tensors: dict[str, NDArray[np.generic]]) -> Calibration:
    edges, levels = (np.asarray(tensors[name], np.float64) for name in ("edges", "levels"))
    if levels.shape != (len(edges) + 1, len(TABLE)) or not np.isfinite(levels).all():
        raise ValueError(f"calibration levels of shape {levels.shape}")
    return Calibration(edges, levels)
