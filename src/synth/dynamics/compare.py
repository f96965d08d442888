"""Two plans for one patient: the difference of an outcome over the same draws, with its interval, or no verdict.

The futures must come from the same seed: then sample i of both is the same patient under two plans, and what the two
have in common cancels (common random numbers; Kahn and Marshall 1953, Oper Res 1:263).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synth.dynamics.futures import EffectSource, PatientFutures, weakest
from synth.errors import InputError

Float64 = NDArray[np.float64]
LEAST_DIFFERING = 10
LEAST_SHARE, LEAST_PROBABILITY, LEAST_DAYS = 0.05, 0.05, 7.0
"""What two plans must differ by: of the larger mean volume, in probability, in days; less is no reason to choose."""
GROWN_SHARE, GROWN_MM = 1.2, 5.0
"""RECIST 1.1 (Eisenhauer et al. 2009, section 4.3.1): 20% and 5 mm above the nadir; a new lesion counts too."""


class Outcome(StrEnum):
    """What two plans are compared by; of each, less is better but of the last."""

    volume = "volume"
    progression = "progression"
    time_to_progression = "time_to_progression"


@dataclass(frozen=True)
class Sizes:
    """What the outcomes need to know of now: id -> longest diameter (mm) of the targets, and id -> volume (ml)."""

    longest_mm: Mapping[str, float]
    volume_ml: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """The outcome under plan b less that under plan a.

    Attributes:
        outcome: which, at the last horizon.
        unit: "ratio to now", "probability" or "days" (progression-free, up to the last horizon).
        mean_a, mean_b: the expected outcome under each.
        difference: b less a; low, high: the interval of that mean at `level`, from resampled pairs of draws.
        least: the difference that counts, in the same unit.
        better: "a" or "b" where the interval excludes zero, the difference counts and `level` of the draws that differ
            favour it; None: abstain.
        share_b_better: of the draws in which the plans differ, the share that favours b.
        effect_source: the least sure part of either forecast.
    """

    outcome: Outcome
    unit: str
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    level: float
    least: float
    better: Literal["a", "b"] | None
    share_b_better: float
    effect_source: EffectSource


def compare_plans(
    futures_a: PatientFutures,
    futures_b: PatientFutures,
    outcome: Outcome | str = Outcome.volume,
    *,
    sizes: Sizes | None = None,
    level: float = 0.9,
    seed: int = 0,
) -> Comparison:
    """Compare plan b with plan a, at the last horizon for volume and progression.

    Without `sizes` lesions weigh alike, and progression asks for 20% alone. It abstains unless the interval excludes
    zero, the difference is one that counts and the draws agree (a mean alone would be decided by drawing more), and
    whenever an effect is assumed rather than learned or lawful. How sure the learned effect itself is, is not in the
    interval. Progression is seen on the days of the futures only: give them as often as a patient would be scanned.

    Raises InputError for futures of other seeds, horizons, lesions or numbers of samples.

    Example:
        >>> import numpy as np
        >>> def of(change: float) -> PatientFutures:
        ...     drawn = np.linspace(-0.1, 0.1, 40)[:, None] + np.array([[0.0, change]])
        ...     return PatientFutures(np.array([0.0, 90.0]), {"a": drawn}, np.zeros((40, 2), int), "learned")
        >>> compare_plans(of(0.5), of(-0.5)).better
        'b'
    """
    outcome = Outcome(outcome)
    _check(futures_a, futures_b, level)
    a, b = (_values(futures, outcome, sizes) for futures in (futures_a, futures_b))
    difference = b - a
    rng = np.random.default_rng(seed)
    draws = difference[rng.integers(len(difference), size=(1000, len(difference)))].mean(axis=1)
    low, high = (float(v) for v in np.quantile(draws, ((1 - level) / 2, (1 + level) / 2)))
    sign = -1.0 if outcome is Outcome.time_to_progression else 1.0
    differs = difference[difference != 0.0]
    share = float((sign * differs < 0).mean()) if len(differs) else 0.5
    source = weakest(futures_a.effect_source, futures_b.effect_source)
    agreed = max(share, 1.0 - share) >= level and len(differs) >= LEAST_DIFFERING
    means = float(a.mean()), float(b.mean())
    least = {Outcome.volume: LEAST_SHARE * max(means), Outcome.progression: LEAST_PROBABILITY}.get(outcome, LEAST_DAYS)
    clear = (low > 0 or high < 0) and abs(means[1] - means[0]) >= least
    decided = clear and agreed and source != "assumed"
    better: Literal["a", "b"] = "b" if sign * float(difference.mean()) < 0 else "a"
    return Comparison(
        outcome=outcome,
        unit={"volume": "ratio to now", "progression": "probability"}.get(outcome, "days"),
        mean_a=means[0],
        mean_b=means[1],
        difference=float(difference.mean()),
        low=low,
        high=high,
        level=level,
        least=least,
        better=better if decided else None,
        share_b_better=share,
        effect_source=source,
    )


def progressed(futures: PatientFutures, sizes: Sizes | None = None) -> NDArray[np.bool_]:
    """(samples, H) whether RECIST 1.1 progression has come by each horizon."""
    known = sizes.longest_mm if sizes else dict.fromkeys(futures.log_ratio, 1.0)
    least = GROWN_MM if sizes else 0.0
    now = sum(known.values())
    later = sum((known[id] * np.exp(futures.ratio(id) / 3.0) for id in known), np.zeros(futures.births.shape))
    nadir = np.minimum(np.minimum.accumulate(later, axis=1), now)
    grown = (later >= GROWN_SHARE * nadir) & (later - nadir >= least) & (nadir < later)
    return np.maximum.accumulate(grown | (futures.births > 0), axis=1)


def _values(futures: PatientFutures, outcome: Outcome, sizes: Sizes | None) -> Float64:
    """(samples,) the outcome of each future."""
    if outcome is Outcome.volume:
        volumes = sizes.volume_ml if sizes else dict.fromkeys(futures.log_ratio, 1.0)
        return futures.total_ratio(volumes)[:, -1]
    reached = progressed(futures, sizes)
    if outcome is Outcome.progression:
        return reached[:, -1].astype(np.float64)
    first = np.where(reached.any(axis=1), reached.argmax(axis=1), len(futures.days) - 1)
    return futures.days[first]


def _check(a: PatientFutures, b: PatientFutures, level: float) -> None:
    same = a.births.shape == b.births.shape and np.array_equal(a.days, b.days) and set(a.log_ratio) == set(b.log_ratio)
    if not same or a.provenance.get("seed") != b.provenance.get("seed"):
        expected = "futures of the same patient, horizons, samples and seed"
        raise InputError("plans", expected=expected, got="others", fix="forecast both with the same arguments")
    if not a.log_ratio:
        raise InputError("plans", expected="a patient with lesions", got="none", fix="there is nothing to compare")
    if not 0.0 < level < 1.0:
        raise InputError("level", expected="between 0 and 1", got=f"{level:g}", fix="0.9 is usual")
