"""The vocabulary: a hierarchy whose names and codes hold together."""

from __future__ import annotations

from pathlib import Path

import pytest

from synth.errors import InputError
from synth.parse import TOTALSEGMENTATOR_CLASSES, VOCABULARY, Kind, Term, Vocabulary


def verhoeff_is_valid(code: str) -> bool:
    """Whether the last digit of a SNOMED CT identifier checks the others (dihedral group of order ten)."""
    permute = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    while len(permute) < 8:
        permute.append([permute[-1][each] for each in permute[1]])

    def times(a: int, b: int) -> int:
        turned = (a % 5 + (b if a < 5 else -b)) % 5
        return turned + (5 if (a < 5) != (b < 5) else 0)

    check = 0
    for place, digit in enumerate(reversed(code)):
        check = times(check, permute[place % 8][int(digit)])
    return check == 0


def test_the_check_of_snomed_codes_can_fail() -> None:
    assert verhoeff_is_valid("10200004")
    assert not verhoeff_is_valid("10200005")
    assert not verhoeff_is_valid("12000004")


def test_every_snomed_code_is_well_formed_and_every_term_has_a_code() -> None:
    for term in VOCABULARY:
        assert term.codes, term.name
        for system, code in term.codes.items():
            if system.startswith("snomed"):
                assert verhoeff_is_valid(code), (term.name, code)


def test_two_terms_of_one_side_do_not_share_a_snomed_code() -> None:
    leaves = [term for term in VOCABULARY if "snomed" in term.codes and not VOCABULARY.children(term.name)]
    keys = [(term.codes["snomed"], term.side, term.parent) for term in leaves]
    assert len(set(keys)) == len(keys)


def test_all_117_classes_of_totalsegmentator_are_names(shared_data: Path) -> None:
    lines = (shared_data / "totalsegmentator" / "labels_total.txt").read_text().splitlines()
    published = {line.split()[1] for line in lines if line.strip()}
    assert published == set(TOTALSEGMENTATOR_CLASSES)
    assert len(TOTALSEGMENTATOR_CLASSES) == 117


def test_mirrors_are_mutual_and_of_the_other_side() -> None:
    for term in VOCABULARY:
        if term.mirror is not None:
            mirror = VOCABULARY.term(term.mirror)
            assert mirror.mirror == term.name
            assert {term.side, mirror.side} == {"left", "right"}
            assert term.kind is mirror.kind


def test_only_planning_targets_are_invisible() -> None:
    assert {term.kind for term in VOCABULARY if not term.visible} == {Kind.target}


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("vertebrae_L4", {"vertebra", "bone"}, "vertebra"),
        ("vertebrae_L4", {"vertebrae_L4", "bone"}, "vertebrae_L4"),
        ("kidney_left", {"kidney", "abdominal_organ"}, "kidney"),
        ("rib_left_7", {"rib", "bone"}, "rib"),
        ("lung_upper_lobe_left", {"lung"}, "lung"),
        ("liver_segment_5", {"liver"}, "liver"),
        ("kidney_cyst_left", {"cyst", "lesion"}, "cyst"),
        ("gluteus_maximus_left", {"skeletal_muscle"}, "skeletal_muscle"),
        ("ptv_70", {"liver"}, None),
    ],
)
def test_an_unseen_name_falls_back_on_its_nearest_known_ancestor(
    name: str, known: set[str], nearest: str | None
) -> None:
    assert VOCABULARY.nearest(name, known) == nearest


def test_a_part_is_not_a_sort_of_its_organ() -> None:
    assert VOCABULARY.is_a("hepatocellular_carcinoma", "lesion")
    assert not VOCABULARY.is_a("liver_segment_5", "liver")
    assert VOCABULARY.whole("liver_segment_5") == "liver"
    assert VOCABULARY.whole("eye_lens_left") == "eye"
    assert VOCABULARY.whole("liver") is None


def test_a_side_reads_as_in_a_report() -> None:
    assert VOCABULARY.term("kidney_left").words == "left kidney"
    assert VOCABULARY.term("rib_right_7").words == "right rib 7"


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(InputError, match=r"gall_bladder.*gallbladder"):
        VOCABULARY.term("gall_bladder")


@pytest.mark.parametrize(
    "terms",
    [
        [Term("a", Kind.organ), Term("a", Kind.organ)],
        [Term("a", Kind.organ, "nowhere")],
        [Term("a", Kind.organ, "b"), Term("b", Kind.organ, "a")],
        [Term("a", Kind.organ, mirror="c")],
    ],
)
def test_a_table_that_does_not_hold_together_is_refused(terms: list[Term]) -> None:
    with pytest.raises(InputError):
        Vocabulary(terms)
