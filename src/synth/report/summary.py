"""The report on one page, as a picture: what was found, where it is, how far to trust it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from synth.pipeline.audit import AuditReport
from synth.report.figures import Window, diverging, grey, window_for
from synth.report.planes import AXIAL, Plane, cut, outline
from synth.report.viewer import COLOURS, renders_of, role_of
from synth.report.words import BAR_NATS, badge, headline, millilitres, plain, share
from synth.residual.findings import EntityFinding, MissingFinding
from synth.volume import Geometry, Mask, Volume

WIDTH, HEIGHT, MARGIN = 1240, 1754, 70  # A4 at 150 dpi
PICTURE, GAP = 236, 10
CLOSE_MM = 60.0  # from the focus to the edge of a picture
SHOWN, LISTED = 4, 12
INK, SOFT, LINE, TRACK = "#1b2530", "#5c6875", "#dfe4ea", "#f0f3f6"
BAR_WIDTH = 150
Found = EntityFinding | MissingFinding


def summary_png(report: AuditReport) -> bytes:
    """The page as PNG; the same report gives the same bytes."""
    page = _Page()
    found = report.findings
    page.write("Audit report", 20, SOFT, bold=True)
    page.write(headline(found), 38, INK, bold=True, after=14)
    page.write(_counts(report), 22, SOFT, after=26)
    shown = [*found.flagged, *(found.missing or ())] or [e for e in found.ranked if e.focus_mm][:2]
    for finding in shown[:SHOWN]:
        _finding(page, report, finding)
    if len(shown) > SHOWN:
        page.write(f"and {len(shown) - SHOWN} more, in report.html", 19, SOFT, after=16)
    _table(page, list(found.checked))
    _foot(page, report)
    return page.png()


class _Page:
    """A sheet that is written from the top down; what no longer fits above the foot is left out."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH, HEIGHT), "white")
        self.draw = ImageDraw.Draw(self.image)
        self.at = float(MARGIN)

    def write(self, text: str, size: int, colour: str, *, bold: bool = False, after: float = 6.0) -> None:
        """A paragraph across the page."""
        self.at = self.block(text, (MARGIN, self.at), WIDTH - 2 * MARGIN, size, colour, bold=bold) + after

    def block(
        self, text: str, at: tuple[float, float], width: float, size: int, colour: str, *, bold: bool = False
    ) -> float:
        """A paragraph in a column; returns where it ends."""
        x, y = at
        font = ImageFont.load_default(size)
        for line in _wrapped(text, font, width):
            self.draw.text((x, y), line, colour, font, stroke_width=0.5 if bold else 0, stroke_fill=colour)
            y += 1.32 * size
        return y

    def png(self) -> bytes:
        """The sheet as it is."""
        stream = io.BytesIO()
        self.image.save(stream, "PNG", optimize=True)
        return stream.getvalue()


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _counts(report: AuditReport) -> str:
    found = report.findings
    checked = len(found.checked)
    left_out = "not looked for" if found.missing is None else str(len(found.missing))
    return (
        f"{checked} of {len(found.entities)} entities checked · {len(found.flagged)} contradicted · "
        f"left out: {left_out} · alpha {found.alpha:g}"
    )


def _finding(page: _Page, report: AuditReport, finding: Found) -> None:
    """Three pictures around the place, and the sentence that goes with them."""
    if finding.focus_mm is None:
        return
    top = page.at
    for number, (picture, caption) in enumerate(_pictures(report, finding)):
        left = MARGIN + number * (PICTURE + GAP)
        page.image.paste(picture, (left, round(top)))
        page.block(caption, (left, top + PICTURE + 4), PICTURE, 16, SOFT)
    left = MARGIN + 3 * (PICTURE + GAP) + 14
    width = WIDTH - MARGIN - left
    y = page.block(_name(finding), (left, top - 4), width, 24, INK, bold=True)
    verdict = "missing" if isinstance(finding, MissingFinding) else badge(finding)
    y = page.block(verdict, (left, y + 2), width, 19, _colour(finding), bold=True) + 8
    y = page.block(finding.reason, (left, y), width, 18, INK) + 8
    size = "" if finding.volume_ml is None else f" · {millilitres(finding.volume_ml)} mL"
    page.block(f"p {share(finding.p_value)}{size}", (left, y), width, 18, SOFT)
    page.at = top + PICTURE + 44


def _name(finding: Found) -> str:
    if isinstance(finding, EntityFinding):
        return plain(finding.id)
    return plain(f"{finding.name or 'region'} {finding.where}")


def _drawn(finding: Found) -> str:
    return finding.id if isinstance(finding, EntityFinding) else finding.name or "it"


def _colour(finding: Found) -> str:
    return {"#ff5346": "#b8322a", "#ffae1f": "#a8650a", "#35c493": "#1c7558"}.get(_line(finding), SOFT)


