"""`synth forecast`: futures of a patient under one plan or several."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synth.cli.options import ModalityOption, SeedOption
from synth.cli.output import JsonOption, emit, log, progress

if TYPE_CHECKING:
    from synth.contracts import Decoder
    from synth.report.forecast_record import ForecastRecord
    from synth.volume import Volume

_UNITS = {"": 1.0, "d": 1.0, "w": 7.0, "m": 30.4375, "y": 365.25}


def register(app: typer.Typer) -> None:
    """Add `synth forecast`."""
    app.command("forecast")(run)


def run(
    parses: Annotated[list[Path], typer.Argument(help="Bundles of the visits in the order of time, the last is now.")],
    plan: Annotated[list[Path], typer.Option("--plan", help="plan.json; several are compared.")],
    at: Annotated[str, typer.Option("--at", help="Days from now, such as 30d,90d,26w,1y.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write, a new one.")],
    image: Annotated[Path | None, typer.Option("--image", help="The last scan: futures of it are drawn.")] = None,
    earlier: Annotated[
        list[Path] | None,
        typer.Option("--earlier", help="Scans of the visits before, in the order of time: visits are registered."),
    ] = None,
    past: Annotated[Path | None, typer.Option("--past", help="plan.json of what was done until now.")] = None,
    modality: ModalityOption = None,
    model: Annotated[
        Path | None, typer.Option(help="Weights folder of the dynamics; the shipped ones if left out.")
    ] = None,
    decoder: Annotated[str, typer.Option(help="direct, latent, or a weights folder; none draws nothing.")] = "direct",
    samples: Annotated[int, typer.Option(help="How many futures.")] = 100,
    seed: SeedOption = 0,
    every_parse: Annotated[
        bool, typer.Option("--every-parse", help="Write the parse of every sample, not of three courses.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier forecast in that folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Forecast the lesions of a patient, and how the last scan will look.

    Writes forecast.json, trajectory.png, and for each plan a film.gif and, for each day, a low, a middle and a high
    course: the parse, its difference to now, and the middle course as a synthetic scan.
    """
    from synth.action import Plan
    from synth.parse import load_bundle
    from synth.pipeline.forecast import forecast
    from synth.pipeline.visits import persistent
    from synth.report.forecast_folder import Wanted, check_free, save_forecasts
    from synth.volume import read_volume

    check_free(output, overwrite=overwrite)
    days = at_days(at)
    plans = [Plan.read(path) for path in plan]
    before = None if past is None else Plan.read(past)
    with progress("reading", as_json=as_json) as advance:
        visits = [load_bundle(path) for path in parses]
        scan = None if image is None else read_volume(image, modality=modality)
        scans = [read_volume(path, modality=modality) for path in earlier or ()]
        visits = list(persistent(visits, _scans(scans, scan)))
        drawn_by = _decoder(decoder, scan)
        advance(0, message="forecast")
        made = [
            forecast(
                visits,
                each,
                days,
                samples=samples,
                seed=seed,
                image=scan,
                decoder=drawn_by,
                model=model,
                past=before,
            )
            for each in plans
        ]
        told = save_forecasts(made, output, Wanted(every_parse=every_parse), overwrite=overwrite, advance=advance)
    for message in told.preflight:
        if message.severity != "info":
            log(f"{message.severity}: {message.message}")
    if told.drawing.refused:
        log(f"{'some scans not' if told.drawing.decoder else 'no scans'} drawn: {told.drawing.refused}")
    emit(told.model_dump(mode="json"), as_json, lambda: summary(told, output))


def at_days(text: str) -> tuple[float, ...]:
    """Days from a list such as "30d,26w,1y"; months are 30.4375 days, years 365.25.

    Example:
        >>> at_days("30d, 2w")
        (30.0, 14.0)
    """
    from synth.errors import InputError

    days = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*([dwmy]?)\s*", part)
        if found is None:
            fix = "write days, weeks, months or years"
            raise InputError("--at", expected="a list such as 30d,90d,26w", got=f"'{text[:80]}'", fix=fix)
        days.append(float(found[1]) * _UNITS[found[2]])
    return tuple(days)


def summary(told: ForecastRecord, folder: Path) -> str:
    """The result in a few lines: every lesion under every plan, then how the plans compare."""
    lines = []
    for plan in told.plans:
        lines.append(f"{plan.name} (effect {plan.effect_source}), {told.samples} futures:")
        for each in plan.lesions:
            v = each.volume_ml
            lines.append(
                f"  {each.id}, day {each.day:g}: {v.median:.3g} mL ({v.low:.3g} to {v.high:.3g}),"
                f" longest axis {each.longest_mm.median:.0f} mm"
            )
        last = plan.totals[-1]
        lines.append(f"  a new lesion by day {last.day:g}: {100 * last.any_new:.0f}% of the futures")
    for found in told.comparisons:
        verdict = f"{found.better} is better" if found.better else "not decided"
        lines.append(
            f"{found.b} against {found.a}, {found.outcome} ({found.unit}):"
            f" {found.difference:+.3g} ({found.low:.3g} to {found.high:.3g}), {verdict}"
        )
    return "\n".join([*lines, f"forecast: {folder / 'forecast.json'}"])


def _scans(earlier: list[Volume], last: Volume | None) -> list[Volume] | None:
    """All images where the visits are to be registered."""
    from synth.errors import InputError

    if earlier and last is None:
        raise InputError("--earlier", expected="the last scan as well", got="none", fix="add --image")
    return [*earlier, last] if earlier and last is not None else None


def _decoder(name: str, image: Volume | None) -> Decoder | None:
    if image is None or name == "none":
        return None
    from synth.decoder.registry import load_decoder

    return load_decoder(name)
