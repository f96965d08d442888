"""The course of lesions as a picture: median and interval of the volume over days, a colour for each plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from synth.errors import InputError
from synth.pipeline.forecast import Interval

WIDTH, HEIGHT, SCALE = 760, 460, 2  # drawn at twice the size and shrunk, for smooth lines
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 58, 52
COLOURS = ((33, 92, 168), (196, 78, 35), (46, 125, 80), (120, 70, 150), (120, 120, 40), (60, 60, 60))
INK, RULE, PAPER = (40, 44, 52), (222, 225, 230), (255, 255, 255)
TICKS = 6
SPAN, LARGEST_SPAN = 30.0, 1e5  # from the smallest middle to the largest end: where powers begin, what is told apart
MOST_NAME = 48  # characters of a plan's name in the legend


@dataclass(frozen=True)
class Curve:
    """One plan: its name, and the interval of a quantity at each day from now, today included."""

    name: str
    days: tuple[float, ...]
    intervals: tuple[Interval, ...]


def trajectory(
    curves: Sequence[Curve], title: str, unit: str = "mL", past: Sequence[tuple[float, float]] = ()
) -> Image.Image:
    """A plot of 760 x 460 pixels; bands are the whole intervals, lines the medians, dots the `past`.

    Where the values span more than thirty times, the axis goes by powers above the smallest median.

    Args:
        curves: one a plan; past: (day from now, value) as measured at the visits, days up to 0.

    Raises:
        InputError: no curve.

    Example:
        >>> curve = Curve("watch", (0.0, 90.0), (Interval(1.0, 1.0, 1.0), Interval(1.0, 2.0, 4.0)))
        >>> trajectory([curve], "m1").size
        (760, 460)
    """
    if not curves:
        raise InputError("trajectory", expected="a curve to draw", got="none", fix="forecast a plan first")
    plot = _Plot.of(curves, past)
    for number, curve in reversed(list(enumerate(curves))):
        plot.band(curve, COLOURS[number % len(COLOURS)])
    plot.axes(title, unit)
    for number, curve in enumerate(curves):
        plot.line(curve, COLOURS[number % len(COLOURS)])
    plot.dots(past)
    plot.legend(curves)
    return plot.image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


class _Plot:
    """A canvas with its two scales: days, and values up to `most`, even up to `knee` and by powers above it."""

    def __init__(self, days: tuple[float, float], most: float, knee: float | None) -> None:
        self.image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.days, self.most, self.knee = days, most, knee
        self.font = ImageFont.load_default(13 * SCALE)
        self.head = ImageFont.load_default(16 * SCALE)

    @classmethod
    def of(cls, curves: Sequence[Curve], past: Sequence[tuple[float, float]]) -> _Plot:
        days = [day for curve in curves for day in curve.days] + [day for day, _ in past] + [0.0]
        values = [value for _, value in past] + [i.median for curve in curves for i in curve.intervals]
        most = _rounded(max(*values, *(i.high for curve in curves for i in curve.intervals), 1e-6) * 1.05)
        least = max(min((value for value in values if value > 0), default=most), most / LARGEST_SPAN)
        knee = least if most > SPAN * least else None
        return cls((min(days), max(max(days), min(days) + 1.0)), most, knee)

    def point(self, day: float, value: float) -> tuple[float, float]:
        low, high = self.days
        x = LEFT + (day - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - self.share(value) * (HEIGHT - TOP - BOTTOM)
        return x * SCALE, y * SCALE

    def share(self, value: float) -> float:
        """How far up the axis; everything that is drawn lies on it."""
        if self.knee is None:
            return value / self.most
        return math.asinh(value / self.knee) / math.asinh(self.most / self.knee)

    def ticks(self) -> list[float]:
        """Round numbers up the axis."""
        return _ticks(0.0, self.most) if self.knee is None else _powers(self.knee, self.most)

    def band(self, curve: Curve, colour: tuple[int, int, int]) -> None:
        upper = [self.point(d, i.high) for d, i in zip(curve.days, curve.intervals, strict=True)]
        lower = [self.point(d, i.low) for d, i in zip(curve.days, curve.intervals, strict=True)]
        veil = Image.new("RGBA", self.image.size)
        if len(upper) > 1:
            ImageDraw.Draw(veil).polygon([*upper, *reversed(lower)], fill=(*colour, 46))
        self.image.paste(Image.alpha_composite(self.image.convert("RGBA"), veil).convert("RGB"))

    def line(self, curve: Curve, colour: tuple[int, int, int]) -> None:
        points = [self.point(d, i.median) for d, i in zip(curve.days, curve.intervals, strict=True)]
        if len(points) > 1:
            self.draw.line(points, fill=colour, width=3 * SCALE, joint="curve")
        for x, y in points:
            r = 3.5 * SCALE
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def dots(self, past: Sequence[tuple[float, float]]) -> None:
        points = [self.point(day, value) for day, value in past]
        if len(points) > 1:
            self.draw.line(points, fill=INK, width=SCALE)
        for x, y in points:
            r = 4.0 * SCALE
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill=PAPER, outline=INK, width=2 * SCALE)

    def axes(self, title: str, unit: str) -> None:
        for value in self.ticks():
            (x0, y), (x1, _) = self.point(self.days[0], value), self.point(self.days[1], value)
            self.draw.line((x0, y, x1, y), fill=RULE, width=SCALE)
            self.draw.text((x0 - 8 * SCALE, y), f"{value:g}", font=self.font, fill=INK, anchor="rm")
        for day in _ticks(*self.days):
            x, y = self.point(day, 0.0)
            self.draw.line((x, y, x, y + 5 * SCALE), fill=INK, width=SCALE)
            self.draw.text((x, y + 8 * SCALE), f"{day:g}", font=self.font, fill=INK, anchor="ma")
        x, y = self.point(self.days[1], 0.0)
        self.draw.line((*self.point(self.days[0], 0.0), x, y), fill=INK, width=SCALE)
        self.draw.text((x, (HEIGHT - 8) * SCALE), "days from now", font=self.font, fill=INK, anchor="rs")
        scale = "" if self.knee is None else " (steps of three and ten)"
        self.draw.text((LEFT * SCALE, 12 * SCALE), f"{title}, {unit}{scale}", font=self.head, fill=INK, anchor="la")

    def legend(self, curves: Sequence[Curve]) -> None:
        x = LEFT * SCALE
        for number, curve in enumerate(curves):
            colour, name = COLOURS[number % len(COLOURS)], curve.name[:MOST_NAME]
            self.draw.line((x, 44 * SCALE, x + 18 * SCALE, 44 * SCALE), fill=colour, width=3 * SCALE)
            self.draw.text((x + 24 * SCALE, 44 * SCALE), name, font=self.font, fill=INK, anchor="lm")
            x += 44 * SCALE + int(self.draw.textlength(name, font=self.font))


def _rounded(value: float) -> float:
    """The next number above that has at most two digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit) * unit


def _powers(low: float, high: float) -> list[float]:
    """0, and 1 and 3 times the powers of ten from low to high; of many, the powers alone."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    found = [k * 10.0**power for power in range(first, last + 1) for k in (1, 3)]
    found = [value for value in found if low * 0.999 <= value <= high]
    return [0.0, *(found if len(found) <= 2 * TICKS else found[::2])]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about `TICKS` of them."""
    raw = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1, 2, 3, 5, 10) if unit * k >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]
