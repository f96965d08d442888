"""The vocabulary: every name an entity can have, as a hierarchy."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from types import MappingProxyType

from synth.errors import InputError
from synth.parse.kinds import Kind
from synth.parse.terms import TOTALSEGMENTATOR, Term
from synth.parse.terms_findings import finding_terms, target_terms
from synth.parse.terms_frame import frame_terms
from synth.parse.terms_organs import organ_terms


class Vocabulary:
    """Terms by name, and the tree over them.

    Raises `InputError` when built from terms whose parent or mirror is missing, or that name one thing twice.

    Example:
        >>> VOCABULARY.ancestors("vertebrae_L4")
        ('vertebra_lumbar', 'vertebra', 'bone')
        >>> VOCABULARY.nearest("vertebrae_L4", {"vertebra", "liver"})
        'vertebra'
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        table: dict[str, Term] = {}
        for term in terms:
            if term.name in table:
                raise InputError(
                    f"term '{term.name}'", expected="one entry a name", got="two", fix="rename one of them"
                )
            table[term.name] = term
        self._terms: Mapping[str, Term] = MappingProxyType(table)
        self._ancestors = {name: self._climb(name) for name in table}
        self._children: dict[str, tuple[str, ...]] = {}
        for term in table.values():
            if term.parent is not None:
                self._children[term.parent] = (*self._children.get(term.parent, ()), term.name)
            if term.mirror is not None and term.mirror not in table:
                raise InputError(
                    f"mirror of term '{term.name}'", expected="a term", got=f"'{term.mirror}'", fix="add that term"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in the order of the tables."""
        return tuple(self._terms)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._terms

    def __iter__(self) -> Iterator[Term]:
        return iter(self._terms.values())

    def __len__(self) -> int:
        return len(self._terms)

    def term(self, name: str) -> Term:
        """The term of this name; an unknown one is an `InputError` that lists the nearest names."""
        found = self._terms.get(name)
        if found is None:
            raise unknown_name("entity name", name, self._terms)
        return found

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Wider terms, nearest first; a substructure's ancestors go on through the organ that it is part of."""
        self.term(name)
        return self._ancestors[name]

    def children(self, name: str) -> tuple[str, ...]:
        """The terms directly under this one."""
        self.term(name)
        return self._children.get(name, ())

    def descendants(self, name: str) -> frozenset[str]:
        """Every term under this one, itself left out."""
        below = self.children(name)
        return frozenset(below).union(*(self.descendants(child) for child in below))

    def nearest(self, name: str, known: Collection[str]) -> str | None:
        """The name itself if it is known, else its nearest known ancestor, else None."""
        return next((each for each in (name, *self.ancestors(name)) if each in known), None)

    def is_a(self, name: str, wider: str) -> bool:
        """Whether `name` is `wider` or a sort of it; a part is not a sort of its organ.

        Example:
            >>> VOCABULARY.is_a("hepatocellular_carcinoma", "lesion"), VOCABULARY.is_a("liver_segment_1", "liver")
            (True, False)
        """
        self.term(wider)
        current: str | None = name
        while current is not None and current != wider:
            parent = self.term(current).parent
            current = None if parent is not None and self._is_part(current, parent) else parent
        return current is not None

    def whole(self, name: str) -> str | None:
        """The organ that a substructure is part of; None for anything else."""
        path = (name, *self.ancestors(name))
        return next((wide for part, wide in pairwise(path) if self._is_part(part, wide)), None)

    def by_code(self, system: str, code: str) -> tuple[Term, ...]:
        """The terms that carry this code."""
        return tuple(term for term in self if term.codes.get(system) == code)

    def _is_part(self, name: str, parent: str) -> bool:
        return self._terms[name].kind is Kind.substructure and self._terms[parent].kind is not Kind.substructure

    def _climb(self, name: str) -> tuple[str, ...]:
        path: list[str] = []
        parent = self._terms[name].parent
        while parent is not None:
            if parent not in self._terms or parent in path:
                raise InputError(
                    f"parent of term '{name}'", expected="a term, no cycle", got=f"'{parent}'", fix="mend the table"
                )
            path.append(parent)
            parent = self._terms[parent].parent
        return tuple(path)


def unknown_name(what: str, name: str, known: Collection[str]) -> InputError:
    """The error for a name that is not in a closed set: it lists the nearest ones."""
    close = difflib.get_close_matches(str(name).lower(), list(known), n=5, cutoff=0.5)
    nearest = ", ".join(close) if close else "none is near"
    got = str(name) if len(str(name)) <= 80 else f"{str(name)[:80]}..."
    return InputError(what, expected="a known name", got=f"'{got}'", fix=f"use one of the nearest: {nearest}")


VOCABULARY = Vocabulary((*organ_terms(), *frame_terms(), *finding_terms(), *target_terms()))
"""The one vocabulary of the package."""

TOTALSEGMENTATOR_CLASSES: tuple[str, ...] = tuple(term.name for term in VOCABULARY if TOTALSEGMENTATOR in term.codes)
"""The 117 classes of TotalSegmentator's CT task `total`, version 2."""
