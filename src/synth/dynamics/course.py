"""The course of one lesion under a plan, at any level of its distribution, and where each part of it comes from.

1 segments     d ln V = dF_a(t): under each stretch of the plan the learned course of its own action is followed
2 known past   a course is asked with the visits since its action began, and moved where that is older (`past`)
3 no drugs     the course of treated patients is moved to the lesion's own growth where the past is known, else to an
               assumed one (`effects`)
4 dose         under more or less than the usual dose the kill is scaled (`dose`)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from synth.action import Plan, SystemicTherapy
from synth.dynamics.dose import DoseResponse, Intensities, unusual
from synth.dynamics.effects import Assumptions
from synth.dynamics.futures import EffectSource, LesionHistory
from synth.dynamics.given import given_by
from synth.dynamics.history import Asked, Visits
from synth.dynamics.learner import Learner
from synth.dynamics.past import ANY_DRUG, Recalled
from synth.dynamics.rates import Rates
from synth.dynamics.series import FLOOR_MM, Series

Float64 = NDArray[np.float64]

NO_TREATMENT = "none"
"""The action of untreated series in training tables."""
TABLE = np.concatenate([[0.005, 0.01, 0.02], np.linspace(0.04, 0.96, 24), [0.98, 0.99, 0.995]])
TABLE = np.sort(np.append(TABLE, 0.5))


@dataclass(frozen=True, eq=False)
class Case:
    """One lesion, what is to be done, and what was done until now where that is known."""

    lesion: LesionHistory
    plan: Plan
    recalled: Recalled | None = None


@dataclass(frozen=True, eq=False)
class Followed:
    """(samples, H) of ln V(t)/V(now), where its parts come from, and why."""

    change: Float64
    sources: tuple[EffectSource, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Stretch:
    """Days from now in which one learned course stands for what is given.

    Attributes:
        start, stop: days; label: the action of the course, "" for the mean of all treated patients.
        classes: of the drugs given; presumed: those that the patients of the course were given all along.
        source, reason: how sure that is, and why.
        unusual: the classes that are not given at the usual dose.
    """

    start: float
    stop: float
    label: str
    classes: tuple[str, ...]
    presumed: tuple[str, ...]
    source: EffectSource
    reason: str
    unusual: Intensities


@dataclass(frozen=True, eq=False)
class Courses:
    """The learned courses of a group of patients, what is assumed where they end, and the laws of kill and dose."""

    learner: Learner
    group: str
    assumptions: Assumptions
    rates: Rates = field(default_factory=Rates.shipped)
    doses: DoseResponse = field(default_factory=DoseResponse.shipped)

    @property
    def learned_actions(self) -> tuple[str, ...]:
        """Classes of treatment whose course was learned from patients of the group."""
        own = {action for action, group in self.learner.ensemble.effects.by_group if group == self.group}
        return tuple(sorted({part for action in own for part in action.split(" + ")} - {""}))

    def follow(self, case: Case, days: Float64, u: Float64) -> Followed:
        """The change at levels `u` (samples, H) of the distribution at `days` (H,)."""
        change = np.zeros_like(u)
        sources: list[EffectSource] = []
        reasons: list[str] = []
        for each in self._stretches(case, days[-1]):
            late, early = np.minimum(np.maximum(days, each.start), each.stop), np.full_like(days, each.start)
            if (late > early).any():
                change += self._along(case, each, late, u) - self._along(case, each, early, u)
                sources.append(each.source)
                reasons.append(each.reason)
                if self._is_older(case, each):
                    sources.append("law")
                    reasons.append(f"{each.label or 'drugs'} since before the first visit: fading by law")
                if each.unusual:
                    given = given_by([case.plan] if case.recalled is None else [case.recalled.past, case.plan])
                    change += self.doses.change(each.unusual, self.rates, given, early, late)
                    why = self.doses.told(each.unusual, self.rates)
                    sources.extend(why[0])
                    reasons.extend(why[1])
        if case.recalled is not None:
            reasons.append(f"past known: {case.recalled.told}")
        return Followed(change, tuple(sources), tuple(reasons))

    def _stretches(self, case: Case, last: float) -> Iterator[Stretch]:
        drugs = [action for action in case.plan.actions if isinstance(action, SystemicTherapy)]
        ends = sorted({0.0, *(min(max(d, 0.0), last) for a in drugs for d in (a.start_day, a.stop_day))})
        for start, stop in zip(ends, [*ends[1:], np.inf], strict=True):
            going = [action for action in drugs if action.start_day <= start < action.stop_day]
            classes = tuple(sorted({name for action in going for name in action.classes}))
            label, presumed, source, reason = self._stands_for(classes, known=case.recalled is not None)
            yield Stretch(start, stop, label, classes, presumed, source, reason, unusual(going))

    def _stands_for(self, classes: tuple[str, ...], *, known: bool) -> tuple[str, tuple[str, ...], EffectSource, str]:
        """Which learned course stands for these classes of drugs, what it presumes, and how sure that is."""
        label = " + ".join(classes) if classes else NO_TREATMENT
        learned = self.learned_actions
        if classes and set(classes) <= set(learned):
            source: EffectSource = "learned" if len(classes) == 1 else "assumed"
            reason = f"{label}: course of treated patients in the training tables"
            return label, classes, source, reason
        if not classes and NO_TREATMENT in learned:
            reason = "no drugs: course of untreated patients in the training tables"
            return NO_TREATMENT, (), "learned", reason
        if not classes:
            moved = "its own growth, shrunken to an assumed one" if known else "an assumed growth"
            reason = f"no drugs: course of treated patients, moved to {moved}"
            return NO_TREATMENT, (ANY_DRUG,), "assumed", reason
        reason = f"{label}: not in the training tables, the mean course of treated patients stands for it"
        return "", (ANY_DRUG,), "assumed", reason

    def _along(self, case: Case, stretch: Stretch, days: Float64, u: Float64) -> Float64:
        """(samples, H) of ln V along one learned course."""
        unlearned = self._is_unlearned(stretch)
        known = None if unlearned else case.recalled
        lesion = case.lesion if known is None else known.under(case.plan, stretch.classes, stretch.start)
        unique, back = np.unique(days, return_inverse=True)
        past = _visits(lesion)
        series = [Series(lesion.entity, past.days, past.log_mm, "" if unlearned else stretch.label, self.group)]
        table = 3.0 * self.learner.quantiles(series, _asked(past, unique), TABLE)[back]
        table = np.maximum.accumulate(table, axis=1)
        drawn = np.stack([np.interp(u[:, i], TABLE, table[i]) for i in range(len(days))], axis=1)
        drawn[:, days == 0.0] = 0.0
        if known is not None and self._is_older(case, stretch):
            return drawn + known.beyond(case.plan, stretch.presumed, days)
        if not unlearned:
            return drawn
        middle = table[:, int(np.searchsorted(TABLE, 0.5))]
        if case.recalled is not None:
            return drawn + case.recalled.expected(case.plan, days) - middle
        return drawn + self.assumptions.without_drugs(middle, days, visits=len(past.days)) - middle

    def _is_unlearned(self, stretch: Stretch) -> bool:
        """Whether there are no drugs, and no patient without was learned from."""
        return stretch.label == NO_TREATMENT and NO_TREATMENT not in self.learned_actions

    def _is_older(self, case: Case, stretch: Stretch) -> bool:
        """Whether a learned course goes on since before the first visit, which the tables do not show."""
        known = case.recalled
        return known is not None and known.is_older(case.plan, stretch.classes, stretch.start)


def _visits(lesion: LesionHistory) -> Visits:
    """Changes from the volumes, which are surer than one diameter; the level from the diameter now."""
    log_volume = np.log(np.maximum(np.asarray(lesion.volume_ml, np.float64), 1e-6))
    log_mm = np.log(lesion.longest_mm[-1]) + (log_volume - log_volume[-1]) / 3.0
    return Visits(np.asarray(lesion.days, np.float64), np.maximum(log_mm, np.log(FLOOR_MM)))


def _asked(past: Visits, days: Float64) -> Asked:
    """One question for each horizon; the answers are not known."""
    n = len(days)
    rows = np.array([np.concatenate([past.summary, past.ahead(float(d))]) for d in days])
    last = np.full(n, past.log_mm[-1])
    return Asked(rows, last, days, last, np.zeros(n, np.int64), np.full(n, len(past.days), np.int64))
