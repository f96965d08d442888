"""What does not fit between an image, a parse and a model, in words, before anything runs.

findings = preflight(image, parse, requirements)     raises nothing
require(findings)                                    raises the first error as an InputError
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synth.errors import InputError
from synth.parse import VOCABULARY, Kind, Parse
from synth.pipeline.orientation import image_disagreement, mirrored_axes
from synth.volume import Geometry, Volume, flipped_axes

Severity = Literal["error", "warning", "info"]
_SHOWN = 6
_SOFT_TISSUE_HU = (-150.0, 250.0)
_SAMPLE = 200_000


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit; `code` is stable, the rest is for people."""

    severity: Severity
    code: str
    what: str
    expected: str
    got: str
    fix: str

    @property
    def message(self) -> str:
        """The finding as one line."""
        return str(self.as_error())

    def as_error(self) -> InputError:
        """The finding as the error that stops a run."""
        return InputError(self.what, expected=self.expected, got=self.got, fix=self.fix)

    def to_json(self) -> dict[str, str]:
        """Severity, code and message."""
        return {"severity": self.severity, "code": self.code, "message": self.message}


@dataclass(frozen=True)
class ModelRequirements:
    """What a model was made for.

    Attributes:
        modalities: what it can read.
        names: entity names that it was trained on; others are read as their nearest ancestor.
        spacing_mm: the coarsest and finest grids that still carry what it looks at (finest first).
        min_extent_mm: the least size of the field of view along each axis.
        hu_range: intensities that it can tell apart; what lies beyond is clipped.

    Example:
        >>> ModelRequirements(names=frozenset({"liver"})).spacing_mm
        (0.3, 8.0)
    """

    modalities: tuple[str, ...] = ("CT",)
    names: frozenset[str] = frozenset()
    spacing_mm: tuple[float, float] = (0.3, 8.0)
    min_extent_mm: tuple[float, float, float] = (64.0, 64.0, 32.0)
    hu_range: tuple[float, float] = (-1024.0, 1500.0)


def preflight(
    image: Volume, parse: Parse | None = None, requirements: ModelRequirements | None = None
) -> tuple[Finding, ...]:
    """Compare an image with a parse of it and with what a model needs; errors first, then warnings, then remarks.

    Example:
        >>> image = Volume(np.zeros((40, 40, 40)), Geometry.regular((40, 40, 40), 4.0), modality="CT", unit="HU")
        >>> [finding.code for finding in preflight(image)]
        ['constant_image']
    """
    wants_ct = image.modality == "CT" or (requirements is not None and requirements.modalities == ("CT",))
    found = list(_intensity(image) if wants_ct else _constant(image))
    readable = not any(finding.severity == "error" for finding in found)
    if requirements is not None:
        found += [*_modality(image, requirements), *_grid(image, requirements), *_range(image, requirements)]
    if parse is not None:
        found += _same_grid(image, parse)
        same_grid = parse.geometry.matches(image.geometry, atol=_tolerance(image.geometry))
        found += [*_provenance(image, parse), *_anatomy(parse), *_field_of_view(parse)]
        if same_grid and readable and image.unit == "HU":
            found += _content(image, parse)
    if parse is not None and requirements is not None:
        found += _vocabulary(parse, requirements)
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.severity]))


def require(findings: Iterable[Finding]) -> None:
    """Raises the first error among the findings, if there is one."""
    for finding in findings:
        if finding.severity == "error":
            raise finding.as_error()


def _constant(image: Volume) -> Iterator[Finding]:
    if float(image.array.min()) == float(image.array.max()):
        got = f"{float(image.array.min()):g} everywhere"
        yield Finding("error", "constant_image", "image", "more than one value", got, "check the file")


