"""What the decoders practise on."""

from __future__ import annotations

import numpy as np
import pytest

from synth.conditioning import Codec
from synth.phantom import make
from synth.training.cases import Case, make_case
from synth.training.claims import MOVED, NOTHING, SAME_DICE, TRUE, ClaimSampler, moved_mask


@pytest.fixture(scope="module")
def case() -> Case:
    made = make(2, spacing_mm=(8.0, 8.0, 8.0))
    codec = Codec.for_names(e.name for e in made.parse.entities)
    return make_case("phantom", made.image, made.parse, codec, 8.0)


def test_a_draw_is_a_function_of_its_generator(case: Case) -> None:
    sampler = ClaimSampler([case], 16)
    one, two = (sampler.draw(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.hu, two.hu) and np.array_equal(one.hole.core, two.hole.core) and one.truth == two.truth


def test_all_three_kinds_are_drawn_and_the_claim_is_what_sets_the_scenes_apart(case: Case) -> None:
    sampler = ClaimSampler([case], 16)
    drawn = [sampler.draw(np.random.default_rng(seed)) for seed in range(60)]
    assert {e.truth for e in drawn} == {TRUE, MOVED, NOTHING}
    for example in drawn:
        assert example.hu.shape == example.inside.shape == example.hole.core.shape == (16, 16, 16)
        entities = [len(s.presence) for s in (example.claimed, example.unclaimed)]
        if example.truth == NOTHING:
            assert entities[0] == entities[1]
        else:
            assert entities[0] == entities[1] + 1
            assert np.array_equal(example.claimed.occupancy[-1].astype(bool), example.hole.core)
    assert any(example.hole.hidden.all() for example in drawn), "no example is rendered from the scene alone"


def test_a_moved_mask_keeps_its_shape_stays_in_the_body_and_leaves_its_place(case: Case) -> None:
    rng = np.random.default_rng(0)
    row = case.scene.names.index("kidney_left")
    own = case.scene.masks[row]
    assert own is not None
    moved = [m for m in (moved_mask(own, case, rng) for _ in range(20)) if m is not None]
    assert len(moved) > 5
    for mask in moved:
        assert np.array_equal(mask.box, own.box)
        assert mask.dice(own) < SAME_DICE
        assert mask.overlap(case.body) >= 0.9 * mask.voxels
