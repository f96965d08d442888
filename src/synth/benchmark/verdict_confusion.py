"""What faults were called, by what they must be called."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from synth.benchmark.result import mean_finite
from synth.benchmark.verdict_record import AuditLine

Counts = dict[str, dict[str, int]]
"""Expected verdict -> given verdict -> how often."""


def power(line: AuditLine) -> float:
    """Share of what is expected of one audit that it says: of a split both parts, of swapped sides both organs."""
    if line.place:
        return float(any(r.hit and r.missing for r in line.regions))
    return mean_finite(float(e.verdict == e.expected) for e in line.planted)


def confusion(lines: Sequence[AuditLine]) -> Counts:
    """Over every planted fault, and over the entities of correct parses, of which "supported" is expected.

    What was left out and not found is called "none".
    """
    pairs = [(e.expected, e.verdict) for line in lines for e in line.planted]
    pairs += [("missing", "missing" if power(line) else "none") for line in lines if line.place]
    pairs += [("supported", e.verdict) for line in lines if line.family == "none" for e in line.entities]
    out: Counts = {}
    for expected, given in pairs:
        row = out.setdefault(expected, {})
        row[given] = row.get(given, 0) + 1
    return out


def f1(counts: Mapping[str, Mapping[str, int]], verdict: str) -> float:
    """2 TP / (2 TP + FP + FN); NaN for a verdict that was neither given nor expected.

    Example:
        >>> f1({"missing": {"missing": 3, "none": 1}, "supported": {"missing": 1}}, "missing")
        0.75
    """
    right = counts.get(verdict, {}).get(verdict, 0)
    said = sum(row.get(verdict, 0) for row in counts.values())
    there = sum(counts.get(verdict, {}).values())
    return 2 * right / (said + there) if said + there else math.nan
