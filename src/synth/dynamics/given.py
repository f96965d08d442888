"""Which classes of drug were given on which days, before now and after, as the laws of `rates` need it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.action import Observation, Plan, SystemicTherapy
from synth.action.kinds import Timed
from synth.errors import InputError

Float64 = NDArray[np.float64]
Course = tuple[str, float, float]
CYCLE_DAYS = 28.0
"""Most drugs are given every two to four weeks: a shorter pause between two courses is a part of the schedule."""


@dataclass(frozen=True)
class Given:
    """Courses of drugs: (class, first day, last day), days from now; the last day may be infinite.

    Attributes:
        courses: in any order; two of one class may overlap, and a day counts once.

    Raises `InputError` for a course that ends before it starts.

    Example:
        >>> given = Given((("cytotoxic", -84.0, -42.0), ("cytotoxic", -63.0, 21.0)))
        >>> given.exposed("cytotoxic", np.array([-84.0, -42.0, 0.0, 90.0])).tolist()
        [0.0, 42.0, 84.0, 105.0]
    """

    courses: tuple[Course, ...] = ()

    def __post_init__(self) -> None:
        for name, start, stop in self.courses:
            if not start <= stop or not math.isfinite(start):
                got = f"{start:g} to {stop:g}"
                raise InputError(f"course of '{name}'", expected="a first and a last day", got=got, fix="swap the days")

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of drug, each once, in alphabetical order."""
        return tuple(sorted({name for name, _, _ in self.courses}))

    def until(self, day: float) -> Given:
        """What was given before `day`."""
        return Given(tuple((name, start, min(stop, day)) for name, start, stop in self.courses if start < day))

    def since(self, classes: tuple[str, ...], day: float) -> float:
        """The day from which on these classes, and no others, were given until `day`; -inf where it was ever so.

        A pause of less than `CYCLE_DAYS` is none.

        Example:
            >>> given = Given((("cytotoxic", -84.0, -42.0), ("targeted", -42.0, 90.0)))
            >>> given.since(("targeted",), 0.0), given.since(("cytotoxic",), 0.0), given.since((), 120.0)
            (-42.0, 0.0, 90.0)
        """
        changes = [-math.inf]
        for name in {*self.classes, *classes}:
            spans = _apart(((a, b) for each, a, b in self.courses if each == name and a < day), CYCLE_DAYS)
            if name not in classes:
                changes += [min(stop, day) for _, stop in spans]
            else:
                changes.append(spans[-1][0] if spans and spans[-1][1] >= day - CYCLE_DAYS else day)
        return max(changes)

    def exposed(self, name: str, days: Float64) -> Float64:
        """(n,) how many days the class was given until each of `days` (n,)."""
        total = np.zeros(len(days))
        for start, stop in _apart((start, stop) for each, start, stop in self.courses if each == name):
            total += np.clip(days - start, 0.0, stop - start)
        return total


def given_by(plans: Iterable[Plan]) -> Given:
    """The drugs of some plans together; what local actions do is in `effects`."""
    drugs = [action for plan in plans for action in plan.actions if isinstance(action, SystemicTherapy)]
    return Given(tuple((name, each.start_day, each.stop_day) for each in drugs for name in each.classes))


def known_past(past: Plan | None, plan: Plan) -> Plan | None:
    """What was done until now: `past` and whatever of `plan` began before today; None where neither says anything.

    Days that a known past does not mention are days without treatment.

    Raises:
        InputError: an action of `past` that begins after today, or what cannot have been done together.

    Example:
        >>> watch = Plan(name="watch", actions=(Observation(start_day=0, stop_day=90),))
        >>> known_past(None, watch) is None, known_past(Plan(name="nothing until now"), watch).name
        (True, 'nothing until now')
    """
    begun = tuple(action for action in plan.actions if action.start_day < 0)
    if past is None:
        return Plan(name=f"before: {plan.name}"[:120], actions=begun) if begun else None
    late = [action for action in past.actions if action.start_day > 0]
    if late:
        got = f"{late[0].action} from day {late[0].start_day:g} on"
        raise InputError(f"past plan '{past.name}'", expected="what began by day 0", got=got, fix="put it into --plan")
    return Plan(name=past.name, actions=(*(a for a in past.actions if not _again(a, begun)), *begun))


def _again(action: Timed, others: Iterable[Timed]) -> bool:
    """Whether another plan says the same, or observation of the past meets a treatment that the plan tells of."""
    return any(action == other or (isinstance(action, Observation) and action.overlaps(other)) for other in others)


def _apart(intervals: Iterable[tuple[float, float]], pause: float = 0.0) -> list[tuple[float, float]]:
    """The union of the intervals as intervals that lie more than a pause apart."""
    found: list[tuple[float, float]] = []
    for start, stop in sorted(intervals):
        if found and start <= found[-1][1] + pause:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return found
