"""The dynamics model: a patient's history and a plan in, samples of the future out.

1 learned course   each lesion's distribution at any horizon, under the class of drug that goes on (`learner`)
2 draws            one standard normal for the patient, one for each lesion, one slow course in time: lesions of a
                   patient move together, and the same seed draws the same under every plan
3 course           each stretch of the plan follows the course of its own action, moved by a known past (`course`)
4 local actions    surgery, ablation, embolisation, radiotherapy (`effects`), new lesions (`births`)
5 disappearance    the draws in which a lesion goes, never to come back (`deaths`)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from synth.action import Plan
from synth.dynamics.births import Births, Seen
from synth.dynamics.course import Case, Courses
from synth.dynamics.deaths import GRID, Deaths
from synth.dynamics.effects import Assumptions, LocalEffect, local_effect
from synth.dynamics.futures import EffectSource, LesionHistory, PatientFutures, PatientHistory, weakest
from synth.dynamics.given import given_by, known_past
from synth.dynamics.learner import Learner
from synth.dynamics.past import Recalled
from synth.dynamics.rates import Rates
from synth.dynamics.series import FLOOR_MM
from synth.errors import InputError

Float64 = NDArray[np.float64]

GONE_MM = 1.01 * FLOOR_MM
GONE_CHANGE = -0.2
WAVES = 16
MOST_DAYS, MOST_SAMPLES = 3653.0, 100_000


@dataclass(frozen=True)
class Correlation:
    """How the spread of a forecast is shared: variances of the patient's, the lesion's and the moment's part.

    `persistent` is measured on held-out patients (two horizons of one lesion); the share of it that the lesions of
    one patient have in common is assumed, for the training tables follow one lesion a patient.
    """

    persistent: float = 0.8
    common: float = 0.5

    @property
    def parts(self) -> tuple[float, float, float]:
        """Patient, lesion, moment; they sum to one."""
        return self.persistent * self.common, self.persistent * (1 - self.common), 1 - self.persistent


@dataclass(frozen=True, eq=False)
class DynamicsModel:
    """p(z' | z, a, dt) for sizes and counts of lesions.

    Attributes:
        learner: the learned course of one lesion.
        group: which of the training groups a patient belongs to.
        correlation, births, deaths, rates, assumptions: the rest of the model.
        sha256: of the weights file, "" for one that was never stored.

    Example:
        >>> from synth.action import Plan, Observation
        >>> from synth.dynamics import DynamicsModel, LesionHistory, PatientHistory
        >>> model = DynamicsModel.from_pretrained()
        >>> lesion = LesionHistory("a", "liver", (0.0, 56.0), (20.0, 24.0), (4.2, 7.2))
        >>> watch = Plan(name="watch", actions=(Observation(start_day=0, stop_day=180),))
        >>> futures = model.forecast(PatientHistory((lesion,)), watch, [0.0, 90.0], samples=8, seed=0)
        >>> futures.log_ratio["a"].shape, bool((futures.log_ratio["a"][:, 0] == 0).all())
        ((8, 2), True)
    """

    learner: Learner
    group: str = ""
    correlation: Correlation = field(default_factory=Correlation)
    births: Births = field(default_factory=Births)
    deaths: Deaths = field(default_factory=Deaths.shipped)
    rates: Rates = field(default_factory=Rates.shipped)
    assumptions: Assumptions = field(default_factory=Assumptions)
    sha256: str = ""

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None) -> DynamicsModel:
        """Read a weights folder; None is the shipped one. Raises InputError for what is no dynamics model."""
        from synth.dynamics.stored import load

        return load(path)

    def save_pretrained(self, path: str | Path, card: str = "") -> None:
        """Write config.json, model.safetensors and, where there is one, the model card README.md."""
        from synth.dynamics.stored import save

        save(self, Path(path), card)

    @property
    def courses(self) -> Courses:
        """The learned courses of the group."""
        return Courses(self.learner, self.group, self.assumptions, self.rates)

    @property
    def learned_actions(self) -> tuple[str, ...]:
        """Classes of treatment whose course was learned from patients of the group."""
        return self.courses.learned_actions

    def forecast(
        self, history: PatientHistory, plan: Plan, days_ahead: Sequence[float], *, samples: int, seed: int
    ) -> PatientFutures:
        """Draw `samples` futures at `days_ahead` (H,), in days from the last visit.

        The same seed uses the same draws whatever the plan, the horizons and the other lesions are. What was done
        until now is `history.past` and whatever of `plan` began before today; where neither says anything, the visits
        are read as those of a patient of the training tables.

        Raises InputError for horizons that do not increase or lie outside 0 to ten years, for no samples, and for a
        past that begins after today.
        """
        days = _checked(days_ahead, samples, seed)
        past = known_past(history.past, plan)
        patient = _rng(seed, "patient").standard_normal(samples)
        made = {each.entity: self._lesion(self.case(each, plan, past), days, patient, seed) for each in history.lesions}
        seen, frailty = Seen.of(history.lesions), _rng(seed, "frailty").standard_normal(samples)
        births = self.births.sample(days, frailty, _rng(seed, "births"), seen)
        provenance = self._provenance(plan, seed, samples) | {
            "births": self.births.told(seen),
            "past": "unknown: the visits are read as those of the training tables" if past is None else past.name,
            "effects": [f"{id}: {reason}" for id, each in made.items() for reason in each.reasons],
        }
        return PatientFutures(
            days=days,
            log_ratio={id: each.change for id, each in made.items()},
            births=births,
            effect_source=weakest(*(source for each in made.values() for source in each.sources)),
            provenance=provenance,
            gone={id: each.gone for id, each in made.items()},
        )

    def case(self, lesion: LesionHistory, plan: Plan, past: Plan | None) -> Case:
        """One lesion as `courses` and `deaths` are asked about it."""
        known = None if past is None else Recalled(lesion, past, self.rates, self.assumptions)
        return Case(lesion, plan, known)

    def _lesion(self, case: Case, days: Float64, patient: Float64, seed: int) -> LesionFutures:
        lesion = case.lesion
        own = _rng(seed, "lesion", lesion.entity).standard_normal(len(patient))
        moment = _slow_course(_rng(seed, "moment", lesion.entity), days, len(patient))
        shares = np.sqrt(self.correlation.parts)
        u = ndtr(shares[0] * patient[:, None] + shares[1] * own[:, None] + shares[2] * moment)
        one = self.courses.follow(case, days, u)
        local = self._local(case, days, patient, own)
        # A lesion at the floor of what is measured has gone; nothing that was cut out grows again.
        total = self.assumptions.bounded(one.change + local.change, lesion.volume_ml[-1])
        small = np.log(lesion.longest_mm[-1]) + total / 3.0 <= np.log(GONE_MM)
        total = np.where(small & (total <= GONE_CHANGE), -np.inf, total)
        total[:, days == 0.0] = local.change[:, days == 0.0]
        lowest = ndtr((shares[0] * patient + shares[1] * own) / math.hypot(shares[0], shares[1]))
        gone = np.isneginf(total) | self._dies(case, lowest, days)
        return LesionFutures(
            total,
            np.logical_or.accumulate(gone, axis=1),
            (*one.sources, *local.sources),
            (*one.reasons, *local.reasons),
        )

    def _local(self, case: Case, days: Float64, patient: Float64, own: Float64) -> LocalEffect:
        """What is done to the lesion in place, and what was begun before."""
        done = local_effect(case.lesion, case.plan, days, patient, own, self.assumptions)
        if case.recalled is None:
            return done
        before = case.recalled.local(days, patient)
        return LocalEffect(
            done.change + before.change, (*done.sources, *before.sources), (*done.reasons, *before.reasons)
        )

    def _dies(self, case: Case, rank: Float64, days: Float64) -> NDArray[np.bool_]:
        """(samples, H) the draws in which it has disappeared; the middle of its course says how many."""
        middle = self.courses.follow(case, GRID, np.full((1, len(GRID)), 0.5)).change
        middle = middle + self._local(case, GRID, np.zeros(1), np.zeros(1)).change
        log_mm = np.log(case.lesion.longest_mm[-1]) + middle[0] / 3.0
        return self.deaths.gone(rank, log_mm, given_by([case.plan]), days)

    def _provenance(self, plan: Plan, seed: int, samples: int) -> dict[str, Any]:
        return {
            "weights_sha256": self.sha256,
            "plan": plan.name,
            "seed": seed,
            "samples": samples,
            "learned_actions": list(self.learned_actions),
            "deaths": self.deaths.told,
            "growth": f"assumed: a lesion can gain {self.assumptions.room_ml:g} mL at most",
            "shared_by_lesions": f"assumed: {self.correlation.common:g} of the persistent variance",
        }

    def with_weights(self, sha256: str) -> DynamicsModel:
        """The model as read from a file of this hash."""
        return replace(self, sha256=sha256)


@dataclass(frozen=True, eq=False)
class LesionFutures:
    """(samples, H) of ln V(t)/V(now) of one lesion, whether it has gone, where its parts come from, and why."""

    change: Float64
    gone: NDArray[np.bool_]
    sources: tuple[EffectSource, ...]
    reasons: tuple[str, ...]


def _slow_course(rng: np.random.Generator, days: Float64, samples: int) -> Float64:
    """(samples, H) standard normal, smooth in log time: random Fourier features (Rahimi and Recht 2007, NeurIPS)."""
    pitch = rng.standard_normal((samples, 1, WAVES))
    phase = rng.uniform(0.0, 2 * np.pi, (samples, 1, WAVES))
    course: Float64 = np.sqrt(2.0 / WAVES) * np.cos(pitch * np.log1p(days / 30.0)[None, :, None] + phase).sum(axis=2)
    return course


def _rng(seed: int, *words: str) -> np.random.Generator:
    """A stream of its own for each name, so that adding a lesion does not move the draws of another."""
    digest = hashlib.sha256("/".join(words).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def _checked(days_ahead: Sequence[float], samples: int, seed: int) -> Float64:
    days = np.asarray(days_ahead, np.float64)
    fine = days.ndim == 1 and len(days) > 0 and np.isfinite(days).all() and (np.diff(days) > 0).all()
    if not fine or days[0] < 0 or days[-1] > MOST_DAYS:
        expected = f"increasing days from 0 to {MOST_DAYS:g}"
        raise InputError("days ahead", expected=expected, got=str(list(days_ahead)[:9]), fix="sort them")
    if not 1 <= samples <= MOST_SAMPLES or seed < 0:
        expected = f"1 to {MOST_SAMPLES} samples and a seed from 0 on"
        raise InputError("forecast", expected=expected, got=f"{samples}, seed {seed}", fix="choose others")
    return days
