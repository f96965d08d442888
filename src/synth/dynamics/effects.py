"""What a plan does to one lesion, beyond what was learned: laws with published forms, and assumptions named as such.

Everything is a change of ln V over the days ahead, (samples, H), added to the learned course of the lesion. The
spread comes from the patient's own standard normal draw, the same under every plan, so that plans differ by their
actions alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from synth.action import Ablation, Embolisation, Plan, Radiotherapy, Surgery
from synth.action.kinds import Timed
from synth.dynamics.futures import EffectSource, LesionHistory
from synth.dynamics.laws.treatment import LinearQuadratic, LogKill

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Assumptions:
    """Numbers that no data here can give; each is named in the provenance of a forecast that uses it.

    Attributes:
        alpha_per_gy, alpha_beta_gy: radiosensitivity of a carcinoma (Fowler 1989, Br J Radiol 62:679).
        alpha_spread: its log-normal spread between patients.
        clearance_days: half-life of dead cells.
        untreated: what the treatments of the training patients did on average; without treatment it is missing.
        doubling_days: of a lesion that was seen once, without treatment: the pooled doubling time of hepatocellular
            carcinoma, 4.6 months (Nathani et al. 2021, Gut 70:401).
        embolised: the effect of one embolisation.
        failure, failure_narrow: share of ablations that leave a rest, at a margin of 5 mm and more, and below.
        rest: share of the volume that such a rest is.
        room_ml: what a lesion can still gain, about 10^12 cells, a lethal burden (Norton 1988, Cancer Res 48:7067).
    """

    alpha_per_gy: float = 0.3
    alpha_beta_gy: float = 10.0
    alpha_spread: float = 0.3
    clearance_days: float = 30.0
    untreated: LogKill = field(default_factory=lambda: LogKill(0.006, 0.02))
    doubling_days: float = 140.0
    embolised: LogKill = field(default_factory=lambda: LogKill(0.03, 0.03))
    failure: float = 0.05
    failure_narrow: float = 0.2
    narrow_mm: float = 5.0
    rest: float = 0.02
    room_ml: float = 1000.0

    def bounded(self, change: Float64, volume_ml: float) -> Float64:
        """ln V(t) / V(now) of a lesion whose gain slows from half of the room on, and ends at the room.

        Example:
            >>> grown = Assumptions().bounded(np.log([0.5, 1.1, 40.0, 1000.0]), volume_ml=10.0)
            >>> (10.0 * np.exp(grown)).round().tolist()
            [5.0, 11.0, 400.0, 1010.0]
        """
        free = self.room_ml / 2.0
        gain = volume_ml * np.expm1(np.clip(change, 0.0, 50.0))
        slowed = free - free * np.expm1(-np.maximum(gain - free, 0.0) / free)
        return np.where(gain > free, np.log1p(slowed / volume_ml), change)

    def without_drugs(self, treated: Float64, days: Float64, *, visits: int) -> Float64:
        """(H,) the middle of ln V(day) / V(now) without treatment, from that of treated patients; 0 at day 0.

        A lesion that was seen once says nothing of its growth, and the treated shrink after their first visit: it is
        taken to double in `doubling_days`.
        """
        if visits == 1:
            return math.log(2.0) * days / self.doubling_days
        return treated - self.untreated.change(days)


@dataclass(frozen=True, eq=False)
class LocalEffect:
    """What local actions do to one lesion: (samples, H) of ln V, where each part comes from, and why."""

    change: Float64
    sources: tuple[EffectSource, ...]
    reasons: tuple[str, ...]


def local_effect(
    lesion: LesionHistory, plan: Plan, days: Float64, patient: Float64, own: Float64, assumed: Assumptions
) -> LocalEffect:
    """Surgery, ablation, embolisation and radiotherapy, as far as they reach the lesion.

    `days` (H,) ahead; `patient`, `own` (samples,) standard normal draws of the patient and of the lesion. What goes on
    since before today is left to `begun_before`.
    """
    change = np.zeros((len(patient), len(days)))
    sources: list[EffectSource] = []
    reasons: list[str] = []
    for action in plan.actions:
        if not _reached(lesion, action) or action.stop_day < 0 or _goes_on(action):
            continue
        after = days[None, :] - action.start_day
        if isinstance(action, Surgery):
            change = np.where(after >= 0, -np.inf, change)
            sources.append("law")
            reasons.append("surgery: what is removed is gone")
        elif isinstance(action, Ablation):
            change = change + _ablated(action, after, own, assumed)
            sources.append("assumed")
            reasons.append(f"ablation: {_failure(action, assumed):.0%} leave a rest, assumed")
        elif isinstance(action, Embolisation):
            change = change + np.where(after >= 0, assumed.embolised.change(after), 0.0)
            sources.append("assumed")
            reasons.append("embolisation: log-kill with assumed rates")
        elif isinstance(action, Radiotherapy):
            change = change + _irradiated(action, days, patient, assumed)
            sources.append("law")
            reasons.append("radiotherapy: linear-quadratic, alpha/beta 10 Gy; clearance of dead cells assumed")
    return LocalEffect(change, tuple(sources), tuple(reasons))


def begun_before(
    lesion: LesionHistory, past: Plan, days: Float64, patient: Float64, assumed: Assumptions
) -> LocalEffect:
    """What embolisations and radiotherapies that began before today still do: (samples, H) of ln V(day) / V(now).

    `days` (H,) from now may be negative: what they did at a visit is 0 now, and more before.
    """
    now, change = np.zeros(1), np.zeros((len(patient), len(days)))
    reasons: list[str] = []
    for action in past.actions:
        if not _reached(lesion, action) or not _goes_on(action):
            continue
        if isinstance(action, Embolisation):
            law = assumed.embolised.change
            change = change + law(days - action.start_day) - law(now - action.start_day)
        else:
            change = change + _irradiated(action, days, patient, assumed) - _irradiated(action, now, patient, assumed)
        reasons.append(f"{action.action} that began on day {action.start_day:g}: its law goes on")
    sources: tuple[EffectSource, ...] = ("assumed",) if reasons else ()
    return LocalEffect(change, sources, tuple(reasons))


def _reached(lesion: LesionHistory, action: Timed) -> bool:
    return bool({lesion.entity, *lesion.inside} & set(action.targets))


def _goes_on(action: Timed) -> TypeGuard[Embolisation | Radiotherapy]:
    """Whether it began before today and has a law of its own for the days after."""
    return isinstance(action, Embolisation | Radiotherapy) and action.start_day < 0


def _failure(action: Ablation, assumed: Assumptions) -> float:
    return assumed.failure if action.margin_mm >= assumed.narrow_mm else assumed.failure_narrow


def _ablated(action: Ablation, after: Float64, own: Float64, assumed: Assumptions) -> Float64:
    """Gone, or in the draws that fail a small rest."""
    fails = (ndtr(own) > 1.0 - _failure(action, assumed))[:, None]
    return np.where(after >= 0, np.where(fails, np.log(assumed.rest), -np.inf), 0.0)


def _irradiated(action: Radiotherapy, days: Float64, patient: Float64, assumed: Assumptions) -> Float64:
    """(samples, H) kill by the fractions given so far, in ten parts of the course, each cleared from its middle on."""
    alpha = assumed.alpha_per_gy * np.exp(assumed.alpha_spread * patient - assumed.alpha_spread**2 / 2)
    parts = np.linspace(action.start_day, action.stop_day, 21)[1::2]
    tumours = (LinearQuadratic(float(a), float(a) / assumed.alpha_beta_gy, assumed.clearance_days) for a in alpha)
    dose, fractions = action.dose_per_fraction_gy, action.fractions
    return np.stack([tumour.course(dose, fractions, parts, days) for tumour in tumours])
