"""A term of the vocabulary, and the short forms that the term tables are written in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from synth.parse.kinds import Kind, Side

SNOMED = "snomed"
TOTALSEGMENTATOR = "totalsegmentator"
OWN = "synth"

_LATERALITY = {Side.left: "7771000", Side.right: "24028007"}


@dataclass(frozen=True)
class Term:
    """One name of the vocabulary.

    Attributes:
        name: TotalSegmentator's class name where there is one.
        kind: what sort of thing it names; an entity of this name has this kind.
        parent: the next wider term, or the organ that a substructure is part of.
        codes: coding system -> code; "snomed" is SNOMED CT, "snomed_side" its laterality modifier.
        side: the patient's side, for a term that has one.
        mirror: the same structure on the other side.
        visible: whether an image can show it (planning targets cannot be seen).

    Example:
        >>> Term("spleen", Kind.organ, "abdominal_organ").words
        'spleen'
    """

    name: str
    kind: Kind
    parent: str | None = None
    codes: Mapping[str, str] = field(default_factory=dict)
    side: Side | None = None
    mirror: str | None = None
    visible: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", MappingProxyType(dict(self.codes)))

    @property
    def words(self) -> str:
        """The name as it reads in a sentence: `kidney_left` is "left kidney"."""
        words = self.name.replace("_", " ")
        if self.side is None or f" {self.side}" not in words:
            return words
        return f"{self.side} {words.replace(f' {self.side}', '', 1)}"


def one(
    name: str,
    parent: str | None,
    *,
    kind: Kind = Kind.organ,
    snomed: str | None = None,
    total: bool = False,
    visible: bool = True,
) -> Iterator[Term]:
    """A term without sides; `total` says that TotalSegmentator's CT task has this class."""
    yield Term(name, kind, parent, _codes(name, snomed, total), visible=visible)


def pair(
    stem: str,
    parent: str | None,
    *,
    kind: Kind = Kind.organ,
    snomed: str | None = None,
    total: bool = False,
    whole: bool = True,
) -> Iterator[Term]:
    """`stem_left` and `stem_right`, each the other's mirror, under the unsided `stem` unless `whole` is false."""
    if whole:
        yield Term(stem, kind, parent, _codes(stem, snomed, False))
    yield from sided(f"{stem}_left", f"{stem}_right", stem if whole else parent, kind=kind, snomed=snomed, total=total)


def sided(
    left: str,
    right: str,
    parent: str | None,
    *,
    kind: Kind = Kind.organ,
    snomed: str | None = None,
    total: bool = False,
) -> Iterator[Term]:
    """Two mirrored terms under one parent."""
    for name, side, mirror in ((left, Side.left, right), (right, Side.right, left)):
        yield single_sided(name, side, parent, kind=kind, snomed=snomed, total=total, mirror=mirror)


def single_sided(
    name: str,
    side: Side,
    parent: str | None,
    *,
    kind: Kind = Kind.organ,
    snomed: str | None = None,
    total: bool = False,
    mirror: str | None = None,
) -> Term:
    """A term of one side."""
    codes = _codes(name, snomed, total)
    if snomed is not None:
        codes["snomed_side"] = _LATERALITY[side]
    return Term(name, kind, parent, codes, side, mirror)


def _codes(name: str, snomed: str | None, total: bool) -> dict[str, str]:
    codes = {SNOMED: snomed} if snomed else {}
    if total:
        codes[TOTALSEGMENTATOR] = name
    return codes or {OWN: name}
