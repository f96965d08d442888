"""What a parse says in words, drawn: docs/images/said.png.

python benchmarks/said_picture.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

import synth
from synth.interop import with_tissues
from synth.parse import Attribute, Parse, Phase, Presence
from synth.phantom import make, sample_spec
from synth.volume import Volume

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "said.png"
SEED, LEVELS = 91_000, 16  # slices on either side
WINDOW = (-150.0, 250.0)  # HU


def main() -> None:
    """Six slices at the level of the left kidney."""
    spec = replace(
        sample_spec(SEED), absent=(), steatosis="S0", lesions=(), field_of_view="abdomen", phases=("portal_venous",),
        phase="portal_venous",
    )  # fmt: skip
    made = make(SEED, spec=spec)
    level = round(made.parse.masks["kidney_left"].centroid_voxel()[2])
    box = (slice(8, 88), slice(0, made.image.shape[1]), slice(level - LEVELS, level + LEVELS))
    image = made.image.cropped(box)
    parse = with_tissues(made.parse.cropped(box), image).without("fat", "bone", "air")  # the body's outline alone
    pipeline = synth.RenderPipeline.from_pretrained("latent")
    told = {
        "drawn, “portal venous”": parse,
        "left kidney not mentioned": parse.without("kidney_left"),
        "left kidney absent": parse.with_presence("kidney_left", Presence.absent),
        "steatosis S3": _graded(parse, "S3"),
        "“unenhanced”": _in_phase(parse, Phase.unenhanced),
    }
    panels = {"phantom": image} | {name: pipeline(z, seed=3).images[0] for name, z in told.items()}
    figure, axes = plt.subplots(2, 3, figsize=(9.6, 4.9), facecolor="black")
    for axis, (name, drawn) in zip(axes.ravel(), panels.items(), strict=True):
        _show(axis, name, drawn)
    figure.subplots_adjust(0, 0, 1, 0.93, 0.02, 0.14)
    figure.savefig(OUT, dpi=100, facecolor="black")


def _show(axis: plt.Axes, name: str, drawn: Volume) -> None:
    seen = drawn.array[:, 10:-10, LEVELS].T[::-1, ::-1]  # the patient's right on the left
    axis.imshow(seen, cmap="gray", vmin=WINDOW[0], vmax=WINDOW[1], interpolation="bilinear")
    axis.set_title(name, color="white", fontsize=10)
    axis.axis("off")


def _graded(parse: Parse, grade: str) -> Parse:
    kept = [a for a in parse.attributes if a.type != "steatosis_grade"]
    return parse.replace(attributes=[*kept, Attribute(entity="liver", type="steatosis_grade", value=grade)])


def _in_phase(parse: Parse, phase: Phase) -> Parse:
    return parse.replace(circumstance=parse.circumstance.model_copy(update={"phase": phase}))


if __name__ == "__main__":
    main()
