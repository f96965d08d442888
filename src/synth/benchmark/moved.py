"""The claims of the faults benchmark: organs that are where the parse says, and the same masks moved within the body.

For each organ the true mask, untouched and jittered, and the same mask moved by 8-12, 16-24 and 32-56 mm, the true one
taken out of the parse. Every second moved mask is the jittered one, so that the roughness of a surface tells nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from synth.fault import jitter, random_shift
from synth.interop.openkbp import Patient
from synth.parse import Parse
from synth.volume import Mask
from synth.volume.tissue import body_mask

DISTANCES_MM = {"8-12": (8.0, 12.0), "16-24": (16.0, 24.0), "32-56": (32.0, 56.0)}
SURFACES = ("untouched", "jittered")
TRUE = "true"
SMALLEST_VOXELS = 4  # on the decoder's grid; a smaller organ is cut by the border, and is not checkable


@dataclass(frozen=True, eq=False)
class MaskClaim:
    """One entity of a parse, claimed to be where its mask is.

    Attributes:
        entity: its id; name: of the vocabulary.
        condition: "true" or a key of `DISTANCES_MM`; surface: "untouched" or "jittered".
        parse: what is claimed, the entity's only mask the one in question.
    """

    entity: str
    name: str
    condition: str
    surface: str
    parse: Parse


def claims_about(patient: Patient, *, seed: int = 0, repeats: int = 1) -> Iterator[MaskClaim]:
    """Every claim about every organ of a patient on the decoder's grid; the draws depend on the seed and the name."""
    parse, body = patient.parse, body_mask(patient.image)
    rng = np.random.default_rng([seed, *patient.name.encode()])
    for entity in parse.present_ids * repeats:
        if parse.masks[entity].voxels < SMALLEST_VOXELS:
            continue
        name = parse.entity(entity).name
        for condition, surface, mask in _conditions(parse, entity, body, rng):
            yield MaskClaim(entity, name, condition, surface, parse.with_mask(entity, mask))


def _conditions(parse: Parse, entity: str, body: Mask, rng: np.random.Generator) -> Iterator[tuple[str, str, Mask]]:
    """(condition, surface, mask) of every claim about one organ."""
    surfaces = dict(zip(SURFACES, (parse.masks[entity], jitter(parse.masks[entity], parse.geometry, rng)), strict=True))
    for surface, mask in surfaces.items():
        yield TRUE, surface, mask
    for name, distance in DISTANCES_MM.items():
        surface = SURFACES[int(rng.integers(2))]
        moved = random_shift(surfaces[surface], parse.geometry, body, distance, rng)
        if moved is not None:
            yield name, surface, moved
