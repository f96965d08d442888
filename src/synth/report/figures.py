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
    """A window that shows what lies around these values; for other units than HU, the volume's 1st to 99th percentile."""
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
    """(rows, columns, 3) uint8: blue where the image is darker than the render, red where brighter, white where equal."""
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
        parts.append(f'<path class="mark" d="M{x - 9:.1f} {y:.1f}h5m8 0h5M{x:.1f} {y - 9:.1f}v5m0 8v5"/>')
    side, top = plane.edges
    parts.append(f'<text x="3" y="{height / 2:.0f}">{side}</text><text x="{width / 2:.0f}" y="10">{top}</text></svg>')
    return Markup("".join(parts))


def _paths(line: Line) -> str:
    curves = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in curve) for curve in line.curves)
    return f'<path class="{line.css}" d="{curves}"/>' if curves else ""


def _png(pixels: Rgb) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
