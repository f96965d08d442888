"""Which findings can lie in which organ; names of the vocabulary."""

from __future__ import annotations

from synth.parse import VOCABULARY

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


def has_findings(host: str) -> bool:
    """Whether findings of its own are known for an organ of this name.

    Example:
        >>> has_findings("liver"), has_findings("aorta")
        (True, False)
    """
    return VOCABULARY.nearest(host, FINDINGS) is not None
