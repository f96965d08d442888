"""Outlines that are right, jittered, and outlines that are wrong in known ways, measured alike.

Wrong ones are shifted, dilated, eroded, merged with a neighbour or cut in two on the parse's own grid (`synth.fault`),
and then jittered like the right ones, so that the roughness of a surface tells nothing. A shift that leaves no overlap
is no fault of extent. Everything is measured on the population's grid, as the audit does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.fault import Family, Faulted, FaultSpec, inject, jitter
from synth.parse import Entity, Parse
from synth.residual.border import KINDS
from synth.residual.conformal import Calibration, CalibrationScore
from synth.residual.extent import ExtentJudge, MeasuredExtent, measure_extent
from synth.residual.fragments import fragments
from synth.residual.fusion import Fusion
from synth.residual.intensity_prior import IntensityPrior
from synth.residual.verdict import MIN_VOXELS, family_of
from synth.volume import Mask, Volume, resample, resample_mask

TRUE = "true"
FAULTS: Mapping[tuple[str, str], FaultSpec] = MappingProxyType(
    {
        ("shift", "8-12"): FaultSpec(Family.move, severity_mm=(8.0, 12.0)),
        ("shift", "16-24"): FaultSpec(Family.move, severity_mm=(16.0, 24.0)),
        ("dilate", "4-6"): FaultSpec(Family.dilate, severity_mm=(4.0, 6.0)),
        ("dilate", "8-10"): FaultSpec(Family.dilate, severity_mm=(8.0, 10.0)),
        ("erode", "4-6"): FaultSpec(Family.erode, severity_mm=(4.0, 6.0)),
        ("erode", "8-10"): FaultSpec(Family.erode, severity_mm=(8.0, 10.0)),
        ("merge", "all"): FaultSpec(Family.merge),
        ("split", "all"): FaultSpec(Family.split_up),
    }
)
"""(family, severity in mm) -> the fault."""
LEAST_MERGED = 1.25  # volume ratio: who swallows a crumb is hardly wrong
LEAST_LEFT = 0.8  # of a shifted mask within the field of view
TRIES = 4
FOLDS = 5


@dataclass(frozen=True, eq=False)
class ExtentClaim:
    """One outline, measured.

    Attributes:
        family, severity: keys of `FAULTS`, or `TRUE`.
        fragment: whether a rule of names alone tells it (`synth.residual.fragments`).
        moved_mm: (3,) the shift, zero for the others.
        among: how many entities of its family the parse has, with which it would be judged.
    """

    case: str
    entity: Entity
    family: str
    severity: str
    volume_ml: float
    measured: MeasuredExtent
    fragment: bool
    moved_mm: NDArray[np.float64]
    among: int


@dataclass(frozen=True, eq=False)
class _Outline:
    """A parse on the population's grid with the entity in question."""

    parse: Parse
    entity: str
    family: str
    severity: str
    moved_mm: NDArray[np.float64]


def extent_claims(
    case: str,
    image: Volume,
    parse: Parse,
    prior: IntensityPrior,
    rng: np.random.Generator,
    *,
    ids: Sequence[str],
    jitters: int = 2,
) -> Iterator[ExtentClaim]:
    """Every claim about the entities `ids`; those too small for the grid are left out."""
    grid = image.geometry.with_spacing(prior.spacing_mm)
    small, parse = resample(image, grid), parse.without_derived()
    base = parse.resampled(grid)
    for entity in ids:
        for each in _outlines(image, parse, base, entity, rng, jitters):
            mask = each.parse.masks.get(each.entity)
            measured = None
            if mask is not None and mask.voxels >= MIN_VOXELS:
                measured = measure_extent(small, each.parse, each.entity, prior)
            if mask is None or measured is None:
                continue
            yield ExtentClaim(
                case,
                each.parse.entity(each.entity),
                each.family,
                each.severity,
                mask.volume_ml(grid),
                measured,
                each.entity in {f.entity.id for f in fragments(each.parse)},
                each.moved_mm,
                _among(each.parse, each.entity),
            )


