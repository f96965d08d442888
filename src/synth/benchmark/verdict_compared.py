"""Which scores of the verdicts benchmark are compared: those of what is wrong and those of what is right.

The score of extent is asked only of what the image supports. What was named before, as hallucinated, as another organ
or as better elsewhere, has none: it ranks below all that have one, among its like by the score of presence, in correct
parses as in faulty ones. So ours is read of the same masks as the baselines, but for those that could not be checked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.separation import Measure
from synth.benchmark.verdict_record import AuditLine, SaidEntity

TRUE = "none"  # family of a correct parse
OWN = {  # the score behind each verdict; a label has none
    "hallucinated": "presence",
    "wrong_extent": "extent",
    "wrong_attribute": "attribute",
    "wrong_relation": "relation",
}
BESIDE = ("presence", "l1", "histogram", "ks")  # scored of masks that are wrong, whichever way
IN_NATS = ("presence", "extent")  # the sign decides
NONE_FOUND = -1e6  # below any score


@dataclass(frozen=True, eq=False)
class Compared:
    """Scores of one patient, higher is more believable: (wrong,) of one family, (true,) of its correct parses."""

    wrong: NDArray[np.float64]
    true: NDArray[np.float64]


def pooled(measure: Measure, parts: Sequence[Compared]) -> float:
    """The measure over all patients; NaN where nothing is wrong or nothing right."""
    wrong, true = [score for p in parts for score in p.wrong], [score for p in parts for score in p.true]
    if not wrong or not true:
        return math.nan
    return measure(np.arange(len(wrong) + len(true)) < len(wrong), np.array([*wrong, *true], float))


def methods_of(faulty: Sequence[AuditLine]) -> dict[str, str]:
    """Method -> which score it reads, of faults of one family."""
    if faulty[0].place:
        return {"ours": "presence", "l1": "l1"}
    own = OWN.get(faulty[0].planted[0].expected)
    if own in ("attribute", "relation"):
        return {"ours": own}
    beside = {name: name for name in BESIDE if name != own}
    return beside if own is None else {"ours": own, **beside}


def compared(units: Sequence[Sequence[AuditLine]], score: str, *, scan: bool = False) -> list[Compared]:
    """Of each patient what is compared, given its correct parses and its audits with a fault of one family.

    Entities with a fault against true ones, findings among findings. Of what was left out, the strongest region on it
    (with `scan`, wherever it lies) against the strongest of each correct parse that was searched.
    """
    faulty = [line for unit in units for line in unit if line.place or line.planted]
    kinds = {e.finding for line in faulty for e in line.planted}
    if any(line.place for line in faulty):
        return [_regions(unit, score, hit=not scan) for unit in units]
    return [_entities(unit, score, kinds) for unit in units]


def _regions(unit: Sequence[AuditLine], score: str, *, hit: bool) -> Compared:
    wrong = [-strongest(line, score, hit=hit) for line in unit if line.place]
    true = [-strongest(line, score, hit=False) for line in unit if line.family == TRUE and line.searched]
    return Compared(np.array(wrong, float), np.array(true, float))


def _entities(unit: Sequence[AuditLine], score: str, kinds: set[bool]) -> Compared:
    wrong = [e for line in unit for e in line.planted]
    true = [e for line in unit if line.family == TRUE for e in line.entities if e.finding in kinds]
    return Compared(_values(wrong, score), _values(true, score))


def _values(entities: Sequence[SaidEntity], score: str) -> NDArray[np.float64]:
    found = [_value(e, score) for e in entities]
    return np.array([value for value in found if math.isfinite(value)], float)


def _value(entity: SaidEntity, score: str) -> float:
    """NaN where there is none."""
    if score == "extent" and score not in entity.scores and entity.flagged:
        return NONE_FOUND + entity.scores.get("presence", math.nan)
    return entity.scores.get(score, math.nan)


def strongest(line: AuditLine, score: str, *, hit: bool) -> float:
    """Of the regions on what was left out, or of all; what brought up none is below any."""
    return max((r.scores.get(score, NONE_FOUND) for r in line.regions if r.hit or not hit), default=NONE_FOUND)
