"""What surgery and ablation take out of a parse by some day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from synth.action import Ablation, Plan, Surgery
from synth.parse import Entity, Kind, Parse, Relation
from synth.volume import Mask, dilated

_HOSTS = (Kind.organ, Kind.substructure)


@dataclass(frozen=True, eq=False)
class Removal:
    """The traces of what was done.

    Attributes:
        gone: ids of what is no longer there.
        masks: id -> mask of organs that lost a margin, and of ablation zones.
        added: the ablation zones; relations: where they lie.
    """

    gone: tuple[str, ...] = ()
    masks: dict[str, Mask] = field(default_factory=dict)
    added: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()


def removals(now: Parse, plan: Plan | None, day: float) -> Removal:
    """What the plan has removed by this day; the masks of now say how far.

    Surgery takes its entities, what lies in them, and of the organs around a lesion the margin. Ablation leaves the
    lesion's place as an `ablation_zone` that is the margin wider.

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
    gone = taken(now, plan, day)
    masks: dict[str, Mask] = {}
    zones: list[tuple[Entity, str]] = []
    for action in _done(plan, day):
        if isinstance(action, Surgery):
            masks |= _less_margin(now, {**now.masks, **masks}, action)
        else:
            zone = _zone(now, action)
            if zone is not None:
                zones.append((zone[0], action.entity))
                masks[zone[0].id] = zone[1]
    kept = {id: mask for id, mask in masks.items() if id not in gone and not mask.is_empty}
    added = tuple(zone for zone, _ in zones)
    return Removal(gone, kept, added, tuple(_places(now, zones)))


def taken(now: Parse, plan: Plan | None, day: float) -> tuple[str, ...]:
    """Ids of what the plan has taken out or destroyed by this day, with what lies in it."""
    gone: dict[str, None] = {}
    for action in _done(plan, day):
        ids = _with_contents(now, action.entities) if isinstance(action, Surgery) else (action.entity,)
        gone |= dict.fromkeys(ids)
    return tuple(gone)


def _done(plan: Plan | None, day: float) -> list[Surgery | Ablation]:
    actions = () if plan is None else plan.actions
    return [a for a in actions if isinstance(a, Surgery | Ablation) and a.stop_day <= day]


def _with_contents(now: Parse, ids: Iterable[str]) -> list[str]:
    """These and everything that lies in them or is a part of them."""
    found = list(ids)
    for id in found:
        inner = [r.subject for r in now.relations if r.type in ("located_in", "part_of") and r.object == id]
        found += [i for i in inner if i not in found]
    return found


def _less_margin(now: Parse, masks: dict[str, Mask], action: Surgery) -> dict[str, Mask]:
    """The organs around the findings that are removed, without the margin; an organ is never cut away whole."""
    cut: dict[str, Mask] = {}
    for id in action.entities:
        if action.margin_mm == 0 or id not in now.masks or now.entity(id).kind is not Kind.finding:
            continue
        taken = dilated(now.masks[id], now.geometry, action.margin_mm)
        for host in _hosts(now, id):
            left = cut.get(host, masks[host]) - taken
            cut[host] = masks[host] if left.is_empty else left
    return cut


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
    """What the finding is said to lie in, or does lie in."""
    own = now.masks[id]
    named = {r.object for r in now.relations_of(id) if r.type == "located_in" and r.subject == id}
    drawn = (e for e in now.entities if e.kind in _HOSTS and e.id in now.masks)
    return [e.id for e in drawn if e.id in named or now.masks[e.id].overlap(own) >= 0.5 * own.voxels]


def _places(now: Parse, zones: Iterable[tuple[Entity, str]]) -> Iterable[Relation]:
    for zone, lesion in zones:
        for host in _hosts(now, lesion):
            yield Relation(type="located_in", subject=zone.id, object=host)
