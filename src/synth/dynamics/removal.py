"""What surgery and ablation take out of a parse by some day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from synth.action import Ablation, Plan, Surgery
from synth.action.reach import MOSTLY, mostly_within, with_contents
from synth.parse import VOCABULARY, Entity, Kind, Parse, Relation
from synth.volume import Mask, dilated

_HOSTS = (Kind.organ, Kind.substructure)


@dataclass(frozen=True, eq=False)
class Removal:
    """The traces of what was done.

    Attributes:
        gone: ids of what is no longer there.
        masks: id -> mask of organs and parts that lost something, and of ablation zones.
        added: the ablation zones; relations: where they lie.
    """

    gone: tuple[str, ...] = ()
    masks: dict[str, Mask] = field(default_factory=dict)
    added: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()


def removals(now: Parse, plan: Plan | None, day: float) -> Removal:
    """What the plan has removed by this day; the masks of now say how far.

    Surgery takes its entities, what lies in them, the margin of the organs around a lesion and of their parts, and
    other findings of which half lies in that margin; an organ of which a part is taken loses the part. Ablation leaves
    the lesion's place as an `ablation_zone` that is the margin wider, and findings of which half lies in it are gone.

    Example:
        >>> import numpy as np
        >>> from synth.volume import Geometry
        >>> spot = Mask.from_box((9, 9, 9), (4, 4, 4), np.ones((1, 1, 1), bool))
        >>> grid = Geometry.regular((9, 9, 9), 3.0)
        >>> now = Parse([Entity(id="m", name="metastasis")], geometry=grid, masks={"m": spot})
        >>> cut = Plan(name="cut", actions=(Surgery(start_day=7, stop_day=7, entities=("m",)),))
        >>> removals(now, cut, 6).gone, removals(now, cut, 7).gone
        ((), ('m',))
    """
    gone: dict[str, None] = {}
    masks: dict[str, Mask] = {}
    zones: list[tuple[Entity, str]] = []
    for action in _done(plan, day):
        if isinstance(action, Surgery):
            lost, cut = _resected(now, {**now.masks, **masks}, action)
            gone |= dict.fromkeys(lost)
            masks |= cut
        else:
            zone = _zone(now, action)
            gone |= dict.fromkeys((action.entity, *(() if zone is None else mostly_within(now, zone[1]))))
            if zone is not None:
                zones.append((zone[0], action.entity))
                masks[zone[0].id] = zone[1]
    kept = {id: mask for id, mask in masks.items() if id not in gone and not mask.is_empty}
    added = tuple(zone for zone, _ in zones)
    return Removal(tuple(gone), kept, added, tuple(_places(now, zones)))


def _done(plan: Plan | None, day: float) -> list[Surgery | Ablation]:
    actions = () if plan is None else plan.actions
    return [a for a in actions if isinstance(a, Surgery | Ablation) and a.stop_day <= day]


def _resected(now: Parse, masks: dict[str, Mask], action: Surgery) -> tuple[tuple[str, ...], dict[str, Mask]]:
    """Ids of what is gone, and the masks of organs and parts that lose something; no organ is cut away whole."""
    gone, cut = dict.fromkeys(with_contents(now, action.entities)), dict[str, Mask]()
    for id in action.entities:
        if id not in now.masks:
            continue
        own, hosts = now.masks[id], _hosts(now, id)
        if now.entity(id).kind is not Kind.finding:
            out, affected = own, hosts
        elif action.margin_mm > 0:
            out, affected = dilated(own, now.geometry, action.margin_mm), [*hosts, *_parts(now, hosts)]
            within = [i for i in mostly_within(now, out) if set(_hosts(now, i)) & set(hosts)]
            gone |= dict.fromkeys(within)
        else:
            continue
        for other in dict.fromkeys(affected):
            left = cut.get(other, masks[other]) - out
            if not left.is_empty:
                cut[other] = left
            elif now.entity(other).kind is Kind.substructure:
                gone[other] = None
    return tuple(gone), cut


def _parts(now: Parse, hosts: Iterable[str]) -> list[str]:
    """Drawn parts of these organs: of their name's, and half in them."""
    wholes = {now.entity(host).name: host for host in hosts}
    parts = [e for e in now.entities if e.kind is Kind.substructure and e.id in now.masks]
    return [e.id for e in parts if (whole := wholes.get(VOCABULARY.whole(e.name) or "")) and _in(now, e.id, whole)]


def _in(now: Parse, id: str, other: str) -> bool:
    return now.masks[id].overlap(now.masks[other]) >= MOSTLY * now.masks[id].voxels


def _zone(now: Parse, action: Ablation) -> tuple[Entity, Mask] | None:
    mask = now.masks.get(action.entity)
    if mask is None:
        return None
    hosts = [now.masks[host] for host in _hosts(now, action.entity)]
    wide = dilated(mask, now.geometry, action.margin_mm) if action.margin_mm else mask
    room = mask
    for host in hosts:
        room = room | (wide & host)
    taken, id = {i.casefold() for i in now.ids}, f"{action.entity[:55]}-zone"
    while id.casefold() in taken:
        id += "-b"
    return Entity(id=id, name="ablation_zone"), room if hosts else wide


def _hosts(now: Parse, id: str) -> list[str]:
    """Organs and parts that an entity is said to lie in, or does lie in."""
    own = now.masks[id]
    named = {r.object for r in now.relations_of(id) if r.type == "located_in" and r.subject == id}
    drawn = (e for e in now.entities if e.kind in _HOSTS and e.id in now.masks)
    return [
        e.id for e in drawn if e.id != id and (e.id in named or now.masks[e.id].overlap(own) >= MOSTLY * own.voxels)
    ]


def _places(now: Parse, zones: Iterable[tuple[Entity, str]]) -> Iterable[Relation]:
    for zone, lesion in zones:
        for host in _hosts(now, lesion):
            yield Relation(type="located_in", subject=zone.id, object=host)
