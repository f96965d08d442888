"""A patient today, and at 90 and 180 days under two plans: python benchmarks/forecast_picture.py.

Writes docs/images/forecast.png. The patient is a phantom with two liver metastases that have grown for 70 days; the
scans of the futures are drawn into its own scan, the middle course of each plan.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

import synth
from synth.action import Observation, Plan, SystemicTherapy, TherapyAgent
from synth.decoder.registry import load_decoder
from synth.dynamics.evolution import lesion_shapes
from synth.parse import Parse
from synth.phantom import LesionSpec, sample_spec
from synth.pipeline.forecast import forecast
from synth.pipeline.forecast_render import render_future
from synth.pipeline.patient import followed
from synth.report.filmstrip import Frame, frames, strip
from synth.volume import Volume, atomic_path

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "forecast.png"
DAYS = (90.0, 180.0)
AGENT = TherapyAgent(name="irinotecan", agent_class="cytotoxic", dose=180, every_days=14)
PLANS = (
    Plan(name="observation", actions=(Observation(start_day=0, stop_day=180),)),
    Plan(name="chemotherapy", actions=(SystemicTherapy(start_day=0, stop_day=180, agents=(AGENT,)),)),
)


def patient() -> tuple[Volume, Parse]:
    """The phantom's scan and parse."""
    lesions = (LesionSpec("metastasis", "liver", 30.0), LesionSpec("metastasis", "liver", 22.0))
    spec = replace(
        sample_spec(11),
        field_of_view="abdomen",
        phase="portal_venous",
        phases=("portal_venous",),
        lesions=lesions,
        liver="normal",
        steatosis="S0",
        noise_hu=8.0,
    )
    made = synth.make_phantom(11, spec=spec, spacing_mm=(3.0, 3.0, 3.0))
    return made.image, made.parse


def before(now: Parse) -> Parse:
    """The visit 70 days ago: the lesions had 60% of their volume."""
    lesions = followed(now)
    shapes = lesion_shapes(now, dict.fromkeys(lesions, 0.0))
    smaller = {id: shapes[id].at(round(0.6 * now.mask(id).voxels)) for id in lesions}
    circumstance = now.circumstance.changed(day=(now.circumstance.day or 0.0) - 70.0)
    return now.replace(masks={**now.masks, **smaller}, circumstance=circumstance)


def main() -> None:
    """Forecast, draw and join."""
    image, parse = patient()
    decoder = load_decoder(sys.argv[1] if sys.argv[1:] else "latent")
    visits = [before(parse), parse]
    moments = [Frame("today", parse, image)]
    for plan in PLANS:
        made = forecast(visits, plan, DAYS, samples=100, seed=0, image=image, decoder=decoder)
        sample = made.typical()
        for horizon, day in enumerate(DAYS):
            then = made.future(sample, horizon).parse
            moments.append(Frame(f"day {day:g}, {plan.name}", then, render_future(made, sample, horizon).image))
    today, *later = frames(moments)
    rows = [strip([today, *later[:2]]), strip([today, *later[2:]])]
    joined = Image.new("RGB", (rows[0].width, 2 * rows[0].height), (255, 255, 255))
    for number, row in enumerate(rows):
        joined.paste(row, (0, number * row.height))
    with atomic_path(PICTURE) as temporary:
        joined.save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    main()
