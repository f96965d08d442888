"""The small closed sets that a parse is written in."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What sort of thing an entity is; a target is drawn for planning and cannot be seen in the image."""

    organ = "organ"
    substructure = "substructure"
    finding = "finding"
    tissue = "tissue"
    target = "target"

    @property
    def with_article(self) -> str:
        """In a sentence.

        Example:
            >>> Kind.organ.with_article, Kind.finding.with_article
            ('an organ', 'a finding')
        """
        return f"{'an' if self is Kind.organ else 'a'} {self}"


class Presence(StrEnum):
    """What the parse claims about an entity; `not_assessed` claims nothing."""

    present = "present"
    absent = "absent"
    uncertain = "uncertain"
    not_assessed = "not_assessed"


class Modality(StrEnum):
    """How the image was made."""

    ct = "CT"
    mr = "MR"
    unknown = "unknown"


class Phase(StrEnum):
    """When, after the contrast agent, the image was made."""

    unenhanced = "unenhanced"
    arterial = "arterial"
    portal_venous = "portal_venous"
    delayed = "delayed"


class BodyRegion(StrEnum):
    """Part of the body that a field of view covers."""

    head = "head"
    neck = "neck"
    chest = "chest"
    abdomen = "abdomen"
    pelvis = "pelvis"
    upper_limb = "upper_limb"
    lower_limb = "lower_limb"


class Side(StrEnum):
    """The patient's left and right."""

    left = "left"
    right = "right"
