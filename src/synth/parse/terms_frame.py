"""Vessels, skeleton, muscles and tissues; names and SNOMED CT codes as in TotalSegmentator's class map."""

from __future__ import annotations

from collections.abc import Iterator

from synth.parse.kinds import Kind, Side
from synth.parse.terms import Term, one, pair, single_sided

PART, TISSUE = Kind.substructure, Kind.tissue

_VERTEBRAE = {
    "cervical": ("C", ("14806007", "39976000", "113205007", "5329002", "36978003", "36054005", "87391001")),
    "thoracic": (
        "T",
        (
            "64864005",
            "53733008",
            "1626008",
            "73071006",
            "56401006",
            "45296009",
            "62487009",
            "11068009",
            "82687006",
            "7610001",
            "12989004",
            "23215003",
        ),
    ),
    "lumbar": ("L", ("66794005", "14293000", "36470004", "11994002", "49668003")),
    "sacral": ("S", ("65985001",)),
}
_RIBS = (
    "48535007",
    "78247007",
    "25888004",
    "25523003",
    "15339008",
    "59558009",
    "24915002",
    "5953002",
    "22565002",
    "77644006",
    "58830002",
    "43993008",
)


def frame_terms() -> Iterator[Term]:
    """Every vessel, bone, muscle and tissue."""
    yield from _vessels()
    yield from _skeleton()
    yield from _muscles()
    yield from _tissues()


def _vessels() -> Iterator[Term]:
    yield from one("vessel", None, snomed="59820001")
    yield from one("artery", "vessel", snomed="51114001")
    yield from one("aorta", "artery", snomed="15825003", total=True)
    yield from one("brachiocephalic_trunk", "artery", snomed="12691009", total=True)
    yield from pair("subclavian_artery", "artery", snomed="29700009", total=True)
    yield from pair("common_carotid_artery", "artery", snomed="32062004", total=True)
    yield from pair("iliac_artery", "artery", snomed="73634005", total=True)
    yield from pair("renal_artery", "artery", snomed="2841007")
    yield from one("hepatic_artery", "artery")
    yield from one("celiac_trunk", "artery")
    yield from one("superior_mesenteric_artery", "artery", snomed="42258001")
    yield from one("pulmonary_artery", "artery", snomed="81040000")
    yield from one("coronary_arteries", "artery", snomed="41801008")
    yield from one("vein", "vessel", snomed="29092000")
    yield from one("superior_vena_cava", "vein", snomed="48345005", total=True)
    yield from one("inferior_vena_cava", "vein", snomed="64131007", total=True)
    yield from one("portal_vein_and_splenic_vein", "vein", snomed="110765007", total=True)
    yield from one("portal_vein", "portal_vein_and_splenic_vein", kind=PART, snomed="32764006")
    yield from one("splenic_vein", "portal_vein_and_splenic_vein", kind=PART, snomed="35819009")
    yield from one("superior_mesenteric_vein", "vein")
    yield from one("hepatic_vein", "vein", snomed="8993003")
    yield from pair("renal_vein", "vein", snomed="56400007")
    yield from one("pulmonary_vein", "vein", snomed="122972007", total=True)
    yield from pair("brachiocephalic_vein", "vein", snomed="8887007", total=True)
    yield from pair("internal_jugular_vein", "vein", snomed="12123001")
    yield from pair("iliac_vena", "vein", snomed="46027005", total=True)


def _skeleton() -> Iterator[Term]:
    yield from one("bone", None, kind=TISSUE, snomed="272673000")
    yield from one("cortical_bone", "bone", kind=TISSUE)
    yield from one("bone_marrow", "bone", kind=TISSUE, snomed="14016003")
    yield from one("vertebra", "bone", snomed="51282000")
    for region, (letter, codes) in _VERTEBRAE.items():
        yield from one(f"vertebra_{region}", "vertebra")
        for number, snomed in enumerate(codes, start=1):
            yield from one(f"vertebrae_{letter}{number}", f"vertebra_{region}", snomed=snomed, total=True)
    yield from one("intervertebral_disc", None, kind=TISSUE, snomed="360499006")
    yield from one("sacrum", "bone", snomed="54735007", total=True)
    yield from pair("rib", "bone", snomed="113197003")
    for number, snomed in enumerate(_RIBS, start=1):
        for side, other in ((Side.left, Side.right), (Side.right, Side.left)):
            mirror = f"rib_{other}_{number}"
            yield single_sided(f"rib_{side}_{number}", side, f"rib_{side}", snomed=snomed, total=True, mirror=mirror)
    yield from one("sternum", "bone", snomed="56873002", total=True)
    yield from one("costal_cartilages", None, total=True)
    yield from one("skull", "bone", snomed="89546000", total=True)
    yield from one("mandible", "bone", snomed="91609006")
    yield from pair("humerus", "bone", snomed="85050009", total=True)
    yield from pair("scapula", "bone", snomed="79601000", total=True)
    yield from pair("clavicula", "bone", snomed="51299004", total=True)
    yield from pair("femur", "bone", snomed="71341001", total=True)
    yield from pair("hip", "bone", snomed="29836001", total=True)


def _muscles() -> Iterator[Term]:
    yield from one("skeletal_muscle", None, kind=TISSUE, snomed="127954009")
    yield from one("muscle", "skeletal_muscle")
    yield from one("gluteus", "muscle")
    yield from pair("gluteus_maximus", "gluteus", snomed="181674001", total=True)
    yield from pair("gluteus_medius", "gluteus", snomed="78333006", total=True)
    yield from pair("gluteus_minimus", "gluteus", snomed="75297007", total=True)
    yield from pair("autochthon", "muscle", snomed="244849004", total=True)
    yield from pair("iliopsoas", "muscle", snomed="68455001", total=True)
    yield from one("abdominal_wall_muscle", "muscle")


def _tissues() -> Iterator[Term]:
    yield from one("body", None, kind=TISSUE)
    yield from one("skin", None, kind=TISSUE, snomed="39937001")
    yield from one("fat", None, kind=TISSUE, snomed="55603005")
    yield from one("subcutaneous_fat", "fat", kind=TISSUE, snomed="67769002")
    yield from one("visceral_fat", "fat", kind=TISSUE)
    yield from one("perirenal_fat", "visceral_fat", kind=TISSUE)
    yield from one("intermuscular_fat", "fat", kind=TISSUE)
    yield from one("air", None, kind=TISSUE)
    yield from one("bowel_gas", "air", kind=TISSUE)
    yield from one("fluid", None, kind=TISSUE)
    yield from one("cerebrospinal_fluid", "fluid", kind=TISSUE)
    yield from one("soft_tissue", None, kind=TISSUE)
