"""Counting a population: the looks and the places of the entities of every case of the sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synth.errors import InputError
from synth.interop import with_tissues
from synth.parse import Entity, Kind, Parse
from synth.parse.derive import derive_appearance
from synth.population import Donor, FindingLook, Place, Population
from synth.population.look import MEAN
from synth.population.place import FAT
from synth.training.cases import read_set
from synth.training.config import TrainConfig
from synth.volume import Volume, resample

GRADED = ("steatosis_grade",)
"""Categories of an organ that say how bright it is."""
LEAST_CASES = 2  # of a category, to tell by how much
Log = Callable[[str], None]
Graded = list[tuple[Donor, dict[tuple[str, str], str]]]


def fit_population(config: TrainConfig, folder: Path, *, log: Log, card: str = "") -> dict[str, Any]:
    """Count, write the weights folder, and return what was counted.

    Raises InputError where no set has a case.
    """
    found: Graded = []
    counts: dict[str, int] = {}
    for settings in config.sets:
        for name, image, parse in read_set(settings):
            found.append(_donor(image, parse, config.spacing_mm))
            counts[settings.layout] = counts.get(settings.layout, 0) + 1
            log(f"{name}: {len(found[-1][0].attenuation)} means, {len(found[-1][0].places)} places")
    if not found:
        raise InputError(config.name, expected="at least one case", got="none in any set", fix="give a larger set")
    shifts = _shifts(found)
    donors = tuple(_without(donor, graded, shifts) for donor, graded in found)
    facts = {"cases": counts, "spacing_mm": config.spacing_mm}
    Population(donors, shifts, facts).save(folder, card)
    return {**facts, "shifts": shifts}


def _donor(image: Volume, parse: Parse, spacing_mm: float) -> tuple[Donor, dict[tuple[str, str], str]]:
    """A case, and the graded categories of its organs: (type, name) -> value."""
    grid = image.geometry.with_spacing(spacing_mm)
    small, parse = resample(image, grid), parse.resampled(grid)
    parse = derive_appearance(with_tissues(parse, small), small)
    means = {a.entity: float(a.value) for a in parse.attributes if a.type == MEAN and a.derived}
    entities = [e for e in parse.entities if e.id in means]
    organs = [e for e in entities if e.kind in (Kind.organ, Kind.substructure) or e.name == FAT]
    donor = Donor(
        parse.circumstance.phase,
        {e.name: means[e.id] for e in organs},
        {e.name: Place.of(parse.masks[e.id], grid) for e in organs if e.kind is Kind.organ and not e.truncated},
        tuple(_look(parse, e, means) for e in entities if e.kind is Kind.finding),
    )
    graded = {(a.type, e.name): str(a.value) for e in organs for a in parse.attributes_of(e.id) if a.type in GRADED}
    return donor, graded


def _look(parse: Parse, entity: Entity, means: dict[str, float]) -> FindingLook:
    said = {a.type: a.value for a in parse.attributes_of(entity.id)}
    hosts = (r.object for r in parse.relations if r.type == "located_in" and r.subject == entity.id)
    host = next((means[i] for i in hosts if i in means), None)
    category = said.get("attenuation_class")
    rise = said.get("enhancement")
    return FindingLook(
        entity.name,
        means[entity.id],
        host,
        None if category is None else str(category),
        None if rise is None else float(rise),
    )


def _shifts(found: Graded) -> dict[str, dict[str, dict[str, float]]]:
    """By how much each category is brighter than the first of its scale, least squares over categories and phases."""
    out: dict[str, dict[str, dict[str, float]]] = {}
    for kind, name in sorted({key for _, graded in found for key in graded}):
        cases = [(d, g[kind, name]) for d, g in found if (kind, name) in g]
        for value, hu in _effects(cases, name):
            out.setdefault(kind, {}).setdefault(value, {})[name] = round(hu, 1)
    return out


def _effects(cases: Sequence[tuple[Donor, str]], name: str) -> Iterator[tuple[str, float]]:
    values = sorted({value for _, value in cases})
    enough = [v for v in values if sum(value == v for _, value in cases) >= LEAST_CASES]
    if len(enough) < 2:
        return
    kept = [(donor, value) for donor, value in cases if value in enough]
    phases = sorted({str(donor.phase) for donor, _ in kept})
    design = np.array(
        [
            [*(float(value == v) for v in enough[1:]), *(float(str(donor.phase) == p) for p in phases)]
            for donor, value in kept
        ]
    )
    hu = np.array([donor.attenuation[name] for donor, _ in kept])
    solved = np.linalg.lstsq(design, hu, rcond=None)[0]
    yield from zip(enough[1:], (float(v) for v in solved), strict=False)


def _without(donor: Donor, graded: dict[tuple[str, str], str], shifts: dict[str, dict[str, dict[str, float]]]) -> Donor:
    """The case as if nothing were graded of it."""
    plain = dict(donor.attenuation)
    for (kind, name), value in graded.items():
        plain[name] -= shifts.get(kind, {}).get(value, {}).get(name, 0.0)
    return Donor(donor.phase, plain, donor.places, donor.findings)
