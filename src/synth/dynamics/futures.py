"""What goes into a forecast and what comes out: histories of lesions, and samples of what they become."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synth.action import Plan
from synth.errors import InputError

Float64 = NDArray[np.float64]
EffectSource = Literal["learned", "law", "assumed"]
MOST_LESIONS, MOST_VISITS = 1000, 1000


@dataclass(frozen=True)
class LesionHistory:
    """One lesion at every visit, the last one now.

    Attributes:
        entity: its id.
        organ: where it lies, where that is known.
        days: (visits,) increasing, on any calendar.
        longest_mm, volume_ml: (visits,) its sizes; 0 where it was not there yet. It is there now.
        inside: ids of organs and planning volumes that hold it, so that an action on those reaches it.

    Raises `InputError` for tuples of unequal length, days that do not increase, sizes that are none, or no lesion now.
    """

    entity: str
    organ: str | None
    days: tuple[float, ...]
    longest_mm: tuple[float, ...]
    volume_ml: tuple[float, ...]
    inside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        what = f"history of '{self.entity}'"
        if not 0 < len(self.days) == len(self.longest_mm) == len(self.volume_ml) <= MOST_VISITS:
            got = f"{len(self.days)}, {len(self.longest_mm)}, {len(self.volume_ml)}"
            raise InputError(what, expected="as many days, diameters and volumes", got=got, fix="give all three")
        if any(not math.isfinite(d) for d in self.days) or any(np.diff(self.days) <= 0):
            raise InputError(what, expected="increasing days", got=str(self.days[:9]), fix="sort the visits")
        for name, sizes in (("longest_mm", self.longest_mm), ("volume_ml", self.volume_ml)):
            if any(not math.isfinite(size) or size < 0 for size in sizes):
                raise InputError(f"{what}: {name}", expected="sizes from 0 on", got=str(sizes[:9]), fix="measure again")
            if sizes[-1] == 0:
                fix = "leave out what is gone"
                raise InputError(f"{what}: {name}", expected="a lesion that is there now", got="0", fix=fix)


@dataclass(frozen=True)
class PatientHistory:
    """The lesions of one patient at the same last visit, and what was done so far (days before now are negative)."""

    lesions: tuple[LesionHistory, ...]
    past: Plan | None = None

    def __post_init__(self) -> None:
        ids = [lesion.entity for lesion in self.lesions]
        twice = sorted({id for id in ids if ids.count(id) > 1})
        if twice or len(ids) > MOST_LESIONS:
            expected = f"at most {MOST_LESIONS} lesions, each once"
            raise InputError("history", expected=expected, got=str(twice or len(ids)), fix="merge their visits")


@dataclass(frozen=True, eq=False)
class PatientFutures:
    """Samples of what the lesions become; sample i is one future of the whole patient.

    Attributes:
        days: (H,) days ahead.
        log_ratio: id -> (samples, H) ln V(t)/V(now) of what could still be measured; -inf is gone.
        births: (samples, H) new lesions so far.
        effect_source: where the effect of the plan comes from, the weakest of its parts.
        provenance: why, part by part, and what makes the same samples again.
        gone: id -> (samples, H) whether it has disappeared by then, where the model says; what is gone stays gone.

    Raises `InputError` for lesions that come back, and for shapes that do not fit.
    """

    days: Float64
    log_ratio: Mapping[str, Float64]
    births: NDArray[np.int64]
    effect_source: EffectSource
    provenance: Mapping[str, Any] = field(default_factory=dict)
    gone: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for id, gone in self.gone.items():
            if id not in self.log_ratio or gone.shape != self.births.shape or (gone[:, :-1] & ~gone[:, 1:]).any():
                expected = f"lesions of the forecast, {self.births.shape}, that stay gone"
                raise InputError(
                    f"gone: '{id}'", expected=expected, got=str(gone.shape), fix="accumulate over the days"
                )

    def ratio(self, id: str) -> Float64:
        """(samples, H) ln V(t)/V(now) of one lesion, -inf from the day on that it is gone."""
        gone = self.gone.get(id)
        return self.log_ratio[id] if gone is None else np.where(gone, -np.inf, self.log_ratio[id])

    def total_ratio(self, volume_ml: Mapping[str, float]) -> Float64:
        """(samples, H) the volume of all lesions over their volume now, from each one's volume now."""
        now = sum(volume_ml[id] for id in self.log_ratio)
        total = sum((volume_ml[id] * np.exp(self.ratio(id)) for id in self.log_ratio), np.zeros(self.births.shape))
        return np.asarray(total / now, np.float64)


def weakest(*sources: EffectSource) -> EffectSource:
    """A forecast is as sure as the least sure of its parts.

    Example:
        >>> weakest("learned", "law"), weakest("learned", "assumed", "law")
        ('law', 'assumed')
    """
    order: tuple[EffectSource, ...] = ("learned", "law", "assumed")
    return max(sources, key=order.index, default="learned")
