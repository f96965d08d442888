"""The live viewer of the page: what NiiVue is given to show, and the scripts that run it.

Three linked views, the input with the entities' outlines, the render, the residual; for each finding where it is and
what the decoder draws there with it and without it. Everything is inside the page: no file, no network.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from markupsafe import Markup

from synth.errors import SynthError
from synth.parse import Kind
from synth.pipeline.audit import AuditReport
from synth.pipeline.counterfactuals import Renders
from synth.report.figures import BONE, LUNG, SOFT_TISSUE, Window, window_for
from synth.report.inline import close_up, inline_labels, inline_volume, step_of, viewer_grid
from synth.report.niivue import niivue
from synth.report.words import badge
from synth.residual.findings import EntityFinding, MissingFinding, Verdict
from synth.volume import Mask, resample_mask

RESIDUAL_STEP = 0.1  # standard deviations
DRAWN_BYTES = 2_500_000  # of "rendered with" and "rendered without", all findings together
COLOURS = {"flagged": "#ff5346", "missing": "#ffae1f", "supported": "#35c493", "unchecked": "#9fb0c0"}
"""Of an outline, by what was found; the same as in the static figures."""


@dataclass(frozen=True)
class Script:
    """Code of the page, and its hash for the page's policy: nothing else in the page can run."""

    code: Markup
    sha256: str

    @classmethod
    def of(cls, code: str) -> Script:
        """Code as it will stand in the page."""
        return cls(Markup(code), base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii"))


@dataclass(frozen=True)
class Place:
    """A line of the viewer's list."""

    key: str
    name: str
    said: str
    colour: str


@dataclass(frozen=True)
class Viewer:
    """The viewer, or in `note` why there is none.

    Attributes:
        script: NiiVue and what drives it; data: JSON that it shows; licence: of NiiVue.
        places: what can be gone to, flagged and missing first; windows: names of the grey scales.
        grid_mm: of the input in the page, where it is coarser than the image's own.
    """

    note: str = ""
    script: Script | None = None
    data: Markup | None = None
    licence: str = ""
    places: tuple[Place, ...] = ()
    windows: tuple[str, ...] = ()
    grid_mm: float | None = None


def viewer(report: AuditReport) -> Viewer:
    """The viewer of an audit; one with a note and no script where NiiVue is not installed."""
    try:
        found = niivue()
    except SynthError as error:
        return Viewer(note=str(error))
    data = viewer_data(report)
    grid, own = viewer_grid(report.image.geometry), report.image.geometry
    return Viewer(
        script=Script.of(f"{found.module}\n{own_code('viewer.js')}"),
        data=Markup(json.dumps(data, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")),
        licence=found.licence,
        places=tuple(_listed(key, finding) for key, finding in _ordered(report).items() if key in data["places"]),
        windows=tuple(str(w["name"]) for w in data["windows"]),
        grid_mm=None if grid == own else float(grid.spacing_mm[0]),
    )


def own_code(name: str) -> str:
    """A script of this package."""
    return resources.files("synth.report").joinpath(name).read_text("utf-8")


def key_of(finding: EntityFinding | MissingFinding) -> str:
    """What a place in the viewer is called in the page."""
    return f"{'entity' if isinstance(finding, EntityFinding) else 'region'}:{finding.id}"


def viewer_data(report: AuditReport) -> dict[str, Any]:
    """Volumes, entities, places and windows, as plain data."""
    step = step_of(report.image)
    volumes = {"input": inline_volume(report.image, step).to_json()}
    if report.render is not None and report.residual is not None:
        volumes["render"] = inline_volume(report.render, step, synthetic="held-out render").to_json()
        volumes["residual"] = inline_volume(report.residual, RESIDUAL_STEP, synthetic="residual").to_json()
    drawn = sorted(_outlines(report), key=lambda o: -o.mask.voxels)  # a lesion over its organ
    volumes["labels"] = inline_labels([o.mask for o in drawn], report.image.geometry).to_json()
    return {
        "volumes": volumes,
        "entities": [{"name": o.name, "colour": COLOURS[o.role]} for o in drawn],
        "places": dict(_places(report, step)),
        "windows": [{"name": w.label.partition(",")[0], "low": w.low, "high": w.high} for w in _windows(report)],
        "unit": report.image.unit,
        "start": [float(v) for v in report.image.geometry.corners_mm().mean(axis=0)],
    }


@dataclass(frozen=True, eq=False)
class _Outline:
    name: str
    role: str
    mask: Mask


def _outlines(report: AuditReport) -> Iterator[_Outline]:
    """Entities that can be seen and what was left out, on the image's grid."""
    for finding in report.findings.entities:
        mask = report.parse.masks.get(finding.id)
        if mask is not None and not mask.is_empty and finding.kind not in (Kind.tissue.value, Kind.target.value):
            mask = resample_mask(mask, report.parse.geometry, report.image.geometry)
            yield _Outline(finding.id.replace("_", " "), role_of(finding), mask)
    for region in report.findings.missing or ():
        yield _Outline(f"left out: {region.name or region.id}", "missing", report.regions[region.id].mask)


def role_of(finding: EntityFinding) -> str:
    """Which of `COLOURS` an entity has."""
    if finding.verdict in (None, Verdict.not_checkable):
        return "unchecked"
    return "supported" if finding.verdict is Verdict.supported else "flagged"


def _places(report: AuditReport, step: float) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each finding is; the flagged and the missing with what is drawn there, while there is room for it."""
    room = DRAWN_BYTES
    for key, finding in _ordered(report).items():
        at = _where(report, finding)
        if at is None:
            continue
        place: dict[str, Any] = {"at": at, "name": _name(finding), "window": _window(report, finding)}
        renders = renders_of(report, finding) if room > 0 else None
        if renders is not None:
            with_it, without = (inline_volume(v, step, synthetic="counterfactual") for v in close_up(renders))
            room -= len(with_it.data) + len(without.data)
            place |= {"with": with_it.to_json(), "without": without.to_json()}
        yield key, place


def _ordered(report: AuditReport) -> dict[str, EntityFinding | MissingFinding]:
    """Every finding by its key, what is wrong first."""
    found = report.findings
    everything = (*found.flagged, *(found.missing or ()), *found.ranked, *(found.unexplained or ()))
    return {key_of(finding): finding for finding in everything}


def _listed(key: str, finding: EntityFinding | MissingFinding) -> Place:
    if isinstance(finding, EntityFinding):
        role, said = role_of(finding), badge(finding)
    elif finding.verdict is Verdict.missing:
        role, said = "missing", "missing"
    else:
        role, said = "unchecked", "unexplained, within chance"
    return Place(key, _name(finding), said, COLOURS[role])


def _where(report: AuditReport, finding: EntityFinding | MissingFinding) -> list[float] | None:
    if finding.focus_mm is not None:
        return [round(v, 2) for v in finding.focus_mm]
    mask = report.parse.masks.get(finding.id)
    if mask is None or mask.is_empty:
        return None
    return [round(float(v), 2) for v in mask.centroid_mm(report.parse.geometry)]


def _name(finding: EntityFinding | MissingFinding) -> str:
    if isinstance(finding, EntityFinding):
        return finding.id.replace("_", " ")
    return f"{finding.name or 'region'} {finding.where}".replace("_", " ")


def renders_of(report: AuditReport, finding: EntityFinding | MissingFinding) -> Renders | None:
    """Of an entity: with it and without it. Of a region: with the proposed entity added, and without."""
    if isinstance(finding, MissingFinding):
        return report.renders_of_region(finding.id)
    return report.renders(finding.id)


def _windows(report: AuditReport) -> tuple[Window, ...]:
    if report.image.unit == "HU":
        return SOFT_TISSUE, LUNG, BONE
    return (window_for(report.image, np.zeros(0, np.float32)),)


def _window(report: AuditReport, finding: EntityFinding | MissingFinding) -> int:
    """Number of the window that shows what lies around a finding."""
    mask = report.parse.masks.get(finding.id)
    if isinstance(finding, MissingFinding):
        mask = report.regions[finding.id].mask if finding.id in report.regions else None
    if mask is None or mask.is_empty or mask.shape != report.image.shape:
        return 0
    windows = _windows(report)
    chosen = window_for(report.image, mask.values(report.image.array))
    return windows.index(chosen) if chosen in windows else 0
