"""Fitting the dynamics model on tables of growth series, and measuring what it says of patients held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from synth.dynamics.boosted import BoostSettings
from synth.dynamics.forest import ForestSettings
from synth.dynamics.history import Asked, ask
from synth.dynamics.learner import Ensemble, Learner, LearnerSettings
from synth.dynamics.model import Correlation, DynamicsModel
from synth.dynamics.series import Question, Series, folds_of
from synth.dynamics.tables import read_maeve, read_recist
from synth.errors import InputError
from synth.training.cases import SetConfig
from synth.training.config import TrainConfig

READERS = {"recist": read_recist, "maeve": read_maeve}
GROUPS = {"recist": "patient", "maeve": "xenograft"}
"""What the series of a layout are: courses of patients and of mice are learned together and kept apart."""
LONGEST_DAYS = 730.0
Log = Callable[[str], None]


def fit_dynamics(config: TrainConfig, folder: Path, *, log: Log) -> dict[str, Any]:
    """Fit, write the weights folder, and return what was measured on held-out patients."""
    actions = config.model.get("actions", {})
    series, weights = _series(config, actions)
    asked, weight = _questions(series, weights, int(config.model.get("most_seen", 6)))
    settings = _settings(config)
    log(f"{len(series)} series, {len(asked)} questions")
    persistent, facts = _measure(series, asked, weight, settings, config.seed)
    log(f"held-out patients: {facts}")
    learner = Learner.fit(series, asked, settings, weight=weight, seed=config.seed)
    model = DynamicsModel(learner, group=GROUPS[config.sets[0].layout], correlation=Correlation(persistent=persistent))
    model.save_pretrained(folder)
    return {**facts, "persistent": persistent, "trust": learner.trust, "series": len(series), "questions": len(asked)}


def _series(config: TrainConfig, actions: dict[str, str]) -> tuple[list[Series], list[float]]:
    """All series with the class of their action, and the weight of each."""
    series: list[Series] = []
    weights: list[float] = []
    for settings in config.sets:
        found = _read(settings)
        unknown = sorted({s.action for s in found} - set(actions))
        if unknown:
            fix = "add them to [model.actions]"
            raise InputError(f"{settings.layout}: actions", expected="a class each", got=str(unknown[:4]), fix=fix)
        group = GROUPS[settings.layout]
        series += [
            replace(s, action=actions[s.action], group=group, patient=f"{group}/{s.patient}")
            for s in found[: settings.limit or None]
        ]
        weights += [settings.weight] * (len(series) - len(weights))
    return series, weights


def _read(settings: SetConfig) -> list[Series]:
    if settings.layout not in READERS:
        expected = f"one of {sorted(READERS)}"
        raise InputError("layout", expected=expected, got=settings.layout, fix="correct the config")
    return READERS[settings.layout](Path(settings.path))


def _questions(series: Sequence[Series], weights: Sequence[float], most_seen: int) -> tuple[Asked, NDArray[np.float64]]:
    """Every later visit within two years from each of the first visits; a series weighs by their root."""
    questions, weight = [], []
    for i, each in enumerate(series):
        own = [
            Question(i, seen, target)
            for seen in range(1, min(most_seen, len(each.days) - 1) + 1)
            for target in range(seen, len(each.days))
            if each.days[target] - each.days[seen - 1] <= LONGEST_DAYS
        ]
        questions += own
        weight += [weights[i] / np.sqrt(max(len(own), 1))] * len(own)
    if not questions:
        raise InputError("series", expected="some with two visits or more", got="none", fix="give longer series")
    found = np.array(weight)
    return ask(series, questions), found / found.mean()


def _settings(config: TrainConfig) -> LearnerSettings:
    told = config.model
    return LearnerSettings(
        forest=ForestSettings(
            trees=int(told.get("trees", 80)),
            leaf=int(told.get("leaf", 40)),
            sample=float(told.get("sample", 0.5)),
        ),
        boost=BoostSettings(rounds=int(told.get("rounds", 120))),
        held_out=int(told.get("held_out", 3)),
    )


def _measure(
    series: Sequence[Series], asked: Asked, weight: NDArray[np.float64], settings: LearnerSettings, seed: int
) -> tuple[float, dict[str, float]]:
    """Persistence, and the error in mm beside carry-forward, on a quarter of the patients that was not trained on."""
    row = folds_of(series, 4, seed + 2)[asked.series]
    train, test = asked.where(row != 0), asked.where(row == 0)
    predicted = Ensemble.fit(series, train, weight[row != 0], settings, seed).predict(series, test)
    change = test.truth - test.last
    own = weight[row == 0] * np.exp(test.last)
    carry = np.average(np.abs(np.expm1(change)), weights=own)
    ours = np.average(np.abs(np.exp(change) - np.exp(predicted.median + predicted.shift)), weights=own)
    z = ndtri(np.clip(predicted.level_of(change, 1.0), 0.01, 0.99))
    # Neighbours in the list are questions about one series from one moment, at two horizons.
    same = (test.series[1:] == test.series[:-1]) & (test.seen[1:] == test.seen[:-1])
    persistent = float(np.clip(np.corrcoef(z[1:][same], z[:-1][same])[0, 1], 0.0, 0.98)) if same.sum() > 2 else 0.8
    return persistent, {"error_to_carry_forward": float(ours / carry)}
