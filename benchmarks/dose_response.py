"""How the effect of a drug depends on its dose: src/synth/dynamics/dose.json, fitted to mice on dose grids.

    python benchmarks/dose_response.py DATA         (DATA: a folder with growth/maeve/*.csv)

Mice with glioblastoma (GDC-0084 or palbociclib for 21 days, temozolomide for 5) or trichoblastoma (vismodegib for 21
days), the tables of the R package maeve and what it says of them. Each animal gives one growth rate of ln V (1/day):
the slope of Theil and Sen over the 21 days of treatment, for tumours grow again after it. Within a study

    rate = c - sum_b A_b f(d_b / top dose of b) + e,        f(x) = x^gamma

with the growth c of the controls and an effect A of each drug (of temozolomide, one beside each dose of its partner),
so that each animal counts once; e is normal with a variance of its own in each study. Gamma is common to all drugs,
by maximum likelihood, with an interval from animals drawn anew within their groups. Beside it stand each drug's own
gamma, other windows and estimates of the slope, and other laws, compared by AIC and on animals left out: effect
proportional to dose, any dose alike, and Emax, x / (x + e), with a common or an own e. Writes dose-response.json
beside this file.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from synth.benchmark.result import BenchmarkResult, Interval, Row, bootstrap_interval
from synth.dynamics import dose
from synth.dynamics.dose import DoseResponse
from synth.dynamics.series import Series
from synth.dynamics.tables import read_maeve

Float64 = NDArray[np.float64]
Slope = Callable[[Float64, Float64], float]

OUT = Path(__file__).with_name("dose-response.json")
WINDOW_DAYS, FEWEST_READINGS = 21.0, 3
CLASSES = ("cytotoxic", "targeted")
"""Of temozolomide, and of GDC-0084 (PI3K and mTOR) and vismodegib (Smoothened)."""
SOURCE = "mice on dose grids of temozolomide, GDC-0084 and vismodegib (benchmarks/dose-response.json)"
LOWEST, HIGHEST = 0.005, 20.0
DRAWS, DRAWS_OWN, FOLDS = 1000, 300, 10
UPPER = 0.2
GRID = re.compile(r"gdc0084_(?P<gdc>[\d.]+)_temo_(?P<temo>[\d.]+)|dose_(?P<vismodegib>[\d.]+)|veh")


@dataclass(frozen=True)
class Animal:
    """One animal: its study, the drugs that it got (mg/kg, in the order of the group's name), its rate (1/day)."""

    study: str
    doses: tuple[tuple[str, float], ...]
    rate: float

    @property
    def curves(self) -> dict[str, tuple[str, float]]:
        """Curve -> drug and dose; a drug after another has a curve of its own beside each dose of that."""
        found, before = {}, ""
        for drug, mg in self.doses:
            found[drug + before] = (drug, mg)
            before += f" with {drug} {mg:g}"
        return found


def doses_of(group: str) -> tuple[tuple[str, float], ...]:
    """The drugs of a group, those above 0 mg/kg.

    Example:
        >>> doses_of("gdc0084_01_temo_40"), doses_of("palb_200+tem_2.25"), doses_of("veh")
        ((('GDC-0084', 1.0), ('temozolomide', 40.0)), (('palbociclib', 200.0), ('temozolomide', 2.25)), ())
    """
    names = {"gdc": "GDC-0084", "temo": "temozolomide", "palb": "palbociclib", "tem": "temozolomide"}
    match = GRID.fullmatch(group)
    told = match.groupdict() if match else dict(part.split("_") for part in group.split("+"))
    return tuple((names.get(k, k), float(v)) for k, v in told.items() if v is not None and float(v) > 0)


def theil_sen(days: Float64, log_volume: Float64) -> float:
    """The median of the slopes between readings, so that one reading that was missed and stored as 0 does no harm."""
    return float(stats.theilslopes(log_volume, days)[0])


def least_squares(days: Float64, log_volume: Float64) -> float:
    """The usual slope."""
    return float(np.polyfit(days, log_volume, 1)[0])


def animals_of(table: Iterable[Series], window: float = WINDOW_DAYS, slope: Slope = theil_sen) -> list[Animal]:
    """One for each series with enough readings in the window."""
    found = []
    for each in table:
        early = each.days <= window
        if early.sum() >= FEWEST_READINGS:
            rate = slope(each.days[early], 3.0 * each.log_mm[early])
            found.append(Animal(each.patient.split("/")[0], doses_of(each.action), rate))
    return found


@dataclass(frozen=True)
class Law:
    """The share f(x, shape) of a drug's full effect at the dose x, where its shape is free: common, or each its own."""

    share: Callable[[Float64, Float64], Float64]
    free: bool = True
    own: bool = False


def power(x: Float64, shape: Float64) -> Float64:
    """Proportional to dose at 1, any dose alike at 0."""
    return np.where(x > 0, np.maximum(x, 1e-9) ** shape, 0.0)


def emax(x: Float64, shape: Float64) -> Float64:
    """Half of it at x = shape (Hill 1910)."""
    return np.asarray(x / (x + shape))


LAWS = {
    "any dose alike": Law(lambda x, _: np.where(x > 0, 1.0, 0.0), free=False),
    "proportional to dose": Law(lambda x, _: x, free=False),
    "power, common gamma": Law(power),
    "Emax, common": Law(emax),
    "power, own gamma": Law(power, own=True),
    "Emax, own": Law(emax, own=True),
}
COMMON = LAWS["power, common gamma"]


class Study:
    """The animals of one study as arrays: doses over the top dose (n, curves), the drug of each curve, rates (n,)."""

    def __init__(self, animals: Sequence[Animal], tops: Mapping[str, float], curves: Mapping[str, str]) -> None:
        self.drugs = list(curves.values())
        self.x = np.zeros((len(animals), len(curves)))
        for i, each in enumerate(animals):
            for name, (drug, mg) in each.curves.items():
                self.x[i, list(curves).index(name)] = mg / tops[drug]
        self.rate = np.array([each.rate for each in animals])

    def design(self, law: Law, shape: Mapping[str, float]) -> Float64:
        """(n, 1 + curves) of the linear part; a drug with one dose has no shape, for its share is all in its effect."""
        shapes = np.array([shape.get(drug, 1.0) for drug in self.drugs])
        return np.column_stack([np.ones(len(self.x)), -law.share(self.x, shapes)])

    def fit(self, law: Law, shape: Mapping[str, float]) -> tuple[Float64, float]:
        """(1 + curves,) growth of the controls and effects, and the standard deviation of what is left."""
        design = self.design(law, shape)
        found = np.linalg.lstsq(design, self.rate, rcond=None)[0]
        return found, float(np.sqrt(np.mean((self.rate - design @ found) ** 2)))

    def loss(self, law: Law, shape: Mapping[str, float]) -> float:
        """Minus the log-likelihood at the best effects."""
        return len(self.rate) * (math.log(self.fit(law, shape)[1]) + 0.5 * math.log(2.0 * math.pi) + 0.5)


class Grid:
    """All studies; top doses and curves are those of `frame`, so that animals left out change no design."""

    def __init__(self, animals: Sequence[Animal], frame: Sequence[Animal] | None = None) -> None:
        frame = animals if frame is None else frame
        doses: dict[tuple[str, str], set[float]] = defaultdict(set)
        curves: dict[str, dict[str, str]] = defaultdict(dict)
        for each in frame:
            for name, (drug, mg) in each.curves.items():
                doses[each.study, drug].add(mg)
                curves[each.study][name] = drug
        self.graded = sorted(key for key, found in doses.items() if len(found) > 1)
        self.studies: dict[str, Study] = {}
        for study in sorted({each.study for each in frame}):
            tops = {drug: max(found) for (where, drug), found in doses.items() if where == study}
            self.studies[study] = Study([a for a in animals if a.study == study], tops, curves[study])

    def shapes(self, law: Law) -> dict[tuple[str, str], float]:
        """(study, drug) -> shape, by maximum likelihood."""
        if not law.free:
            return dict.fromkeys(self.graded, 1.0)
        if not law.own:
            return dict.fromkeys(self.graded, _best(lambda s: self.loss(law, dict.fromkeys(self.graded, s))))
        found = {}
        for study, of in self.studies.items():
            drugs = [drug for where, drug in self.graded if where == study]
            shape = _best_of_each(partial(of.loss, law), drugs)
            found.update({(study, drug): value for drug, value in shape.items()})
        return found

    def loss(self, law: Law, shapes: Mapping[tuple[str, str], float]) -> float:
        """Minus the log-likelihood of all animals."""
        return sum(of.loss(law, _of(shapes, study)) for study, of in self.studies.items())

    def aic(self, law: Law) -> float:
        """Twice the number of what was fitted, less twice the log-likelihood."""
        free = (len(self.graded) if law.own else 1) if law.free else 0
        free += sum(2 + len(of.drugs) for of in self.studies.values())
        return 2.0 * free + 2.0 * self.loss(law, self.shapes(law))


def gamma_of(animals: Sequence[Animal]) -> float:
    """The common gamma."""
    return next(iter(Grid(animals).shapes(COMMON).values()))


def held_out(animals: Sequence[Animal], law: Law, folds: NDArray[np.int64]) -> Float64:
    """(n,) log-likelihood of each animal under the fit to the other folds."""
    found = np.zeros(len(animals))
    for fold in range(int(folds.max()) + 1):
        rest = Grid([a for a, f in zip(animals, folds, strict=True) if f != fold], animals)
        shapes = rest.shapes(law)
        fits = {study: of.fit(law, _of(shapes, study)) for study, of in rest.studies.items()}
        for i in np.flatnonzero(folds == fold).tolist():
            one = animals[i]
            study = Grid([one], animals).studies[one.study]
            effects, spread = fits[one.study]
            expected = (study.design(law, _of(shapes, one.study)) @ effects)[0]
            found[i] = stats.norm.logpdf(one.rate, expected, spread)
    return found


def rows(table: Sequence[Series], rng: np.random.Generator) -> Iterator[Row]:
    """Gamma and what it depends on, each drug's effects, and the laws."""
    animals = animals_of(table)
    over = [gamma_of(again(animals, rng)) for _ in range(DRAWS)]
    yield _row({"drug": "all"}, "gamma", gamma_of(animals), _interval(over), len(animals))
    grid, own = Grid(animals), LAWS["power, own gamma"]
    drawn = [Grid(again(animals, rng)).shapes(own) for _ in range(DRAWS_OWN)]
    for (study, drug), value in grid.shapes(own).items():
        n = sum(a.study == study and drug in dict(a.doses) for a in animals)
        where, interval = {"drug": drug, "study": study}, _interval([each[study, drug] for each in drawn])
        yield _row(where, "gamma, its own", value, interval, n)
        without = [a for a in animals if a.study != study or drug not in dict(a.doses)]
        yield _row(where, "gamma without it", gamma_of(without), None, len(without))
    for title, some in others(table, animals):
        yield _row({"with": title}, "gamma", gamma_of(some), None, len(some))
    yield from effects(animals)
    folds = dealt(animals, rng)
    nats = {name: held_out(animals, law, folds) for name, law in LAWS.items()}
    ours = nats["power, common gamma"]
    for name, law in LAWS.items():
        yield Row({"law": name}, name, "aic", grid.aic(law), math.nan, math.nan, len(animals))
        more = list(nats[name] - ours)
        interval = bootstrap_interval(more, lambda v: float(np.mean(v)), rng=rng)
        mean, metric = float(np.mean(more)), "held-out nats an animal, more than with the common gamma"
        yield Row({"law": name}, name, metric, mean, interval.low, interval.high, len(more))


def others(table: Sequence[Series], animals: Sequence[Animal]) -> Iterator[tuple[str, list[Animal]]]:
    """Other choices that could have been made."""
    for days in (14.0, 28.0, 42.0):
        yield f"the first {days:g} days", animals_of(table, days)
    yield "all days", animals_of(table, math.inf)
    yield "least squares", animals_of(table, slope=least_squares)
    tops: dict[tuple[str, str], float] = {}
    for each in animals:
        for drug, mg in each.doses:
            tops[each.study, drug] = max(mg, tops.get((each.study, drug), 0.0))
    upper = [a for a in animals if all(mg >= UPPER * tops[a.study, drug] for drug, mg in a.doses)]
    yield f"doses from {UPPER:g} of the top one on", upper


def effects(animals: Sequence[Animal]) -> Iterator[Row]:
    """By how much each dose slows growth (1/day), beside the controls with the same partner; intervals of Welch."""
    groups: dict[tuple[str, tuple[tuple[str, float], ...]], list[float]] = defaultdict(list)
    for each in animals:
        groups[each.study, each.doses].append(each.rate)
    for (study, doses), rates in sorted(groups.items()):
        for drug, mg in doses:
            partners = tuple(other for other in doses if other[0] != drug)
            controls = groups[study, partners]
            welch = stats.ttest_ind(controls, rates, equal_var=False).confidence_interval()
            beside = ", ".join(f"{name} {value:g}" for name, value in partners) or "none"
            group = {"drug": drug, "study": study, "mg/kg": f"{mg:g}", "beside": beside}
            effect = float(np.mean(controls) - np.mean(rates))
            yield _row(group, "effect, 1/day", effect, Interval(float(welch.low), float(welch.high)), len(rates))


def again(animals: Sequence[Animal], rng: np.random.Generator) -> list[Animal]:
    """Animals drawn anew, with replacement, within each group."""
    groups: dict[tuple[str, tuple[tuple[str, float], ...]], list[Animal]] = defaultdict(list)
    for each in animals:
        groups[each.study, each.doses].append(each)
    return [of[i] for of in groups.values() for i in rng.integers(len(of), size=len(of))]


def dealt(animals: Sequence[Animal], rng: np.random.Generator) -> NDArray[np.int64]:
    """(n,) folds that spread each group."""
    order = sorted(rng.permutation(len(animals)), key=lambda i: (animals[i].study, animals[i].doses))
    folds = np.zeros(len(animals), np.int64)
    folds[order] = np.arange(len(animals)) % FOLDS
    return folds


def shipped(table: Sequence[Row]) -> DoseResponse:
    """What a forecast needs of the rows."""
    (common,) = (row for row in table if row.group == {"drug": "all"})
    own = [row.value for row in table if row.metric == "gamma, its own"]
    return DoseResponse(common.value, common.low, common.high, min(own), max(own), CLASSES, SOURCE)


def _of(shapes: Mapping[tuple[str, str], float], study: str) -> dict[str, float]:
    return {drug: value for (where, drug), value in shapes.items() if where == study}


def _best(loss: Callable[[float], float]) -> float:
    bounds = (math.log(LOWEST), math.log(HIGHEST))
    found = optimize.minimize_scalar(lambda s: loss(math.exp(s)), bounds=bounds, method="bounded")
    return math.exp(float(found.x))


def _best_of_each(loss: Callable[[dict[str, float]], float], drugs: Sequence[str]) -> dict[str, float]:
    if len(drugs) == 1:
        return {drugs[0]: _best(lambda s: loss({drugs[0]: s}))}

    def named(logs: Float64) -> dict[str, float]:
        return dict(zip(drugs, np.exp(logs).tolist(), strict=True))

    start, bounds = np.full(len(drugs), math.log(0.2)), [(math.log(LOWEST), math.log(HIGHEST))] * len(drugs)
    found = optimize.minimize(lambda logs: loss(named(logs)), start, bounds=bounds, method="Nelder-Mead")
    return named(found.x)


def _interval(drawn: Sequence[float]) -> Interval:
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(float(low), float(high))


def _row(group: Mapping[str, str], metric: str, value: float, interval: Interval | None, n: int) -> Row:
    ends = interval or Interval(math.nan, math.nan)
    return Row(group, "ours", metric, value, ends.low, ends.high, n)


def main() -> None:
    """Fit, write both files and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    asked, started = parser.parse_args(), time.monotonic()
    table = tuple(rows(read_maeve(asked.data / "growth" / "maeve"), np.random.default_rng(0)))
    shipped(table).save(dose.SHIPPED)
    command = f"python benchmarks/dose_response.py {asked.data.name}"
    result = BenchmarkResult("dose-response", command, {}, time.monotonic() - started, table)
    OUT.write_text(json.dumps(result.to_json(), indent=2) + "\n")
    sys.stdout.write(result.table() + "\n")


if __name__ == "__main__":
    main()
