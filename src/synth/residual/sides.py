"""Left and right: a pair whose left one lies to the right of the right one has its names swapped."""

from __future__ import annotations

from dataclasses import dataclass

from synth.parse import Entity, Parse
from synth.parse.kinds import Side

LEAST_MM = 10.0  # between the centres, on the wrong side; nearer the middle the order says little


@dataclass(frozen=True)
class SwappedSides:
    """One of a pair, and the other; `mm`: how far its centre lies on the wrong side of the other's."""

    entity: Entity
    other: Entity
    mm: float

    @property
    def proposed(self) -> str:
        """The name that it should have."""
        return self.other.name

    @property
    def reason(self) -> str:
        """One sentence."""
        where = "right" if self.entity.term.side is Side.left else "left"
        return f"it lies {self.mm:.0f} mm to the patient's {where} of {self.other.id}: the two sides are swapped"


def swapped_sides(parse: Parse) -> tuple[SwappedSides, ...]:
    """Both of every pair of present, delineated entities whose order contradicts their names.

    Only names of which the parse has one entity each are compared: of several ribs with one name nobody knows which
    belong together.

    Example:
        >>> import numpy as np
        >>> from synth.volume import Geometry, Mask
        >>> shape = (24, 8, 8)
        >>> low, high = (Mask.from_box(shape, (x, 2, 2), np.ones((3, 3, 3), bool)) for x in (2, 18))
        >>> names = [Entity(id="l", name="kidney_left"), Entity(id="r", name="kidney_right")]
        >>> z = Parse(names, geometry=Geometry.regular(shape, 3.0), masks={"l": high, "r": low})
        >>> [s.reason for s in swapped_sides(z)][0]
        "it lies 48 mm to the patient's right of r: the two sides are swapped"
    """
    found: list[SwappedSides] = []
    for entity in parse.entities:
        other = _mirror(parse, entity)
        if entity.term.side is not Side.left or other is None:
            continue
        left, right = (float(parse.geometry.world(parse.masks[e.id].centroid_voxel())[0]) for e in (entity, other))
        if left - right > LEAST_MM:
            found += [SwappedSides(entity, other, left - right), SwappedSides(other, entity, left - right)]
    return tuple(found)


def _mirror(parse: Parse, entity: Entity) -> Entity | None:
    """The only entity on the other side of the only one of this name; both with voxels."""
    mirror = entity.term.mirror
    if mirror is None:
        return None
    pair = [[e for e in parse.by_name(name) if _drawn(parse, e)] for name in (entity.name, mirror)]
    if [len(some) for some in pair] != [1, 1] or pair[0][0].id != entity.id:
        return None
    return pair[1][0]


def _drawn(parse: Parse, entity: Entity) -> bool:
    return entity.id in parse.present_ids and not parse.masks[entity.id].is_empty
