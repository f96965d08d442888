"""The forecast's folder, written whole or not at all: forecast.json, parses, differences, scans, a plot and films."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from synth import __version__
from synth.dynamics import Outcome, compare_plans
from synth.dynamics.compare import Sizes
from synth.errors import InputError
from synth.parse import save_bundle
from synth.parse.narrative import narrative
from synth.pipeline.forecast import LEVEL, Forecast, Interval, interval
from synth.pipeline.forecast_render import render_future
from synth.report import forecast_record as record
from synth.report import place
from synth.report.filmstrip import Frame, frames, write_film
from synth.report.trajectory import Curve, trajectory
from synth.residual.findings import Message
from synth.volume import Volume, write_volume

FORECAST = "forecast.json"
COURSES = (("low", 0.05), ("middle", 0.5), ("high", 0.95))


@dataclass(frozen=True)
class Wanted:
    """What to write beside the numbers.

    Attributes:
        every_parse: the bundle of every sample, not only those of a low, a middle and a high course.
        draw: scans of the middle course.
    """

    every_parse: bool = False
    draw: bool = True


def save_forecasts(
    forecasts: Sequence[Forecast],
    folder: Path,
    wanted: Wanted | None = None,
    *,
    overwrite: bool = False,
    advance: Callable[..., None] = lambda *a, **k: None,
) -> record.ForecastRecord:
    """Write the futures of one patient under one plan or several.

    Where the decoder cannot draw the futures, everything else is written and the record says why.

    Raises:
        InputError: no forecast, two plans of one name, or the folder is there and `overwrite` is not set.
    """
    names = [f.plan.name for f in forecasts]
    if not names or len(set(names)) < len(names):
        got = ", ".join(names) or "none"
        raise InputError("plans", expected="at least one, each with a name of its own", got=got, fix="rename one")
    check_free(folder, overwrite=overwrite)
    with place.whole_folder(folder) as made:
        told = _Writer(made, wanted or Wanted(), advance).write(forecasts)
        text = json.dumps(told.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
        (made / FORECAST).write_text(text + "\n", "utf-8")
    return told


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Raise InputError where a forecast may not write."""
    place.check_free(folder, FORECAST, "forecast", overwrite=overwrite)


