"""Findings and planning targets. SNOMED CT codes only where the concept is exactly this one, else our own name."""

from __future__ import annotations

from collections.abc import Iterator

from synth.parse.kinds import Kind
from synth.parse.terms import Term, one, sided

FINDING, TARGET = Kind.finding, Kind.target

_LESIONS: tuple[tuple[str, str, str | None], ...] = (
    ("liver_lesion", "lesion", None),
    ("breast_lesion", "lesion", None),
    ("prostate_lesion", "lesion", None),
    ("white_matter_lesion", "lesion", None),
    ("cyst", "lesion", "367643001"),
    ("liver_cyst", "cyst", None),
    ("pancreatic_cyst", "cyst", None),
    ("ovarian_cyst", "cyst", None),
    ("hemangioma", "lesion", None),
    ("liver_hemangioma", "hemangioma", None),
    ("adenoma", "lesion", None),
    ("adrenal_adenoma", "adenoma", None),
    ("focal_nodular_hyperplasia", "lesion", None),
    ("nodule", "lesion", None),
    ("lung_nodule", "nodule", None),
    ("thyroid_nodule", "nodule", None),
    ("stone", "lesion", None),
    ("kidney_stone", "stone", "95570007"),
    ("gallstone", "stone", "235919008"),
    ("bladder_stone", "stone", None),
    ("tumour", "lesion", None),
    ("metastasis", "tumour", "14799000"),
    ("liver_metastasis", "metastasis", None),
    ("lung_metastasis", "metastasis", None),
    ("bone_metastasis", "metastasis", None),
    ("brain_metastasis", "metastasis", None),
    ("pathological_lymph_node", "lesion", None),
    ("hepatocellular_carcinoma", "tumour", "25370001"),
    ("cholangiocarcinoma", "tumour", None),
    ("renal_cell_carcinoma", "tumour", None),
    ("pancreatic_carcinoma", "tumour", None),
    ("lung_carcinoma", "tumour", None),
    ("sarcoma", "tumour", None),
    ("soft_tissue_sarcoma", "sarcoma", None),
    ("glioma", "tumour", "393564001"),
    ("glioma_enhancing", "glioma", None),
    ("glioma_non_enhancing", "glioma", None),
    ("tumour_necrosis", "tumour", None),
)

_OTHER_FINDINGS: tuple[tuple[str, str, str | None], ...] = (
    ("effusion", "finding", None),
    ("pleural_effusion", "effusion", "60046008"),
    ("pericardial_effusion", "effusion", "373945007"),
    ("ascites", "effusion", "389026000"),
    ("pneumothorax", "finding", "36118008"),
    ("pneumoperitoneum", "finding", None),
    ("consolidation", "finding", None),
    ("atelectasis", "finding", "46621007"),
    ("haematoma", "finding", None),
    ("haemorrhage", "finding", "50960005"),
    ("abscess", "finding", "128477000"),
    ("oedema", "finding", "79654002"),
    ("thrombus", "finding", None),
    ("aneurysm", "finding", None),
    ("calcification", "finding", None),
    ("fracture", "finding", None),
    ("resection_cavity", "finding", None),
    ("ablation_zone", "finding", None),
    ("implant", "finding", "40388003"),
)


def finding_terms() -> Iterator[Term]:
    """Every finding, from `finding` itself down."""
    yield from one("finding", None, kind=FINDING)
    yield from one("lesion", "finding", kind=FINDING, snomed="52988006")
    for name, parent, snomed in _LESIONS + _OTHER_FINDINGS:
        yield from one(name, parent, kind=FINDING, snomed=snomed)
    yield from one("kidney_cyst", "cyst", kind=FINDING)
    yield from sided("kidney_cyst_left", "kidney_cyst_right", "kidney_cyst", kind=FINDING, total=True)


def target_terms() -> Iterator[Term]:
    """Radiotherapy planning volumes: margins that were drawn, never visible anatomy."""
    yield from one("target", None, kind=TARGET, visible=False)
    for name in ("gtv", "ctv", "ptv"):
        yield from one(name, "target", kind=TARGET, visible=False)
    for dose_gray in (56, 63, 70):
        yield from one(f"ptv_{dose_gray}", "ptv", kind=TARGET, visible=False)
