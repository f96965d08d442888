"""Findings that a parse names without drawing them get a place that keeps all their relations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from synth.errors import InputError
from synth.parse import Attribute, Entity, Parse, Relation
from synth.parse.derive import derive_relations
from synth.parse.place import place_undrawn, undrawn
from synth.volume import Geometry, Mask

SHAPE = (48, 40, 40)


def box(*ends: tuple[int, int]) -> Mask:
    dense = np.zeros(SHAPE, bool)
    dense[tuple(slice(a, b) for a, b in ends)] = True
    return Mask.from_dense(dense)


def patient(*relations: tuple[str, str], attributes: tuple[Attribute, ...] = ()) -> Parse:
    """A liver, a right kidney a voxel beside it, a spleen far away, and a cyst that is only named."""
    masks = {
        "liver": box((20, 44), (6, 34), (6, 34)),
        "kidney": box((8, 19), (8, 20), (10, 24)),
        "spleen": box((1, 6), (24, 38), (20, 38)),
        "cava": box((30, 34), (14, 18), (2, 38)),
    }
    entities = [
        Entity(id="liver", name="liver", presence="present"),
        Entity(id="kidney", name="kidney_right", presence="present"),
        Entity(id="spleen", name="spleen", presence="present"),
        Entity(id="cava", name="inferior_vena_cava", presence="present"),
        Entity(id="mass", name="metastasis", presence="present", delineated=False),
    ]
    return Parse(
        entities,
        attributes=attributes,
        relations=[Relation(type=t, subject="mass", object=o) for t, o in relations],
        geometry=Geometry.regular(SHAPE, 3.0),
        masks=masks,
    )


def test_it_lies_in_its_host_is_round_and_the_seed_decides() -> None:
    parse = patient(("located_in", "liver"))
    assert undrawn(parse) == ("mass",)
    placed = place_undrawn(parse, 3, diameter_mm=24.0)
    mask = placed.mask("mass")
    assert mask.overlap(parse.mask("liver")) == mask.voxels
    ball = np.pi / 6 * 24**3 / 27
    assert 0.4 * ball < mask.voxels < 1.1 * ball
    assert placed.entity("mass").delineated
    assert undrawn(placed) == ()
    assert place_undrawn(parse, 3, diameter_mm=24.0) == placed
    assert place_undrawn(parse, 4, diameter_mm=24.0).mask("mass") != mask


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "relation", [("abuts", "kidney"), ("left_of", "cava"), ("right_of", "cava"), ("abuts", "cava"), ("encases", "cava")]
)
def test_what_its_relations_say_is_what_is_read_off_its_mask(relation: tuple[str, str], seed: int) -> None:
    parse = patient(("located_in", "liver"), relation)
    placed = place_undrawn(parse, seed, diameter_mm=27.0 if relation[0] == "encases" else 15.0)
    read = {r.key for r in derive_relations(placed.replace(relations=())).relations}
    assert ("located_in", "mass", "liver") in read
    kind, other = relation
    if kind in ("left_of", "right_of"):
        side = 1 if kind == "right_of" else -1  # the grid runs to the patient's right
        ends = placed.mask("mass").slices[0], parse.mask("cava").slices[0]
        assert (ends[0].start >= ends[1].stop) if side > 0 else (ends[0].stop <= ends[1].start)
    elif kind == "encases":
        assert ("encases", "mass", "cava") in read
    else:
        assert {("abuts", "mass", other), ("abuts", other, "mass")} & read


def test_findings_keep_apart() -> None:
    parse = patient(("located_in", "liver"))
    second = Entity(id="second", name="liver_cyst", presence="present", delineated=False)
    more = [*parse.relations, Relation(type="located_in", subject="second", object="liver")]
    placed = place_undrawn(parse.replace(entities=[*parse.entities, second], relations=more), 0, diameter_mm=30.0)
    assert placed.mask("mass").overlap(placed.mask("second")) == 0


def test_a_spiculated_margin_is_rougher() -> None:
    def surface(margin: str) -> float:
        said = (Attribute(entity="mass", type="margin", value=margin),)
        parse = patient(("located_in", "liver"), attributes=said)
        ratios = []
        for seed in range(5):
            mask = place_undrawn(parse, seed, diameter_mm=30.0).mask("mass")
            faces = sum(int(np.abs(np.diff(mask.dense().astype(int), axis=a)).sum()) for a in range(3))
            ratios.append(faces / mask.voxels ** (2 / 3))
        return float(np.mean(ratios))

    assert surface("spiculated") > 1.05 * surface("circumscribed")


@pytest.mark.parametrize(
    "changed",
    [
        lambda p: p.replace(relations=()),  # nothing says where
        lambda p: p.with_presence("mass", "uncertain"),
        lambda p: p.with_presence("mass", "absent"),
    ],
)
def test_what_has_no_host_or_is_not_there_stays_undrawn(changed: Callable[[Parse], Parse]) -> None:
    parse = changed(patient(("located_in", "liver")))
    assert place_undrawn(parse, 0) is parse


def test_a_place_that_cannot_be_is_an_error_that_says_what_was_asked() -> None:
    parse = patient(("located_in", "liver"), ("abuts", "spleen"))
    with pytest.raises(InputError, match=r"'mass'.*located_in liver; abuts spleen"):
        place_undrawn(parse, 0)
