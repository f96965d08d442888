"""Sides are those of the patient, and a pair is judged only where it is one."""

from __future__ import annotations

import numpy as np
import pytest

from synth.fault import FaultSpec, inject
from synth.parse import Entity, Parse, Presence
from synth.phantom import make
from synth.residual.sides import swapped_sides
from synth.volume import Geometry, Mask

SHAPE, GRID = (32, 12, 12), Geometry.regular((32, 12, 12), 3.0)


def _at(x: int) -> Mask:
    return Mask.from_box(SHAPE, (x, 4, 4), np.ones((3, 3, 3), bool))


def _parse(*named: tuple[str, int], names: tuple[str, ...] = ()) -> Parse:
    entities = [Entity(id=id, name=names[k] if names else id) for k, (id, _) in enumerate(named)]
    return Parse(entities, geometry=GRID, masks={id: _at(x) for id, x in named})


def test_left_is_where_x_is_small() -> None:
    assert swapped_sides(_parse(("kidney_left", 4), ("kidney_right", 20))) == ()
    assert {s.entity.id for s in swapped_sides(_parse(("kidney_left", 20), ("kidney_right", 4)))} == {
        "kidney_left",
        "kidney_right",
    }


def test_a_pair_near_the_middle_is_left_alone() -> None:
    assert swapped_sides(_parse(("kidney_left", 12), ("kidney_right", 9))) == ()


def test_one_of_a_pair_and_two_of_a_name_are_not_compared() -> None:
    assert swapped_sides(_parse(("kidney_left", 20))) == ()
    two = _parse(("a", 20), ("b", 22), ("c", 4), names=("kidney_left", "kidney_left", "kidney_right"))
    assert swapped_sides(two) == ()
    gone = _parse(("kidney_left", 20)).with_entity(
        Entity(id="kidney_right", name="kidney_right", presence=Presence.absent)
    )
    assert swapped_sides(gone) == ()


@pytest.mark.parametrize("seed", range(3))
def test_no_true_pair_of_a_patient_is_swapped_and_every_swapped_one_is(seed: int) -> None:
    parse = make(seed, spacing_mm=(6.0, 6.0, 6.0)).parse
    assert swapped_sides(parse) == ()
    fault = inject(parse, FaultSpec("swap_sides"), np.random.default_rng(seed))
    said = {s.entity.id: s.other.name for s in swapped_sides(fault.parse)}
    assert said == {e.entity: fault.parse.entity(e.entity).term.mirror for e in fault.record.expected}
