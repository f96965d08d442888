"""A patient of ellipsoids at 4 mm: fat, muscle, liver, spleen, kidneys, now and then a lesion; quick to build."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.parse import Circumstance, Entity, Parse, Presence, Relation
from synth.volume import Geometry, Mask, Volume

SHAPE = (44, 36, 36)
ORGANS = {  # centre, radii (voxels), HU
    "liver": ((30, 20, 20), (7, 7, 7), 110.0),
    "spleen": ((12, 17, 22), (4, 5, 5), 125.0),
    "kidney_right": ((29, 9, 12), (3.2, 3.2, 5), 190.0),
    "kidney_left": ((13, 9, 11), (3.2, 3.2, 5), 190.0),
}
LESION_HU = 35.0
NOISE_HU = 12.0


@dataclass(frozen=True, eq=False)
class Toy:
    """The image, its true parse, and where each organ would be had it not been removed."""

    image: Volume
    parse: Parse
    places: dict[str, Mask]


def toy_patient(seed: int, *, lesion: bool = False, removed: str | None = None) -> Toy:
    """One patient; `removed` leaves fat where the organ was, and declares it absent."""
    rng = np.random.default_rng(seed)
    hu = np.full(SHAPE, -1000.0)
    hu[_ellipsoid((22, 17, 18), (20, 15, 30))] = -100.0
    hu[_ellipsoid((22, 17, 18), (17.5, 12.5, 28))] = 50.0
    hu[_ellipsoid((22, 17, 18), (14, 10, 28))] = -95.0
    places, masks, entities = {}, {}, []
    for name, (centre, radii, value) in ORGANS.items():
        inside = _ellipsoid(np.asarray(centre) + rng.normal(0, 0.7, 3), np.asarray(radii) * rng.uniform(0.9, 1.1, 3))
        places[name] = Mask.from_dense(inside)
        if name == removed:
            entities.append(Entity(id=name, name=name, presence=Presence.absent))
            continue
        hu[inside] = value + rng.normal(0, 4)
        masks[name] = places[name]
        entities.append(Entity(id=name, name=name))
    relations = []
    if lesion:
        inside = _ellipsoid(np.asarray(ORGANS["liver"][0]) + rng.normal(0, 1.5, 3), (2.6, 2.6, 2.6))
        hu[inside] = LESION_HU
        masks["lesion_1"] = Mask.from_dense(inside)
        entities.append(Entity(id="lesion_1", name="metastasis"))
        relations.append(Relation(type="located_in", subject="lesion_1", object="liver"))
    geometry = Geometry.regular(SHAPE, 4.0)
    image = Volume(hu + rng.normal(0, NOISE_HU, SHAPE), geometry, "CT", "HU")
    about = Circumstance(modality="CT", image_sha256=image.sha256(), made_by="toy")
    return Toy(image, Parse(entities, (), relations, geometry=geometry, circumstance=about, masks=masks), places)


def ball(centre: tuple[float, float, float], radius: float) -> Mask:
    """A ball on the toy's grid, in voxels."""
    return Mask.from_dense(_ellipsoid(centre, (radius, radius, radius)))


def _ellipsoid(centre: object, radii: object) -> NDArray[np.bool_]:
    steps = np.indices(SHAPE).reshape(3, -1).T
    inside = (((steps - np.asarray(centre, float)) / np.asarray(radii, float)) ** 2).sum(axis=1) <= 1.0
    return inside.reshape(SHAPE)
