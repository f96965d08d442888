"""Effects of actions from patients who were not randomised: adjusted by their history, beside the naive difference.

g-computation  mean over all patients of m_a(x) - m_b(x), m_a the outcome expected under action a given the history x
doubly robust  the same plus the residuals of those treated so, weighted by 1/P(a | x): right if either model is
               (Robins et al. 1994, J Am Stat Assoc 89:846); both are cross-fitted (Chernozhukov et al. 2018, Econom J
               21:C1)

It holds where the history carries whatever drove the choice of treatment; what is not in it cannot be adjusted for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from synth.errors import InputError

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

FOLDS = 5
LEAST_PROPENSITY = 0.02
LEAST_TREATED = 20
READING_ERROR = 0.03
"""A difference of ln mm that two readings of one scan differ by: no ranking rests on less."""
RIDGES = np.logspace(-2, 3, 11)


@dataclass(frozen=True)
class Effect:
    """The mean difference of an outcome between two actions, with its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class Study:
    """What is known of n patients.

    Attributes:
        history: (n, features) known before the choice, finite.
        action: (n,) which of the actions 0, 1, ... each got.
        outcome: (n,) what came.

    Raises InputError for arrays that do not fit, and for an action that too few patients got.
    """

    history: Float64
    action: Int64
    outcome: Float64

    def __post_init__(self) -> None:
        n = len(self.outcome)
        if self.history.shape[:1] != (n,) or self.action.shape != (n,) or not np.isfinite(self.history).all():
            got = f"{self.history.shape}, {self.action.shape}"
            raise InputError("study", expected=f"finite histories and actions of {n}", got=got, fix="complete them")
        counts = np.bincount(self.action)
        if counts.min() < LEAST_TREATED:
            expected = f"{LEAST_TREATED} patients or more under each action"
            raise InputError("study", expected=expected, got=str(counts.tolist()), fix="leave the rare ones out")

    def where(self, keep: NDArray[np.bool_]) -> tuple[Float64, Int64, Float64]:
        """Some of the patients."""
        return self.history[keep], self.action[keep], self.outcome[keep]


def naive_effect(study: Study, a: int, b: int) -> Effect:
    """Mean outcome of those who got b less that of those who got a: confounded wherever the sicker got one of them."""
    first, second = study.outcome[study.action == a], study.outcome[study.action == b]
    error = np.sqrt(first.var() / len(first) + second.var() / len(second))
    return Effect(float(second.mean() - first.mean()), float(error))


def adjusted_effect(study: Study, a: int, b: int, *, seed: int = 0) -> Effect:
    """The doubly robust effect of b rather than a, over all patients of the study.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sick = rng.normal(size=2000)
        >>> treated = (rng.uniform(size=2000) < 1 / (1 + np.exp(-2 * sick))).astype(int)
        >>> study = Study(sick[:, None], treated, sick - 0.5 * treated + 0.1 * rng.normal(size=2000))
        >>> bool(naive_effect(study, 0, 1).value > 0), bool(abs(adjusted_effect(study, 0, 1).value + 0.5) < 0.05)
        (True, True)
    """
    n = len(study.outcome)
    fold = np.random.default_rng(seed).permutation(n) % FOLDS
    influence = np.zeros(n)
    for each in range(FOLDS):
        held = fold == each
        outcome = OutcomeModels.fit(*study.where(~held))
        propensity = _propensity(study.history[~held], study.action[~held], study.history[held])
        for action, sign in ((b, 1.0), (a, -1.0)):
            expected = outcome.expected(study.history[held], action)
            got = study.action[held] == action
            weight = got / np.maximum(propensity[:, action], LEAST_PROPENSITY)
            influence[held] += sign * (expected + weight * (study.outcome[held] - expected))
    return Effect(float(influence.mean()), float(influence.std() / np.sqrt(n)))


@dataclass(frozen=True, eq=False)
class OutcomeModels:
    """The outcome expected under each action given the history: ridge regression on a cubic."""

    models: tuple[Any, ...]

    @classmethod
    def fit(cls, history: Float64, action: Int64, outcome: Float64) -> OutcomeModels:
        """One model an action."""
        return cls(tuple(_ridge().fit(history[action == a], outcome[action == a]) for a in range(action.max() + 1)))

    def expected(self, history: Float64, action: int) -> Float64:
        """(n,) the outcome under the action."""
        expected: Float64 = self.models[action].predict(history)
        return expected


@dataclass(frozen=True, eq=False)
class Ranking:
    """For each of m patients: the expected difference b less a with its interval, and the better action.

    Attributes:
        difference, low, high: (m,).
        better: (m,) a, b, or -1 to abstain: the interval holds zero.
    """

    difference: Float64
    low: Float64
    high: Float64
    better: Int64


def rank_actions(
    study: Study, history: Float64, a: int, b: int, *, draws: int = 60, level: float = 0.9, seed: int = 0
) -> Ranking:
    """Which action lowers the outcome (ln mm) of each patient of `history` (m, features): g-computation, bootstrapped.

    The interval holds the bootstrap's spread and a reader's error.
    """
    rng = np.random.default_rng(seed)
    n = len(study.outcome)
    drawn: list[Float64] = []
    while len(drawn) < draws:
        pick = rng.integers(n, size=n)
        models = OutcomeModels.fit(study.history[pick], study.action[pick], study.outcome[pick])
        drawn.append(models.expected(history, b) - models.expected(history, a))
    found = np.array(drawn)
    half = float(ndtri((1 + level) / 2)) * np.hypot(found.std(axis=0), READING_ERROR)
    middle = found.mean(axis=0)
    low, high = middle - half, middle + half
    better = np.where(high < 0, b, np.where(low > 0, a, -1)).astype(np.int64)
    return Ranking(middle, low, high, better)


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    return make_pipeline(StandardScaler(), PolynomialFeatures(3, include_bias=False), StandardScaler(), RidgeCV(RIDGES))


def _propensity(history: Float64, action: Int64, at: Float64) -> Float64:
    """(m, actions) P(action | history) by multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=2000)).fit(history, action)
    probability: Float64 = model.predict_proba(at)
    return probability
