"""Names by place: an organ that lies where another one would lie, and not where its own name says.

    d(name) = |centroid of the entity - where the other organs say an organ of this name lies|     mm

An entity is called by a wrong name where its own name is far and another one, as long along each axis and that no other
entity in its own place has, is near:

    d(own) > 45 (20 where two entities share the name),    d(other) <= 25,    d(other) < d(own) / 2

True organs of phantoms lie within 22 mm in 99% (`benchmarks/labels.py`). Entities that lie far off, the furthest first,
do not help to place others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synth.parse import VOCABULARY, Entity, Kind, Parse
from synth.population import Place, Population
from synth.population.place import centre_of, usual_centre
from synth.population.record import Triple

FAR_MM, FAR_SHARED_MM = 45.0, 20.0
NEAR_MM, NEARER = 25.0, 0.5
OFF_MM, MOST_OFF = 35.0, 20  # entities further off do not place others; so many at most are left out for that
SIZES = (0.5, 2.0)  # of the entity along each axis, against the usual organ


@dataclass(frozen=True)
class Misnamed:
    """An entity, the name of what lies in its place, and how far it is from the places of its own name and of that."""

    entity: Entity
    proposed: str
    own_mm: float
    proposed_mm: float

    @property
    def reason(self) -> str:
        """One sentence."""
        own, other = self.entity.term.words, VOCABULARY.term(self.proposed).words
        return (
            f"it lies {self.own_mm:.0f} mm from where the other organs say a {own} would be, "
            f"and {self.proposed_mm:.0f} mm from where a {other} would"
        )


def misnamed(parse: Parse, population: Population) -> tuple[Misnamed, ...]:
    """Every organ, drawn whole, that lies in the place of another one.

    Example:
        >>> from synth.phantom import make
        >>> truth = make(3, spacing_mm=(8.0, 8.0, 8.0)).parse
        >>> misnamed(truth, Population.load())
        ()
        >>> called = [e.changed(name="pancreas") if e.id == "kidney_left" else e for e in truth.entities]
        >>> [(m.entity.id, m.proposed) for m in misnamed(truth.replace(entities=called), Population.load())]
        [('kidney_left', 'kidney_left')]
    """
    organs = {e.id: e for e in parse.entities if _whole(parse, e)}
    centres = {i: centre_of(parse, i) for i in organs}
    shared = {name for name, count in Counter(e.name for e in organs.values()).items() if count > 1}
    alone = {e.name: centres[e.id] for e in organs.values() if e.name not in shared}
    good = _in_place(alone, population)
    found = []
    for entity in organs.values():
        if entity.name not in good:
            far = FAR_SHARED_MM if entity.name in shared else FAR_MM
            own = _off(centres[entity.id], entity.name, good, population)
            if own is not None and own > far:
                place = Place.of(parse.masks[entity.id], parse.geometry)
                best = min(_others(entity, place, good, population), default=None)
                if best is not None and best[0] <= min(NEAR_MM, NEARER * own):
                    found.append(Misnamed(entity, best[1], own, best[0]))
    return tuple(_each_name_once(found))


def _in_place(centres: dict[str, Triple], population: Population) -> dict[str, Triple]:
    """Those left when the one furthest off has been taken out again and again, until none is far off."""
    good = dict(centres)
    for _ in range(MOST_OFF):
        off = {name: _off(centre, name, good, population) or 0.0 for name, centre in good.items()}
        worst = max(off, key=lambda n: off[n], default=None)
        if worst is None or off[worst] <= OFF_MM:
            break
        del good[worst]
    return good


def _whole(parse: Parse, entity: Entity) -> bool:
    drawn = entity.id in parse.present_ids and entity.id in parse.masks and not parse.masks[entity.id].is_empty
    return drawn and entity.kind is Kind.organ and not (entity.truncated or parse.masks[entity.id].touches_border)


def _off(centre: Triple, name: str, landmarks: Mapping[str, Triple], population: Population) -> float | None:
    usual = usual_centre(landmarks, name, population)
    return None if usual is None else float(np.linalg.norm(np.asarray(centre) - usual[0]))


def _others(
    entity: Entity, place: Place, good: Mapping[str, Triple], population: Population
) -> Iterator[tuple[float, str]]:
    """How far the entity is from the place of each name that it could have."""
    along = np.sqrt(place.covariance[:3])
    for name in sorted({n for donor in population.donors for n in donor.places} - good.keys() - {entity.name}):
        usual = usual_centre(good, name, population)
        if usual is not None:
            longer = along / np.sqrt(np.diag(usual[1]))
            if longer.min() >= SIZES[0] and longer.max() <= SIZES[1]:
                yield float(np.linalg.norm(np.asarray(place.centre) - usual[0])), name


def _each_name_once(found: Sequence[Misnamed]) -> Iterator[Misnamed]:
    """Of several entities in the place of one organ, the nearest."""
    taken: set[str] = set()
    for each in sorted(found, key=lambda m: m.proposed_mm):
        if each.proposed not in taken:
            taken.add(each.proposed)
            yield each
