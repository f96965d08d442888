"""A parse as arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from synth.conditioning import Codec, EntityEncoder, Scatter, Scene, collate
from synth.parse import Attribute, Entity, Parse, Presence, Relation
from synth.volume import Geometry, Mask

SHAPE = (16, 16, 16)
BOX = (slice(0, 16), slice(0, 16), slice(0, 16))
NAMES = ("liver", "kidney_left", "kidney_right", "liver_cyst", "vertebrae_L1", "vertebrae_L2")


def _block(start: int, size: int) -> Mask:
    return Mask.from_box(SHAPE, (start, start, start), np.ones((size, size, size), bool))


@pytest.fixture
def parse() -> Parse:
    return Parse(
        [
            Entity(id="liver", name="liver"),
            Entity(id="cyst", name="liver_cyst"),
            Entity(id="left", name="kidney_left", presence=Presence.absent),
        ],
        [Attribute(entity="liver", type="mean_attenuation", value=55.0)],
        [Relation(type="located_in", subject="cyst", object="liver")],
        geometry=Geometry.regular(SHAPE, 4.0),
        masks={"liver": _block(2, 10), "cyst": _block(4, 3)},
    )


@pytest.fixture
def codec() -> Codec:
    return Codec.for_names(NAMES)


@pytest.fixture
def encoder(codec: Codec) -> EntityEncoder:
    torch.manual_seed(0)
    encoder = EntityEncoder(codec, width=16)
    with torch.no_grad():
        for block in encoder.blocks:
            block.bias.normal_(std=2.0)  # type: ignore[union-attr,operator]  # a trained one is not zero
    return encoder.eval()


def _tokens(encoder: EntityEncoder, codec: Codec, parse: Parse) -> torch.Tensor:
    return encoder(collate([Scene.from_parse(parse, codec).crop(BOX)]))[0][0]


def test_a_codec_survives_its_json(codec: Codec) -> None:
    assert Codec.from_json(codec.to_json()) == codec


def test_an_unseen_name_is_its_nearest_trained_ancestor_and_a_foreign_one_is_none() -> None:
    codec = Codec.for_names([*NAMES, "vertebra"])
    assert codec.resolve("vertebrae_L4") == "vertebra"
    assert codec.resolve("vertebrae_L1") == "vertebrae_L1"
    assert codec.resolve("urinary_bladder") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda z: z.replace(attributes=[Attribute(entity="liver", type="mean_attenuation", value=10.0)]),
        lambda z: z.replace(attributes=[Attribute(entity="liver", type="steatosis_grade", value="S2")]),
        lambda z: z.replace(relations=[]),
        lambda z: z.with_presence("left", Presence.not_assessed),
        lambda z: z.with_mask("cyst", _block(8, 3)),
        lambda z: z.replace(circumstance=z.circumstance.model_copy(update={"phase": "arterial"})),
        lambda z: z.without("cyst"),
    ],
    ids=["number", "category", "relation", "presence", "place", "phase", "entity"],
)
def test_every_field_of_a_parse_reaches_the_tokens(change, parse, codec, encoder) -> None:  # type: ignore[no-untyped-def]
    before, after = _tokens(encoder, codec, parse)[1], _tokens(encoder, codec, change(parse))[1]
    assert not torch.allclose(before, after, atol=1e-4)


def test_the_same_parse_gives_the_same_tokens_and_padding_does_not_change_them(parse, codec, encoder) -> None:  # type: ignore[no-untyped-def]
    alone = _tokens(encoder, codec, parse)
    fewer = parse.without("cyst", "left")
    batch = collate([Scene.from_parse(p, codec).crop(BOX) for p in (parse, fewer)])
    tokens, valid = encoder(batch)
    assert torch.allclose(tokens[0], alone, atol=1e-5)
    assert torch.allclose(tokens[1, :2], _tokens(encoder, codec, fewer), atol=1e-5)
    assert valid.sum(dim=1).tolist() == [4, 2]


def test_a_child_does_not_erase_its_parent(parse, codec, encoder) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    scatter = Scatter(16, 3)
    crop = collate([Scene.from_parse(parse, codec).crop(BOX)])
    tokens, _ = encoder(crop)
    painted = scatter(tokens, crop)[0]
    in_cyst, in_liver = painted[:, 5, 5, 5], painted[:, 10, 10, 10]
    assert torch.allclose(in_cyst[:3], in_liver[:3])
    assert not torch.allclose(in_cyst[3:], in_liver[3:])
    assert bool((painted[:, 0, 0, 0] == 0).all())


def test_entities_outside_the_box_are_left_out_and_geometry_is_measured_once(parse, codec) -> None:  # type: ignore[no-untyped-def]
    scene = Scene.from_parse(parse, codec)
    corner = scene.crop((slice(12, 16),) * 3)
    assert corner.occupancy.shape == (1, 4, 4, 4)  # the absent kidney only, which has no place
    again = Scene.from_parse(parse.without("cyst"), codec, like=scene)
    assert np.array_equal(again.geometry, scene.geometry[[0, 2]])
    liver_ml = 10**3 * 0.064
    assert scene.geometry[0, 0] == pytest.approx(np.log10(liver_ml + 1e-3), abs=1e-5)
    assert scene.geometry[0, 1:4] == pytest.approx([7 / 16] * 3)
    assert scene.geometry[0, 4:] == pytest.approx([0.4] * 3)


def test_an_embedding_that_no_example_reached_is_not_used() -> None:
    everything = Codec.for_names([*NAMES, "spleen"])
    fewer = replace(everything, trained=("kidney_left", "vertebrae_L1"))
    assert fewer.lineage("kidney_left") == everything.lineage("kidney_left")
    assert fewer.lineage("kidney_right") == everything.lineage("kidney_right")[1:]
    assert fewer.lineage("vertebrae_L2") == everything.lineage("vertebrae_L2")[1:]
    assert everything.names.index("spleen") + 1 not in fewer.lineage("spleen")
