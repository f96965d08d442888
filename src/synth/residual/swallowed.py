"""An organ that took in a neighbour: it covers the place of another one, and nothing in the parse bears that name.

    covered = share of the middle of the place that lies in the organ,    beyond 0.7: it took the other one in

The place is where the organs around say the other one would lie (`synth.population`). Neighbours that look alike run
together in the image; their places do not. Of an organ that is nowhere 3 cm thick the place is not known well enough:
a liver lies where a gallbladder was removed. Into a larger bed organs sink as well, but not over most of its middle
(`benchmarks/merges.py`). What a parser knows and did not draw (`not_assessed`) is not there either.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from synth.parse import VOCABULARY, Entity, Kind, Parse, Presence
from synth.population import Population
from synth.population.place import Ellipsoid, centres_of, usual_centre
from synth.volume import Mask

COVERED = 0.7
MIDDLE = 0.4  # of the squared half axes of a place
LEAST_HALF_AXIS_MM = 15.0
LEAST_SEEN = 0.7  # share of a place that must lie in the image
NOT_EVERYONES = ("prostate", "uterus")
DRAWN_WITH = {"duodenum": "small_bowel", "vertebrae_S1": "sacrum"}
"""Organs that some draw as a part of another one."""


@dataclass(frozen=True)
class Swallowed:
    """An entity, the name of what it took in, and how much of the middle of that one's place it covers."""

    entity: Entity
    name: str
    covered: float

    @property
    def reason(self) -> str:
        """One sentence."""
        words = VOCABULARY.term(self.name).words
        return f"it covers {100 * self.covered:.0f}% of the place of the {words}, which the parse does not draw"


def swallowed(parse: Parse, population: Population, *, drawn: Collection[str] = ()) -> tuple[Swallowed, ...]:
    """Every drawn organ that covers the place of one that the parse does not draw, in the order of the parse.

    What the parse declares absent or uncertain is not asked about, nor are the names in `drawn`, such as those whose
    masks were lost on the grid.

    Example:
        >>> from synth.phantom import make
        >>> truth = make(3, spacing_mm=(8.0, 8.0, 8.0)).parse
        >>> both = truth.without("spleen").with_mask("stomach", truth.masks["stomach"] | truth.masks["spleen"])
        >>> known = Population.load()
        >>> [[(s.entity.id, s.name) for s in swallowed(z, known)] for z in (truth, truth.without("spleen"), both)]
        [[], [], [('stomach', 'spleen')]]
    """
    organs = [e for e in parse.entities if e.kind is Kind.organ and e.id in parse.present_ids]
    known = {e.name for e in parse.entities if e.presence is not Presence.not_assessed} | set(drawn)
    most: dict[str, Swallowed] = {}
    for name, middle in _places(parse, population, known):
        for entity in organs:
            covered = middle.overlap(parse.masks[entity.id]) / middle.voxels
            if covered > max(COVERED, most[entity.id].covered if entity.id in most else 0.0):
                most[entity.id] = Swallowed(entity, name, covered)
    return tuple(most[e.id] for e in organs if e.id in most)


def _places(parse: Parse, population: Population, known: Collection[str]) -> Iterator[tuple[str, Mask]]:
    """The middle of the place of every organ but those known, as far as it is in the image."""
    centres = centres_of(parse)
    for name in sorted({n for donor in population.donors for n in donor.places} - set(NOT_EVERYONES)):
        wider = {name, *VOCABULARY.ancestors(name), DRAWN_WITH.get(name, name)}
        usual = None if wider & set(known) else usual_centre(centres, name, population)
        if usual is None or (place := Ellipsoid(*usual)).half_axes_mm.min() < LEAST_HALF_AXIS_MM:
            continue
        whole, middle = place.mask(parse.geometry), place.mask(parse.geometry, MIDDLE)
        if whole is not None and middle is not None and whole.volume_ml(parse.geometry) >= LEAST_SEEN * place.ml:
            yield name, middle
