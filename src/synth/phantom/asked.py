"""A spec from what a person asks for in words, the rest drawn from the seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from synth.errors import InputError
from synth.phantom.spec import LesionSpec, PhantomSpec, sample_spec


def asked_spec(
    seed: int,
    *,
    phases: Sequence[str] | None = None,
    absent: Sequence[str] | None = None,
    lesions: Sequence[str] | None = None,
    view: str | None = None,
) -> PhantomSpec:
    """The spec of patient `seed` with what is asked for exchanged; lesions are written NAME:ORGAN:MM.

    Example:
        >>> asked_spec(1, lesions=["metastasis:liver:25"]).lesions[0].diameter_mm
        25.0
    """
    spec = sample_spec(seed)
    if phases:
        spec = dataclasses.replace(spec, phase=phases[0], phases=tuple(dict.fromkeys(phases)))
    if view is not None:
        spec = dataclasses.replace(spec, field_of_view=view)
    if absent is not None:
        kept = tuple(lesion for lesion in spec.lesions if lesion.organ not in absent)
        spec = dataclasses.replace(spec, absent=tuple(absent), lesions=kept)
    if lesions is not None:
        spec = dataclasses.replace(spec, lesions=tuple(_lesion(text) for text in lesions))
    return spec


def _lesion(text: str) -> LesionSpec:
    parts = text.split(":")
    try:
        name, organ, size = parts[0], parts[1], float(parts[2])
    except (IndexError, ValueError):
        raise InputError("lesion", expected="NAME:ORGAN:MM", got=repr(text), fix="write metastasis:liver:25") from None
    return LesionSpec(name, organ, size)
