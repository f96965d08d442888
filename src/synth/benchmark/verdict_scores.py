"""The numbers of the verdicts benchmark, each with a 95% interval over patients drawn whole.

power        share of the faults with the verdict that they must get, on the entity (or the place) that must get it
detected     the same, whatever the verdict; of what was left out, any region on its place, beyond chance or not
top3         share of the faults among the three most suspicious entities (by presence) or regions
auroc, aupr, the entity's score against those of the true entities of correct parses, findings against findings; of what
fpr95        was left out, the strongest region on it against the strongest of each correct parse and, with `task: scan`
             in the group, the strongest region of the scan, wherever it lies; aupr as if 5% were wrong
fdr          mean over audits of false alarms / max(1, flags)
aurc, augrc  of the same scores of ours, where they are in nats (`synth.benchmark.selective`)
f1           of a verdict, over all faults and over the true entities of correct parses

Of a share of audits that is 0 or 1 (power, detected, top3, parses_flagged, fdr, sensitivity_half) the interval is the
exact one over the patients that have such audits, however many each has; of a share of entities (false_alarms, and what
was called what) over the entities, as if they were independent. What is not defined has no row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from synth.benchmark.faults import WrongReference
from synth.benchmark.result import Interval, Row, bootstrap_interval, exact_interval, mean_finite
from synth.benchmark.selective import SELECTIVE
from synth.benchmark.separation import SEPARATIONS, aupr, auroc
from synth.benchmark.verdict_compared import IN_NATS, NONE_FOUND, TRUE, compared, methods_of, pooled, strongest
from synth.benchmark.verdict_confusion import confusion, f1, power
from synth.benchmark.verdict_record import AuditLine

RESAMPLES = 300
ALL, MIXED = "all", "three"  # families: the pool, and several of different kinds
VERDICTS = ("hallucinated", "missing", "wrong_extent", "wrong_label", "wrong_attribute", "wrong_relation")
FALSE_REGIONS = 0.5  # a scan, at which sensitivity is read
OF_PATIENTS = ("power", "detected", "top3", "parses_flagged", "fdr", "sensitivity_half")
OF_ENTITIES = ("false_alarms", "share")
Unit = Sequence[AuditLine]  # all audits of one patient
Statistic = Callable[[Sequence[AuditLine]], float]
Choice = Callable[[AuditLine], bool]
Part = TypeVar("Part")  # what a number reads of one patient


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
    return [row for make in made for row in make(_Table(units, about, seed)) if math.isfinite(row.value)]


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
        """One number with its interval, of all audits."""

        def of(drawn: Sequence[Unit]) -> float:
            return statistic([line for unit in drawn for line in unit])

        return self.row_of(self.units, group, metric, of, n, method)

    def row_of(
        self,
        parts: Sequence[Part],
        group: Mapping[str, str],
        metric: str,
        statistic: Callable[[Sequence[Part]], float],
        n: int,
        method: str = "ours",
    ) -> Row:
        """One number with its interval, of what was read of each patient."""
        value = statistic(parts)
        if not math.isfinite(value):
            interval = Interval(math.nan, math.nan)
        elif metric in (*OF_PATIENTS, *OF_ENTITIES) and value in (0.0, 1.0):
            patients = sum(math.isfinite(statistic([part])) for part in parts)
            interval = exact_interval(value, n if metric in OF_ENTITIES else patients)
        else:
            rng = np.random.default_rng(self.seed)
            interval = bootstrap_interval(parts, statistic, rng=rng, draws=RESAMPLES)
        return Row({**self.about, **group}, method, metric, value, interval.low, interval.high, n)

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
    """AUROC, AUPR and FPR95 by family, severity and method; AURC and AUGRC of ours."""
    for group, chosen in table.cells():
        if group["family"] in (ALL, MIXED):
            continue
        part = table.of(partial(_is_compared, chosen))
        for method, score in methods_of(_faulty(part.lines)).items():
            parts = compared(part.units, score)
            n = sum(len(p.wrong) for p in parts)
            selective = SELECTIVE if method == "ours" and score in IN_NATS else {}
            for metric, measure in {**SEPARATIONS, **selective}.items() if n else ():
                yield part.row_of(parts, group, metric, partial(pooled, measure), n, method)


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
            for method, score in methods_of(places).items():
                parts = compared(part.units, score, scan=True)
                for metric, measure in (("auroc", auroc), ("aupr", aupr)):
                    yield part.row_of(parts, {**group, "task": "scan"}, metric, partial(pooled, measure), n, method)


def _false_findings(lines: Sequence[AuditLine]) -> float:
    return mean_finite(float(sum(r.missing for r in line.regions)) for line in _correct(lines) if line.searched)


def _sensitivity(lines: Sequence[AuditLine]) -> float:
    """FROC: share of what was left out that a region scores above the threshold of half a false region a scan."""
    correct = [line for line in _correct(lines) if line.searched]
    false = sorted((r.scores.get("presence", NONE_FOUND) for line in correct for r in line.regions), reverse=True)
    tolerated = math.floor(FALSE_REGIONS * len(correct))
    threshold = false[tolerated] if tolerated < len(false) else NONE_FOUND
    return mean_finite(float(strongest(line, "presence", hit=True) > threshold) for line in lines if line.place)


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
