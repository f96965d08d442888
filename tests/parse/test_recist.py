"""RECIST 1.1 on lesions whose diameters are known."""

from __future__ import annotations

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Entity, Parse, Relation
from synth.parse.recist import LYMPH_NODES, RecistSum, Response, Target, choose_targets, follow_targets, response
from synth.volume import Geometry, Mask

SHAPE = (120, 60, 12)
GRID = Geometry.regular(SHAPE, (1.0, 1.0, 2.0))


def rod(length: int, width: int, row: int) -> Mask:
    return Mask.from_box(SHAPE, (5, row, 3), np.ones((length, width, 1), bool))


def patient(*lesions: tuple[str, str, str, int, int]) -> Parse:
    """Lesions as (id, name, organ, length, width) in mm, each a bar of its own."""
    organs = sorted({organ for _, _, organ, _, _ in lesions if organ})
    masks, row = {}, 1
    for id, _, _, length, width in lesions:
        masks[id] = rod(length, width, row)
        row += width + 1
    return Parse(
        [*(Entity(id=organ, name=organ) for organ in organs), *(Entity(id=each[0], name=each[1]) for each in lesions)],
        (),
        [Relation(type="located_in", subject=each[0], object=each[2]) for each in lesions if each[2]],
        geometry=GRID,
        masks=masks,
    )


def test_the_sum_is_that_of_the_longest_diameters() -> None:
    found = choose_targets(patient(("a", "metastasis", "liver", 30, 1), ("b", "lung_nodule", "lung_left", 20, 1)))
    assert found.ids == ("a", "b")
    assert found.sum_mm == pytest.approx(50.0)


def test_at_most_two_targets_an_organ_and_the_largest_first() -> None:
    found = choose_targets(patient(*((f"m{mm}", "metastasis", "liver", mm, 1) for mm in (15, 40, 25, 30))))
    assert found.ids == ("m40", "m30")


def test_the_two_of_a_pair_and_the_lobes_count_as_one_organ() -> None:
    hosts = ("lung_upper_lobe_left", "lung_right", "lung_lower_lobe_right")
    found = choose_targets(patient(*((f"n{i}", "lung_nodule", host, 40 - i, 1) for i, host in enumerate(hosts))))
    assert [target.organ for target in found.targets] == ["lung", "lung"]


def test_at_most_five_targets() -> None:
    organs = ("liver", "spleen", "pancreas", "kidney_left", "brain", "prostate")
    found = choose_targets(patient(*((f"m{i}", "metastasis", organ, 20 + i, 1) for i, organ in enumerate(organs))))
    assert found.ids == ("m5", "m4", "m3", "m2", "m1")


def test_a_lesion_below_ten_millimetres_is_no_target() -> None:
    found = choose_targets(patient(("small", "metastasis", "liver", 9, 1), ("enough", "metastasis", "liver", 10, 1)))
    assert found.ids == ("enough",)


def test_thick_slices_ask_for_larger_lesions() -> None:
    thin = patient(("a", "metastasis", "liver", 15, 1))
    thick = thin.replace(geometry=Geometry.regular(SHAPE, (1.0, 1.0, 8.0)))
    assert choose_targets(thin).ids == ("a",)
    assert choose_targets(thick).ids == ()


def test_a_lymph_node_is_measured_by_its_short_axis_of_at_least_fifteen() -> None:
    found = choose_targets(
        patient(
            ("large", "pathological_lymph_node", "", 30, 16),
            ("slim", "pathological_lymph_node", "", 40, 12),
        )
    )
    assert found.ids == ("large",)
    assert found.targets[0].organ == LYMPH_NODES
    assert found.targets[0].diameter_mm == pytest.approx(16.0, abs=2.0)


@pytest.mark.parametrize("name", ["liver_cyst", "kidney_stone", "liver_hemangioma", "pleural_effusion"])
def test_what_is_benign_or_no_lesion_is_no_target(name: str) -> None:
    assert choose_targets(patient(("x", name, "liver", 40, 1))).ids == ()


def test_the_organ_of_an_undeclared_place_is_where_the_mask_lies() -> None:
    parse = patient(("a", "metastasis", "", 30, 1))
    liver = Mask.from_box(SHAPE, (0, 0, 0), np.ones((60, 20, 8), bool))
    assert choose_targets(parse).targets[0].organ == "unknown"
    assert choose_targets(parse.with_entity(Entity(id="liver", name="liver"), liver)).targets[0].organ == "liver"


def test_follow_up_measures_the_same_lesions_however_small() -> None:
    later = patient(("a", "metastasis", "liver", 6, 1), ("new", "metastasis", "liver", 50, 1))
    found = follow_targets(later, ("a", "b"))
    assert [target.diameter_mm for target in found.targets] == pytest.approx([6.0, 0.0])
    undrawn = Parse([Entity(id="a", name="metastasis")], geometry=GRID)
    with pytest.raises(InputError, match="without a mask"):
        follow_targets(undrawn, ("a",))


def sums(*diameters: float, node: bool = False) -> RecistSum:
    return RecistSum(tuple(Target(f"t{i}", "liver", node, mm) for i, mm in enumerate(diameters)))


@pytest.mark.parametrize(
    ("baseline", "nadir", "current", "expected"),
    [
        (sums(50, 50), 100, sums(35, 35), Response.partial),
        (sums(50, 50), 100, sums(36, 35), Response.stable),
        (sums(50, 50), 100, sums(60, 60), Response.progressive),
        (sums(50, 50), 100, sums(60, 59), Response.stable),
        (sums(50, 50), 20, sums(12, 12.9), Response.partial),
        (sums(50, 50), 20, sums(12, 13), Response.progressive),
        (sums(50, 50), 100, sums(0, 0), Response.complete),
        (sums(20, node=True), 20, sums(9.9, node=True), Response.complete),
        (sums(20, node=True), 20, sums(10, node=True), Response.partial),
    ],
)
def test_the_response_follows_the_thresholds(
    baseline: RecistSum, nadir: float, current: RecistSum, expected: Response
) -> None:
    assert response(baseline, nadir, current) is expected
