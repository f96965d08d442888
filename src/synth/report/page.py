"""The page: what the template shows, made from an audit report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from synth.pipeline.audit import AuditReport
from synth.pipeline.counterfactuals import Renders
from synth.report.figures import Line, Window, diverging, figure, grey, window_for
from synth.report.planes import AXIAL, CORONAL, PLANES, Plane, Point, cut, outline
from synth.report.viewer import Script, key_of, own_code, viewer
from synth.report.words import BAR_NATS, BECAME, aligned, badge, bar, headline, looks, millilitres, plain, share
from synth.residual.findings import EntityFinding, MissingFinding, Verdict
from synth.volume import Geometry, Mask, Volume

PIXEL_MM = 1.5
CLOSE_PIXEL_MM = 1.0
CLOSE_MARGIN_MM = 40.0
FIGURES_AT_MOST = 12  # entities or regions with pictures; the rest are in the table
LOOKED_AT_ANYWAY = 2  # most suspicious entities shown where nothing is flagged


@dataclass(frozen=True)
class Panel:
    """Slices in one plane through a finding."""

    plane: str
    input: Markup
    render: Markup | None
    residual: Markup | None


@dataclass(frozen=True)
class Pair:
    """What the decoder draws with and without the entity, beside the image, close up."""

    input: Markup
    with_entity: Markup
    without_entity: Markup


@dataclass(frozen=True)
class Card:
    """A finding with its pictures."""

    finding: EntityFinding | MissingFinding
    panels: tuple[Panel, ...]
    pair: Pair | None
    window: str


def report_html(report: AuditReport) -> str:
    """The whole report as one self-contained HTML document."""
    environment = Environment(
        loader=PackageLoader("synth.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": plain, "bar": bar, "share": share, "badge": badge, "key": key_of}
    environment.filters |= {"aligned": aligned, "became": lambda tried: BECAME[tried.outcome]}
    environment.filters |= {"millilitres": millilitres}
    environment.globals["looks"] = looks
    return environment.get_template("report.html.j2").render(**_content(report))


def _content(report: AuditReport) -> Mapping[str, Any]:
    found = report.findings
    ranked = found.ranked
    checked = found.checked
    shown = list(found.flagged) or checked[:LOOKED_AT_ANYWAY]
    live = viewer(report)
    return {
        "findings": found,
        "headline": headline(found),
        "ranked": ranked,
        "unchecked": [e for e in ranked if e.suspicion_rank is None],
        "fused_weight": next((e.fused.weight for e in checked if e.fused is not None), 0.0),
        "flagged": found.flagged,
        "supported": sum(e.verdict is Verdict.supported for e in checked),
        "overview": _overview(report),
        "cards": _entity_cards(report, shown[:FIGURES_AT_MOST]),
        "missing_cards": _missing_cards(report, (found.missing or [])[:FIGURES_AT_MOST]),
        "bar_nats": BAR_NATS,
        "verdicts": {badge(e): sum(badge(o) == badge(e) for o in ranked) for e in ranked},
        "viewer": live,
        "places": {place.key for place in live.places},
        "table_script": Script.of(own_code("table.js")),
    }


def _entity_cards(report: AuditReport, findings: Iterable[EntityFinding]) -> list[Card]:
    cards = []
    for finding in findings:
        mask, focus = report.parse.masks[finding.id], _point(finding.focus_mm)
        css = "flagged" if finding in report.findings.flagged else "fine"
        window = window_for(report.image, mask.values(report.image.array))
        geometry = report.parse.geometry
        panels = _panels(report, focus, mask, geometry, css, window)
        pair = _pair(report, report.renders(finding.id), finding.id, mask, geometry, focus, css, window)
        cards.append(Card(finding, panels, pair, window.label))
    return cards


def _missing_cards(report: AuditReport, findings: Iterable[MissingFinding]) -> list[Card]:
    cards = []
    for finding in findings:
        region = report.regions[finding.id]
        window = window_for(report.image, region.mask.values(report.image.array))
        mask, geometry, focus = region.mask, report.image.geometry, _point(finding.focus_mm)
        panels = _panels(report, focus, mask, geometry, "missing", window)
        renders, name = report.renders_of_region(finding.id), finding.name or finding.id
        pair = _pair(report, renders, name, mask, geometry, focus, "missing", window)
        cards.append(Card(finding, panels, pair, window.label))
    return cards


def _panels(
    report: AuditReport, focus: Point, mask: Mask, geometry: Geometry, css: str, window: Window
) -> tuple[Panel, ...]:
    low, high = _extent(report.image.geometry)
    panels = []
    for name in PLANES:
        plane = Plane.through(name, focus, low, high, PIXEL_MM)
        lines = [Line(outline(mask, geometry, plane), css)]
        panels.append(_panel(report, plane, lines, focus, window))
    return tuple(panels)


def _panel(report: AuditReport, plane: Plane, lines: Sequence[Line], mark: Point | None, window: Window) -> Panel:
    def draw(pixels: Any, what: str) -> Markup:
        return figure(pixels, plane, lines, mark=mark, label=f"{what}, {plane.name} plane")

    fill = window.low
    render = residual = None
    if report.render is not None and report.residual is not None:
        render = draw(grey(cut(report.render, plane, fill=fill), window), "render")
        residual = draw(diverging(cut(report.residual, plane, fill=0.0)), "residual")
    return Panel(plane.name, draw(grey(cut(report.image, plane, fill=fill), window), "input"), render, residual)


def _pair(
    report: AuditReport,
    renders: Renders | None,
    name: str,
    mask: Mask,
    geometry: Geometry,
    focus: Point,
    css: str,
    window: Window,
) -> Pair | None:
    """Close-ups in the axial plane; the decoder's answer is shown inside the hidden region, the image around it."""
    if renders is None:
        return None
    low, high = _close_box(mask, geometry, focus)
    plane = Plane.through(AXIAL, focus, low, high, CLOSE_PIXEL_MM)
    lines = [Line(outline(mask, geometry, plane), css)]

    def draw(volume: Volume, what: str) -> Markup:
        return figure(grey(cut(volume, plane, fill=window.low), window), plane, lines, mark=None, label=what)

    return Pair(
        draw(report.image, f"input around {name}"),
        draw(renders.with_entity, f"rendered with {name}"),
        draw(renders.without_entity, f"rendered without {name}"),
    )


