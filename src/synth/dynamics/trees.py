"""Decision trees as arrays over all their nodes, one tree after the other: what can be stored, checked and walked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Trees(ABC):
    """The nodes that every ensemble has; what a leaf holds is its own.

    Attributes:
        feature, threshold: (nodes,) what a node asks: is x[feature] <= threshold? A leaf has feature -1.
        left, right: (nodes,) where to go on.
        roots: (trees,) where each tree begins.
    """

    what: ClassVar[str] = "trees"

    feature: Int32
    threshold: Float32
    left: Int32
    right: Int32
    roots: Int32

    def ends(self, values: Float32) -> Iterator[NDArray[np.int64]]:
        """Tree by tree the leaves (n,) in which the rows of (n, features) end."""
        rows = np.arange(len(values))
        for root in self.roots:
            node = np.full(len(values), root)
            while (inner := self.feature[node] >= 0).any():
                goes_left = values[rows, np.where(inner, self.feature[node], 0)] <= self.threshold[node]
                node = np.where(inner, np.where(goes_left, self.left[node], self.right[node]), node)
            yield node

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        """Its arrays by name, to be stored."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.generic]]) -> Self:
        """From stored arrays; raises InputError for what are no such trees, before anything walks through them."""
        try:
            made = cls(**{f.name: np.asarray(tensors[f.name]) for f in fields(cls)})
        except KeyError as error:
            raise InputError(cls.what, expected=f"array {error}", got="none", fix="fetch the weights again") from None
        if not made._walkable() or not made._leaves_fit():
            raise InputError(cls.what, expected="trees that lead to leaves", got="others", fix="fetch it again")
        return made

    def _walkable(self) -> bool:
        """Children come after their parent, so that every walk ends."""
        nodes, inner = len(self.feature), self.feature >= 0
        children = np.stack([self.left, self.right])[:, inner]
        ordered = (children > np.flatnonzero(inner)) & (children < nodes)
        return nodes > 0 and bool(ordered.all()) and bool(((self.roots >= 0) & (self.roots < nodes)).all())

    @abstractmethod
    def _leaves_fit(self) -> bool:
        """Whether every leaf has what it holds."""