def _among(parse: Parse, entity: str) -> int:
    family = family_of(parse.entity(entity).kind)
    there = (parse.entity(i) for i in parse.present_ids if i in parse.masks)
    return sum(e.kind in KINDS and family_of(e.kind) == family for e in there)


def _outlines(
    image: Volume, parse: Parse, base: Parse, entity: str, rng: np.random.Generator, jitters: int
) -> Iterator[_Outline]:
    still = np.zeros(3)
    for _ in range(jitters):
        drawn = jitter(parse.masks[entity], parse.geometry, rng)
        yield _Outline(_with(base, parse, {entity: drawn}), entity, TRUE, TRUE, still)
    for (family, severity), spec in FAULTS.items():
        fault = _planted(image, parse, entity, spec, rng)
        if fault is None:
            continue
        moved = np.asarray(fault.record.parameters.get("offset_voxels", (0, 0, 0))) @ parse.geometry.affine[:3, :3].T
        changed = {
            e.entity: jitter(fault.parse.masks[e.entity], parse.geometry, rng)
            for e in fault.record.expected
            if e.entity is not None
        }
        for wrong in changed:
            yield _Outline(_with(base, fault.parse, changed), wrong, family, severity, moved)


def _planted(image: Volume, parse: Parse, entity: str, spec: FaultSpec, rng: np.random.Generator) -> Faulted | None:
    """The fault, None where there is no room for it or where it is no fault of extent."""
    asked = FaultSpec(spec.family, entity=entity, severity_mm=spec.severity_mm)
    for _ in range(TRIES):
        try:
            fault = inject(parse, asked, rng, image=image)
        except InputError:
            return None
        whole = fault.parse.masks[entity].voxels >= LEAST_LEFT * parse.masks[entity].voxels
        enough = {
            Family.move: whole and fault.record.expected[0].verdict == "wrong_extent",
            Family.merge: fault.record.severity >= LEAST_MERGED,
        }
        if enough.get(fault.record.family, True):
            return fault
    return None


def _with(base: Parse, changed: Parse, masks: Mapping[str, Mask]) -> Parse:
    """`base` with the entities of a changed parse, and with these masks of it brought to its grid."""
    out = base.without(*(i for i in base.ids if i not in changed))
    for i, mask in masks.items():
        drawn = resample_mask(mask, changed.geometry, base.geometry)
        out = out.with_mask(i, drawn) if i in out else out.with_entity(changed.entity(i), drawn)
    return out


def fit_extent(claims: Sequence[ExtentClaim], prior: IntensityPrior, facts: Mapping[str, object]) -> ExtentJudge:
    """Fuse, and calibrate on the right outlines, each scored by a fusion that has not seen its case."""
    scores = cross_fitted(claims)
    calibration = Calibration(
        tuple(
            CalibrationScore(c.entity.name, c.volume_ml, s)
            for c, s in zip(claims, scores, strict=True)
            if c.family == TRUE
        )
    )
    counts = {"right": sum(c.family == TRUE for c in claims), "cases": len({c.case for c in claims})}
    return ExtentJudge(prior.digest, fit_fusion(claims), calibration, {**counts, **facts})


def cross_fitted(claims: Sequence[ExtentClaim]) -> list[float]:
    """Each claim's score under a fusion that has not seen its case."""
    fold = {case: k % FOLDS for k, case in enumerate(sorted({c.case for c in claims}))}
    fusions = {k: fit_fusion([c for c in claims if fold[c.case] != k]) for k in set(fold.values())}
    return [fusions[fold[c.case]].score(c.measured.features, c.entity.name) for c in claims]


def fit_fusion(claims: Sequence[ExtentClaim]) -> Fusion:
    """The fusion of outlines that are right and that are not."""
    return Fusion.fit(
        [c.measured.features for c in claims], [c.family == TRUE for c in claims], [c.entity.name for c in claims]
    )