def _overview(report: AuditReport) -> Panel:
    """A coronal slice through the most suspicious finding, with the outline of every entity by verdict."""
    focus = next((e.focus_mm for e in report.findings.flagged if e.focus_mm), None)
    focus = focus or next((m.focus_mm for m in report.findings.missing or () if m.focus_mm), None)
    low, high = _extent(report.image.geometry)
    centre = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    plane = Plane.through(CORONAL, _point(focus or centre), low, high, PIXEL_MM)
    css = {Verdict.supported: "fine", Verdict.not_checkable: "unchecked", None: "unchecked"}
    lines = []
    for finding in sorted(report.findings.entities, key=lambda e: e.verdict not in css):
        if finding.id in report.parse.masks and finding.kind not in ("tissue", "target"):
            curves = outline(report.parse.masks[finding.id], report.parse.geometry, plane)
            lines.append(Line(curves, css.get(finding.verdict, "flagged")))
    for left_out in report.findings.missing or ():
        lines.append(Line(outline(report.regions[left_out.id].mask, report.image.geometry, plane), "missing"))
    window = window_for(report.image, report.image.array[report.image.array > -300])
    return _panel(report, plane, lines, None, window)


def _extent(geometry: Geometry) -> tuple[Point, Point]:
    corners = geometry.corners_mm()
    return _point(corners.min(axis=0)), _point(corners.max(axis=0))


def _close_box(mask: Mask, geometry: Geometry, focus: Point) -> tuple[Point, Point]:
    ends = geometry.world(np.array([[s.start for s in mask.slices], [s.stop - 1 for s in mask.slices]]))
    low, high = ends.min(axis=0) - CLOSE_MARGIN_MM, ends.max(axis=0) + CLOSE_MARGIN_MM
    return _point(np.minimum(low, np.asarray(focus) - 30)), _point(np.maximum(high, np.asarray(focus) + 30))


def _point(values: Any) -> Point:
    x, y, z = (float(v) for v in values)
    return x, y, z
