import json

import numpy as np
import pytest
import torch

from synth.contracts import Contrast, Decoder
from synth.errors import InputError
from synth.parse import Entity, Relation
from synth.residual import Fusion, entity_features, examine, without_entity
from synth.residual.on_grid import on_grid
from synth.volume import Mask


def _examine(world, toy, parse, entity):
    encoded = world.decoder().encode(toy.image)
    return examine(world.decoder(), encoded, parse, entity, world.prior(), generator=torch.Generator().manual_seed(0))


def test_the_gaussian_decoder_keeps_the_contract(world):
    assert isinstance(world.decoder(), Decoder)


@pytest.mark.parametrize("organ", ["liver", "spleen", "kidney_left"])
def test_an_organ_that_is_there_has_more_of_every_evidence_than_one_moved(world, organ):
    toy = world.toy_patient(60)
    true = _examine(world, toy, toy.parse, organ).evidence
    own = toy.places[organ]
    moved = Mask.from_box(own.shape, (14, 12, 21), own.box)
    false = _examine(world, toy, toy.parse.with_mask(organ, moved), organ).evidence
    for feature in ("prior_core", "prior_rim", "prior_border_worst", "contrast_mean", "contrast_rim", "misfit_gain"):
        assert true.features[feature] > false.features[feature], feature


def test_the_worst_voxel_lies_where_the_mask_is_wrong(world):
    toy = world.toy_patient(61)
    mask = toy.places["liver"].dense()
    mask[12:18, 14:20, 16:22] = True  # a piece that is fat
    evidence = _examine(world, toy, toy.parse.with_mask("liver", Mask.from_dense(mask)), "liver").evidence
    assert all(a <= v < b for v, a, b in zip(evidence.worst_voxel, (12, 14, 16), (18, 20, 22), strict=True))


def test_without_a_contrast_only_the_population_speaks(world):
    toy = world.toy_patient(62)
    evidence = entity_features(None, world.prior(), toy.image, toy.parse, "liver")
    assert evidence.total is None
    assert "prior_core" in evidence.features
    assert not any(name.startswith("contrast") for name in evidence.features)


def test_removing_an_organ_removes_its_segments_with_it(world):
    toy = world.toy_patient(63)
    segment = Mask.from_box(toy.places["liver"].shape, (28, 18, 18), np.ones((4, 4, 4), bool))
    parse = toy.parse.with_entity(Entity(id="s4", name="liver_segment_4"), segment)
    parse = parse.with_entity(
        Entity(id="m", name="metastasis"), segment, relations=[Relation(type="located_in", subject="m", object="liver")]
    )
    assert "s4" not in without_entity(parse, "liver")
    assert "m" in without_entity(parse, "liver")
    assert "liver" in without_entity(parse, "s4")


def test_a_contrast_that_reaches_beyond_the_grid_is_cut_to_it():
    box = (slice(-3, 5), slice(0, 4), slice(30, 40))
    shape = (8, 4, 10)
    ratio = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    wide = Contrast(ratio, np.ones(shape, bool), np.ones(shape, bool), box, "nats", ratio[0], None)
    cut = on_grid(wide, (44, 36, 36))
    assert cut.box == (slice(0, 5), slice(0, 4), slice(30, 36))
    np.testing.assert_array_equal(cut.ratio[0], ratio[0, 3:, :, :6])
    np.testing.assert_array_equal(cut.with_parse, cut.ratio[0])


def test_the_fused_score_separates_and_is_a_log_likelihood_ratio():
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(1, 1, 3000), rng.normal(-1, 1, 3000)]
    rows, labels = [{"a": v} for v in x], [True] * 3000 + [False] * 3000
    fusion = Fusion.fit(rows, labels, ["liver"] * 6000, l2=1e-5)
    # The true ratio of N(1, 1) to N(-1, 1) is 2 a.
    for value in (-1.0, 0.0, 1.0):
        assert fusion.score({"a": value}, "liver") == pytest.approx(2 * value, abs=0.35)


def test_prior_odds_are_not_in_the_score():
    rng = np.random.default_rng(1)
    rows = [{"a": v} for v in np.r_[rng.normal(1, 1, 4000), rng.normal(-1, 1, 400)]]
    fusion = Fusion.fit(rows, [True] * 4000 + [False] * 400, ["liver"] * 4400, l2=1e-5)
    assert abs(fusion.score({"a": 0.0}, "liver")) < 0.4


def test_what_is_usual_for_a_name_is_not_held_against_it():
    rng = np.random.default_rng(2)
    names = ["liver"] * 400 + ["stomach"] * 400
    usual = np.r_[np.full(400, 10.0), np.full(400, 2.0)]
    truth = rng.random(800) < 0.5
    rows = [{"a": u + rng.normal(0, 0.3) - (0 if t else 2)} for u, t in zip(usual, truth, strict=True)]
    fusion = Fusion.fit(rows, truth.tolist(), names)
    assert fusion.score({"a": 2.0}, "stomach") > 0 > fusion.score({"a": 8.0}, "liver")


def test_a_feature_that_was_not_measured_says_nothing(world):
    fusion = world.model().judge("gaussian").presence
    mean, _ = fusion.usual("liver")
    usual = dict(zip(fusion.names, mean, strict=True))
    partial = {k: v for k, v in usual.items() if not k.startswith("contrast")}
    assert fusion.score(partial, "liver") == pytest.approx(fusion.score(usual, "liver"), abs=1e-6)


def test_a_fusion_survives_its_own_form(world, tmp_path):
    fusion = world.model().judge("gaussian").presence
    fusion.save(tmp_path / "f.json")
    again = Fusion.load(tmp_path / "f.json")
    row = dict.fromkeys(fusion.names, 0.3)
    assert again.score(row, "spleen") == pytest.approx(fusion.score(row, "spleen"), rel=1e-3, abs=1e-3)


def test_one_kind_of_label_cannot_be_fitted():
    with pytest.raises(InputError, match="true and false"):
        Fusion.fit([{"a": 1.0}], [True], ["liver"])


def test_another_form_is_refused(tmp_path):
    (tmp_path / "f.json").write_text(json.dumps({"form": "other"}))
    with pytest.raises(InputError, match="form"):
        Fusion.load(tmp_path / "f.json")
