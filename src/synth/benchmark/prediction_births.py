"""New lesions of the ffcd trial: the log-score of a hazard that knows the patient, over a constant one.

A patient is at risk from one event or visit to the next, and at the end of such a gap a new lesion came or did not.

    log-score of a gap = event * ln hazard - hazard * time

ours      h = h0 exp(b'x) (1/v + events so far) / (1/v + expected so far): covariates of the patient, of the sizes so
          far and of the times since the last event and scan; the patient's own past corrects them, shrunken by the
          variance v of a gamma frailty (Rondeau et al. 2007, Biostatistics 8:708)
frailty   one h0 for all, the patient's own past as above: what forecasts do, whose parses tell no trial's covariates
constant  events over time at risk, of the training patients
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synth.benchmark.prediction_scores import DRAWS
from synth.benchmark.result import Row
from synth.dynamics.births import Births, Seen
from synth.dynamics.series import Series, folds_of
from synth.dynamics.tables import NEW_LESIONS, read_lines, read_number, time_at_risk
from synth.errors import InputError

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Advance = Callable[..., None]

EVENTS, SIZES = "colorectal.csv", "colorectalLongi.csv"
EVENT_COLUMNS = (*NEW_LESIONS, "treatment", "age", "who.PS", "prev.resection")
SIZE_COLUMNS = ("id", "year", "tumor.size")
BOX_COX = 0.3
SINCE_SCAN_YEARS = (0.25, 0.4)
"""Scans came every two to three months; who has none for longer is followed without, and nothing new is found."""
SHORTEST_YEARS = 1.0 / 365.25
CONSTANT, OURS, FRAILTY = METHODS = ("constant_hazard", "ours", "frailty")
FRAILTIES = (0.05, 0.3, 1.0)
RIDGES = (0.1, 1.0, 10.0)
MEAN_LOG_CM = 2.3
"""ln of the sum of diameters where none was measured yet: about that of the trial."""
AGES = ("<60 years", "60-69 years", ">69 years")


@dataclass(frozen=True, eq=False)
class Gaps:
    """Times at risk.

    Attributes:
        patient: (n,) number of the patient.
        start, years: (n,) when the gap begins, and how long it is.
        event: (n,) whether a new lesion ends it.
        x: (n, features) what is known at its start.
    """

    patient: Int64
    start: Float64
    years: Float64
    event: Float64
    x: Float64

    def where(self, keep: NDArray[np.bool_]) -> Gaps:
        """Some of them."""
        return Gaps(self.patient[keep], self.start[keep], self.years[keep], self.event[keep], self.x[keep])


@dataclass(frozen=True, eq=False)
class Hazard:
    """h0 exp(b'x) and the variance of the frailty."""

    intercept: float
    coefficients: Float64
    mean: Float64
    scale: Float64
    frailty: float

    @classmethod
    def of(cls, births: Births, features: int) -> Hazard:
        """The same for all but for their own past."""
        none = np.zeros(features)
        return cls(math.log(births.per_year), none, none, np.ones(features), births.frailty)

    @classmethod
    def fit(cls, gaps: Gaps, frailty: float, ridge: float) -> Hazard:
        """Poisson regression with time at risk as exposure and a ridge (scikit-learn)."""
        from sklearn.linear_model import PoissonRegressor

        mean, scale = gaps.x.mean(axis=0), gaps.x.std(axis=0) + 1e-9
        model = PoissonRegressor(alpha=ridge, max_iter=1000).fit(
            (gaps.x - mean) / scale, gaps.event / gaps.years, sample_weight=gaps.years
        )
        return cls(float(model.intercept_), model.coef_, mean, scale, frailty)

    def log_score(self, gaps: Gaps) -> Float64:
        """(n,) of each gap, the patient's own past in order of time."""
        base = np.exp(self.intercept + ((gaps.x - self.mean) / self.scale) @ self.coefficients)
        hazard = np.empty_like(base)
        for patient in np.unique(gaps.patient):
            rows = np.flatnonzero(gaps.patient == patient)
            rows = rows[np.argsort(gaps.start[rows], kind="stable")]
            expected = np.concatenate([[0.0], (base[rows] * gaps.years[rows]).cumsum()[:-1]])
            events = np.concatenate([[0.0], gaps.event[rows].cumsum()[:-1]])
            hazard[rows] = base[rows] * (1 / self.frailty + events) / (1 / self.frailty + expected)
        return gaps.event * np.log(hazard) - hazard * gaps.years


def run_ffcd(folder: Path, train: Path | None, *, folds: int, seed: int, advance: Advance) -> Iterator[Row]:
    """The rows: log-score a gap of each hazard, and the gain over a constant one with its interval over patients."""
    tested = read_ffcd(folder)
    scores = {method: np.empty(len(tested.event)) for method in METHODS}
    fold = np.zeros(len(tested.event), np.int64) if train else _fold(tested, folds, seed)
    for each in np.unique(fold):
        held = fold == each
        for method, score in _scores(read_ffcd(train) if train else tested.where(~held), tested.where(held), seed):
            scores[method][held] = score
        advance(1)
    group = {"task": "new_lesions"}
    for method in METHODS:
        yield _row(group, method, "log_score", tested.patient, scores[method], seed)
    for method in METHODS[1:]:
        gain = scores[method] - scores[CONSTANT]
        yield _row(group, method, "log_score_gain", tested.patient, gain, seed)


def read_ffcd(folder: Path) -> Gaps:
    """The two tables of a folder; raises InputError for what is not laid out like them."""
    if not folder.is_dir():
        raise InputError(str(folder), expected=f"a folder with {EVENTS} and {SIZES}", got="none", fix="check the path")
    sizes: dict[str, list[tuple[float, float]]] = {}
    for number, line in read_lines(folder / SIZES, SIZE_COLUMNS):
        where = f"{SIZES}, line {number}"
        transformed = read_number(line["tumor.size"], where, "tumor.size", least=-1.0 / BOX_COX)
        cm = max(BOX_COX * transformed + 1.0, 0.0) ** (1.0 / BOX_COX)
        sizes.setdefault(line["id"], []).append((read_number(line["year"], where, "year"), cm))
    patients: dict[str, int] = {}
    rows = []
    for number, line in read_lines(folder / EVENTS, EVENT_COLUMNS):
        where = f"{EVENTS}, line {number}"
        start, stop, event = time_at_risk(line, where)
        index = patients.setdefault(line["id"], len(patients))
        visits = sorted(sizes.get(line["id"], []))
        for begin, end, since_scan in _cut(start, stop, [year for year, _ in visits]):
            years, came = max(end - begin, SHORTEST_YEARS), event * float(end == stop)
            known = _known(line, where, begin - start, begin, visits)
            rows.append([index, begin, years, came, *known, *(float(since_scan >= s) for s in SINCE_SCAN_YEARS)])
    data = np.array(rows)
    return Gaps(data[:, 0].astype(np.int64), data[:, 1], data[:, 2], data[:, 3], data[:, 4:])


def _cut(start: float, stop: float, visits: Sequence[float]) -> Iterator[tuple[float, float, float]]:
    """Parts (begin, end, years since the last scan) of a time at risk: at every scan, and where one is overdue."""
    scans = [start, *(year for year in visits if start + SHORTEST_YEARS < year < stop - SHORTEST_YEARS), stop]
    for scan, following in pairwise(scans):
        inside = [scan + years for years in SINCE_SCAN_YEARS if scan + years < following - SHORTEST_YEARS]
        for begin, end in pairwise([scan, *inside, following]):
            yield begin, end, begin - scan


def _known(
    line: Mapping[str, str], where: str, since_event: float, now: float, visits: Sequence[tuple[float, float]]
) -> list[float]:
    """What is known when a gap begins: the patient, the times in years, and the sizes until then."""
    if line["age"] not in AGES:
        raise InputError(f"{where}: age", expected=f"one of {AGES}", got=repr(line["age"][:40]), fix="correct it")
    until = [math.log(max(cm, 0.5)) for year, cm in visits if year <= now + SHORTEST_YEARS] or [MEAN_LOG_CM]
    return [
        float(line["treatment"] == "C"),
        float(AGES.index(line["age"])),
        read_number(line["who.PS"], where, "who.PS"),
        float(line["prev.resection"] == "Yes"),
        float(now > since_event),
        float(now == 0.0),
        math.log1p(4.0 * since_event),
        math.log1p(4.0 * now),
        until[-1],
        until[-1] - until[0],
        until[-1] - min(until),
        until[-1] - until[-2] if len(until) > 1 else 0.0,
    ]


def _scores(train: Gaps, test: Gaps, seed: int) -> Iterator[tuple[str, Float64]]:
    """Log-scores of each method; the two numbers of ours are chosen by folds of the training patients."""
    inner = _fold(train, 4, seed + 1)

    def held_out(choice: tuple[float, float]) -> float:
        total = 0.0
        for each in range(4):
            fitted = Hazard.fit(train.where(inner != each), *choice)
            total += float(fitted.log_score(train.where(inner == each)).sum())
        return total

    best = max(product(FRAILTIES, RIDGES), key=held_out)
    rate = train.event.sum() / train.years.sum()
    yield CONSTANT, test.event * math.log(rate) - rate * test.years
    yield OURS, Hazard.fit(train, *best).log_score(test)
    yield FRAILTY, Hazard.of(Births.fit(_seen(train)), test.x.shape[1]).log_score(test)


def _seen(gaps: Gaps) -> list[Seen]:
    """New lesions and time at risk of each patient."""
    each, index = np.unique(gaps.patient, return_inverse=True)
    counts, years = np.bincount(index, weights=gaps.event), np.bincount(index, weights=gaps.years)
    return [Seen(int(counts[i]), float(years[i])) for i in range(len(each))]


def _fold(gaps: Gaps, folds: int, seed: int) -> Int64:
    """(n,) the fold of each gap."""
    names = np.unique(gaps.patient)
    of = folds_of([Series.of(f"{p:06d}", [(0.0, 10.0)]) for p in names], folds, seed)
    return of[np.searchsorted(names, gaps.patient)]


def _row(group: dict[str, str], method: str, metric: str, patient: Int64, values: Float64, seed: int) -> Row:
    """Mean of a gap, with its interval over patients."""
    _, index = np.unique(patient, return_inverse=True)
    n = int(index.max()) + 1
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    draws = (weights @ np.bincount(index, weights=values)) / (weights @ np.bincount(index))
    low, high = np.quantile(draws, (0.025, 0.975))
    return Row(group, method, metric, float(values.mean()), float(low), float(high), len(values))
