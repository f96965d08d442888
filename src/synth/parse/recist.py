"""RECIST 1.1: which lesions are targets, the sum of their diameters, and the response over time.

Source: Eisenhauer et al. 2009, Eur J Cancer 45:228, sections 3.1, 3.2 and 4.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from synth.errors import InputError
from synth.parse.items import Entity
from synth.parse.kinds import Kind
from synth.parse.measure import axial_extent
from synth.parse.parse import Parse
from synth.parse.vocabulary import VOCABULARY

LYMPH_NODES = "lymph_nodes"
"""The organ that all lymph nodes count as."""

_NODE = "pathological_lymph_node"
# Benign by their name, so never measurable disease (section 3.1.1: simple cysts are not malignant lesions).
_BENIGN = ("cyst", "stone", "hemangioma", "adenoma", "focal_nodular_hyperplasia", "white_matter_lesion")


@dataclass(frozen=True)
class Rules:
    """The numbers of RECIST 1.1.

    Attributes:
        most_targets, most_per_organ: how many lesions are followed.
        longest_mm: least longest diameter of a measurable lesion; twice the slice spacing where that is more.
        node_short_mm: least short axis of a target lymph node.
        node_normal_mm: below this short axis a node is normal.
    """

    most_targets: int = 5
    most_per_organ: int = 2
    longest_mm: float = 10.0
    node_short_mm: float = 15.0
    node_normal_mm: float = 10.0


@dataclass(frozen=True)
class Target:
    """A lesion that counts: a lymph node by its short axis, any other by its longest diameter, in mm."""

    id: str
    organ: str
    is_node: bool
    diameter_mm: float


@dataclass(frozen=True)
class RecistSum:
    """The sum of diameters and what went into it, largest first."""

    targets: tuple[Target, ...]

    @property
    def sum_mm(self) -> float:
        """Sum of the targets' diameters."""
        return sum(target.diameter_mm for target in self.targets)

    @property
    def ids(self) -> tuple[str, ...]:
        """The targets' ids, to measure the same ones at the next visit."""
        return tuple(target.id for target in self.targets)


class Response(StrEnum):
    """Overall change of the target lesions."""

    complete = "CR"
    partial = "PR"
    stable = "SD"
    progressive = "PD"


def choose_targets(parse: Parse, rules: Rules | None = None) -> RecistSum:
    """Baseline: the largest measurable lesions, at most five, at most two an organ."""
    rules = rules or Rules()
    slice_mm = parse.geometry.spacing_mm[2]
    least = replace(rules, longest_mm=max(rules.longest_mm, 2 * slice_mm))
    measured = [
        _measure(parse, entity) for entity in parse.entities if entity.id in parse.present_ids and _counts(entity)
    ]
    large = [t for t in measured if t.diameter_mm >= (least.node_short_mm if t.is_node else least.longest_mm)]
    chosen: list[Target] = []
    for target in sorted(large, key=lambda t: (-t.diameter_mm, t.id)):
        same_organ = sum(other.organ == target.organ for other in chosen)
        if len(chosen) < rules.most_targets and same_organ < rules.most_per_organ:
            chosen.append(target)
    return RecistSum(tuple(chosen))


def follow_targets(parse: Parse, ids: Iterable[str]) -> RecistSum:
    """A later visit: the same lesions, however small they are now; one that is gone or absent counts zero.

    A lesion that is there but not drawn is an `InputError`, for its diameter is not known.
    """
    targets = []
    for id in ids:
        if id in parse.present_ids:
            targets.append(_measure(parse, parse.entity(id)))
        elif id in parse and parse.entity(id).presence != "absent":
            got = f"'{id}', which is {parse.entity(id).presence} without a mask"
            raise InputError(
                "target lesion", expected="a drawn or an absent lesion", got=got, fix="draw it or assess it"
            )
        else:
            targets.append(Target(id, "unknown", False, 0.0))
    return RecistSum(tuple(targets))


def response(baseline: RecistSum, nadir_mm: float, current: RecistSum, rules: Rules | None = None) -> Response:
    """The response of the targets; `nadir_mm` is the smallest sum so far, the baseline's included.

    Progression: at least 20% and 5 mm above the nadir. Partial: at least 30% below the baseline. Complete: every lesion
    gone and every node below 10 mm.

    Example:
        >>> def of(mm: float) -> RecistSum: return RecistSum((Target("a", "liver", False, mm),))
        >>> response(of(50.0), 50.0, of(30.0)), response(of(50.0), 20.0, of(24.0)), response(of(50.0), 30.0, of(36.0))
        (<Response.partial: 'PR'>, <Response.partial: 'PR'>, <Response.progressive: 'PD'>)
    """
    rules = rules or Rules()
    nodes = {target.id for target in baseline.targets if target.is_node}
    if all(t.diameter_mm < rules.node_normal_mm if t.id in nodes else t.diameter_mm == 0 for t in current.targets):
        return Response.complete
    if current.sum_mm - nadir_mm >= 5.0 and current.sum_mm >= 1.2 * nadir_mm:
        return Response.progressive
    return Response.partial if current.sum_mm <= 0.7 * baseline.sum_mm else Response.stable


def organ_of(parse: Parse, id: str) -> str:
    """The name of the organ that a finding lies in: as declared, else the one that shares most voxels with it."""
    declared = [r.object for r in parse.relations_of(id) if r.type == "located_in" and r.subject == id]
    for host in declared:
        entity = parse.entity(host)
        if entity.kind in (Kind.organ, Kind.substructure):
            return _organ(entity.name)
    mask = parse.mask(id)
    shared = {
        entity: mask.overlap(parse.masks[entity.id])
        for entity in parse.entities
        if entity.kind is Kind.organ and entity.id in parse.masks
    }
    best = max(shared, key=lambda entity: shared[entity], default=None)
    return _organ(best.name) if best is not None and shared[best] > 0 else "unknown"


def _organ(name: str) -> str:
    """The whole organ, the two of a pair counted as one."""
    term = VOCABULARY.term(VOCABULARY.whole(name) or name)
    return term.parent if term.side is not None and term.parent is not None else term.name


def _counts(entity: Entity) -> bool:
    lesion = VOCABULARY.is_a(entity.name, "lesion")
    return lesion and not any(VOCABULARY.is_a(entity.name, name) for name in _BENIGN)


def _measure(parse: Parse, entity: Entity) -> Target:
    extent = axial_extent(parse.mask(entity.id), parse.geometry)
    is_node = VOCABULARY.is_a(entity.name, _NODE)
    organ = LYMPH_NODES if is_node else organ_of(parse, entity.id)
    return Target(entity.id, organ, is_node, extent.perpendicular_mm if is_node else extent.longest_mm)
