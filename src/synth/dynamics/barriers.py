"""Where a lesion may grow: in its host and what it has invaded; elsewhere only when these are full."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.parse import VOCABULARY, Entity, Kind, Parse
from synth.volume import Mask, Slices3

Bools = NDArray[np.bool_]

INVADED = 0.05  # least share of a lesion inside an organ that shows that it grows into it
EXOPHYTIC = 0.25  # least share of a lesion outside every organ that shows that it has left its host
INVASIVE_MARGINS = ("infiltrative", "spiculated")
_ANATOMY = (Kind.organ, Kind.substructure)


@dataclass(frozen=True, eq=False)
class Room:
    """Where one lesion may grow, over a window of the grid.

    Attributes:
        free: (x, y, z), its host and what it has invaded: filled first.
        beyond: (x, y, z), the free part and what it breaks into when there is no room left.
    """

    free: Bools
    beyond: Bools


@dataclass(frozen=True, eq=False)
class Barriers:
    """What confines one lesion, read once off the parse.

    Attributes:
        hosts: masks that it may fill; none for a lesion that grows freely outside all organs.
        organs, vessels: masks of the others, closed to it at first; vessels also where they run through its host.
        bones, lesions: masks closed to it for good, bone only where it is no host.
        body: the patient, where the parse has one.
        leaves: whether it grows outside all organs as freely as in its host.
    """

    hosts: tuple[Mask, ...] = ()
    organs: tuple[Mask, ...] = ()
    vessels: tuple[Mask, ...] = ()
    bones: tuple[Mask, ...] = ()
    lesions: tuple[Mask, ...] = ()
    body: Mask | None = None
    leaves: bool = True

    def room(self, window: Slices3) -> Room:
        """The barriers over a window of the grid."""
        host, organ, vessel = (_union(masks, window) for masks in (self.hosts, self.organs, self.vessels))
        never = _union(self.bones, window) & ~host
        if self.body is not None:
            never |= ~(self.body.crop(window) | host)
        beyond = ~(never | _union(self.lesions, window))
        free = host | ~organ if self.leaves else host
        return Room(beyond & free & ~vessel, beyond)


def barriers(parse: Parse, id: str) -> Barriers:
    """What confines the lesion of this id, by its relations and by where it lies already.

    A host is what it is `located_in`, an organ that holds a twentieth of it, and one that it abuts with an infiltrative
    or spiculated margin. Other organs, bone and the outside of the body are barriers; bone gives way only as a host.
    Outside all organs it grows freely when no host is drawn, or when a quarter of it lies there.

    Example:
        >>> from synth.volume import Geometry
        >>> spot = Mask.from_box((9, 9, 9), (4, 4, 4), np.ones((1, 1, 1), bool))
        >>> grid = Geometry.regular((9, 9, 9), 3.0)
        >>> parse = Parse([Entity(id="m", name="metastasis")], geometry=grid, masks={"m": spot})
        >>> barriers(parse, "m").leaves
        True
    """
    own = parse.mask(id)
    named = _named_hosts(parse, id)
    found: dict[str, list[Mask]] = {}
    for entity in parse.entities:
        mask = parse.masks.get(entity.id)
        if mask is not None and entity.id != id:
            role = _role(entity, entity.id in named, mask.overlap(own) >= INVADED * own.voxels)
            found.setdefault(role, []).append(mask - own if role == "lesions" else mask)
    hosts, organs = (tuple(found.get(role, ())) for role in ("hosts", "organs"))
    body = found.get("body", [None])[0]
    return Barriers(
        hosts,
        organs,
        tuple(found.get("vessels", ())),
        tuple(found.get("bones", ())),
        tuple(found.get("lesions", ())),
        body,
        _leaves(own, (*hosts, *organs)) if hosts else True,
    )


def _role(entity: Entity, named: bool, overlaps: bool) -> str:
    """What an entity is to the lesion: a field of `Barriers`, or nothing of the kind."""
    if named or (overlaps and entity.kind in _ANATOMY):
        return "hosts"
    if entity.kind is Kind.finding:
        return "lesions"
    for wider, role in (("bone", "bones"), ("vessel", "vessels")):
        if VOCABULARY.is_a(entity.name, wider):
            return role
    if entity.name == "body":
        return "body"
    return "organs" if entity.kind in _ANATOMY else "tissue"


def _named_hosts(parse: Parse, id: str) -> set[str]:
    margins = {a.value for a in parse.attributes_of(id) if a.type == "margin"}
    found = {r.object for r in parse.relations_of(id) if r.type == "located_in" and r.subject == id}
    if margins & set(INVASIVE_MARGINS):
        touched = {r.object if r.subject == id else r.subject for r in parse.relations_of(id) if r.type == "abuts"}
        found |= {other for other in touched if parse.entity(other).kind in _ANATOMY}
    return found


def _leaves(own: Mask, organs: tuple[Mask, ...]) -> bool:
    """Whether the lesion grows where no organ is; where labels exclude each other its surroundings tell."""
    window = own.padded_slices(1)
    inside = own.crop(window)
    drawn = _union(organs, window)
    if not (drawn & inside).any():
        inside = ndimage.binary_dilation(inside) & ~inside
    return bool((inside & ~drawn).sum() >= EXOPHYTIC * inside.sum())


def _union(masks: tuple[Mask, ...], window: Slices3) -> Bools:
    total = np.zeros([s.stop - s.start for s in window], np.bool_)
    for mask in masks:
        if all(a.start < b.stop and b.start < a.stop for a, b in zip(mask.slices, window, strict=True)):
            total |= mask.crop(window)
    return total
