"""What is known of a patient from dated parses: which lesions there are, and how large each was at every visit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from synth.action import Plan
from synth.dynamics import LesionHistory, PatientHistory
from synth.errors import InputError
from synth.parse import VOCABULARY, Entity, Kind, Parse
from synth.parse.measure import axial_extent
from synth.parse.recist import organ_of

STILL = ("cyst", "stone", "hemangioma", "adenoma", "focal_nodular_hyperplasia")
"""Lesions that are no disease to follow: they stay as they are."""


def followed(parse: Parse) -> tuple[str, ...]:
    """Ids of the lesions whose future is asked about: present, drawn, and not benign by their name.

    Example:
        >>> from synth.volume import Geometry
        >>> followed(Parse([Entity(id="liver", name="liver")], geometry=Geometry.regular((4, 4, 4), 3.0)))
        ()
    """
    return tuple(e.id for e in parse.entities if e.id in parse.present_ids and _is_followed(e))


def history_of(parses: Sequence[Parse], past: Plan | None = None) -> PatientHistory:
    """Sizes of the lesions of the last parse at every visit at which they were drawn.

    Args:
        parses: the visits in the order of their days, ids persistent (`synth.pipeline.visits`); the last is now.
        past: what was done until now.

    Raises:
        InputError: no parse, days that are missing or do not rise, no lesion to follow.
    """
    days = visit_days(parses)
    now = parses[-1]
    lesions = tuple(_lesion(parses, days, id) for id in followed(now))
    if not lesions:
        got = ", ".join(e.name for e in now.entities if e.kind is Kind.finding)[:200] or "no finding"
        expected = "a drawn lesion in the last parse, other than the kinds that stay as they are (cysts, stones, ...)"
        raise InputError("forecast", expected=expected, got=got, fix="draw the lesions that are to be followed")
    return PatientHistory(lesions, past)


def visit_days(parses: Sequence[Parse]) -> tuple[float, ...]:
    """The day of each visit; a single one needs none, and stands at day 0 then."""
    if not parses:
        raise InputError("visits", expected="at least one parse", got="none", fix="give the last one")
    days = [parse.circumstance.day for parse in parses]
    if len(parses) == 1:
        return (days[0] or 0.0,)
    known = [day for day in days if day is not None]
    if len(known) < len(days) or any(a >= b for a, b in pairwise(known)):
        got = ", ".join("none" if d is None else f"{d:g}" for d in days)
        fix = "state circumstance.day in each parse, and give the last visit last"
        raise InputError("days of the visits", expected="a day for each, rising", got=got, fix=fix)
    return tuple(known)


def _lesion(parses: Sequence[Parse], days: Sequence[float], id: str) -> LesionHistory:
    seen = [(day, parse) for day, parse in zip(days, parses, strict=True) if id in parse.present_ids]
    organ = organ_of(parses[-1], id)
    return LesionHistory(
        entity=id,
        organ=None if organ == "unknown" else organ,
        days=tuple(day for day, _ in seen),
        longest_mm=tuple(axial_extent(p.mask(id), p.geometry).longest_mm for _, p in seen),
        volume_ml=tuple(p.mask(id).volume_ml(p.geometry) for _, p in seen),
        inside=_inside(parses[-1], id),
    )


def _inside(now: Parse, id: str) -> tuple[str, ...]:
    """What holds the lesion, by a relation or by half of its voxels: an action on that reaches it."""
    own = now.mask(id)
    named = {r.object for r in now.relations_of(id) if r.type in ("located_in", "part_of") and r.subject == id}
    drawn = (e.id for e in now.entities if e.kind not in (Kind.finding, Kind.tissue) and e.id in now.masks)
    held = {other for other in drawn if 2 * now.masks[other].overlap(own) >= own.voxels}
    return tuple(sorted((named | held) - {id}))


def _is_followed(entity: Entity) -> bool:
    lesion = VOCABULARY.is_a(entity.name, "lesion")
    return lesion and not any(VOCABULARY.is_a(entity.name, name) for name in STILL)
