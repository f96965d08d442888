"""What a fault is asked to be, and what it turned out to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from synth.errors import InputError
from synth.parse import Parse
from synth.volume import Mask

Verdict = Literal["hallucinated", "missing", "wrong_extent", "wrong_label", "wrong_attribute", "wrong_relation"]


class Family(StrEnum):
    """The ways in which a parse can be wrong."""

    move = "move"
    dilate = "dilate"
    erode = "erode"
    merge = "merge"
    split_up = "split"  # the plain name is a method of str
    delete = "delete"
    false_absence = "false_absence"
    add_lesion = "add_lesion"
    false_side = "false_side"
    hallucinated_organ = "hallucinated_organ"
    relabel = "relabel"
    swap_sides = "swap_sides"
    flip_attribute = "flip_attribute"
    wrong_relation = "wrong_relation"

    @classmethod
    def named(cls, name: str) -> Family:
        """The family of this name, hyphens and underscores being the same; raises InputError for any other."""
        plain = str(name).strip().lower().replace("-", "_")
        if plain not in set(cls):
            expected = f"one of {', '.join(cls)}"
            raise InputError("fault family", expected=expected, got=f"'{name}'", fix="choose one of these")
        return cls(plain)


@dataclass(frozen=True)
class FaultSpec:
    """A fault to plant; what is left out is drawn at random.

    Attributes:
        family: what goes wrong.
        entity: id (or a name that only one entity has) of the entity it happens to; which organ is hallucinated.
        severity_mm: range of the distance moved, dilated or eroded, or of the diameter of a lesion.
        vector_mm: a stated move (right, anterior, superior) instead of a random one.
        to: where `move` goes (an entity, a wider name such as `bowel`, or a tissue of the image), what `relabel` says,
            or what `merge` takes in.
        within_mm: the furthest that a move `to` somewhere may go.
        name: what an added lesion is called, or which organ is hallucinated.
        attribute, value: which attribute `flip_attribute` changes, and to what.

    Example:
        >>> FaultSpec("move", entity="liver", severity_mm=(20, 20)).family.value
        'move'
    """

    family: Family | str
    entity: str | None = None
    severity_mm: tuple[float, float] | None = None
    vector_mm: tuple[float, float, float] | None = None
    to: str | None = None
    within_mm: float = float("inf")
    name: str | None = None
    attribute: str | None = None
    value: float | str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "family", Family.named(self.family))
        low, high = self.severity_mm or (1.0, 1.0)
        if not 0 < low <= high < 1000:
            got = f"{low:g} to {high:g}"
            raise InputError(
                "severity", expected="0 < low <= high < 1000 mm", got=got, fix="give an ordered range in mm"
            )


@dataclass(frozen=True, eq=False)
class Expectation:
    """A verdict that an audit must give: on an entity of the faulty parse, or (`missing`) on a place without one."""

    verdict: Verdict
    name: str
    entity: str | None = None
    place: Mask | None = None


@dataclass(frozen=True, eq=False)
class FaultRecord:
    """What was done: enough to score an audit, and to say it in a sentence.

    Attributes:
        family: what went wrong.
        entity: id of the entity in the original parse (of the host for an added lesion, the new id for a hallucinated
            organ).
        expected: the verdicts that it must get.
        severity, unit: how bad, as realised rather than as asked.
        description: one sentence.
        parameters: everything that was drawn or chosen.
        others: ids of further entities that it changed, or on which its verdict rests.
    """

    family: Family
    entity: str
    expected: tuple[Expectation, ...]
    severity: float
    unit: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @property
    def touched(self) -> frozenset[str]:
        """Ids that no second fault may happen to; the name of what was left out, which has no id any more."""
        return frozenset({self.entity, *self.others, *(e.entity or e.name for e in self.expected)})

    def to_json(self) -> dict[str, Any]:
        """Plain data; places of missing entities are given as voxel counts only."""
        expected = [
            {
                "verdict": e.verdict,
                "name": e.name,
                "entity": e.entity,
                "voxels": None if e.place is None else e.place.voxels,
            }
            for e in self.expected
        ]
        return {
            "family": self.family.value,
            "entity": self.entity,
            "expected": expected,
            "severity": round(self.severity, 4),
            "unit": self.unit,
            "description": self.description,
            "parameters": self.parameters,
        }


@dataclass(frozen=True, eq=False)
class Faulted:
    """A closed parse with one fault in it, and the record of that fault."""

    parse: Parse
    record: FaultRecord
