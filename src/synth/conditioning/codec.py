"""The vocabulary of a checkpoint: which names, attribute types and relation types map to which index.

A codec is saved in the checkpoint's config, so that a later release with a larger vocabulary still reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from synth.parse import ATTRIBUTE_TYPES, RELATION_TYPES, VOCABULARY, Presence

PHASES = ("unenhanced", "arterial", "portal_venous", "delayed")
MODALITIES = ("CT", "MR")
PADDING = 0  # index 0 of every table means "nothing said"
USUAL = {  # centre, half-range: soft tissue
    "mean_attenuation": (50.0, 150.0),
    "attenuation_spread": (30.0, 30.0),
    "texture": (5.0, 2.0),
    "edge_sharpness": (20.0, 20.0),
    "enhancement": (50.0, 100.0),
}
MOST = 8.0  # scaled numbers beyond this are cut


@dataclass(frozen=True)
class Codec:
    """Index tables for entities, attributes and relations.

    Attributes:
        trained: names that had examples; any other name is rendered as its nearest trained ancestor.
        names: `trained` and all their ancestors; a token is the sum of the embeddings along its line of ancestors.
        numeric: numeric attribute types with (centre, half-range) used for scaling to about [-1, 1].
        categorical: categorical attribute types with their allowed values.
        relations: relation types.
    """

    trained: tuple[str, ...]
    names: tuple[str, ...]
    numeric: tuple[tuple[str, float, float], ...]
    categorical: tuple[tuple[str, tuple[str, ...]], ...]
    relations: tuple[str, ...]

    @classmethod
    def for_names(cls, trained: Iterable[str]) -> Codec:
        """The codec of today's attribute and relation types over these entity names."""
        known = sorted(set(trained))
        lineage = {n for name in known for n in (name, *VOCABULARY.ancestors(name))}
        numeric, categorical = [], []
        for kind in ATTRIBUTE_TYPES.values():
            if kind.values is not None:
                categorical.append((kind.name, tuple(kind.values)))
            else:
                low = -100.0 if kind.low is None else float(kind.low)
                high = 100.0 if kind.high is None else float(kind.high)
                centre, half = USUAL.get(kind.name, ((low + high) / 2, max((high - low) / 2, 1e-6)))
                numeric.append((kind.name, centre, half))
        return cls(tuple(known), tuple(sorted(lineage)), tuple(numeric), tuple(categorical), tuple(RELATION_TYPES))

    def to_json(self) -> dict[str, Any]:
        return {
            "trained": list(self.trained),
            "names": list(self.names),
            "numeric": [list(n) for n in self.numeric],
            "categorical": [[name, list(values)] for name, values in self.categorical],
            "relations": list(self.relations),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Codec:
        return cls(
            trained=tuple(data["trained"]),
            names=tuple(data["names"]),
            numeric=tuple((str(n), float(c), float(h)) for n, c, h in data["numeric"]),
            categorical=tuple((str(n), tuple(v)) for n, v in data["categorical"]),
            relations=tuple(data["relations"]),
        )

    @cached_property
    def depth(self) -> int:
        """Longest line of ancestors, the entity itself included."""
        return max((len(self.lineage(n)) for n in self.names), default=1)

    def resolve(self, name: str) -> str | None:
        """The trained name that stands for `name`: itself, else its nearest trained ancestor, else None."""
        return VOCABULARY.nearest(name, self._trained_set)

    def lineage(self, name: str) -> tuple[int, ...]:
        """Indices (1-based; 0 is padding) of the name and its ancestors, nearest first, as far as they were trained.

        An ancestor need not have had examples of its own: its embedding was trained as a part of its descendants'. An
        embedding that no example ever reached is still noise, and is left out.
        """
        line = (name, *VOCABULARY.ancestors(name))
        return tuple(self._name_index[n] for n in line if n in self._reached)

    @cached_property
    def _trained_set(self) -> frozenset[str]:
        return frozenset(self.trained)

    @cached_property
    def _reached(self) -> frozenset[str]:
        """Names whose embedding was trained: those with examples, and their ancestors."""
        reached = {n for name in self.trained for n in (name, *VOCABULARY.ancestors(name))}
        return frozenset(reached & self._name_index.keys())

    @cached_property
    def _name_index(self) -> dict[str, int]:
        return {name: i + 1 for i, name in enumerate(self.names)}

    @cached_property
    def _numeric_index(self) -> dict[str, tuple[int, float, float]]:
        return {name: (i, centre, half) for i, (name, centre, half) in enumerate(self.numeric)}

    @cached_property
    def _category_index(self) -> dict[str, tuple[int, dict[str, int]]]:
        return {
            name: (i, {v: k + 1 for k, v in enumerate(values)}) for i, (name, values) in enumerate(self.categorical)
        }

    def numeric_slot(self, attribute: str, value: float) -> tuple[int, float] | None:
        """(column, scaled value) of a numeric attribute, or None when the checkpoint does not know the type."""
        if attribute not in self._numeric_index:
            return None
        column, centre, half = self._numeric_index[attribute]
        return column, min(max((value - centre) / half, -MOST), MOST)

    def category_slot(self, attribute: str, value: str) -> tuple[int, int] | None:
        """(column, value index) of a categorical attribute, or None when type or value is unknown to the checkpoint."""
        if attribute not in self._category_index:
            return None
        column, values = self._category_index[attribute]
        return (column, values[value]) if value in values else None

    def relation_index(self, relation: str) -> int | None:
        return self.relations.index(relation) if relation in self.relations else None

    @staticmethod
    def presence_index(presence: Presence) -> int:
        return list(Presence).index(presence)
