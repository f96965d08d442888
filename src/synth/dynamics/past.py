"""What a known past says of one lesion: which visits show what goes on, and how it grows without.

The learned courses are of patients under one action from their first visit on. So a course is asked with the visits
since its action began, the last one before included. Where that was before the first visit, the tables do not show
it, and the law tells what the days before change:

    ln V(t) / V(now) = course of action a + m(t | visits, what was given) - m(t | visits, a from the first visit on)

m the expectation of `rates`. Without drugs, for which no patients were learned from, the middle is m itself: growth and
what the drugs did are told apart by what was given between which visits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from synth.action import Plan
from synth.dynamics.effects import Assumptions, LocalEffect, begun_before
from synth.dynamics.futures import LesionHistory
from synth.dynamics.given import Given, given_by
from synth.dynamics.rates import LesionRates, Rates

Float64 = NDArray[np.float64]

ANY_DRUG = "any"
"""The class that stands for all treated patients; no table has it, so that its kill is the `other` of `Rates`."""


@dataclass(frozen=True, eq=False)
class Recalled:
    """One lesion and what was done until now.

    Attributes:
        lesion: with its visits.
        past: what was done (`synth.dynamics.given.known_past`).
        rates: the population; assumed: of laws without data.
    """

    lesion: LesionHistory
    past: Plan
    rates: Rates
    assumed: Assumptions

    @cached_property
    def own(self) -> LesionRates:
        """The rates that the visits show under what was given."""
        return self._rates(given_by([self.past]).until(0.0))

    def expected(self, plan: Plan, days: Float64) -> Float64:
        """(H,) ln V(day) / V(now) by law, from the past as it was and the plan."""
        return self.own.change(given_by([plan]), days)

    def under(self, plan: Plan, classes: tuple[str, ...], day: float) -> LesionHistory:
        """The lesion at the visits that show what these drugs do, given at `day`: from the last one before them on."""
        began, days = self._began(plan, classes, day), self._days
        first = int(np.flatnonzero(days <= max(began, days[0]))[-1])
        names = ("days", "longest_mm", "volume_ml")
        return replace(self.lesion, **{name: getattr(self.lesion, name)[first:] for name in names})

    def is_older(self, plan: Plan, classes: tuple[str, ...], day: float) -> bool:
        """Whether these drugs, given at `day`, began before the first visit."""
        return bool(self._began(plan, classes, day) < self._days[0]) and bool(classes)

    def beyond(self, plan: Plan, presumed: Sequence[str], days: Float64) -> Float64:
        """(H,) what the law expects more of what was given than of `presumed` from the first visit on."""
        first = float(self._days[0])
        courses = Given(tuple((name, first, math.inf) for name in presumed))
        return self.expected(plan, days) - self._rates(courses).change(Given(), days)

    def _began(self, plan: Plan, classes: tuple[str, ...], day: float) -> float:
        return given_by([self.past, plan]).since(classes, day)

    def local(self, days: Float64, patient: Float64) -> LocalEffect:
        """What local actions of before still do; `patient` (samples,) as in `effects`."""
        return begun_before(self.lesion, self.past, days, patient, self.assumed)

    def _rates(self, given: Given) -> LesionRates:
        """From the visits, less what local actions did."""
        days, volume = self._days, np.asarray(self.lesion.volume_ml, np.float64)
        days, volume = days[volume > 0.0], volume[volume > 0.0]
        return self.rates.of(days, np.log(volume) - self.local(days, np.zeros(1)).change[0], given)

    @property
    def _days(self) -> Float64:
        """(visits,) from now."""
        days = np.asarray(self.lesion.days, np.float64)
        return days - days[-1]

    @property
    def told(self) -> str:
        """What was found, for the provenance."""
        kills = "".join(f", {name} {1e3 * kill:.1f}" for name, kill in self.own.kills.items())
        return f"growth {1e3 * self.own.growth:.1f}{kills} per 1000 days, {self.own.own:.0%} of it its own"
