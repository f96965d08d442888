"""The numbers of the verdicts benchmark, each with a 95% interval over patients drawn whole.

power        share of the faults with the verdict that they must get, on the entity (or the place) that must get it
detected     the same, whatever the verdict; of what was left out, any region on its place, beyond chance or not
top3         share of the faults among the three most suspicious entities (by presence) or regions
auroc, fpr95 the entity's score against those of the true entities of correct parses, findings against findings; of what
             was left out, the strongest region on it against the strongest of each correct parse and, with `task: scan`
             in the group, the strongest region of the scan, wherever it lies
fdr          mean over audits of false alarms / max(1, flags)
f1           of a verdict, over all faults and over the true entities of correct parses
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.faults import WrongReference, auroc, fpr95
from synth.benchmark.result import Row, bootstrap_interval, mean_finite
from synth.benchmark.verdict_confusion import confusion, f1, power
from synth.benchmark.verdict_record import AuditLine, SaidEntity

RESAMPLES = 300
ALL, TRUE, MIXED = "all", "none", "three"  # families: the pool, nothing planted, and several of different kinds
VERDICTS = ("hallucinated", "missing", "wrong_extent", "wrong_label", "wrong_attribute", "wrong_relation")
OWN = {  # the score behind each verdict; a label has none
    "hallucinated": "presence",
    "wrong_extent": "extent",
    "wrong_attribute": "attribute",
    "wrong_relation": "relation",
}
BESIDE = ("presence", "l1", "histogram", "ks")  # scored of masks that are wrong, whichever way
FALSE_REGIONS = 0.5  # a scan, at which sensitivity is read
Unit = Sequence[AuditLine]  # all audits of one patient
Statistic = Callable[[Sequence[AuditLine]], float]
Choice = Callable[[AuditLine], bool]


def rows_of(
    lines: Sequence[AuditLine], *, arena: str = "phantoms", seed: int = 0, errors: Sequence[WrongReference] = ()
) -> list[Row]:
    """Every number, of the audits of some patients.

    With `errors`, every row comes twice: over everything, and with `reference: checked` in its group without the
    entities whose reference is among the errors, and without what was planted in them.
    """
    rows = _rows(lines, {"arena": arena}, seed)
    return rows + (_rows(without(lines, errors), {"arena": arena, "reference": "checked"}, seed) if errors else [])


def _rows(lines: Sequence[AuditLine], about: Mapping[str, str], seed: int) -> list[Row]:
    units = [[line for line in lines if line.patient == p] for p in sorted({line.patient for line in lines})]
    made = (_by_family, _separation, _false_alarms, _discoveries, _regions, _confusion, _seconds)
    return [row for make in made for row in make(_Table(units, about, seed))]


def without(lines: Sequence[AuditLine], errors: Sequence[WrongReference]) -> list[AuditLine]:
    """The audits with nothing said of entities whose reference is wrong; none of what was planted in one of those."""
    wrong = {(e.patient, e.organ) for e in errors}
    kept = []
    for line in lines:
        if not any((line.patient, e.id) in wrong for e in line.planted):
            said = tuple(e for e in line.entities if (line.patient, e.id) not in wrong)
            kept.append(replace(line, entities=said))
    return kept


class _Table:
    """Rows over the audits of some patients."""

    def __init__(self, units: Sequence[Unit], about: Mapping[str, str], seed: int) -> None:
        self.units, self.about, self.seed = units, dict(about), seed

    @property
    def lines(self) -> list[AuditLine]:
        """All audits."""
        return [line for unit in self.units for line in unit]

    def of(self, chosen: Choice) -> _Table:
        """Rows over some of the audits; a patient that has none of them stays one of the patients."""
        return _Table([[line for line in unit if chosen(line)] for unit in self.units], self.about, self.seed)

    def row(self, group: Mapping[str, str], metric: str, statistic: Statistic, n: int, method: str = "ours") -> Row:
        """One number with its interval."""

        def of(drawn: Sequence[Unit]) -> float:
            return statistic([line for unit in drawn for line in unit])

        rng = np.random.default_rng(self.seed)
        interval = bootstrap_interval(self.units, of, rng=rng, draws=RESAMPLES)
        return Row({**self.about, **group}, method, metric, of(self.units), interval.low, interval.high, n)

    def cells(self) -> Iterator[tuple[dict[str, str], Callable[[AuditLine], bool]]]:
        """Each family in each severity, each family that has several, and all faults."""
        found = {(line.family, line.severity) for line in _faulty(self.lines)}
        for family in sorted({f for f, _ in found}):
            severities = sorted((s for f, s in found if f == family), key=_in_order)
            for severity in severities if len(severities) == 1 else (*severities, ALL):
                wanted = {severity} if severity != ALL else set(severities)
                yield {"family": family, "severity": severity}, partial(_is_of, family, wanted)
        yield {"family": ALL, "severity": ALL}, lambda line: True


def _is_of(family: str, severities: set[str], line: AuditLine) -> bool:
    return line.family == family and line.severity in severities


def _in_order(severity: str) -> float:
    """By the number that a severity begins with."""
    digits = severity.split()[0].split("-")[0]
    return float(digits) if digits.isdigit() else math.inf


def _is_faulty(line: AuditLine) -> bool:
    return line.place or bool(line.planted)


def _is_planted(chosen: Choice, line: AuditLine) -> bool:
    return _is_faulty(line) and chosen(line)


def _is_compared(chosen: Choice, line: AuditLine) -> bool:
    return line.family == TRUE or _is_planted(chosen, line)


def _faulty(lines: Sequence[AuditLine]) -> list[AuditLine]:
    return [line for line in lines if _is_faulty(line)]


def _correct(lines: Sequence[AuditLine]) -> list[AuditLine]:
    return [line for line in lines if line.family == TRUE]


def _by_family(table: _Table) -> Iterator[Row]:
    measures: dict[str, Callable[[AuditLine], float]] = {"power": power, "detected": _detected, "top3": _top3}
    for group, chosen in table.cells():
        part = table.of(partial(_is_planted, chosen))
        for metric, measure in measures.items():

            def mean(lines: Sequence[AuditLine], measure: Callable[[AuditLine], float] = measure) -> float:
                return mean_finite(measure(line) for line in lines)

            yield part.row(group, metric, mean, len(part.lines))


def _detected(line: AuditLine) -> float:
    if line.place:
        return float(any(r.hit for r in line.regions))
    return mean_finite(float(e.flagged) for e in line.planted)


def _top3(line: AuditLine) -> float:
    if line.place:
        return float(any(r.hit for r in line.regions[:3]))
    return mean_finite(float(0 < e.rank <= 3) for e in line.planted)


def _separation(table: _Table) -> Iterator[Row]:
    """AUROC and FPR95 by family, severity and method."""
    for group, chosen in table.cells():
        if group["family"] in (ALL, MIXED):
            continue
        part = table.of(partial(_is_compared, chosen))
        for method, score in _methods(_faulty(part.lines)).items():
            n = len(_scored(part.lines, score)[0])
            for metric, measure in (("auroc", auroc), ("fpr95", fpr95)) if n else ():
                yield part.row(group, metric, partial(_separated, score, measure), n, method)


def _separated(
    score: str, measure: Callable[[NDArray[np.bool_], NDArray[np.float64]], float], lines: Sequence[AuditLine]
) -> float:
    wrong, true = _scored(lines, score)
    if not wrong or not true:
        return math.nan
    return float(measure(np.array([True] * len(wrong) + [False] * len(true)), np.array([*wrong, *true], float)))


def _methods(lines: Sequence[AuditLine]) -> dict[str, str]:
    """Method -> which score it reads, of faults of one family."""
    if lines[0].place:
        return {"ours": "presence", "l1": "l1"}
    own = OWN.get(lines[0].planted[0].expected)
    if own in ("attribute", "relation"):
        return {"ours": own}
    beside = {name: name for name in BESIDE if name != own}
    return beside if own is None else {"ours": own, **beside}


def _scored(lines: Sequence[AuditLine], score: str) -> tuple[list[float], list[float]]:
    """Scores of what is wrong, of one family, and of what is right; higher is more believable."""
    faulty = _faulty(lines)
    if faulty and faulty[0].place:
        wrong = [-_strongest(line, score, hit=True) for line in faulty]
        return wrong, [-_strongest(line, score, hit=False) for line in _correct(lines) if line.searched]
    planted = [e for line in faulty for e in line.planted]
    kinds = {e.finding for e in planted}
    true = [e for line in _correct(lines) for e in line.entities if e.finding in kinds]
    return _values(planted, score), _values(true, score)


def _values(entities: Sequence[SaidEntity], score: str) -> list[float]:
    return [e.scores[score] for e in entities if score in e.scores]


def _strongest(line: AuditLine, score: str, *, hit: bool) -> float:
    """Of the regions on what was left out, or of all; what brought up none is below any."""
    return max((r.scores.get(score, -1e6) for r in line.regions if r.hit or not hit), default=-1e6)


def _false_alarms(table: _Table) -> Iterator[Row]:
    """Of correct parses: the share of true entities flagged, by verdict, and of parses with any flag."""
    table = table.of(lambda line: line.family == TRUE)
    correct = table.lines
    n = sum(len(line.entities) for line in correct)
    for verdict in (ALL, *(v for v in VERDICTS if v != "missing")):

        def share(lines: Sequence[AuditLine], verdict: str = verdict) -> float:
            said = [e for line in _correct(lines) for e in line.entities]
            return mean_finite(float(e.flagged and verdict in (ALL, e.verdict)) for e in said)

        yield table.row({"parses": "correct", "verdict": verdict}, "false_alarms", share, n)
    yield table.row({"parses": "correct", "verdict": ALL}, "parses_flagged", _parses_flagged, len(correct))


def _parses_flagged(lines: Sequence[AuditLine]) -> float:
    return mean_finite(
        float(bool(line.false_alarms) or any(r.missing for r in line.regions)) for line in _correct(lines)
    )


def _discoveries(table: _Table) -> Iterator[Row]:
    """Realised false discovery rate among entities: of what alpha speaks of, and of every flag."""
    parses: dict[str, Callable[[Sequence[AuditLine]], list[AuditLine]]] = {
        "faulty": _faulty,
        "correct": _correct,
        ALL: lambda lines: [line for line in lines if line.family],
    }
    for name, choose in parses.items():
        for verdict in ("hallucinated", ALL):

            def fdr(lines: Sequence[AuditLine], choose=choose, verdict: str = verdict) -> float:  # type: ignore[no-untyped-def] # bound here
                return mean_finite(_false_share(line, verdict) for line in choose(lines))

            yield table.row({"parses": name, "verdict": verdict}, "fdr", fdr, len(choose(table.lines)))


def _false_share(line: AuditLine, verdict: str) -> float:
    """An entity with a fault is no false alarm, whatever it is called."""
    flags = [e for e in line.entities if e.flagged and verdict in (ALL, e.verdict)]
    return sum(not e.expected for e in flags) / max(1, len(flags))


def _regions(table: _Table) -> Iterator[Row]:
    """The search: false findings a correct parse, and what is found where half a false one a scan is tolerated."""
    searched = [line for line in _correct(table.lines) if line.searched]
    places = [line for line in table.lines if line.place]
    group = {"parses": "correct", "verdict": "missing"}
    yield table.row(group, "false_findings", _false_findings, len(searched))
    if places:
        yield table.row({"family": "left out", "severity": ALL}, "sensitivity_half", _sensitivity, len(places))
    for group, chosen in table.cells():
        n = sum(line.place and chosen(line) for line in places)
        if n and group["family"] != ALL:
            part = table.of(partial(_is_compared, chosen))
            for method, score in _methods(places).items():
                yield part.row({**group, "task": "scan"}, "auroc", partial(_scans_apart, score), n, method)


def _scans_apart(score: str, lines: Sequence[AuditLine]) -> float:
    """Does the strongest region tell a scan whose parse lacks something from one whose parse is complete?"""
    lacking = [_strongest(line, score, hit=False) for line in lines if line.place]
    complete = [_strongest(line, score, hit=False) for line in _correct(lines) if line.searched]
    if not lacking or not complete:
        return math.nan
    missing = np.array([True] * len(lacking) + [False] * len(complete))
    return float(auroc(missing, -np.array([*lacking, *complete])))


def _false_findings(lines: Sequence[AuditLine]) -> float:
    return mean_finite(float(sum(r.missing for r in line.regions)) for line in _correct(lines) if line.searched)


def _sensitivity(lines: Sequence[AuditLine]) -> float:
    """FROC: share of what was left out that a region scores above the threshold of half a false region a scan."""
    correct = [line for line in _correct(lines) if line.searched]
    false = sorted((r.scores.get("presence", -1e6) for line in correct for r in line.regions), reverse=True)
    tolerated = math.floor(FALSE_REGIONS * len(correct))
    threshold = false[tolerated] if tolerated < len(false) else -1e6
    return mean_finite(float(_strongest(line, "presence", hit=True) > threshold) for line in lines if line.place)


def _confusion(table: _Table) -> Iterator[Row]:
    """What each fault was called, by what it must be called; F1 of every verdict and their mean."""
    counts = confusion(table.lines)
    for expected, given in counts.items():
        total = sum(given.values())
        for verdict in sorted(given):

            def share(lines: Sequence[AuditLine], expected: str = expected, verdict: str = verdict) -> float:
                row = confusion(lines).get(expected, {})
                return row.get(verdict, 0) / sum(row.values()) if row else math.nan

            yield table.row({"expected": expected, "verdict": verdict}, "share", share, total)
    planted = {k: sum(v.values()) for k, v in counts.items() if k in VERDICTS}
    for verdict, n in planted.items():

        def of(lines: Sequence[AuditLine], verdict: str = verdict) -> float:
            return f1(confusion(lines), verdict)

        yield table.row({"verdict": verdict}, "f1", of, n)
    yield table.row(
        {"verdict": ALL},
        "macro_f1",
        lambda lines: mean_finite(f1(confusion(lines), v) for v in planted),
        sum(planted.values()),
    )


def _seconds(table: _Table) -> Iterator[Row]:
    """Of the first audit of each patient, which remembers nothing."""
    correct = _correct(table.lines)
    if correct:
        yield table.row(
            {"parses": "correct"},
            "seconds",
            lambda lines: mean_finite(x.seconds for x in _correct(lines)),
            len(correct),
        )
        yield table.row(
            {"parses": "correct"},
            "entities",
            lambda lines: mean_finite(float(len(x.entities)) for x in _correct(lines)),
            len(correct),
        )
