"""What the decoders practise on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synth.conditioning import Codec
from synth.errors import InputError
from synth.parse import Presence
from synth.phantom import Phantom, make
from synth.training.cases import SetConfig, load_cases, make_case
from synth.training.claims import MOVED, NOTHING, SAME_DICE, TRUE, ClaimSampler, moved_mask
from synth.training.prepared import Case
from synth.volume import Mask


@pytest.fixture(scope="module")
def made() -> Phantom:
    return make(2, spacing_mm=(8.0, 8.0, 8.0))


@pytest.fixture(scope="module")
def codec(made: Phantom) -> Codec:
    return Codec.for_names(e.name for e in made.parse.entities)


@pytest.fixture(scope="module")
def case(made: Phantom, codec: Codec) -> Case:
    return make_case("phantom", made.image, made.parse, codec, 8.0)


def test_a_draw_is_a_function_of_its_generator(case: Case, codec: Codec) -> None:
    sampler = ClaimSampler([case], 16, codec)
    one, two = (sampler.draw(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.hu, two.hu)
    assert np.array_equal(one.hole.core, two.hole.core)
    assert one.truth == two.truth


def test_all_three_kinds_are_drawn_and_the_claim_is_what_sets_the_scenes_apart(case: Case, codec: Codec) -> None:
    sampler = ClaimSampler([case], 16, codec)
    drawn = [sampler.draw(np.random.default_rng(seed)) for seed in range(60)]
    assert {e.truth for e in drawn} == {TRUE, MOVED, NOTHING}
    for example in drawn:
        assert example.hu.shape == example.inside.shape == example.hole.core.shape == (16, 16, 16)
        entities = [len(s.presence) for s in (example.claimed, example.unclaimed)]
        if example.truth == NOTHING:
            assert example.claimed is example.unclaimed
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


def test_a_rough_surface_does_not_tell_a_true_claim_from_a_moved_one(case: Case, codec: Codec) -> None:
    sampler = ClaimSampler([case], 24, codec, empty=0.0)
    shapes = {m.box.tobytes() for m in case.scene.masks if m is not None}
    rough: dict[int, list[bool]] = {TRUE: [], MOVED: []}
    for seed in range(150):
        example = sampler.draw(np.random.default_rng(seed))
        core = Mask.from_dense(example.hole.core)
        if example.truth != NOTHING and not core.touches_border:
            rough[example.truth].append(core.box.tobytes() not in shapes)
    shares = {truth: float(np.mean(found)) for truth, found in rough.items()}
    assert all(0.35 < share < 0.85 for share in shares.values()), shares


def test_a_set_without_cases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundles").mkdir()
    with pytest.raises(InputError, match="at least one case"):
        load_cases(SetConfig("generated", str(tmp_path)), Codec.for_names(["liver"]), 8.0)


def test_what_was_measured_is_told_about_the_image_it_was_measured_in_and_about_no_other_scan(
    made: Phantom, codec: Codec
) -> None:
    told = make_case("phantom", made.image, made.parse, codec, 8.0, appearance=True)
    sampler = ClaimSampler([told], 16, codec, empty=1.0, whole=0.5, repaint=0.0)
    (column,) = [k for k, (name, *_) in enumerate(codec.numeric) if name == "attenuation_spread"]  # never declared
    measured, plain = [], []
    for seed in range(60):
        example = sampler.draw(np.random.default_rng(seed))
        box = tuple(
            slice(max(s.start, 0), min(s.stop, n)) for s, n in zip(example.hole.box, told.hu.shape, strict=True)
        )
        within = tuple(slice(b.start - s.start, b.stop - s.start) for s, b in zip(example.hole.box, box, strict=True))
        same = np.array_equal(example.hu[within], told.hu[box])
        (measured if np.isfinite(example.claimed.numeric[:, column]).any() else plain).append(same)
    assert len(measured) > 10
    assert all(measured)
    assert not all(plain), "no plain scene is scanned anew"


def test_some_examples_are_drawn_in_air_with_everything_hidden(case: Case, codec: Codec) -> None:
    sampler = ClaimSampler([case], 8, codec, empty=1.0, whole=0.0)
    drawn = [sampler.draw(np.random.default_rng(seed)) for seed in range(150)]
    hidden = [e for e in drawn if e.hole.hidden.all()]
    assert 3 < len(hidden) < 45
    assert any((e.hu < -900).mean() > 0.9 for e in hidden)


def test_a_contrasted_example_lacks_the_entity_that_is_its_core(case: Case, codec: Codec) -> None:
    sampler = ClaimSampler([case], 16, codec, empty=1.0, contrasted=1.0)
    drawn = [sampler.draw(np.random.default_rng(seed)) for seed in range(40)]
    apart = [e for e in drawn if e.claimed is not e.unclaimed]
    assert len(apart) > 10
    for example in apart:
        assert len(example.claimed.presence) > len(example.unclaimed.presence)
        cores = [np.array_equal(o.astype(bool), example.hole.core) for o in example.claimed.occupancy]
        assert any(cores)


def test_every_part_of_a_scene_is_left_out_now_and_then(case: Case, codec: Codec) -> None:
    sampler = ClaimSampler([case], 16, codec, empty=1.0)
    drawn = [sampler.draw(np.random.default_rng(seed)).claimed for seed in range(120)]
    crops = [c for c in drawn if len(c.presence)]
    assert 0 < len(drawn) - len(crops) < 30, "a scene of nothing"
    assert 0 < sum(not c.told for c in crops) < 40, "tokens that cannot be asked"
    present = codec.presence_index(Presence.present)
    undrawn = [
        ((c.presence == present) & ~c.occupancy.any(axis=(1, 2, 3)) & (c.geometry == 0).all(axis=1)) for c in crops
    ]
    shares = [u.mean() for u in undrawn]
    assert min(shares) < 0.1 < max(shares), "entities without their mask"
    edges = [c.relations.sum() / len(c.presence) for c in crops if len(c.presence) > 10]
    assert min(edges) < 0.5 * max(edges), "relations"


def test_an_ablation_is_told_nothing_of_what_it_goes_without(made: Phantom, codec: Codec) -> None:
    told = make_case("phantom", made.image, made.parse, codec, 8.0, appearance=True)
    sampler = ClaimSampler([told], 16, codec, without=("attributes", "relations", "tokens"))
    for seed in range(40):
        example = sampler.draw(np.random.default_rng(seed))
        for crop in (example.claimed, example.unclaimed):
            assert np.isnan(crop.numeric).all()
            assert not crop.category.any()
            assert not crop.relations.any()
            assert not crop.told
