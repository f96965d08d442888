"""What is usual: how organs and findings look in each contrast phase, and where organs lie, in cases seen before."""

from synth.parse import Parse
from synth.population.look import with_usual_look
from synth.population.place import usual_place, usual_places, with_absences
from synth.population.record import Donor, FindingLook, Place, Population

__all__ = [
    "Donor",
    "FindingLook",
    "Place",
    "Population",
    "completed",
    "usual_place",
    "usual_places",
    "with_absences",
    "with_usual_look",
]


def completed(parse: Parse, population: Population, seed: int) -> Parse:
    """The parse with what it leaves open filled in: fat where organs are absent, and usual means.

    Example:
        >>> from synth.phantom import make
        >>> truth = make(0, spacing_mm=(8.0, 8.0, 8.0)).parse
        >>> len(completed(truth, Population.load(), 0).attributes) > len(truth.attributes)
        True
    """
    return with_usual_look(with_absences(parse, population), population, seed)
