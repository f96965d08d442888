"""Which edges there are between two entities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from synth.errors import InputError
from synth.parse.vocabulary import unknown_name

RelationFamily = Literal["spatial", "semantic", "temporal"]


@dataclass(frozen=True)
class RelationType:
    """One type of edge, read "subject type object".

    Attributes:
        name: what `Relation.type` says.
        family: "spatial" (checkable against the masks), "semantic" or "temporal".
        inverse: the type that says the same with the ends swapped; its own name when it is symmetric.
        acyclic: a chain of these never comes back to where it began.
        reflexive: may join an entity to itself (an entity that changed from its own earlier state).
    """

    name: str
    family: RelationFamily
    inverse: str | None = None
    acyclic: bool = False
    reflexive: bool = False

    @property
    def symmetric(self) -> bool:
        """Whether the order of the two ends has no meaning."""
        return self.inverse == self.name


_TYPES = (
    RelationType("located_in", "spatial", acyclic=True),
    RelationType("part_of", "spatial", acyclic=True),
    RelationType("abuts", "spatial", inverse="abuts"),
    RelationType("encases", "spatial"),
    RelationType("left_of", "spatial", inverse="right_of"),
    RelationType("right_of", "spatial", inverse="left_of"),
    RelationType("superior_to", "spatial", inverse="inferior_to"),
    RelationType("inferior_to", "spatial", inverse="superior_to"),
    RelationType("anterior_to", "spatial", inverse="posterior_to"),
    RelationType("posterior_to", "spatial", inverse="anterior_to"),
    RelationType("drains_from", "semantic"),
    RelationType("supplies", "semantic"),
    RelationType("causes", "semantic"),
    RelationType("changed_from", "temporal", reflexive=True),
)

RELATION_TYPES: Mapping[str, RelationType] = MappingProxyType({each.name: each for each in _TYPES})
"""Every relation type by name; left and right are the patient's."""


def relation_type(name: str) -> RelationType:
    """The type of this name; an unknown one is an `InputError` that lists the nearest."""
    found = RELATION_TYPES.get(name)
    if found is None:
        raise unknown_name("relation type", name, RELATION_TYPES)
    return found


def canonical_edge(type: str, subject: str, object: str) -> tuple[str, str, str]:
    """One spelling for edges that say the same: of inverse types the first of the table, else ends in order.

    Example:
        >>> canonical_edge("right_of", "liver", "spleen")
        ('left_of', 'spleen', 'liver')
    """
    kind = relation_type(type)
    if kind.symmetric:
        first, second = sorted((subject, object))
        return type, first, second
    order = list(RELATION_TYPES)
    if kind.inverse is not None and order.index(kind.inverse) < order.index(type):
        return kind.inverse, object, subject
    return type, subject, object


def _check_inverses() -> None:
    for kind in _TYPES:
        if kind.inverse is not None and RELATION_TYPES[kind.inverse].inverse != kind.name:
            raise InputError(
                f"relation type '{kind.name}'", expected="a mutual inverse", got=kind.inverse, fix="pair them"
            )


_check_inverses()
