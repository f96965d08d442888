"""Futures of a patient under a plan: numbers from the dynamics, shapes and claims in space.

1 visits    ids persist, days rise; the sizes of each lesion are its history
2 forecast  samples of every lesion's volume and of new lesions at each day
3 space     places of new lesions, and the shape of each lesion at any volume, once for all samples
4 futures   one closed parse for each sample and day, made when asked for
5 measure   intervals of volume and longest axis over the samples
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from synth.action import Plan
from synth.contracts import Decoder
from synth.dynamics import DynamicsModel, PatientFutures, PatientHistory
from synth.dynamics.evolution import Change, Evolution, Future, lesion_shapes, site_shapes
from synth.dynamics.removal import removals
from synth.dynamics.sites import birth_sites, seen_mm, volume_at
from synth.errors import InputError
from synth.parse import Parse
from synth.parse.diff import ParseDiff, diff
from synth.parse.measure import axial_extent
from synth.pipeline.patient import history_of
from synth.pipeline.preflight import Finding, preflight, require
from synth.volume import Geometry, Volume

LEVEL = 0.9
MOST_SAMPLES, MOST_DAYS, FARTHEST_DAY = 1000, 50, 3653.0
LOOK_DAYS = 28.0  # how often a course is looked at where it is compared with another
LEAST_MM = 1.0  # no outline of a smaller ball can be told from noise
NEAR = 0.05  # share of the samples, in rank, that the burden of a typical course may be off by
MOST_SITES = 50  # new lesions that are placed; a sample with more keeps the first


class Forecaster(Protocol):
    """What gives the numbers: `synth.dynamics.DynamicsModel`, or anything with its one call."""

    def forecast(
        self, history: PatientHistory, plan: Plan, days_ahead: Sequence[float], *, samples: int, seed: int
    ) -> PatientFutures:
        """Samples of the future sizes."""
        ...


@dataclass(frozen=True)
class Interval:
    """Quantiles over the samples; the ends hold `LEVEL` of them between them."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class LesionForecast:
    """One lesion at one day.

    Attributes:
        entity: its id; day: from now.
        volume_ml, longest_mm: over the samples; zero where it is gone.
        gone: share of the samples in which it is.
    """

    entity: str
    day: float
    volume_ml: Interval
    longest_mm: Interval
    gone: float


