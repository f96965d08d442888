"""What is drawn is brought to what is declared, without touching what was not drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from synth.decoder.declared import as_declared
from synth.parse import Attribute, Entity, Parse
from synth.parse.derive import derive_appearance
from synth.volume import Geometry, Mask, Volume

SHAPE = (40, 40, 40)
GRID = Geometry.regular(SHAPE, 4.0)
Image = NDArray[np.float32]


def ball(centre: tuple[int, int, int], radius: float) -> Mask:
    axes = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return Mask.from_dense(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) <= radius**2)


def parse_of(**masks: Mask) -> Parse:
    names = {"liver": "liver", "spleen": "spleen", "mass": "metastasis"}
    entities = [Entity(id=i, name=names[i], presence="present", delineated=True) for i in masks]
    return Parse(entities, geometry=GRID, masks=masks)


@pytest.fixture
def drawn() -> Image:
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.0)
    return (30 + 60 * field / field.std() * 0.3).astype(np.float32)


def measured(parse: Parse, image: Image) -> dict[tuple[str, str], float]:
    found = derive_appearance(parse.replace(attributes=()), Volume(image, GRID, "CT", "HU"))
    return {(a.entity, a.type): float(a.value) for a in found.attributes}


def test_declared_numbers_hold_in_every_entity(drawn: Image) -> None:
    parse = parse_of(liver=ball((14, 20, 20), 9), spleen=ball((31, 20, 20), 6), mass=ball((13, 20, 20), 4))
    wanted = {
        ("liver", "mean_attenuation"): 105.0,
        ("liver", "attenuation_spread"): 22.0,
        ("liver", "texture"): 4.0,
        ("liver", "edge_sharpness"): 9.0,
        ("spleen", "mean_attenuation"): 130.0,
        ("mass", "mean_attenuation"): 45.0,
        ("mass", "attenuation_spread"): 8.0,
    }
    attributes = [Attribute(entity=e, type=t, value=v) for (e, t), v in wanted.items()]
    found = measured(parse, as_declared(drawn, parse.replace(attributes=attributes)))
    for key, value in wanted.items():
        near = {"texture": 0.25, "edge_sharpness": 3.0}.get(key[1], 3.0)
        assert found[key] == pytest.approx(value, abs=near), key
    before = measured(parse, drawn)
    assert abs(before["liver", "mean_attenuation"] - 105) > 50  # it was far from it


def test_an_image_that_is_as_declared_stays_as_it_is(drawn: Image) -> None:
    parse = parse_of(liver=ball((14, 20, 20), 9))
    told = derive_appearance(parse, Volume(drawn, GRID, "CT", "HU"))
    assert np.abs(as_declared(drawn, told) - drawn).max() < 0.5


def test_nothing_declared_changes_nothing(drawn: Image) -> None:
    parse = parse_of(liver=ball((14, 20, 20), 9))
    assert np.array_equal(as_declared(drawn, parse), drawn)
    other = Attribute(entity="liver", type="mean_attenuation", value=200.0, phase="arterial")
    late = parse.replace(
        attributes=[other], circumstance=parse.circumstance.model_copy(update={"phase": "portal_venous"})
    )
    assert np.array_equal(as_declared(drawn, late), drawn)  # said of another phase


def test_far_from_every_entity_and_outside_what_was_drawn_nothing_changes(drawn: Image) -> None:
    liver = ball((20, 20, 20), 9)
    parse = parse_of(liver=liver).replace(attributes=[Attribute(entity="liver", type="mean_attenuation", value=150.0)])
    made = as_declared(drawn, parse)
    far = ndimage.distance_transform_edt(~liver.dense()) > 6
    assert np.array_equal(made[far], drawn[far])
    region = np.zeros(SHAPE, bool)
    region[10:, :, :] = True
    part = as_declared(drawn, parse, drawn=region)
    assert np.array_equal(part[~region], drawn[~region])
    assert liver.values(part).mean() > liver.values(drawn).mean() + 50
    sliver = np.zeros(SHAPE, bool)
    sliver[27:] = True
    assert np.array_equal(as_declared(drawn, parse, drawn=sliver), drawn)  # most of it is given, not drawn


def test_no_fringe_is_drawn_around_a_sharper_border(drawn: Image) -> None:
    liver = ball((20, 20, 20), 9)
    soft = ndimage.gaussian_filter(np.where(liver.dense(), 100.0, 0.0), 2.0).astype(np.float32)
    parse = parse_of(liver=liver).replace(attributes=[Attribute(entity="liver", type="edge_sharpness", value=15.0)])
    made = as_declared(soft, parse)
    found = measured(parse, made)["liver", "edge_sharpness"]
    assert found > 1.2 * measured(parse, soft)["liver", "edge_sharpness"]
    assert made.min() >= soft.min()
    assert made.max() <= soft.max()
