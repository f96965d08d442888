"""Fitting the dynamics model on growth series, of tables or of phantoms, and measuring it on patients held out.

A set in the layout `new_lesions` teaches the hazard of new lesions; without one it is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from synth.dynamics.births import Births
from synth.dynamics.boosted import BoostSettings
from synth.dynamics.forest import ForestSettings
from synth.dynamics.history import Asked, ask
from synth.dynamics.learner import Ensemble, Learner, LearnerSettings
from synth.dynamics.model import Correlation, DynamicsModel
from synth.dynamics.series import Question, Series, folds_of
from synth.dynamics.tables import read_maeve, read_new_lesions, read_recist
from synth.errors import InputError
from synth.phantom.trajectory import READING_SD, log_mm_of
from synth.phantom.treated import TreatedSettings, make_treated
from synth.training.cases import SetConfig
from synth.training.config import TrainConfig

GROUPS = {"recist": "patient", "maeve": "xenograft", "phantoms": "phantom"}
"""What the series of a layout are: courses of patients, mice and phantoms are learned together and kept apart."""
NEW_LESIONS = "new_lesions"
PHANTOMS = 300  # patients of a phantom cohort without a limit
LONGEST_DAYS = 730.0
Log = Callable[[str], None]


def fit_dynamics(config: TrainConfig, folder: Path, *, log: Log) -> dict[str, Any]:
    """Fit, write the weights folder, and return what was measured on held-out patients."""
    actions, births = config.model.get("actions", {}), _births(config)
    series, weights = _series(config, actions)
    asked, weight = _questions(series, weights, int(config.model.get("most_seen", 6)))
    settings = _settings(config)
    log(f"{len(series)} series, {len(asked)} questions")
    persistent, facts = _measure(series, asked, weight, settings, config.seed)
    log(f"held-out patients: {facts}")
    learner = Learner.fit(series, asked, settings, weight=weight, seed=config.seed)
    group, correlation = GROUPS[_of_sizes(config)[0].layout], Correlation(persistent=persistent)
    DynamicsModel(learner, group=group, correlation=correlation, births=births).save_pretrained(folder)
    facts |= {"persistent": persistent, "trust": learner.trust}
    return {**facts, "series": len(series), "questions": len(asked), "births": asdict(births)}


def _of_sizes(config: TrainConfig) -> list[SetConfig]:
    """The sets of growth series; raises InputError where there is none."""
    found = [settings for settings in config.sets if settings.layout != NEW_LESIONS]
    if not found:
        got, fix = f"{NEW_LESIONS} alone", "add a set of growth series"
        raise InputError("sets", expected=f"one of {sorted(READERS)}", got=got, fix=fix)
    return found


def _births(config: TrainConfig) -> Births:
    """The hazard of new lesions of all tables of them together; assumed where there is none."""
    sets = [settings for settings in config.sets if settings.layout == NEW_LESIONS]
    seen = [each for s in sets for each in read_new_lesions(Path(s.path))[: s.limit or None]]
    return Births.fit(seen) if sets else Births()


def _series(config: TrainConfig, actions: dict[str, str]) -> tuple[list[Series], list[float]]:
    """All series with the class of their action, and the weight of each."""
    series: list[Series] = []
    weights: list[float] = []
    for settings in _of_sizes(config):
        found = _read(settings)
        unknown = sorted({s.action for s in found} - set(actions))
        if unknown:
            fix = "add them to [model.actions]"
            raise InputError(f"{settings.layout}: actions", expected="a class each", got=str(unknown[:4]), fix=fix)
        group = GROUPS[settings.layout]
        series += [replace(s, action=actions[s.action], group=group, patient=f"{group}/{s.patient}") for s in found]
        weights += [settings.weight] * (len(series) - len(weights))
    return series, weights


def _read(settings: SetConfig) -> list[Series]:
    if settings.layout not in READERS:
        expected = f"one of {sorted([*READERS, NEW_LESIONS])}"
        raise InputError("layout", expected=expected, got=settings.layout, fix="correct the config")
    return READERS[settings.layout](Path(settings.path), settings.limit)


def _phantoms(first: Path, limit: int) -> list[Series]:
    """No table: a cohort drawn now, by the number that the path is on, `limit` patients of it.

    Who was under the drug from the first visit on is followed on it (`cytotoxic`), who never was without (`none`); of
    those who began between two visits the days before are known. The future is read with the error of a visit.
    """
    if not first.name.isdigit():
        raise InputError("path", expected="the number of a cohort", got=str(first), fix="correct the config")
    seed = int(first.name)
    cohort = make_treated(TreatedSettings(patients=limit or PHANTOMS, seed=seed))
    error = 3.0 * READING_SD * np.random.default_rng([seed, 24]).standard_normal(cohort.on.shape)
    days, found = np.concatenate([cohort.days, cohort.later_days]), list[Series]()
    for i, start in enumerate(cohort.start):
        always, never = bool(start <= cohort.days[0]), math.isinf(start)
        later = (cohort.on if always else cohort.off)[i] + error[i]
        log_ml = np.concatenate([cohort.log_ml[i], later])
        known = np.ones(len(days), bool) if always or never else days < start
        visits = zip(days[known].tolist(), np.exp(log_mm_of(np.exp(log_ml[known]))).tolist(), strict=True)
        found.append(Series.of(f"{seed}/{i}", visits, action="cytotoxic" if always else "none"))
    return found


READERS: dict[str, Callable[[Path, int], list[Series]]] = {
    "recist": lambda path, limit: read_recist(path)[: limit or None],
    "maeve": lambda path, limit: read_maeve(path)[: limit or None],
    "phantoms": _phantoms,
}


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