class _Writer:
    """Writes into the unfinished folder, and keeps for each plan the reason for which its scans are not drawn."""

    def __init__(self, folder: Path, wanted: Wanted, advance: Callable[..., None]) -> None:
        self.folder, self.wanted, self.advance = folder, wanted, advance
        self.refused: dict[str, str] = {}

    def write(self, forecasts: Sequence[Forecast]) -> record.ForecastRecord:
        first = forecasts[0]
        trajectory([curve_of(f) for f in forecasts], "All followed lesions and new ones", past=_past(first)).save(
            self.folder / "trajectory.png"
        )
        plans = [self._plan(f, name) for f, name in zip(forecasts, _folders(forecasts), strict=True)]
        return record.ForecastRecord(
            package=f"parse-synth {__version__}",
            parse_made_by=first.now.circumstance.made_by,
            image_sha256=None if first.image is None else first.image.sha256(),
            preflight=[Message(**m.to_json()) for m in first.preflight],
            days=list(first.days),
            samples=first.samples,
            seed=first.seed,
            level=LEVEL,
            lesions=_lesions(first),
            plans=plans,
            comparisons=[_compared(a, b, o) for a, b in combinations(forecasts, 2) for o in Outcome],
            drawing=self._drawing(forecasts),
            trajectory="trajectory.png",
        )

    def _plan(self, forecast: Forecast, name: str) -> record.PlanForecast:
        chosen: dict[int, str] = {}
        for course, quantile in COURSES:
            chosen.setdefault(forecast.typical(quantile), course)
        if self.wanted.every_parse:
            for sample in range(forecast.samples):
                chosen.setdefault(sample, f"{sample:04d}")
        middle = forecast.typical()
        chosen[middle] = "middle"
        courses: list[record.Course] = []
        shown = [Frame("today", forecast.now, forecast.image)]
        for sample, course in sorted(chosen.items()):
            for horizon, day in enumerate(forecast.days):
                where = f"{name}/day-{day:04g}/{course}"
                image = self._scan(forecast, sample, horizon, where) if sample == middle else None
                courses.append(self._course(forecast, (sample, horizon), where, drawn=image is not None))
                if sample == middle:
                    parse = forecast.future(sample, horizon).parse
                    shown.append(Frame(f"{_shown(day)}, {forecast.plan.name}", parse, image))
                self.advance(1, message=f"{name}, day {day:g}")
        write_film(
            frames(shown if all(s.image for s in shown) else [_bare(s) for s in shown]), self.folder / name / "film.gif"
        )
        return record.PlanForecast(
            name=forecast.plan.name,
            plan=forecast.plan.model_dump(mode="json"),
            effect_source=forecast.futures.effect_source,
            provenance=_plain(forecast.futures.provenance),
            totals=_totals(forecast),
            lesions=[_then(each) for each in forecast.lesions],
            courses=courses,
            film=f"{name}/film.gif",
        )

    def _course(self, forecast: Forecast, key: tuple[int, int], where: str, *, drawn: bool) -> record.Course:
        future = forecast.future(*key)
        save_bundle(future.parse, self.folder / where / "parse")
        change = forecast.diff(*key)
        text = json.dumps(change.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        (self.folder / where / "diff.json").write_text(text + "\n", "utf-8")
        return record.Course(
            name=where.rpartition("/")[2],
            sample=key[0],
            day=forecast.days[key[1]],
            parse=f"{where}/parse",
            diff=f"{where}/diff.json",
            sentences=list(narrative(forecast.now, future.parse, change)),
            render=f"{where}/render.nii.gz" if drawn else None,
            limited=list(future.limited),
            broken=list(future.broken),
        )

    def _scan(self, forecast: Forecast, sample: int, horizon: int, where: str) -> Volume | None:
        """Draw and write one scan; None, and the reason kept, where that cannot be done."""
        plan = forecast.plan.name
        if not self.wanted.draw or forecast.image is None or forecast.decoder is None or plan in self.refused:
            return None
        try:
            drawn = render_future(forecast, sample, horizon)
        except InputError as error:
            self.refused[plan] = str(error)
            return None
        write_volume(drawn.image, self.folder / where / "render.nii.gz", synthetic=drawn.mark)
        return drawn.image

    def _drawing(self, forecasts: Sequence[Forecast]) -> record.Drawing:
        first = forecasts[0]
        if first.image is None or first.decoder is None or not self.wanted.draw:
            return record.Drawing(refused="no scan was given" if first.image is None else "no render was asked for")
        said = "; ".join(f"plan '{plan}': {reason}" for plan, reason in self.refused.items()) or None
        if len(self.refused) == len(forecasts):
            return record.Drawing(refused=said)
        return record.Drawing(decoder=first.decoder.name, weights_sha256=first.decoder.weights_sha256, refused=said)


def _folders(forecasts: Sequence[Forecast]) -> list[str]:
    """A folder name for each plan."""
    names: list[str] = []
    for number, forecast in enumerate(forecasts, start=1):
        plain = re.sub(r"[^a-z0-9]+", "-", forecast.plan.name.lower()).strip("-")[:40] or "plan"
        names.append(plain if plain not in names else f"{plain}-{number}")
    return names


def _shown(day: float) -> str:
    return f"day {day:g}"


def _bare(frame: Frame) -> Frame:
    return Frame(frame.label, frame.parse)


def _past(forecast: Forecast) -> list[tuple[float, float]]:
    """The volume of all followed lesions at each visit, days from now."""
    visits: dict[float, float] = {}
    for lesion in forecast.history.lesions:
        for day, volume in zip(lesion.days, lesion.volume_ml, strict=True):
            visits[day - lesion.days[-1]] = visits.get(day - lesion.days[-1], 0.0) + volume
    return sorted(visits.items())


def curve_of(forecast: Forecast) -> Curve:
    """The burden of a forecast over time, from today on."""
    now = _past(forecast)[-1][1]
    ranges = [interval(column) for column in forecast.burden_ml.T]
    days = forecast.days
    if days[0] > 0:
        days, ranges = (0.0, *days), [Interval(now, now, now), *ranges]
    return Curve(forecast.plan.name, days, tuple(ranges))


def _lesions(forecast: Forecast) -> list[record.LesionNow]:
    found = []
    for each in forecast.history.lesions:
        visits = [
            record.Visit(day=day - each.days[-1], longest_mm=mm, volume_ml=ml)
            for day, mm, ml in zip(each.days, each.longest_mm, each.volume_ml, strict=True)
        ]
        name = forecast.now.entity(each.entity).name
        found.append(record.LesionNow(id=each.entity, name=name, organ=each.organ, visits=visits))
    return found


def _totals(forecast: Forecast) -> list[record.Total]:
    births = forecast.futures.births
    return [
        record.Total(
            day=day,
            burden_ml=_range(interval(forecast.burden_ml[:, h])),
            new_lesions=float(births[:, h].mean()),
            any_new=float((births[:, h] > 0).mean()),
        )
        for h, day in enumerate(forecast.days)
    ]


def _then(each: Any) -> record.LesionThen:
    return record.LesionThen(
        id=each.entity,
        day=each.day,
        volume_ml=_range(each.volume_ml),
        longest_mm=_range(each.longest_mm),
        gone=each.gone,
    )


def _range(value: Interval) -> record.Range:
    return record.Range(low=value.low, median=value.median, high=value.high)


def _compared(a: Forecast, b: Forecast, outcome: Outcome) -> record.PlanComparison:
    sizes = Sizes(
        {lesion.entity: lesion.longest_mm[-1] for lesion in a.history.lesions},
        {lesion.entity: lesion.volume_ml[-1] for lesion in a.history.lesions},
    )
    found = compare_plans(a.closely, b.closely, outcome, sizes=sizes, level=LEVEL, seed=a.seed)
    return record.PlanComparison(
        a=a.plan.name,
        b=b.plan.name,
        outcome=str(found.outcome),
        unit=found.unit,
        difference=found.difference,
        low=found.low,
        high=found.high,
        least=found.least,
        better={"a": a.plan.name, "b": b.plan.name, None: None}[found.better],
        effect_source=found.effect_source,
    )


def _plain(value: Any) -> Any:
    """JSON data of whatever provenance holds; what is not finite becomes null."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, bool | int | str | None) else str(value)
