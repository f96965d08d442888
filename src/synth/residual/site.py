"""A site's own calibration: the scores of entities in cases that it has accepted, under the fusion that is there.

The fusion has not seen these cases, so that their scores are calibration scores as they are (split conformal). What
the fusion weighs stays; what counts as unusual is the site's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synth.parse import VOCABULARY
from synth.residual.calibration import UNTOUCHED, Collected, Sample
from synth.residual.conformal import POOL, Calibration, CalibrationScore, scores_needed
from synth.residual.drift import FACT, reference
from synth.residual.findings import Verdict
from synth.residual.fusion import Fusion
from synth.residual.hosts import held
from synth.residual.judge import Judge
from synth.residual.searching import most_suspicious
from synth.residual.verdict import Scored, family_of
from synth.residual.verdict import judge as judged_together

LEAST_FINDINGS = scores_needed(2, 0.1)  # scores of a site's findings, before they replace those that were there


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
    """The judge with the site's scores in place of its own; its findings' stay where the site has too few of them."""
    site = _Site.of(judge, collected.samples)
    untouched = _by_case([s for s in collected.samples if s.origin == UNTOUCHED], judge.presence)
    complete = [group for (_, k), group in collected.candidates.items() if k < 0]
    most = tuple(most_suspicious(g, lambda c: judge.missing_score(c.features, c.name, c.site)) for g in complete)
    said = {"cases": len(site.anatomy), "true claims": len(site.own.calibration.scores), "own findings": site.enough}
    known = {**said, **facts, FACT: reference(untouched, site.anatomy).to_json()}
    return replace(site.own, decoder_sha256=decoder_sha256, most_suspicious=most, facts=known)


def needs(judge: Judge, collected: Collected, alphas: Sequence[float]) -> tuple[CellNeed, ...]:
    """Every cell of the site's calibration, the fullest first; m is the median number of checked entities a case."""
    site = _Site.of(judge, collected.samples)
    sizes = [
        _cells(_together({case: own}), _together({case: site.findings.get(case, [])}))
        for case, own in site.anatomy.items()
    ]
    cells = _cells(_together(site.anatomy), _together(site.findings))
    before = _cells(judge.calibration, None if judge.findings is None else judge.findings.calibration)
    hypotheses = family_size(collected.samples)
    out = []
    for cell, values in cells.items():
        cases = sum(cell in theirs for theirs in sizes)
        there = before.get(cell)
        wanted = {f"{a:g}": scores_needed(hypotheses, a) for a in alphas}
        more = {a: max(0, int(np.ceil((n - values.size) * len(sizes) / values.size))) for a, n in wanted.items()}
        out.append(CellNeed(
            cell, int(values.size), cases, 0 if there is None else int(there.size), wanted, more,
            round(float(np.percentile(values, 10)), 3),
            None if there is None else round(float(np.percentile(there, 10)), 3),
            None if there is None else float(f"{stats.ks_2samp(values, there).pvalue:.3g}"),
        ))  # fmt: skip
    return tuple(sorted(out, key=lambda c: (c.cell != POOL, -c.scores, c.cell)))


def false_alarms(judge: Judge, collected: Collected, alphas: Sequence[float]) -> tuple[FalseAlarms, ...]:
    """Flags raised among the accepted entities at each alpha; every one of them is a false alarm."""
    site = _Site.of(judge, collected.samples)
    claims: dict[str, list[Sample]] = {}
    for s in collected.samples:
        if s.origin == UNTOUCHED:
            claims.setdefault(s.case, []).append(s)
    before = [_scored(judge, mine) for mine in claims.values()]
    after = [_scored(site.without(case), mine) for case, mine in claims.items()]
    out = []
    for alpha in alphas:
        old, new = ([_flags(scored, alpha) for scored in cases] for cases in (before, after))
        entities = sum(map(len, claims.values()))
        out.append(FalseAlarms(
            alpha, entities, len(claims), sum(old), sum(new), sum(n > 0 for n in old), sum(n > 0 for n in new)
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


@dataclass(frozen=True, eq=False)
class _Site:
    """A judge with the site's scores in place of its own.

    Attributes:
        own: that judge; enough: whether its findings are compared with the site's.
        anatomy, findings: case -> scores, of all entities as organs are weighed, and of findings by themselves.
    """

    own: Judge
    enough: bool
    anatomy: Mapping[str, list[CalibrationScore]]
    findings: Mapping[str, list[CalibrationScore]]

    @classmethod
    def of(cls, judge: Judge, samples: Sequence[Sample]) -> _Site:
        anatomy, findings = _by_case(samples, judge.presence), {}
        own = replace(judge, calibration=_together(anatomy))
        if judge.findings is not None:
            findings = _by_case([s for s in samples if held(s.features, s.name)], judge.findings.fusion)
            if sum(map(len, findings.values())) >= LEAST_FINDINGS:
                own = replace(own, findings=replace(judge.findings, calibration=_together(findings)))
        return cls(own, own.findings is not judge.findings, anatomy, findings)

    def without(self, case: str) -> Judge:
        """The site's judge, had it not seen this case."""
        less = replace(self.own, calibration=self.own.calibration.leaving_out(self.anatomy[case]))
        if not self.enough or self.own.findings is None:
            return less
        fewer = self.own.findings.calibration.leaving_out(self.findings.get(case, []))
        return replace(less, findings=replace(self.own.findings, calibration=fewer))


def _by_case(samples: Sequence[Sample], fusion: Fusion) -> dict[str, list[CalibrationScore]]:
    out: dict[str, list[CalibrationScore]] = {}
    for s in samples:
        out.setdefault(s.case, []).append(CalibrationScore(s.name, s.volume_ml, fusion.score(s.features, s.name)))
    return out


def _together(cases: Mapping[str, Sequence[CalibrationScore]]) -> Calibration:
    return Calibration(tuple(s for scores in cases.values() for s in scores))


def _cells(anatomy: Calibration, findings: Calibration | None) -> dict[str, NDArray[np.float64]]:
    """The cells of both; what findings fall back on is the anatomy's in name alone, and left out."""
    named = {} if findings is None else {c: v for c, v in findings.cells.items() if c.split("/")[0] != POOL}
    return {**anatomy.cells, **named}


def _scored(judge: Judge, samples: Sequence[Sample]) -> list[Scored]:
    return [judge.scored(s.features, s.name, s.volume_ml) for s in samples]


def _flags(scored: Sequence[Scored], alpha: float) -> int:
    return sum(j.verdict is Verdict.hallucinated for j in judged_together(scored, alpha))
