"""Organs and their parts; names and SNOMED CT codes as in TotalSegmentator's class map where it has them."""

from __future__ import annotations

from collections.abc import Iterator

from synth.parse.kinds import Kind, Side
from synth.parse.terms import Term, one, pair, sided, single_sided

PART = Kind.substructure


def organ_terms() -> Iterator[Term]:
    """Every organ of head, neck, chest, abdomen and pelvis."""
    yield from _abdomen()
    yield from _pelvis()
    yield from _chest()
    yield from _head_and_neck()


def _abdomen() -> Iterator[Term]:
    yield from one("abdominal_organ", None)
    yield from one("spleen", "abdominal_organ", snomed="78961009", total=True)
    yield from pair("kidney", "abdominal_organ", snomed="64033007", total=True)
    yield from pair("renal_pelvis", "kidney", kind=PART)
    yield from one("gallbladder", "abdominal_organ", snomed="28231008", total=True)
    yield from one("liver", "abdominal_organ", snomed="10200004", total=True)
    for number in range(1, 9):
        yield from one(f"liver_segment_{number}", "liver", kind=PART)
    yield from one("bile_duct", "abdominal_organ")
    yield from one("pancreas", "abdominal_organ", snomed="15776009", total=True)
    yield from pair("adrenal_gland", "abdominal_organ", snomed="23451007", total=True)
    yield from one("stomach", "abdominal_organ", snomed="69695003", total=True)
    yield from one("bowel", "abdominal_organ")
    yield from one("small_bowel", "bowel", snomed="30315005", total=True)
    yield from one("duodenum", "bowel", snomed="38848004", total=True)
    yield from one("colon", "bowel", snomed="71854001", total=True)
    yield from one("rectum", "bowel", snomed="34402009")
    yield from one("bowel_contents", "bowel", kind=Kind.tissue)


def _pelvis() -> Iterator[Term]:
    yield from one("pelvic_organ", None)
    yield from one("urinary_bladder", "pelvic_organ", snomed="89837001", total=True)
    yield from one("prostate", "pelvic_organ", snomed="41216001", total=True)
    yield from one("seminal_vesicle", "pelvic_organ")
    yield from one("uterus", "pelvic_organ", snomed="35039007")
    yield from pair("ovary", "pelvic_organ", snomed="15497006")


def _chest() -> Iterator[Term]:
    yield from one("thoracic_organ", None)
    yield from pair("lung", "thoracic_organ", snomed="39607008")
    upper, lower = "45653009", "90572001"
    yield from sided_lobes("lung_upper_lobe", upper)
    yield from sided_lobes("lung_lower_lobe", lower)
    yield single_sided("lung_middle_lobe_right", Side.right, "lung_right", kind=PART, snomed="72481006", total=True)
    yield from one("airway", "thoracic_organ")
    yield from one("trachea", "airway", snomed="44567001", total=True)
    yield from one("bronchi", "airway", snomed="955009")
    yield from one("esophagus", "thoracic_organ", snomed="32849002", total=True)
    yield from one("mediastinum", "thoracic_organ", snomed="72410000")
    yield from one("thymus", "thoracic_organ", snomed="9875009")
    yield from pair("breast", "thoracic_organ", snomed="76752008")
    yield from one("diaphragm", "thoracic_organ", snomed="5798000")
    yield from one("heart", "thoracic_organ", snomed="80891009", total=True)
    yield from one("heart_myocardium", "heart", kind=PART, snomed="74281007")
    yield from sided_chambers("heart_atrium", "82471001", "73829009")
    yield from sided_chambers("heart_ventricle", "87878005", "53085002")
    yield single_sided("atrial_appendage_left", Side.left, "heart", kind=PART, snomed="68786006", total=True)
    yield from one("pericardium", "heart", kind=PART, snomed="76848001")


def sided_lobes(stem: str, snomed: str) -> Iterator[Term]:
    """A lobe of either lung, each part of the lung of its side."""
    for side, other in ((Side.left, Side.right), (Side.right, Side.left)):
        mirror = f"{stem}_{other}"
        yield single_sided(f"{stem}_{side}", side, f"lung_{side}", kind=PART, snomed=snomed, total=True, mirror=mirror)


def sided_chambers(stem: str, left: str, right: str) -> Iterator[Term]:
    """The left and right chamber; their codes name the side themselves, and neither mirrors the other."""
    for side, snomed in ((Side.left, left), (Side.right, right)):
        codes = {"snomed": snomed}
        yield Term(f"{stem}_{side}", PART, "heart", codes, side)


def _head_and_neck() -> Iterator[Term]:
    yield from one("nervous_system", None)
    yield from one("brain", "nervous_system", snomed="12738006", total=True)
    yield from one("brainstem", "brain", kind=PART, snomed="15926001")
    yield from one("cerebellum", "brain", kind=PART, snomed="113305005")
    yield from one("brain_ventricles", "brain", kind=PART)
    yield from one("spinal_cord", "nervous_system", snomed="2748008", total=True)
    yield from one("spinal_canal", "nervous_system")
    yield from one("optic_chiasm", "nervous_system", snomed="244453006")
    yield from pair("optic_nerve", "nervous_system", snomed="18234004")
    yield from one("head_neck_organ", None)
    yield from one("salivary_gland", "head_neck_organ", snomed="385294005")
    yield from pair("parotid_gland", "salivary_gland", snomed="45289007")
    yield from pair("submandibular_gland", "salivary_gland", snomed="54019009")
    yield from one("thyroid_gland", "head_neck_organ", snomed="69748006", total=True)
    yield from one("larynx", "head_neck_organ", snomed="4596009")
    yield from one("pharynx", "head_neck_organ", snomed="54066008")
    yield from one("oral_cavity", "head_neck_organ")
    yield from one("tongue", "head_neck_organ", snomed="21974007")
    yield from one("face", "head_neck_organ", snomed="89545001")
    yield from pair("eye", "head_neck_organ", snomed="81745001")
    yield from sided("eye_lens_left", "eye_lens_right", "eye", kind=PART)
    yield from one("pituitary_gland", "head_neck_organ", snomed="56329008")