@dataclass(frozen=True, eq=False)
class Forecast:
    """The futures of one patient under one plan.

    Attributes:
        now: the last parse; history: of its lesions; plan: what is done.
        days: from now, (H,); futures: the numbers, N samples; seed: makes them again.
        image: the last scan, on the grid of the parse, where it was given; decoder: what draws futures of it.
        preflight: what does not fit between that scan and the parse; forecaster: gave the numbers.
    """

    now: Parse
    history: PatientHistory
    plan: Plan
    days: tuple[float, ...]
    futures: PatientFutures
    seed: int
    image: Volume | None = None
    decoder: Decoder | None = None
    preflight: tuple[Finding, ...] = ()
    forecaster: Forecaster | None = None
    _made: dict[tuple[int, int], Future] = field(default_factory=dict, repr=False)

    @property
    def samples(self) -> int:
        """N."""
        return int(self.futures.births.shape[0])

    @cached_property
    def ratios(self) -> Mapping[str, NDArray[np.float64]]:
        """Id -> (N, H) ln V(day) / V(now), -inf from the day on at which it has disappeared.

        The model says when; by law it has as well where it shrank below what the grid can show (`least_voxels`).
        """
        found = {}
        for id in self.futures.log_ratio:
            ratio = self.futures.ratio(id)
            if id in self.now.masks:
                small = self.now.masks[id].voxels * np.exp(np.minimum(ratio, 30.0)) < least_voxels(self.now.geometry)
                ratio = np.where(np.logical_or.accumulate(small & (ratio < 0.0), axis=1), -np.inf, ratio)
            found[id] = ratio
        return found

    @cached_property
    def closely(self) -> PatientFutures:
        """The same patient and plan, seen every `LOOK_DAYS` as well: what comes between the days asked for."""
        looks = np.arange(LOOK_DAYS, self.days[-1], LOOK_DAYS).tolist()
        days = sorted({*self.days, *looks})
        if self.forecaster is None or len(days) == len(self.days):
            return self.futures
        numbers = self.forecaster.forecast(self.history, self.plan, days, samples=self.samples, seed=self.seed)
        return _with_removed(numbers, self.now, self.plan)

    @cached_property
    def evolution(self) -> Evolution:
        """What the samples share in space."""
        ratios = {id: r for id, r in self.ratios.items() if id in self.now.masks}
        shapes = lesion_shapes(self.now, {id: float(np.max(r, initial=0.0)) for id, r in ratios.items()})
        count = min(int(self.futures.births.max(initial=0)), MOST_SITES)
        sites = birth_sites(self.now, count, self.seed)
        most = max((v for n in range(self.samples) for v in self._births_ml(n, len(self.days) - 1, count)), default=0.0)
        return Evolution(self.now, self.plan, sites, shapes | site_shapes(self.now, sites, most))

    def future(self, sample: int, horizon: int) -> Future:
        """One closed future; the same one at every call."""
        key = (range(self.samples)[sample], range(len(self.days))[horizon])
        if key not in self._made:
            ratios = {id: float(r[key]) for id, r in self.ratios.items()}
            births = self._births_ml(*key, len(self.evolution.sites))
            self._made[key] = self.evolution.at(Change(self.days[key[1]], ratios, tuple(births)))
        return self._made[key]

    def parses(self, horizon: int) -> tuple[Parse, ...]:
        """The closed parse of every sample at one day."""
        return tuple(self.future(sample, horizon).parse for sample in range(self.samples))

    def diff(self, sample: int, horizon: int) -> ParseDiff:
        """What changed between now and then."""
        return diff(self.now, self.future(sample, horizon).parse)

    @cached_property
    def burden_ml(self) -> NDArray[np.float64]:
        """(N, H) mL of all followed lesions and new ones."""
        total = np.zeros(self.futures.births.shape)
        for id, ratio in self.ratios.items():
            if id in self.now.masks:
                total += self._volumes(id, ratio)
        births = [[sum(self._births_ml(n, h, MOST_SITES)) for h in range(len(self.days))] for n in range(self.samples)]
        return np.asarray(total + np.asarray(births))

    def typical(self, quantile: float = 0.5) -> int:
        """A sample whose burden at the last day is near this quantile: one course, not a mean of several.

        Of those within a twentieth of the samples the one whose burden and lesions keep nearest to it at every day.
        """
        last = len(self.days) - 1
        ranks = rankdata(np.concatenate([self.burden_ml, *self.ratios.values()], axis=1), axis=0) - 0.5
        off = np.abs(ranks / self.samples - quantile)
        near = off[:, last] <= max(NEAR, off[:, last].min())
        return int(np.where(near, off.mean(axis=1), np.inf).argmin())

    @cached_property
    def lesions(self) -> tuple[LesionForecast, ...]:
        """Each followed lesion at each day."""
        return tuple(self._lesion(id, h) for id in self.ratios if id in self.now.masks for h in range(len(self.days)))

    def of(self, entity: str, horizon: int) -> LesionForecast:
        """One lesion at one day; an `InputError` for an id that is not followed."""
        found = [each for each in self.lesions if each.entity == entity]
        if not found:
            known = ", ".join(dict.fromkeys(each.entity for each in self.lesions))
            raise InputError("lesion", expected=f"one of {known}", got=f"'{entity}'", fix="correct the id")
        return found[horizon]

    def _lesion(self, id: str, horizon: int) -> LesionForecast:
        volumes = self._volumes(id, self.ratios[id])[:, horizon]
        shape = self.evolution.shapes[id]
        sizes = {n: shape.at(min(n, shape.room)) for n in np.rint(volumes / self.now.geometry.voxel_ml).astype(int)}
        axes = {n: 0.0 if m.is_empty else axial_extent(m, self.now.geometry).longest_mm for n, m in sizes.items()}
        longest = [axes[n] for n in np.rint(volumes / self.now.geometry.voxel_ml).astype(int)]
        return LesionForecast(
            id, self.days[horizon], interval(volumes), interval(longest), float(np.mean(volumes == 0.0))
        )

    def _volumes(self, id: str, log_ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, H) mL in whole voxels, as far as there is room."""
        mask = self.now.masks[id]
        voxels = np.minimum(np.rint(mask.voxels * np.exp(np.minimum(log_ratio, 30.0))), self.evolution.shapes[id].room)
        return np.asarray(voxels * self.now.geometry.voxel_ml)

    def _births_ml(self, sample: int, horizon: int, most: int) -> list[float]:
        """Volume of each new lesion of a sample: seen first halfway between the days around its coming up."""
        counts, days = self.futures.births[sample], (0.0, *self.days)
        voxel = self.now.geometry.voxel_ml
        seen = voxel * _seen_voxels(self.now)
        volumes = []
        for number in range(min(int(counts[horizon]), most)):
            first = int(np.argmax(counts > number))
            volume = volume_at(seen, days[horizon + 1] - (days[first] + days[first + 1]) / 2)
            volumes.append(voxel * max(1, round(volume / voxel)))
        return volumes


def forecast(
    parses: Sequence[Parse],
    plan: Plan,
    at_days: Sequence[float],
    *,
    samples: int = 20,
    seed: int = 0,
    image: Volume | None = None,
    decoder: Decoder | None = None,
    model: Forecaster | str | Path | None = None,
    past: Plan | None = None,
) -> Forecast:
    """Sample the futures of a patient.

    Args:
        parses: one or more visits with persistent ids (`synth.pipeline.visits.persistent`), the last is now.
        plan: what is done from now on; past: what was done before.
        at_days: days from now, each once; they are sorted.
        samples: how many futures; seed: the same one gives the same futures, and other plans the same luck.
        image: the last scan, on the grid of the last parse; decoder: what draws it as it will be.
        model: gives the numbers; None for the shipped one, or its weights folder.

    Raises:
        InputError: days or samples out of range, a plan that does not fit the parse, an image on another grid or with
            an error in its `preflight`, no lesion to follow.
    """
    days = _checked_days(at_days)
    if not 1 <= samples <= MOST_SAMPLES:
        raise InputError("samples", expected=f"1 to {MOST_SAMPLES}", got=str(samples), fix="choose a number between")
    history = history_of(parses, past)
    now = parses[-1]
    plan.check(now)
    if image is not None:
        difference = now.geometry.describe_difference(image.geometry)
        if difference:
            raise InputError("image", expected="the grid of the last parse", got=difference, fix="resample one of them")
    remarks = () if image is None else preflight(image, now)
    require(remarks)
    forecaster = _model(model)
    numbers = forecaster.forecast(history, plan, days, samples=samples, seed=seed)
    numbers = _with_removed(numbers, now, plan)
    return Forecast(now, history, plan, days, numbers, seed, image, decoder, remarks, forecaster)


def _with_removed(numbers: PatientFutures, now: Parse, plan: Plan) -> PatientFutures:
    """The futures in which what surgery and ablation take with their margins is gone as well."""
    out = [set(removals(now, plan, float(day)).gone) for day in numbers.days]
    gone = dict(numbers.gone)
    for id in numbers.log_ratio:
        removed = np.array([id in each for each in out])
        if removed.any():
            gone[id] = np.logical_or(gone.get(id, np.zeros(numbers.births.shape, bool)), removed)
    return replace(numbers, gone=gone)


def interval(values: Sequence[float] | NDArray[np.float64]) -> Interval:
    """The quantiles of samples.

    Example:
        >>> interval([1.0, 2.0, 3.0])
        Interval(low=1.1, median=2.0, high=2.9)
    """
    low, median, high = np.quantile(np.asarray(values, np.float64), ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2))
    return Interval(float(low), float(median), float(high))


def least_voxels(geometry: Geometry) -> float:
    """Below this volume a lesion is not there: half a voxel, or a ball of `LEAST_MM` where that is more.

    Example:
        >>> least_voxels(Geometry.regular((4, 4, 4), 3.0)), round(least_voxels(Geometry.regular((4, 4, 4), 0.5)), 2)
        (0.5, 4.19)
    """
    return max(0.5, math.pi / 6.0 * LEAST_MM**3 / (1000.0 * geometry.voxel_ml))


def _seen_voxels(now: Parse) -> int:
    """The size at which a new lesion is first seen: a ball of that diameter."""
    ml = math.pi / 6.0 * seen_mm(now.geometry) ** 3 / 1000.0
    return max(1, round(ml / now.geometry.voxel_ml))


def _checked_days(at_days: Sequence[float]) -> tuple[float, ...]:
    days = tuple(sorted(float(day) for day in at_days))
    fits = days and len(set(days)) == len(days) <= MOST_DAYS and days[0] >= 0 and days[-1] <= FARTHEST_DAY
    if not fits:
        got = ", ".join(f"{day:g}" for day in at_days) or "none"
        expected = f"1 to {MOST_DAYS} different days from 0 to {FARTHEST_DAY:g}"
        raise InputError("days", expected=expected, got=got[:200], fix="count days from the last visit")
    return days


def _model(model: Forecaster | str | Path | None) -> Forecaster:
    if model is None or isinstance(model, str | Path):
        return DynamicsModel.from_pretrained(model)
    return model
