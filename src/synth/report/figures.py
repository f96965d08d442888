"""Figures as inline SVG: a PNG slice, the outline of what is in question, and a mark at the point it is cut through."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray
from PIL import Image

from synth.report.planes import Image2, Plane, Point
from synth.volume import Volume

Rgb = NDArray[np.uint8]

RESIDUAL_LIMIT = 4.0  # standard deviations at full colour
LETTER_SHARE, MARK_SHARE = 0.035, 0.02  # of the longer side
_COLD, _HOT = np.array([33, 92, 168.0]), np.array([190, 45, 35.0])


@dataclass(frozen=True)
class Window:
    """The grey scale: black at low, white at high."""

    low: float
    high: float
    label: str


SOFT_TISSUE = Window(-160.0, 240.0, "soft tissue, -160 to 240 HU")
LUNG = Window(-1100.0, 200.0, "lung, -1100 to 200 HU")
BONE = Window(-200.0, 1000.0, "bone, -200 to 1000 HU")


def window_for(volume: Volume, values: NDArray[np.float32]) -> Window:
    """A window that shows what lies around these values; without HU, the volume's 1st to 99th percentile."""
    if volume.unit != "HU":
        low, high = (float(v) for v in np.percentile(volume.array, (1, 99)))
        return Window(low, max(high, low + 1e-3), f"{low:.4g} to {high:.4g} {volume.unit}")
    middle = float(np.median(values)) if values.size else 0.0
    if middle < -400:
        return LUNG
    return BONE if middle > 300 else SOFT_TISSUE


def grey(values: Image2, window: Window) -> Rgb:
    """(rows, columns) uint8."""
    scaled = (values - window.low) / (window.high - window.low)
    return np.asarray((np.clip(scaled, 0, 1) * 255).astype(np.uint8))


def diverging(z: Image2) -> Rgb:
    """(rows, columns, 3) uint8: blue where the image is darker than the render, red where brighter."""
    strength = np.clip(np.abs(z) / RESIDUAL_LIMIT, 0, 1)[..., None]
    colour = np.where((z >= 0)[..., None], _HOT, _COLD)
    return np.asarray((255 * (1 - strength) + colour * strength).astype(np.uint8))


@dataclass(frozen=True)
class Line:
    """Curves of one colour drawn over a slice."""

    curves: Sequence[NDArray[np.float64]]
    css: str


def figure(pixels: Rgb, plane: Plane, lines: Sequence[Line], *, mark: Point | None, label: str) -> Markup:
    """An SVG element; `label` is what a screen reader says."""
    width, height = plane.columns, plane.rows
    parts = [
        f'<svg class="slice" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">',
        f'<image width="{width}" height="{height}" href="{_png(pixels)}"/>',
    ]
    parts += [_paths(line) for line in lines]
    if mark is not None:
        x, y = plane.pixel_of(mark)
        arm = MARK_SHARE * max(width, height)
        strokes = f"M{x - 2 * arm:.1f} {y:.1f}h{arm:.1f}m{2 * arm:.1f} 0h{arm:.1f}"
        strokes += f"M{x:.1f} {y - 2 * arm:.1f}v{arm:.1f}m0 {2 * arm:.1f}v{arm:.1f}"
        parts.append(f'<path class="mark" d="{strokes}"/>')
    side, top = plane.edges
    size = LETTER_SHARE * max(width, height)
    parts.append(f'<g font-size="{size:.1f}"><text x="{size / 3:.1f}" y="{height / 2:.0f}">{side}</text>')
    parts.append(f'<text class="top" x="{width / 2:.0f}" y="{1.1 * size:.1f}">{top}</text></g></svg>')
    return Markup("".join(parts))


def _paths(line: Line) -> str:
    curves = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in curve) for curve in line.curves)
    return f'<path class="{line.css}" d="{curves}"/>' if curves else ""


def _png(pixels: Rgb) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
