"""One organ in two pieces: two entities of one name that touch are one that was cut.

A name under which there are several sorts, such as a vertebra, is left alone: two that touch are two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from synth.parse import VOCABULARY, Entity, Kind, Parse
from synth.volume import dilated

WHOLE = (Kind.organ, Kind.substructure)  # two lesions may well touch


@dataclass(frozen=True)
class Fragment:
    """An entity, and another of the same name that it touches."""

    entity: Entity
    other: Entity

    @property
    def reason(self) -> str:
        """One sentence."""
        name = self.entity.name.replace("_", " ")
        return f"it ends where {self.other.id} begins, which is called {name} as well: one of them was cut in two"


def fragments(parse: Parse) -> tuple[Fragment, ...]:
    """Every present, delineated organ or part of one that touches another of its name, in the order of the parse.

    Example:
        >>> import numpy as np
        >>> from synth.volume import Geometry, Mask
        >>> shape = (16, 8, 8)
        >>> upper, lower = (Mask.from_box(shape, (x, 2, 2), np.ones((3, 3, 3), bool)) for x in (2, 5))
        >>> both = [Entity(id="a", name="liver"), Entity(id="b", name="liver")]
        >>> z = Parse(both, geometry=Geometry.regular(shape, 3.0), masks={"a": upper, "b": lower})
        >>> [(f.entity.id, f.other.id) for f in fragments(z)]
        [('a', 'b'), ('b', 'a')]
    """
    drawn = [
        e
        for e in parse.entities
        if e.kind in WHOLE and e.id in parse.masks and not parse.masks[e.id].is_empty and _single(e.name)
    ]
    found = ((e, _touching(parse, e, [o for o in drawn if o.name == e.name and o.id != e.id])) for e in drawn)
    return tuple(Fragment(e, other) for e, other in found if other is not None)


def _single(name: str) -> bool:
    return not any(VOCABULARY.is_a(sort, name) for sort in VOCABULARY.descendants(name))


def _touching(parse: Parse, entity: Entity, others: list[Entity]) -> Entity | None:
    if not others:
        return None
    grown = dilated(parse.masks[entity.id], parse.geometry, 0.51 * max(parse.geometry.spacing_mm))
    return next((o for o in others if parse.masks[o.id].overlap(grown)), None)
