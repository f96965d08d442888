"""Many features into one score: a log-likelihood ratio in nats, "the entity is there" against "it is not".

Each feature is read three ways: as it is, in units of how it varies among true entities of that name, and by how much
it falls below what is usual for that name (good is good enough, bad is bad). A logistic model weighs them:

    score = w . [x/s, z, min(z, 0)] + b,      z = (x - mean of the name) / sd of the name

Names with few examples borrow mean and sd from their ancestors. Fitted with both labels weighing the same, so that
the prior odds are not in the score.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from synth.errors import InputError
from synth.residual.intensity_prior import lineage
from synth.volume import write_bytes

Float = NDArray[np.float64]
ROOT = "*"  # the statistics of all names together
SHRINKAGE = 8.0  # examples' worth of trust in the ancestor
CLIP_Z = 8.0
FORM = "synth-fusion-1"


@dataclass(frozen=True, eq=False)
class Fusion:
    """A fitted logistic model over named features.

    Attributes:
        names: the features, in order.
        scale: (F,) spread of each feature over everything it was fitted on.
        weights: (3 F + 1,) for x/s, z, min(z, 0) and the constant.
        classes: entity name -> (3, F) count, mean and variance among true entities, `ROOT` for all of them.
        meta: what it was fitted on.
    """

    names: tuple[str, ...]
    scale: Float
    weights: Float
    classes: Mapping[str, Float]
    meta: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        features: Sequence[Mapping[str, float]],
        labels: Sequence[bool],
        entities: Sequence[str],
        *,
        l2: float = 1e-2,
        meta: Mapping[str, object] | None = None,
    ) -> Fusion:
        """Fit on entities that are there (True) and that are not (False), with the entity name of each.

        Raises:
            InputError: only one of the two labels is there.

        Example:
            >>> rows = [{"a": float(v)} for v in (2, 3, 2.5, -2, -3, -1)]
            >>> fusion = Fusion.fit(rows, [True] * 3 + [False] * 3, ["liver"] * 6)
            >>> fusion.score({"a": 2.0}, "liver") > 0 > fusion.score({"a": -2.0}, "liver")
            True
        """
        truth = np.asarray(labels, bool)
        if truth.all() or not truth.any():
            raise InputError("fusion", expected="true and false entities", got="one kind", fix="add the other kind")
        names = tuple(sorted({key for row in features for key in row}))
        x = np.array([[row.get(key, np.nan) for key in names] for row in features], float)
        scale = np.nanstd(x, axis=0) + 1e-6
        true_names = [entity for entity, there in zip(entities, truth, strict=True) if there]
        shell = cls(names, scale, np.zeros(3 * len(names) + 1), _classes(x[truth], true_names))
        design = np.stack([shell._design(row, entity) for row, entity in zip(x, entities, strict=True)])
        return cls(names, scale, _logistic(design, truth, l2), shell.classes, dict(meta or {}))

    def score(self, features: Mapping[str, float], entity: str) -> float:
        """Log-likelihood ratio in nats; positive speaks for the entity. A feature not measured is taken as usual."""
        x = np.array([features.get(key, np.nan) for key in self.names], float)
        return float(self._design(x, entity) @ self.weights)

    def usual(self, entity: str) -> tuple[Float, Float]:
        """Mean and standard deviation of each feature among true entities of a name, ancestors leaned on."""
        mean, variance = self.classes[ROOT][1], self.classes[ROOT][2]
        for known in reversed(lineage(entity)):
            if known in self.classes:
                count, own, spread = self.classes[known]
                trust = count / (count + SHRINKAGE)
                variance = trust * spread + (1 - trust) * variance + trust * (1 - trust) * (own - mean) ** 2
                mean = trust * own + (1 - trust) * mean
        return mean, np.sqrt(variance) + 1e-3

    def _design(self, x: Float, entity: str) -> Float:
        mean, sd = self.usual(entity)
        x = np.where(np.isnan(x), mean, x)
        z = np.clip((x - mean) / sd, -CLIP_Z, CLIP_Z)
        centred = np.clip((x - self.classes[ROOT][1]) / self.scale, -CLIP_Z, CLIP_Z)
        return np.concatenate([centred, z, np.minimum(z, 0.0), [1.0]])

    def to_json(self) -> dict[str, object]:
        """Plain numbers, for `fusion.json`."""
        return {
            "form": FORM,
            "names": list(self.names),
            "scale": _plain(self.scale),
            "weights": _plain(self.weights),
            "classes": {name: [_plain(row) for row in table] for name, table in sorted(self.classes.items())},
            "meta": dict(self.meta),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Fusion:
        """Read what `to_json` gave.

        Raises:
            InputError: another form.
        """
        if data.get("form") != FORM:
            raise InputError(
                "fusion", expected=f"form {FORM}", got=str(data.get("form")), fix="fit it with this version"
            )
        classes = {name: np.asarray(table, float) for name, table in dict(data["classes"]).items()}  # type: ignore[call-overload] # JSON
        scale, weights = np.asarray(data["scale"], float), np.asarray(data["weights"], float)
        names = tuple(str(n) for n in data["names"])  # type: ignore[attr-defined] # JSON
        return cls(names, scale, weights, classes, dict(data.get("meta", {})))  # type: ignore[call-overload] # JSON

    def save(self, path: Path) -> None:
        """Write as JSON, atomically."""
        write_bytes(path, json.dumps(self.to_json(), indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Fusion:
        """Read what `save` wrote."""
        return cls.from_json(json.loads(path.read_text()))


def _classes(x: Float, entities: Iterable[str]) -> dict[str, Float]:
    """Count, mean and variance of each feature by name and by ancestor."""
    rows: dict[str, list[Float]] = {}
    for row, entity in zip(x, entities, strict=True):
        for name in (*lineage(entity), ROOT):
            rows.setdefault(name, []).append(row)
    return {name: _moments(np.stack(members)) for name, members in rows.items()}


def _moments(x: Float) -> Float:
    known = ~np.isnan(x)
    count = known.sum(axis=0)
    filled = np.where(known, x, 0.0)
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    variance = (np.where(known, x - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1)
    return np.stack([count.astype(float), mean, variance])


def _logistic(design: Float, truth: NDArray[np.bool_], l2: float) -> Float:
    """Weights of the L2-penalised logistic model, both labels weighing one half; the constant is not penalised."""
    sign = np.where(truth, 1.0, -1.0)
    share = np.where(truth, 0.5 / truth.sum(), 0.5 / (~truth).sum())
    penalty = np.full(design.shape[1], l2)
    penalty[-1] = 0.0

    def loss(w: Float) -> tuple[float, Float]:
        margin = sign * (design @ w)
        slope = -sign * share / (1.0 + np.exp(np.clip(margin, -50, 50)))
        value = (share * np.logaddexp(0.0, -margin)).sum() + 0.5 * (penalty * w * w).sum()
        return float(value), design.T @ slope + penalty * w

    start = np.zeros(design.shape[1])
    return np.asarray(optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x)


def _plain(values: Float) -> list[float]:
    return [float(f"{v:.6g}") for v in values]
