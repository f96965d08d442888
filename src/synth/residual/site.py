"""A site's own calibration: the scores of entities in cases that it has accepted, under the fusion that is there.

The fusion has not seen these cases, so that their scores are calibration scores as they are (split conformal). What
the fusion weighs stays; what counts as unusual is the site's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from synth.parse import VOCABULARY
from synth.residual.calibration import UNTOUCHED, Collected, Sample
from synth.residual.conformal import POOL, Calibration, CalibrationScore, scores_needed
from synth.residual.drift import FACT, reference
from synth.residual.findings import Verdict
from synth.residual.judge import Judge
from synth.residual.searching import most_suspicious
from synth.residual.verdict import Scored, family_of
from synth.residual.verdict import judge as judged_together


@dataclass(frozen=True)
class CellNeed:
    """What a cell has, and what it needs before one of so many entities can be flagged at each alpha.

    Attributes:
        scores, cases: in the cell; shipped: scores that the shipped calibration has in it.
        needed: alpha -> scores, m / alpha - 1; more_cases: alpha -> further cases like these that would give them.
        low, shipped_low: the 10th percentile of the scores here and there, None where there are none.
        ks_p: of Kolmogorov and Smirnov, here against there, as a description: scores of one case depend on each other.
    """

    cell: str
    scores: int
    cases: int
    shipped: int
    needed: Mapping[str, int]
    more_cases: Mapping[str, int]
    low: float
    shipped_low: float | None
    ks_p: float | None


@dataclass(frozen=True)
class FalseAlarms:
    """Of accepted entities, how many are flagged at alpha, each of them a false alarm.

    Attributes:
        shipped: under the calibration before; own: under the site's, the case in question left out of it.
        cases_shipped, cases_own: cases with at least one.
    """

    alpha: float
    entities: int
    cases: int
    shipped: int
    own: int
    cases_shipped: int
    cases_own: int


def refit(judge: Judge, collected: Collected, decoder_sha256: str, facts: Mapping[str, Any]) -> Judge:
    """The judge with the site's scores in place of its own."""
    scored = _by_case(judge, collected.samples)
    untouched = _by_case(judge, [s for s in collected.samples if s.origin == UNTOUCHED])
    complete = [group for (_, k), group in collected.candidates.items() if k < 0]
    most = tuple(most_suspicious(judge.missing_score(c.features, c.name) for c in group) for group in complete)
    said = {"cases": len(scored), "true claims": sum(map(len, scored.values())), **facts}
    return replace(
        judge,
        decoder_sha256=decoder_sha256,
        calibration=Calibration(tuple(s for scores in scored.values() for s in scores)),
        most_suspicious=most,
        facts={**said, FACT: reference(untouched, scored).to_json()},
    )


def needs(judge: Judge, collected: Collected, shipped: Calibration, alphas: Sequence[float]) -> tuple[CellNeed, ...]:
    """Every cell of the site's calibration, the fullest first; m is the median number of checked entities a case."""
    own = _by_case(judge, collected.samples)
    sizes = {case: Calibration(tuple(scores)).cells for case, scores in own.items()}
    cells = Calibration(tuple(s for scores in own.values() for s in scores)).cells
    hypotheses = family_size(collected.samples)
    out = []
    for cell, values in cells.items():
        cases = sum(cell in theirs for theirs in sizes.values())
        there = shipped.cells.get(cell)
        wanted = {f"{a:g}": scores_needed(hypotheses, a) for a in alphas}
        more = {a: max(0, int(np.ceil((n - values.size) * len(own) / values.size))) for a, n in wanted.items()}
        out.append(CellNeed(
            cell, int(values.size), cases, 0 if there is None else int(there.size), wanted, more,
            round(float(np.percentile(values, 10)), 3),
            None if there is None else round(float(np.percentile(there, 10)), 3),
            None if there is None else float(f"{stats.ks_2samp(values, there).pvalue:.3g}"),
        ))  # fmt: skip
    return tuple(sorted(out, key=lambda c: (c.cell != POOL, -c.scores, c.cell)))


def false_alarms(
    judge: Judge, collected: Collected, shipped: Calibration, alphas: Sequence[float]
) -> tuple[FalseAlarms, ...]:
    """Flags raised among the accepted entities at each alpha; every one of them is a false alarm."""
    whole = _by_case(judge, collected.samples)
    claims = _by_case(judge, [s for s in collected.samples if s.origin == UNTOUCHED])
    own = Calibration(tuple(s for scores in whole.values() for s in scores))
    left_out = {case: own.leaving_out(whole[case]) for case in claims}
    out = []
    for alpha in alphas:
        before = {case: _flags(scored, shipped, alpha) for case, scored in claims.items()}
        after = {case: _flags(scored, left_out[case], alpha) for case, scored in claims.items()}
        out.append(FalseAlarms(
            alpha, sum(map(len, claims.values())), len(claims), sum(before.values()), sum(after.values()),
            sum(n > 0 for n in before.values()), sum(n > 0 for n in after.values()),
        ))  # fmt: skip
    return tuple(out)


def family_size(samples: Sequence[Sample]) -> int:
    """The median, over the cases, of the entities that are judged together."""
    counts: dict[tuple[str, str], int] = {}
    for s in samples:
        if s.origin == UNTOUCHED:
            key = (s.case, _family(s.name))
            counts[key] = counts.get(key, 0) + 1
    largest = [max(n for (case, _), n in counts.items() if case == name) for name in {case for case, _ in counts}]
    return int(np.ceil(np.median(largest))) if largest else 1


def _family(name: str) -> str:
    return family_of(VOCABULARY.term(name).kind)


def _by_case(judge: Judge, samples: Sequence[Sample]) -> dict[str, list[CalibrationScore]]:
    out: dict[str, list[CalibrationScore]] = {}
    for s in samples:
        score = judge.presence.score(s.features, s.name)
        out.setdefault(s.case, []).append(CalibrationScore(s.name, s.volume_ml, score))
    return out


def _flags(scores: Sequence[CalibrationScore], calibration: Calibration, alpha: float) -> int:
    claims = [Scored(s.name, s.volume_ml, s.score, calibration, _family(s.name)) for s in scores]
    return sum(j.verdict is Verdict.hallucinated for j in judged_together(claims, alpha))
