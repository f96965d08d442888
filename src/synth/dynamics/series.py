"""A lesion's sizes over time, and the questions asked of it: from these visits, how large on that day?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
FLOOR_MM = 2.0
"""What is too small to measure counts as this."""


@dataclass(frozen=True, eq=False)
class Series:
    """One lesion under one action.

    Attributes:
        patient: who; folds and bootstraps never split one.
        days: (k,) increasing, on any calendar.
        log_mm: (k,) ln of the longest diameter in mm, or of the diameter of the ball of the same volume; floored at 2
            mm.
        action: what was given, "" where that is not known.
        group: study or tumour type.

    Raises `InputError` for days that do not increase and for sizes that are no numbers.
    """

    patient: str
    days: Float64
    log_mm: Float64
    action: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        fine = len(self.days) == len(self.log_mm) > 0 and bool(np.isfinite(self.log_mm).all())
        if not fine or not np.isfinite(self.days).all() or (np.diff(self.days) <= 0).any():
            expected = "as many finite sizes as increasing days"
            raise InputError(f"series of {self.patient}", expected=expected, got=str(self.days[:9]), fix="sort it")

    @classmethod
    def of(cls, patient: str, visits: Iterable[tuple[float, float]], action: str = "", group: str = "") -> Series:
        """From (day, mm) in any order; of two sizes on one day the later one counts."""
        last = dict(sorted(visits, key=lambda visit: visit[0]))
        sizes = np.maximum(np.array(list(last.values()), np.float64), FLOOR_MM)
        return cls(patient, np.array(list(last), np.float64), np.log(sizes), action, group)


class Question(NamedTuple):
    """Of series number `series`, the first `seen` visits are known; how large at visit `target` (counted from 0)?"""

    series: int
    seen: int
    target: int


def questions_after(series: Sequence[Series], seen: Iterable[int]) -> list[Question]:
    """Every later visit, from the first so many; series that are too short ask nothing.

    Example:
        >>> three = Series.of("p", [(0, 10), (40, 12), (80, 15)])
        >>> [tuple(q) for q in questions_after([three], (1, 2))]
        [(0, 1, 1), (0, 1, 2), (0, 2, 2)]
    """
    counts = sorted(set(seen))
    return [
        Question(i, k, target)
        for i, each in enumerate(series)
        for k in counts
        for target in range(k, len(each.days))
        if k >= 1
    ]


def folds_of(series: Sequence[Series], folds: int, seed: int) -> Int64:
    """(n,) the fold of each series; a patient's series share one.

    Raises InputError for fewer patients than folds.
    """
    patients = sorted({each.patient for each in series})
    if not 2 <= folds <= len(patients):
        expected = f"from 2 to {len(patients)}, the number of patients"
        raise InputError("folds", expected=expected, got=str(folds), fix="choose fewer, or give more patients")
    order = np.random.default_rng(seed).permutation(len(patients))
    fold = {patients[j]: i % folds for i, j in enumerate(order)}
    return np.array([fold[each.patient] for each in series], np.int64)
