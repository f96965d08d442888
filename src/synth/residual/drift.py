"""Does a new case look like the calibration cases? Conformal p-values hold for cases that do.

    D(case) = sup_t | share of its entities with p <= t  -  F(t) |     F: the p-values of all calibration cases
    p(drift) = (1 + #{calibration cases with D >= D(case)}) / (n + 1)

D is the distance of Kolmogorov and Smirnov. The entities of one case depend on each other, so that D is not compared
with their table but with the D of the calibration cases, each seen with itself left out of the scores: a conformal
test of exchangeability at the level of cases (Vovk et al. 2005, ch. 7). One wrong entity among many hardly moves D;
another scanner or population moves them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.residual.conformal import Calibration, CalibrationScore, p_value
from synth.residual.findings import Message
from synth.residual.judge import Judge

CELL = 20  # scores that a cell must have to say where in it a score lies
Float = NDArray[np.float64]

ALPHA = 0.05  # so many ordinary cases are warned of
FEWEST = 4  # entities of a case that have a distribution
CODE, FACT = "drift", "drift"
QUANTILES = 101  # of F that are kept


@dataclass(frozen=True)
class Drift:
    """The distance of a case from the calibration, how often a calibration case is as far, and of how many."""

    distance: float
    p_value: float
    cases: int


Scores = Sequence[CalibrationScore]


@dataclass(frozen=True)
class Reference:
    """What is usual among the calibration cases: quantiles of their entities' p-values, and their sorted distances."""

    usual: tuple[float, ...]
    distances: tuple[float, ...]

    def to_json(self) -> dict[str, list[float]]:
        """Plain data, for a judge's facts."""
        return {"usual": list(self.usual), "distances": list(self.distances)}

    @classmethod
    def from_json(cls, data: Mapping[str, Sequence[float]]) -> Reference:
        """Read what `to_json` gave."""
        return cls(tuple(map(float, data["usual"])), tuple(map(float, data["distances"])))


def reference(cases: Mapping[str, Scores], calibration: Mapping[str, Scores]) -> Reference:
    """What is usual, each case seen through the calibration by the others.

    `cases` has the scores of the entities as they came, `calibration` all scores of a case, jittered ones too.
    """
    whole = Calibration(tuple(s for scores in calibration.values() for s in scores))
    found = [_p_values(scores, whole.leaving_out(calibration[case])) for case, scores in cases.items()]
    enough = [p for p in found if p.size >= FEWEST]
    if not enough:
        return Reference((), ())
    usual = np.quantile(np.concatenate(enough), np.linspace(0, 1, QUANTILES))
    distances = sorted(_distance(p, usual) for p in enough)
    return Reference(tuple(round(float(q), 5) for q in usual), tuple(round(d, 5) for d in distances))


def drift_of(scores: Scores, calibration: Calibration, known: Reference) -> Drift | None:
    """How a case compares with the calibration cases; None where nothing can be said.

    Example:
        >>> draw = np.random.default_rng(0).normal
        >>> def case(shift): return [CalibrationScore("liver", 1500.0, float(s)) for s in draw(shift, size=20)]
        >>> cases = {str(k): case(0.0) for k in range(30)}
        >>> whole = Calibration(tuple(s for scores in cases.values() for s in scores))
        >>> drift_of(case(-3.0), whole, reference(cases, cases)).p_value < 0.05
        True
    """
    p = _p_values(scores, calibration)
    if p.size < FEWEST or not known.distances:
        return None
    far = round(_distance(p, np.asarray(known.usual)), 5)
    return Drift(far, p_value(-far, [-d for d in known.distances]), len(known.distances))


def _p_values(scores: Scores, calibration: Calibration) -> Float:
    found = [calibration.judge(s.name, s.volume_ml, s.score, needed=CELL) for s in scores]
    return np.sort([c.p_value for c in found if c is not None])


def _distance(p: Float, usual: Float) -> float:
    """Of sorted p-values from a distribution given by its quantiles."""
    level = np.interp(p, usual, np.linspace(0, 1, usual.size))
    steps = np.arange(p.size + 1) / p.size
    return float(max((steps[1:] - level).max(), (level - steps[:-1]).max()))


def drift_messages(scores: Sequence[CalibrationScore], judge: Judge) -> list[Message]:
    """What the report says of it: a warning where the case lies further off than all but few calibration cases."""
    known = Reference.from_json(judge.facts[FACT]) if FACT in judge.facts else None
    found = None if known is None else drift_of(scores, judge.calibration, known)
    if found is None:
        return []
    told = f"distance {found.distance:.2f}, p = {found.p_value:.3g} among {found.cases} calibration cases"
    fewest = math.ceil(1 / ALPHA) - 1
    if found.p_value <= ALPHA:
        text = f"this case does not look like the calibration cases ({told}): its p-values can mislead"
        return [Message(severity="warning", code=CODE, message=text)]
    if found.cases < fewest:
        text = f"too few calibration cases to tell whether this one is like them ({told}; {fewest} are needed)"
        return [Message(severity="info", code=f"{CODE}_unknown", message=text)]
    return [Message(severity="info", code=f"no_{CODE}", message=f"this case looks like the calibration cases ({told})")]
