"""A lesion over time in one slice: a strip of pictures side by side, or a film."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from synth.errors import InputError
from synth.parse import Kind, Parse
from synth.report.figures import SOFT_TISSUE, Window, grey, window_for
from synth.report.planes import AXIAL, Plane, cut, outline
from synth.volume import Geometry, Mask, Volume, atomic_path

PIXELS, HEAD = 320, 26
FRAME_MS = 900
NOW, THEN, INK, PAPER = (90, 200, 250), (255, 176, 32), (40, 44, 52), (255, 255, 255)
AROUND_MM = 60.0
NARROW_HU = 130.0  # to either side


@dataclass(frozen=True, eq=False)
class Frame:
    """One moment: what the scan shows, or would show, what the parse says of it, and how it is called."""

    label: str
    parse: Parse
    image: Volume | None = None


def frames(moments: Sequence[Frame]) -> tuple[Image.Image, ...]:
    """One picture a moment, all through the slice in which the followed lesions change most.

    Outlines of findings are drawn as they were at first (blue) and as they are then (orange). A moment without an image
    shows the parse: body and organs in greys, findings light.

    Raises:
        InputError: no moment.

    Example:
        >>> from synth.parse import Entity
        >>> ball = Mask.from_box((9, 9, 9), (3, 3, 3), np.ones((3, 3, 3), bool))
        >>> z = Parse([Entity(id="m", name="metastasis")], geometry=Geometry.regular((9, 9, 9), 3.0), masks={"m": ball})
        >>> frames([Frame("today", z)])[0].size
        (320, 346)
    """
    if not moments:
        raise InputError("frames", expected="a moment to draw", got="none", fix="forecast a day first")
    geometry = moments[0].parse.geometry
    plane = _plane([m.parse for m in moments], geometry)
    return tuple(_picture(moment, moments[0].parse, plane) for moment in moments)


def strip(pictures: Sequence[Image.Image], gap: int = 6) -> Image.Image:
    """The pictures side by side."""
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    joined = Image.new("RGB", (width, max(p.height for p in pictures)), PAPER)
    x = 0
    for picture in pictures:
        joined.paste(picture, (x, 0))
        x += picture.width + gap
    return joined


def write_film(pictures: Sequence[Image.Image], path: Path) -> None:
    """An animated GIF, written whole or not at all."""
    with atomic_path(path) as temporary:
        pictures[0].save(
            temporary, "GIF", save_all=True, append_images=list(pictures[1:]), duration=FRAME_MS, loop=0, optimize=False
        )


def _findings(parse: Parse) -> list[Mask]:
    return [parse.masks[e.id] for e in parse.entities if e.kind is Kind.finding and e.id in parse.masks]


def _plane(parses: Sequence[Parse], geometry: Geometry) -> Plane:
    """The axial plane through the slice that holds most of what changes, else most of the findings."""
    ever, always = Mask.empty(geometry.shape), None
    for parse in parses:
        drawn = Mask.empty(geometry.shape)
        for mask in _findings(parse):
            drawn = drawn | mask
        ever, always = ever | drawn, drawn if always is None else always & drawn
    assert always is not None
    shown = ever if (ever - always).is_empty else ever - always
    if shown.is_empty:
        centre = geometry.world((np.asarray(geometry.shape) - 1) / 2)
        reach = max(geometry.extent_mm) / 2
    else:
        sums = shown.dense().sum(axis=(0, 1))
        points = np.argwhere(shown.dense()[:, :, int(sums.argmax())])
        centre = geometry.world((*points.mean(axis=0), float(sums.argmax())))
        reach = AROUND_MM + 0.5 * float(np.ptp(points * np.asarray(geometry.spacing_mm[:2]), axis=0).max())
    low, high = ((float(c[0]), float(c[1]), float(c[2])) for c in (centre - reach, centre + reach))
    middle = (float(centre[0]), float(centre[1]), float(centre[2]))
    return Plane.through(AXIAL, middle, low, high, 2.0 * reach / PIXELS)


def _picture(moment: Frame, first: Parse, plane: Plane) -> Image.Image:
    pixels = Image.fromarray(_ground(moment, first, plane)).convert("RGB").resize((PIXELS, PIXELS))
    draw = ImageDraw.Draw(pixels)
    for parse, colour in ((first, NOW), (moment.parse, THEN)):
        if parse is moment.parse and parse is first and colour is THEN:
            continue
        for mask in _findings(parse):
            for curve in outline(mask, parse.geometry, plane):
                draw.line([(float(x), float(y)) for x, y in curve], fill=colour, width=2)
    framed = Image.new("RGB", (PIXELS, PIXELS + HEAD), PAPER)
    framed.paste(pixels, (0, HEAD))
    ImageDraw.Draw(framed).text((4, HEAD / 2), moment.label, font=ImageFont.load_default(14), fill=INK, anchor="lm")
    return framed


def _window(image: Volume, parse: Parse) -> Window:
    """The greys around the findings of today; among soft tissue a narrow window, in which lesions stand out."""
    values = [mask.values(image.array) for mask in _findings(parse)]
    around = np.concatenate(values) if values else np.zeros(0, np.float32)
    window = window_for(image, around)
    if window is not SOFT_TISSUE or not around.size:
        return window
    middle = float(np.median(around))
    return Window(middle - NARROW_HU, middle + NARROW_HU, f"{middle - NARROW_HU:.0f} to {middle + NARROW_HU:.0f} HU")


def _ground(moment: Frame, first: Parse, plane: Plane) -> NDArray[np.uint8]:
    """(rows, columns) grey values of the image, or of the parse where there is none."""
    if moment.image is not None:
        return grey(cut(moment.image, plane, fill=moment.image.fill_value), _window(moment.image, first))
    levels = np.zeros(moment.parse.geometry.shape, np.float32)
    for entity in sorted(moment.parse.entities, key=lambda e: (e.kind is Kind.finding, e.kind is not Kind.tissue)):
        mask = moment.parse.masks.get(entity.id)
        if mask is not None and entity.kind is not Kind.target:
            grey_level = {Kind.tissue: 0.25, Kind.finding: 0.75}.get(entity.kind, 0.45)
            levels[mask.slices][mask.box] = grey_level
    shown = cut(Volume(levels, moment.parse.geometry), plane, fill=0.0)
    return np.asarray((255 * np.clip(shown, 0, 1)).astype(np.uint8))