def _intensity(image: Volume) -> Iterator[Finding]:
    """Hounsfield units put air at -1000 and soft tissue near 0; the usual mistakes each leave their own range."""
    yield from _constant(image)
    low, high = float(image.array.min()), float(image.array.max())
    if low == high:
        return
    for code, fits, got, fix in _MISTAKES:
        if fits(low, high):
            said = f"{low:g} to {high:g}, {got}"
            yield Finding("error", code, "image intensities", "Hounsfield units, air at -1000", said, fix)
            return
    sample = image.array.ravel()[:: max(1, image.array.size // _SAMPLE)]
    soft = float(np.mean((sample > _SOFT_TISSUE_HU[0]) & (sample < _SOFT_TISSUE_HU[1])))
    if soft < 0.01:
        got = f"{soft:.1%} of it there"
        expected = f"soft tissue between {_SOFT_TISSUE_HU[0]:g} and {_SOFT_TISSUE_HU[1]:g} HU"
        yield Finding("error", "no_soft_tissue", "image intensities", expected, got, "rescale to Hounsfield units")
    elif low > -200:
        got = f"a lowest value of {low:g}"
        fix = "check that nothing was subtracted or windowed away"
        yield Finding("warning", "no_air", "image intensities", "some air near -1000 HU", got, fix)
    if low < -3100 or high > 32000:
        got = f"{low:g} to {high:g}"
        yield Finding(
            "warning", "implausible_hu", "image intensities", "-3100 to 32000", got, "check the rescale slope"
        )


_MISTAKES: tuple[tuple[str, Callable[[float, float], bool], str, str], ...] = (
    (
        "normalised",
        lambda low, high: low >= -1.5 and high <= 1.5,
        "as of an image scaled to 0..1 or -1..1",
        "give the original CT, or undo the scaling",
    ),
    (
        "eight_bit",
        lambda low, high: low >= 0 and high <= 255,
        "as of a windowed 8-bit picture",
        "give the original CT, windowing cannot be undone",
    ),
    (
        "stored_values",
        lambda low, high: low >= 0 and high > 800,
        "as of stored values whose rescale was not applied",
        "apply slope and intercept (often minus 1024)",
    ),
)


def _modality(image: Volume, requirements: ModelRequirements) -> Iterator[Finding]:
    if image.modality not in requirements.modalities:
        expected = " or ".join(requirements.modalities)
        fix = "state the modality if you know it" if image.modality == "unknown" else "choose a model for it"
        yield Finding("error", "modality", "image modality", expected, image.modality, fix)


def _grid(image: Volume, requirements: ModelRequirements) -> Iterator[Finding]:
    finest, coarsest = requirements.spacing_mm
    spacing = image.spacing_mm
    said = "x".join(f"{s:.3g}" for s in spacing) + " mm"
    if max(spacing) > coarsest:
        expected = f"at most {coarsest:g} mm between voxels"
        yield Finding("error", "spacing_coarse", "image spacing", expected, said, "give a finer reconstruction")
    if min(spacing) < finest:
        expected = f"at least {finest:g} mm between voxels"
        yield Finding(
            "warning", "spacing_fine", "image spacing", expected, said, "resample it; it is averaged otherwise"
        )
    extent = image.geometry.extent_mm
    if any(e < least for e, least in zip(extent, requirements.min_extent_mm, strict=True)):
        expected = "x".join(f"{e:.0f}" for e in requirements.min_extent_mm) + " mm or more"
        got = "x".join(f"{e:.0f}" for e in extent) + " mm"
        yield Finding("error", "extent", "field of view", expected, got, "give a larger part of the scan")


def _range(image: Volume, requirements: ModelRequirements) -> Iterator[Finding]:
    if image.unit != "HU":
        return
    low, high = requirements.hu_range
    sample = image.array.ravel()[:: max(1, image.array.size // _SAMPLE)]
    above = float(np.mean(sample > high))
    if above > 0.001:
        expected = f"{low:g} to {high:g} HU"
        got = f"{above:.1%} of the voxels above"
        yield Finding("info", "clipped", "image intensities", expected, got, "metal and dense bone are clipped")


def _same_grid(image: Volume, parse: Parse) -> Iterator[Finding]:
    difference = image.geometry.describe_difference(parse.geometry, atol=_tolerance(image.geometry))
    if difference is None:
        return
    flipped = flipped_axes(image.geometry, parse.geometry)
    if flipped:
        got = f"one that runs the other way along {' and '.join(flipped)}"
        fix = "correct the sign in the affine of the one that is wrong"
        yield Finding("error", "flipped_affine", "parse grid", "that of the image", got, fix)
        return
    code = "shape" if image.shape != parse.geometry.shape else "grid"
    fix = "resample the parse to the image"
    yield Finding("error", code, "parse grid", f"that of the image, shape {image.shape}", difference, fix)


def _provenance(image: Volume, parse: Parse) -> Iterator[Finding]:
    made_from = parse.circumstance.image_sha256
    if made_from is not None and made_from != image.sha256():
        got = f"one with hash {made_from[:12]}"
        fix = "check that image and parse belong together"
        yield Finding("warning", "other_image", "parse", f"made from this image ({image.sha256()[:12]})", got, fix)
    known = {parse.circumstance.modality.value, image.modality} - {"unknown"}
    if len(known) > 1:
        fix = "check that image and parse belong together"
        got = parse.circumstance.modality.value
        yield Finding("error", "parse_modality", "parse modality", image.modality, got, fix)


def _anatomy(parse: Parse) -> Iterator[Finding]:
    for axis in mirrored_axes(parse):
        fix = "check the orientation of the file that the parse was read from"
        yield Finding("warning", f"mirrored_{axis.code}", "parse anatomy", axis.expected, axis.got, fix)


def _content(image: Volume, parse: Parse) -> Iterator[Finding]:
    disagreement = image_disagreement(image, parse)
    if disagreement is not None:
        fix = "check that image and parse belong together"
        expected = "masks on the tissue that they name"
        yield Finding("warning", disagreement.code, "image and parse", expected, disagreement.got, fix)


def _field_of_view(parse: Parse) -> Iterator[Finding]:
    cut = [e.id for e in parse.entities if e.id in parse.present_ids and parse.masks[e.id].touches_border]
    organs = [id for id in cut if parse.entity(id).kind is not Kind.tissue]
    if organs:
        fix = "their extent and volume cannot be judged"
        yield Finding("info", "truncated", "field of view", "whole organs", f"{_some(organs)} at its border", fix)


def _vocabulary(parse: Parse, requirements: ModelRequirements) -> Iterator[Finding]:
    names = sorted({e.name for e in parse.entities if e.id in parse.present_ids and e.kind is not Kind.target})
    nearest = {name: VOCABULARY.nearest(name, requirements.names) for name in names}
    unknown = [name for name, known in nearest.items() if known is None]
    wider = [f"{name} as {known}" for name, known in nearest.items() if known not in (None, name)]
    if len(unknown) == len(names) and names:
        expected = f"entities such as {_some(sorted(requirements.names))}"
        yield Finding("error", "vocabulary", "parse names", expected, _some(unknown), "choose a model that knows them")
    elif unknown:
        fix = "they will be not_checkable"
        yield Finding("warning", "unknown_names", "parse names", "names the model knows", _some(unknown), fix)
    if wider:
        fix = "a more general name is checked instead"
        yield Finding("info", "wider_names", "parse names", "names the model knows", _some(wider), fix)


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "") or "none"


def _tolerance(geometry: Geometry) -> float:
    return 0.02 * min(geometry.spacing_mm)
