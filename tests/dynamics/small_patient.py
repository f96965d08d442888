"""A small patient: a liver with two lesions and a vessel, a kidney beside it, in a body, 3 mm voxels."""

from __future__ import annotations

import numpy as np

from synth.parse import Attribute, Circumstance, Entity, Parse
from synth.parse.derive.relations import derive_relations
from synth.volume import Geometry, Mask, Volume

SHAPE = (48, 40, 32)


def ball(centre: tuple[float, float, float], radius: float, shape: tuple[int, int, int] = SHAPE) -> Mask:
    """A ball in voxels."""
    grid = np.indices(shape)
    squares = sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))
    return Mask.from_dense(squares <= radius**2)


def small_patient() -> Parse:
    """Its relations are those that the masks imply; one attribute is measured, one declared, one a score."""
    liver = ball((20, 20, 16), 13)
    masks = {
        "body": Mask.from_box(SHAPE, (1, 1, 0), np.ones((46, 38, 32), bool)),
        "liver": liver,
        "portal_vein_and_splenic_vein": Mask.from_box(SHAPE, (8, 19, 15), np.ones((20, 2, 2), bool)),
        "kidney_right": ball((40, 20, 16), 6.5) - liver,
        "m1": ball((14, 14, 16), 3.0),
        "m2": ball((24, 27, 16), 2.0),
    }
    names = {"m1": "liver_metastasis", "m2": "liver_metastasis"}
    entities = [Entity(id=id, name=names.get(id, id)) for id in masks]
    attributes = [
        Attribute(entity="m1", type="mean_attenuation", value=60, derived=True),
        Attribute(entity="m1", type="margin", value="circumscribed"),
        Attribute(entity="m1", type="li_rads", value="LR-M"),
        Attribute(entity="liver", type="steatosis_grade", value="S1"),
    ]
    circumstance = Circumstance(modality="CT", day=10.0, patient="p", made_by="test", image_sha256="0" * 64)
    parse = Parse(entities, attributes, geometry=Geometry.regular(SHAPE, 3.0), circumstance=circumstance, masks=masks)
    return derive_relations(parse).replace(circumstance=circumstance)


def small_scan(parse: Parse, seed: int = 0) -> Volume:
    """A CT of it: each entity has its own HU, the last drawn wins, with noise of 5 HU."""
    values = np.full(parse.geometry.shape, -1000.0)
    hu = {"body": 20, "liver": 110, "portal_vein_and_splenic_vein": 160, "kidney_right": 150, "m1": 60, "m2": 60}
    for id, level in hu.items():
        mask = parse.masks[id]
        values[mask.slices][mask.box] = level
    noise = np.random.default_rng(seed).normal(0, 5, values.shape)
    return Volume(np.rint(values + noise), parse.geometry, "CT", "HU")
