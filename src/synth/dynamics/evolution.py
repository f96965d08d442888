"""A future of a parse: what it says after some days of a plan, closed like any parse.

1 removed   what surgery and ablation took out
2 shapes    each lesion at its predicted volume, around what is there already; new ones at their places
3 regroup   lesions that touch become one, one that falls apart becomes several
4 claims    presence, attributes and relations follow the masks; what cannot be known is left out
5 history   `changed_from` edges from each entity to itself as it is now, the day, and who says so
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from synth import __version__
from synth.action import Plan
from synth.dynamics.barriers import barriers
from synth.dynamics.edges import updated
from synth.dynamics.regroup import fragments, merges
from synth.dynamics.removal import Removal, removals
from synth.dynamics.shape import Shape, shape_of
from synth.dynamics.sites import Site
from synth.errors import InputError
from synth.parse import Attribute, Entity, Kind, Parse, Presence
from synth.parse.diff import changed_from, diff
from synth.parse.match import Regroup
from synth.volume import Mask

_SCORES = ("li_rads", "li_rads_treatment_response", "lung_rads", "bi_rads", "pi_rads", "bosniak")


@dataclass(frozen=True)
class Change:
    """One sample of what happens until a day.

    Attributes:
        day: days from now.
        log_ratio: id of a lesion -> ln V(day) / V(now); -inf for one that is gone. Others stay as they are.
        births_ml: volume of each new lesion, in the order of the sites.
    """

    day: float
    log_ratio: Mapping[str, float] = field(default_factory=dict)
    births_ml: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Future:
    """One closed future.

    Attributes:
        parse: the parse of that day, on the grid of now.
        regroups: lesions that merged or split: ids of now, ids of then.
        limited: ids of lesions that found less room than their volume needs.
        broken: ids of lesions that have filled their host and grow beyond it.
    """

    parse: Parse
    regroups: tuple[Regroup, ...] = ()
    limited: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


class Evolution:
    """Futures of one parse under one plan; what they share is made once.

    Args:
        now: the last parse of the patient.
        plan: what is done; None for observation.
        sites: where new lesions come up (`synth.dynamics.sites`).
        shapes: id -> shape, up to the largest volume that will be asked for (`lesion_shapes`).

    Example:
        >>> import numpy as np
        >>> from synth.volume import Geometry
        >>> cube = Mask.from_box((9, 9, 9), (3, 3, 3), np.ones((3, 3, 3), bool))
        >>> grid = Geometry.regular((9, 9, 9), 2.0)
        >>> now = Parse([Entity(id="m", name="metastasis")], geometry=grid, masks={"m": cube})
        >>> evolution = Evolution(now, None, (), lesion_shapes(now, {"m": 1.0}))
        >>> evolution.at(Change(0.0)).parse is now
        True
        >>> evolution.at(Change(90.0, {"m": math.log(2.0)})).parse.mask("m").voxels
        54
    """

    def __init__(self, now: Parse, plan: Plan | None, sites: tuple[Site, ...], shapes: Mapping[str, Shape]) -> None:
        self.now = now
        self.plan = plan
        self.sites = sites
        self.shapes = dict(shapes)
        self.name = "observation" if plan is None else plan.name
        self._removals: dict[float, Removal] = {}

    def at(self, change: Change) -> Future:
        """The future of one sample.

        Raises:
            InputError: a day before now, a ratio for an id that is no lesion of the parse, more births than sites.
        """
        self._check(change)
        removal = self.removal(change.day)
        grown = _Grown(self, change, removal)
        if change.day == 0 and not (removal.gone or grown.gone or grown.births or grown.changed):
            return Future(self.now)
        regrouped = _regrouped(self.now, grown, removal)
        then = _claims(self, removal, regrouped)
        return Future(_with_history(self, then, change.day, regrouped), regrouped.regroups, grown.limited, grown.broken)

    def removal(self, day: float) -> Removal:
        """What the plan has taken out by this day, the same in every sample."""
        if day not in self._removals:
            self._removals[day] = removals(self.now, self.plan, day)
        return self._removals[day]

    def _check(self, change: Change) -> None:
        if change.day < 0:
            raise InputError("day", expected="0 or later", got=f"{change.day:g}", fix="count days from the last visit")
        for id, ratio in change.log_ratio.items():
            if id not in self.now or self.now.entity(id).kind is not Kind.finding or math.isnan(ratio):
                got = f"{ratio:g} for '{id}'"
                raise InputError(
                    "log ratio", expected="numbers for findings of the parse", got=got, fix="check the ids"
                )
        if len(change.births_ml) > len(self.sites):
            got = f"{len(change.births_ml)} births"
            raise InputError(
                "births", expected=f"at most {len(self.sites)}, one a site", got=got, fix="make more sites"
            )


def lesion_shapes(now: Parse, most_log_ratio: Mapping[str, float]) -> dict[str, Shape]:
    """The shape of each lesion that is drawn, up to its largest volume ratio; -inf for one that only shrinks.

    Where two of that size could meet, each order goes on for the volume of both: one grows around the other.
    """
    most = {id: _voxels(now.masks[id], ratio) for id, ratio in most_log_ratio.items() if id in now.masks}
    return {
        id: shape_of(now.masks[id], now.geometry, own + sum(_meeting(now, id, most)), barriers(now, id))
        for id, own in most.items()
    }


def _meeting(now: Parse, id: str, most: Mapping[str, int]) -> list[int]:
    """Voxels of the lesions that this one may meet: balls of one and a half times the radius that their volume has."""
    mm3 = 1000.0 * now.geometry.voxel_ml
    reach = {other: 1.5 * (3.0 * n * mm3 / (4.0 * math.pi)) ** (1 / 3) for other, n in most.items()}
    centre = {other: now.masks[other].centroid_mm(now.geometry) for other in most}
    others = (other for other in most if other != id)
    return [most[o] for o in others if math.dist(centre[id], centre[o]) < reach[id] + reach[o]]


def site_shapes(now: Parse, sites: tuple[Site, ...], most_ml: float) -> dict[str, Shape]:
    """The shape of each new lesion up to its largest volume, confined like any other."""
    found = {}
    for site in sites:
        if site.mask is not None:
            there = now.with_entity(site.entity, site.mask, relations=site.relations)
            most = max(site.mask.voxels, round(most_ml / now.geometry.voxel_ml))
            found[site.entity.id] = shape_of(site.mask, now.geometry, most, barriers(there, site.entity.id))
    return found


def _voxels(mask: Mask, log_ratio: float) -> int:
    """How many voxels the mask has at this ratio; bounded so that a wild sample stays a number."""
    return 0 if log_ratio == -math.inf else round(mask.voxels * math.exp(min(log_ratio, 30.0)))


class _Grown:
    """Masks of the lesions of one sample: the largest takes its place first, the others grow around it."""

    def __init__(self, evolution: Evolution, change: Change, removal: Removal) -> None:
        now = evolution.now
        self.masks: dict[str, Mask] = {}
        ratios = {id: r for id, r in change.log_ratio.items() if id not in removal.gone}
        self.gone = tuple(id for id, r in ratios.items() if _is_gone(now.masks.get(id), r))
        wanted = {id: _voxels(now.masks[id], r) for id, r in ratios.items() if id in now.masks and id not in self.gone}
        self.births = evolution.sites[: len(change.births_ml)]
        for site, ml in zip(self.births, change.births_ml, strict=True):
            if site.mask is not None:
                wanted[site.entity.id] = max(1, round(ml / now.geometry.voxel_ml))
        self._place(evolution, wanted)
        self.changed = {id for id, mask in self.masks.items() if mask != now.masks.get(id)}
        self.limited = tuple(id for id in wanted if self.masks[id].voxels < wanted[id])
        self.broken = tuple(
            id
            for id in self.masks
            if self.masks[id].voxels > max(evolution.shapes[id].broken, evolution.shapes[id].now.voxels)
        )

    def _place(self, evolution: Evolution, wanted: Mapping[str, int]) -> None:
        taken = Mask.empty(evolution.now.geometry.shape)
        for id in sorted(wanted, key=lambda i: (-wanted[i], i)):
            shape = evolution.shapes[id]
            # What a lesion shares with another now it goes on sharing; one that is new finds its place taken.
            others = taken - shape.now if id in evolution.now.masks else taken
            as_now = wanted[id] == shape.now.voxels and others.overlap(shape.now) == 0
            mask = shape.now if as_now else shape.without(others, wanted[id])
            self.masks[id] = mask
            taken = taken | mask


def _is_gone(mask: Mask | None, log_ratio: float) -> bool:
    return log_ratio == -math.inf if mask is None else _voxels(mask, log_ratio) == 0


@dataclass(frozen=True, eq=False)
class _Regrouped:
    """Which lesions there are: masks, those absorbed or gone, those that resolved, those added with their origin."""

    masks: dict[str, Mask]
    gone: tuple[str, ...]
    resolved: tuple[str, ...]
    added: tuple[Entity, ...]
    regroups: tuple[Regroup, ...]


def _regrouped(now: Parse, grown: _Grown, removal: Removal) -> _Regrouped:
    masks = {id: mask for id, mask in grown.masks.items() if not mask.is_empty}
    joined = merges(now.masks, masks)
    absorbed: list[str] = []
    for group in joined:
        for id in group.first[1:]:
            masks[group.first[0]] = masks[group.first[0]] | masks.pop(id)
            absorbed.append(id)
    empty = [id for id, mask in grown.masks.items() if mask.is_empty]  # also a new one in a place that is taken
    added = [site.entity for site in grown.births if site.entity.id not in (*absorbed, *empty)]
    split = []
    for id in [id for id in masks if id in now.masks]:
        parts = fragments(now.masks[id], masks[id])
        if len(parts) == 1:
            continue
        names = [id, *_part_ids(now, id, len(parts) - 1)]
        masks |= dict(zip(names, parts, strict=True))
        added += [Entity(id=name, name=now.entity(id).name) for name in names[1:]]
        split.append(Regroup("split", (id,), tuple(names)))
    gone = (*removal.gone, *grown.gone, *(id for id in (*empty, *absorbed) if id in now))
    resolved = tuple(id for id in grown.gone if now.entity(id).presence is not Presence.absent)
    return _Regrouped(masks, gone, resolved, tuple(added), (*joined, *split))


def _part_ids(now: Parse, id: str, count: int) -> list[str]:
    taken, found, number = {i.casefold() for i in now.ids}, list[str](), 2
    while len(found) < count:
        name = f"{id[:58]}-{number}"
        if name.casefold() not in taken:
            found.append(name)
        number += 1
    return found


def _claims(evolution: Evolution, removal: Removal, regrouped: _Regrouped) -> Parse:
    """The parse with presence, masks, attributes and relations as they are then."""
    now = evolution.now
    then = now
    for id in dict.fromkeys(regrouped.gone):
        if then.entity(id).presence is not Presence.absent:
            then = then.with_presence(id, Presence.absent)
    added = (*regrouped.added, *removal.added)
    masks = {**then.masks, **removal.masks, **regrouped.masks}
    said = [r for site in evolution.sites if site.entity in regrouped.added for r in site.relations]
    then = then.replace(
        entities=(*then.entities, *added), masks=masks, relations=(*then.relations, *said, *removal.relations)
    )
    changed = {id for id in {*now.masks, *then.masks} if now.masks.get(id) != then.masks.get(id)}
    gone = set(regrouped.gone)
    kept = tuple(a for a in then.attributes if a.entity not in gone and not (a.entity in changed and _lapses(a)))
    relations = tuple(
        r for r in updated(now, then, changed) if not (gone & {r.subject, r.object}) or r.definition.family != "spatial"
    )
    return then.replace(attributes=kept, relations=relations)


def _lapses(attribute: Attribute) -> bool:
    """What no longer holds for an entity that changed: what was measured in the image of now, and scores."""
    return attribute.derived or attribute.type in _SCORES


def _with_history(evolution: Evolution, then: Parse, day: float, regrouped: _Regrouped) -> Parse:
    now = evolution.now.circumstance
    circumstance = now.changed(
        day=(now.day or 0.0) + day,
        image_sha256=None,
        made_by=f"synth forecast {__version__}, plan '{evolution.name}'"[:1000],
    )
    edges = {edge.key: edge for edge in diff(evolution.now, then).edges()}
    for id in regrouped.resolved:
        flip = changed_from(id, id, {})
        edge = edges.get(flip.key, flip)
        edges[flip.key] = changed_from(id, id, {**(edge.payload or {}), "resolved": True})
    for group in regrouped.regroups:
        for later in group.second:
            for earlier in group.first:
                if later != earlier and earlier in then and later in then:
                    edge = changed_from(later, earlier, {"regrouped": group.kind})
                    edges[edge.key] = edge
    kept = [r for r in then.relations if r.key not in edges]
    return then.replace(relations=(*kept, *edges.values()), circumstance=circumstance)
