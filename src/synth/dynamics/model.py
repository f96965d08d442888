"""The dynamics model: a patient's history and a plan in, samples of the future out.

1 learned course   each lesion's distribution at any horizon, under the class of drug that goes on (`learner`)
2 draws            one standard normal for the patient, one for each lesion, one slow course in time: lesions of a
                   patient move together, and the same seed draws the same under every plan
3 segments         d ln V = dF_a(t): under each stretch of the plan the course of its own action is followed
4 local actions    surgery, ablation, embolisation, radiotherapy (`effects`), new lesions (`births`)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from synth.action import Plan, SystemicTherapy
from synth.dynamics.births import Births
from synth.dynamics.effects import Assumptions, local_effect
from synth.dynamics.futures import EffectSource, LesionHistory, PatientFutures, PatientHistory, weakest
from synth.dynamics.history import Asked, Visits
from synth.dynamics.learner import Learner
from synth.dynamics.series import FLOOR_MM, Series
from synth.errors import InputError

Float64 = NDArray[np.float64]

NO_TREATMENT = "none"
"""The action of untreated series in training tables."""
TABLE = np.concatenate([[0.005, 0.01, 0.02], np.linspace(0.04, 0.96, 24), [0.98, 0.99, 0.995]])
TABLE = np.sort(np.append(TABLE, 0.5))
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
        correlation, births, assumptions: the rest of the model.
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
    def learned_actions(self) -> tuple[str, ...]:
        """Classes of treatment whose course was learned from patients of the group."""
        own = {action for action, group in self.learner.ensemble.effects.by_group if group == self.group}
        return tuple(sorted({part for action in own for part in action.split(" + ")} - {""}))

    def forecast(
        self, history: PatientHistory, plan: Plan, days_ahead: Sequence[float], *, samples: int, seed: int
    ) -> PatientFutures:
        """Draw `samples` futures at `days_ahead` (H,), in days from the last visit.

        The same seed uses the same draws whatever the plan, the horizons and the other lesions are.

        Raises InputError for horizons that do not increase or lie outside 0 to ten years, and for no samples.
        """
        days = _checked(days_ahead, samples, seed)
        patient = _rng(seed, "patient").standard_normal(samples)
        change: dict[str, Float64] = {}
        sources: list[EffectSource] = []
        reasons: list[str] = []
        for lesion in history.lesions:
            one = self._lesion(lesion, plan, days, patient, seed)
            change[lesion.entity] = one.change
            sources += one.sources
            reasons += [f"{lesion.entity}: {reason}" for reason in one.reasons]
        births = self.births.sample(days, _rng(seed, "frailty").standard_normal(samples), _rng(seed, "births"))
        return PatientFutures(days, change, births, weakest(*sources), self._provenance(plan, seed, samples, reasons))

    def _lesion(self, lesion: LesionHistory, plan: Plan, days: Float64, patient: Float64, seed: int) -> LesionFutures:
        own = _rng(seed, "lesion", lesion.entity).standard_normal(len(patient))
        moment = _slow_course(_rng(seed, "moment", lesion.entity), days, len(patient))
        shares = np.sqrt(self.correlation.parts)
        u = ndtr(shares[0] * patient[:, None] + shares[1] * own[:, None] + shares[2] * moment)
        change, sources, reasons = self._systemic(lesion, plan, days, u)
        local = local_effect(lesion, plan, days, patient, own, self.assumptions)
        # A lesion at the floor of what is measured has gone; nothing that was cut out grows again.
        total = change + local.change
        small = np.log(lesion.longest_mm[-1]) + total / 3.0 <= np.log(GONE_MM)
        total = np.where(small & (total <= GONE_CHANGE), -np.inf, total)
        total[:, days == 0.0] = local.change[:, days == 0.0]
        return LesionFutures(total, (*sources, *local.sources), (*reasons, *local.reasons))

    def _systemic(
        self, lesion: LesionHistory, plan: Plan, days: Float64, u: Float64
    ) -> tuple[Float64, list[EffectSource], list[str]]:
        """(samples, H) of ln V: each stretch of the plan follows the course of the drugs that go on in it."""
        ends = sorted({0.0, *(min(max(d, 0.0), days[-1]) for a in _drugs(plan) for d in (a.start_day, a.stop_day))})
        change = np.zeros_like(u)
        sources: list[EffectSource] = []
        reasons: list[str] = []
        for start, stop in zip(ends, [*ends[1:], np.inf], strict=True):
            going = [a for a in _drugs(plan) if a.start_day <= start < a.stop_day]
            classes = sorted({name for action in going for name in action.classes})
            label, source, reason = self._course(classes)
            late, early = np.minimum(np.maximum(days, start), stop), np.full_like(days, start)
            if (late > early).any():
                change += self._along(lesion, label, late, u) - self._along(lesion, label, early, u)
                sources.append(source)
                reasons.append(reason)
        return change, sources, reasons

    def _course(self, classes: Sequence[str]) -> tuple[str, EffectSource, str]:
        """Which learned course stands for these classes of drugs, and how sure that is."""
        label = " + ".join(classes) if classes else NO_TREATMENT
        known = self.learned_actions
        if classes and set(classes) <= set(known):
            source: EffectSource = "learned" if len(classes) == 1 else "assumed"
            return label, source, f"{label}: course of treated patients in the training tables"
        if not classes and NO_TREATMENT in known:
            return NO_TREATMENT, "learned", "no drugs: course of untreated patients in the training tables"
        if not classes:
            return NO_TREATMENT, "assumed", "no drugs: course of treated patients, moved to an assumed growth"
        return "", "assumed", f"{label}: not in the training tables, the mean course of treated patients stands for it"

    def _along(self, lesion: LesionHistory, label: str, days: Float64, u: Float64) -> Float64:
        """(samples, H) of ln V along one learned course."""
        assumed_off = label == NO_TREATMENT and NO_TREATMENT not in self.learned_actions
        unique, back = np.unique(days, return_inverse=True)
        past = _visits(lesion)
        series = [Series(lesion.entity, past.days, past.log_mm, "" if assumed_off else label, self.group)]
        table = 3.0 * self.learner.quantiles(series, _asked(past, unique), TABLE)[back]
        table = np.maximum.accumulate(table, axis=1)
        drawn = np.stack([np.interp(u[:, i], TABLE, table[i]) for i in range(len(days))], axis=1)
        drawn[:, days == 0.0] = 0.0
        if not assumed_off:
            return drawn
        middle = table[:, int(np.searchsorted(TABLE, 0.5))]
        return drawn + self.assumptions.without_drugs(middle, days, visits=len(past.days)) - middle

    def _provenance(self, plan: Plan, seed: int, samples: int, reasons: list[str]) -> dict[str, Any]:
        return {
            "weights_sha256": self.sha256,
            "plan": plan.name,
            "seed": seed,
            "samples": samples,
            "learned_actions": list(self.learned_actions),
            "effects": reasons,
            "births": f"assumed: {self.births.per_year:g} a year, frailty variance {self.births.frailty:g}",
            "shared_by_lesions": f"assumed: {self.correlation.common:g} of the persistent variance",
        }

    def with_weights(self, sha256: str) -> DynamicsModel:
        """The model as read from a file of this hash."""
        return replace(self, sha256=sha256)


@dataclass(frozen=True, eq=False)
class LesionFutures:
    """(samples, H) of ln V(t)/V(now) of one lesion, where its parts come from, and why."""

    change: Float64
    sources: tuple[EffectSource, ...]
    reasons: tuple[str, ...]


def _drugs(plan: Plan) -> list[SystemicTherapy]:
    return [action for action in plan.actions if isinstance(action, SystemicTherapy)]


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