def _line(finding: Found) -> str:
    return COLOURS["missing" if isinstance(finding, MissingFinding) else role_of(finding)]


def _pictures(report: AuditReport, finding: Found) -> Iterable[tuple[Image.Image, str]]:
    """Input, with it, without it; where the decoder drew no such pair, input, render, residual."""
    assert finding.focus_mm is not None
    mask, geometry = _mask(report, finding)
    window = window_for(report.image, mask.values(report.image.array) if mask.shape == report.image.shape else _NONE)
    x, y, z = finding.focus_mm
    low, high = (x - CLOSE_MM, y - CLOSE_MM, z - CLOSE_MM), (x + CLOSE_MM, y + CLOSE_MM, z + CLOSE_MM)
    plane = Plane.through(AXIAL, (x, y, z), low, high, 2 * CLOSE_MM / PICTURE)
    curves = outline(mask, geometry, plane)
    yield _picture(report.image, plane, window, curves, _line(finding)), "input"
    pair = renders_of(report, finding)
    if pair is not None:
        yield (
            _picture(pair.with_entity, plane, window, curves, _line(finding)),
            f"rendered with {plain(_drawn(finding))}",
        )
        yield _picture(pair.without_entity, plane, window, curves, _line(finding)), "rendered without"
    elif report.render is not None and report.residual is not None:
        yield _picture(report.render, plane, window, curves, _line(finding)), "render"
        pixels = diverging(cut(report.residual, plane, fill=0.0))
        yield _outlined(pixels, curves, _line(finding)), "residual"


_NONE: NDArray[np.float32] = np.zeros(0, np.float32)


def _mask(report: AuditReport, finding: Found) -> tuple[Mask, Geometry]:
    if isinstance(finding, MissingFinding):
        return report.regions[finding.id].mask, report.image.geometry
    return report.parse.masks[finding.id], report.parse.geometry


def _picture(
    volume: Volume, plane: Plane, window: Window, curves: Sequence[NDArray[np.float64]], colour: str
) -> Image.Image:
    pixels = grey(cut(volume, plane, fill=window.low), window)
    return _outlined(np.repeat(pixels[..., None], 3, axis=2), curves, colour)


def _outlined(pixels: NDArray[np.uint8], curves: Sequence[NDArray[np.float64]], colour: str) -> Image.Image:
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for curve in curves:
        draw.line([(float(x), float(y)) for x, y in [*curve, curve[0]]], colour, 2)
    draw.rectangle((0, 0, image.width - 1, image.height - 1), outline=LINE)
    return image


def _table(page: _Page, checked: Sequence[EntityFinding]) -> None:
    """The most suspicious entities; the bar is the score, to the left against the entity."""
    if not checked:
        return
    page.write("Most suspicious of what was checked", 22, INK, bold=True, after=8)
    middle = MARGIN + 620
    for finding in checked[:LISTED]:
        if page.at > HEIGHT - MARGIN - 190:
            return
        score = float(finding.score or 0.0)
        page.block(f"{finding.suspicion_rank}  {plain(finding.id)}", (MARGIN, page.at), 360, 18, INK)
        page.block(badge(finding), (MARGIN + 370, page.at), 160, 18, _colour(finding), bold=True)
        reach = BAR_WIDTH / 2 * min(abs(score) / BAR_NATS, 1.0)
        box = (middle - BAR_WIDTH / 2, page.at + 6, middle + BAR_WIDTH / 2, page.at + 18)
        page.draw.rectangle(box, TRACK)
        ends = (middle - reach, middle) if score < 0 else (middle, middle + reach)
        page.draw.rectangle((ends[0], page.at + 6, ends[1], page.at + 18), "#b8322a" if score < 0 else "#1c7558")
        page.block(f"{score:+.1f} nats", (MARGIN + 730, page.at), 150, 18, SOFT)
        page.block(f"p {share(finding.p_value)}", (MARGIN + 880, page.at), 150, 18, SOFT)
        page.at += 31


def _foot(page: _Page, report: AuditReport) -> None:
    found, told = report.findings, report.findings.provenance
    page.at = HEIGHT - MARGIN - 118
    page.draw.line((MARGIN, page.at - 14, WIDTH - MARGIN, page.at - 14), LINE, 2)
    c = found.calibration
    page.write(
        f"Of what is called hallucinated, at most {100 * found.alpha:g}% are expected to be false alarms, if this "
        f"image is like those of the calibration ({c['scores']} scores of true entities, {c['scores_needed']} needed).",
        17, SOFT,
    )  # fmt: skip
    page.write(
        f"{told['package']}, {told['decoder']} decoder {str(told['decoder_sha256'])[:12]}, image "
        f"{str(told['image_sha256'])[:12]}, seed {found.seed}. Renders are synthetic images. Not a medical device.",
        17, SOFT,
    )  # fmt: skip
