"""What was given, as features: the parts of the action, and how lesions grew under it elsewhere, shrunken.

Of the groups it says the same regardless of the action, for what goes by patients alone.

For action a of n_a questions with mean rate r_a, the empirical-Bayes effect is (n_a r_a + c r) / (n_a + c), r the
mean of all. While fitting, a patient's own outcome never enters the effect that stands beside it: effects are
cross-fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.history import Asked
from synth.dynamics.series import Series, folds_of

Float64 = NDArray[np.float64]

PRIOR = 60.0
"""How many questions the prior of an effect counts for."""
INNER = 8
GIVEN, GROUP, COLUMNS = slice(0, 4), slice(4, 6), 6
MONTH = 30.0


@dataclass(frozen=True, eq=False)
class Effects:
    """Shrunken mean rate of change under each action, under each action in each group, and in each group.

    Attributes:
        mean: over all questions, ln mm per square root of a month.
        by_action, by_group: the effects; what was never seen has the mean, or the action's own.
        of_group: of each group, whatever was given.
    """

    mean: float
    by_action: Mapping[str, float]
    by_group: Mapping[tuple[str, str], float]
    of_group: Mapping[str, float]

    @classmethod
    def fit(cls, series: Sequence[Series], asked: Asked) -> Effects:
        rate = (asked.truth - asked.last) / root_months(asked)
        mean = float(rate.mean()) if len(rate) else 0.0
        actions = np.array([series[i].action for i in asked.series])
        groups = np.array([series[i].group for i in asked.series])
        by_action = {str(a): _shrunken(rate[actions == a], mean) for a in np.unique(actions)}
        pairs = sorted({(str(a), str(g)) for a, g in zip(actions, groups, strict=True)})
        by_group = {(a, g): _shrunken(rate[(actions == a) & (groups == g)], by_action[a]) for a, g in pairs}
        of_group = {str(g): _shrunken(rate[groups == g], mean) for g in np.unique(groups)}
        return cls(mean, by_action, by_group, of_group)

    def of(self, series: Sequence[Series], asked: Asked) -> Float64:
        """(n, 6) rates and the changes that they mean over the horizon: of the action (`GIVEN`), of the `GROUP`."""
        action = np.array([self.by_action.get(s.action, self.mean) for s in series])
        group = np.array(
            [self.by_group.get((s.action, s.group), a) for s, a in zip(series, action, strict=True)], np.float64
        )
        own = np.array([self.of_group.get(s.group, self.mean) for s in series])
        given, apart = np.stack([action, group], axis=1)[asked.series], own[asked.series, None]
        root = root_months(asked)[:, None]
        return np.concatenate([given, given * root, apart, apart * root], axis=1)


def root_months(asked: Asked) -> Float64:
    """Square root of the horizon in months: the pace at which observed changes widen."""
    root: Float64 = np.sqrt(np.maximum(asked.ahead_days, 1.0) / MONTH)
    return root


def cross_fitted(series: Sequence[Series], asked: Asked, seed: int) -> Float64:
    """(n, 6) like `Effects.of`, each row's from the patients of other folds."""
    present = sorted(set(asked.series.tolist()))
    patients = len({series[i].patient for i in present})
    if patients < 2:
        return Effects.fit(series, asked).of(series, asked)
    fold = np.zeros(len(series), np.int64)
    fold[present] = folds_of([series[i] for i in present], min(INNER, patients), seed)
    row_fold, found = fold[asked.series], np.zeros((len(asked), COLUMNS))
    for each in range(int(row_fold.max()) + 1):
        held = row_fold == each
        found[held] = Effects.fit(series, asked.where(~held)).of(series, asked.where(held))
    return found


@dataclass(frozen=True)
class Vocabulary:
    """The parts of actions ("a + b" has two) and the groups that were trained on; what is unknown is none of them."""

    parts: tuple[str, ...]
    groups: tuple[str, ...]

    @classmethod
    def of(cls, series: Sequence[Series], *, with_action: bool = True) -> Vocabulary:
        """Those of the series."""
        parts = sorted({part for s in series for part in parts_of(s.action)}) if with_action else []
        return cls(tuple(parts), tuple(sorted({s.group for s in series if s.group})))

    def encode(self, series: Sequence[Series]) -> Float64:
        """(n, parts + groups) of zeros and ones."""
        rows = [[p in parts_of(s.action) for p in self.parts] + [g == s.group for g in self.groups] for s in series]
        return np.array(rows, np.float64).reshape(len(series), len(self.parts) + len(self.groups))


def parts_of(action: str) -> tuple[str, ...]:
    """The actions that a combination is made of."""
    return tuple(part for part in action.split(" + ") if part)


def _shrunken(rates: Float64, towards: float) -> float:
    return float((rates.sum() + PRIOR * towards) / (len(rates) + PRIOR))
