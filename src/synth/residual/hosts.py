"""Which findings can lie in which organ, and which organ holds one."""

from __future__ import annotations

from collections.abc import Mapping

from synth.parse import VOCABULARY, Kind, Parse
from synth.residual.intensity_prior import lineage
from synth.volume import Mask

MEASURED = "host_step"  # a feature that every finding has which was compared with its organ
HOLDS = 0.5  # share of a finding that lies in the organ that holds it

FINDINGS: dict[str, tuple[str, ...]] = {
    "liver": (
        "liver_cyst",
        "liver_metastasis",
        "metastasis",
        "hepatocellular_carcinoma",
        "cholangiocarcinoma",
        "liver_hemangioma",
        "hemangioma",
        "focal_nodular_hyperplasia",
        "liver_lesion",
    ),
    "kidney_left": ("kidney_cyst_left", "kidney_stone", "renal_cell_carcinoma"),
    "kidney_right": ("kidney_cyst_right", "kidney_stone", "renal_cell_carcinoma"),
    "lung": ("lung_nodule", "lung_metastasis", "lung_carcinoma", "consolidation", "atelectasis"),
    "gallbladder": ("gallstone",),
    "urinary_bladder": ("bladder_stone",),
    "pancreas": ("pancreatic_cyst", "pancreatic_carcinoma"),
    "adrenal_gland": ("adrenal_adenoma",),
    "thyroid_gland": ("thyroid_nodule",),
    "brain": ("glioma_enhancing", "glioma_non_enhancing", "brain_metastasis"),
    "bone": ("bone_metastasis",),
    "muscle": ("soft_tissue_sarcoma",),
}
"""Organ or group of organs -> its findings; a host uses its own entry, else its nearest ancestor's."""

ANYWHERE = ("cyst", "metastasis", "lesion")
ANY_SITE = "finding"  # regions outside every organ that has an entry


NOT_JUDGED = frozenset({"bone"})
"""Sites whose regions are listed and never called missing. The search was calibrated on phantoms, whose bones are a
shell and an even marrow; endplates, trabeculae and the thin neck of a femur stand out in every patient."""


def findings_of(host: str | None) -> tuple[str, ...]:
    """The findings that may lie in an organ of this name, anywhere for an unknown place.

    Example:
        >>> findings_of("gallbladder"), findings_of(None)
        (('gallstone',), ('cyst', 'metastasis', 'lesion'))
        >>> "lung_nodule" in findings_of("lung_upper_lobe_left")
        True
    """
    if host is None:
        return ANYWHERE
    nearest = VOCABULARY.nearest(host, FINDINGS)
    return ANYWHERE if nearest is None else FINDINGS[nearest]


def site_of(host: str | None) -> str:
    """What regions in an organ of this name are compared among: the organ or group that its findings are known for.

    A kidney has a dark middle, a liver has vessels; what is unusual in one is not in the other.

    Example:
        >>> site_of("femur_left"), site_of("aorta"), site_of(None)
        ('bone', 'finding', 'finding')
    """
    nearest = None if host is None else VOCABULARY.nearest(host, FINDINGS)
    return ANY_SITE if nearest is None else nearest


def hosts_in(parse: Parse) -> list[str]:
    """Ids of the drawn organs, and of parts that stand for one that is not drawn: lobes where nobody drew the lung.

    Example:
        >>> import numpy as np
        >>> from synth.parse import Entity
        >>> from synth.volume import Geometry
        >>> grid, mask = Geometry.regular((4, 4, 4), 4.0), Mask.from_box((4, 4, 4), (0, 0, 0), np.ones((2, 2, 2), bool))
        >>> names = "liver", "liver_segment_7", "lung_lower_lobe_left"
        >>> z = Parse([Entity(id=n, name=n) for n in names], geometry=grid, masks=dict.fromkeys(names, mask))
        >>> hosts_in(z)
        ['liver', 'lung_lower_lobe_left']
    """
    drawn = [parse.entity(i) for i in parse.present_ids]
    organs = {e.name for e in drawn if e.kind is Kind.organ}
    stands_alone = {e.id for e in drawn if e.kind is Kind.substructure and organs.isdisjoint(lineage(e.name))}
    return [e.id for e in drawn if e.kind is Kind.organ or e.id in stands_alone]


def holding(mask: Mask, parse: Parse) -> str | None:
    """Id of the smallest of `hosts_in` that holds most of a mask on the grid of the parse; None where none does."""
    around = [i for i in hosts_in(parse) if mask.overlap(parse.masks[i]) >= HOLDS * mask.voxels]
    return min(around, key=lambda i: (parse.masks[i].voxels, i), default=None)


def held(features: Mapping[str, float], name: str) -> bool:
    """Whether these are features of a finding that was compared with the organ that holds it."""
    return MEASURED in features and VOCABULARY.term(name).kind is Kind.finding


def has_findings(host: str) -> bool:
    """Whether findings of its own are known for an organ of this name.

    Example:
        >>> has_findings("liver"), has_findings("aorta")
        (True, False)
    """
    return VOCABULARY.nearest(host, FINDINGS) is not None
