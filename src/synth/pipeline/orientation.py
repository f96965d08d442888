"""Is the anatomy the right way round? Judged by where organs lie, and by what the image shows under their masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synth.parse import VOCABULARY, Kind, Parse
from synth.volume import Volume

# (first, second): in a body the right way round, the first lies further right, in front, or up.
_RIGHT_OF = (("liver", "spleen"), ("liver", "stomach"), ("gallbladder", "spleen"), ("inferior_vena_cava", "aorta"))
_IN_FRONT_OF = (
    *((organ, "vertebra") for organ in ("liver", "heart", "stomach", "urinary_bladder", "trachea", "larynx", "aorta")),
    ("mandible", "spinal_cord"),
    ("larynx", "spinal_cord"),
    ("sternum", "heart"),
)
_ABOVE = (
    ("lung", "urinary_bladder"),
    ("heart", "liver"),
    ("liver", "urinary_bladder"),
    ("liver", "sacrum"),
    ("kidney", "sacrum"),
    ("hip", "femur"),
    ("brainstem", "larynx"),
    ("mandible", "larynx"),
    ("vertebra_thoracic", "vertebra_lumbar"),
    ("vertebra_lumbar", "sacrum"),
)
_AIR_HU, _FAT_HU, _BONE_HU = -400.0, -250.0, 60.0
_ANATOMY = (Kind.organ, Kind.substructure)
_BONY = frozenset({"bone", *VOCABULARY.descendants("bone")})
# Their content may be gas as well as tissue.
_HOLLOW = frozenset({"bowel", "stomach", "trachea", "esophagus", "larynx", "pharynx", "oral_cavity", "face"})
_PER_ENTITY = 500
_LEAST_GAIN, _LEAST_FIT = 0.05, 0.5


@dataclass(frozen=True)
class MirroredAxis:
    """An axis along which most organs lie on the wrong side of each other."""

    code: str
    expected: str
    got: str


@dataclass(frozen=True)
class Disagreement:
    """Masks that do not lie on the tissue they name; `code` says whether a flip would mend it."""

    code: str
    got: str


def mirrored_axes(parse: Parse) -> tuple[MirroredAxis, ...]:
    """Axes along which the votes of organ pairs say that the parse is mirrored, by a clear majority."""
    places = _places(parse)
    sided = [(_right(name), name) for name in places if VOCABULARY.term(name).side == "left"]
    rules = (
        ("left_right", 0, (*_RIGHT_OF, *((r, name) for r, name in sided if r in places)), "right of"),
        ("front_back", 1, _IN_FRONT_OF, "in front of"),
        ("head_foot", 2, _ABOVE, "above"),
    )
    found = []
    for code, axis, pairs, words in rules:
        votes = [(a, b, places[a][axis] > places[b][axis]) for a, b in pairs if a in places and b in places]
        wrong = [(a, b) for a, b, right in votes if not right]
        if len(wrong) > 0.6 * len(votes):
            first, second = wrong[0]
            expected, got = f"{first} {words} {second}", f"the reverse ({len(wrong)} of {len(votes)} such pairs)"
            found.append(MirroredAxis(code, expected, got))
    return tuple(found)


def image_disagreement(image: Volume, parse: Parse) -> Disagreement | None:
    """Whether bones lie on dense, lungs on thin, and organs on soft voxels; else whether they would after a flip.

    Needs an image in HU on the grid of the parse. None when all is well or too little is delineated.
    """
    samples = list(_samples(parse))
    if len(samples) < 2:
        return None
    last = np.asarray(image.shape) - 1
    here = _fit(image, samples, None, last)
    flips = {
        name: _fit(image, samples, axis, last) for axis, name in enumerate(("left-right", "front-back", "head-foot"))
    }
    best = max(flips, key=lambda name: flips[name])
    if flips[best] - here > _LEAST_GAIN:
        got = f"{here:.0%} of the voxels so, but {flips[best]:.0%} after a {best} flip"
        return Disagreement("flipped_content", got)
    if here < _LEAST_FIT:
        return Disagreement("other_patient", f"{here:.0%} of the voxels so")
    return None


def _places(parse: Parse) -> Mapping[str, NDArray[np.float64]]:
    """Mean position (mm) of every name, wider names included, over the entities whose masks are whole enough to say."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    for entity in parse.entities:
        if entity.id not in parse.present_ids or entity.kind in (Kind.target, Kind.finding):
            continue
        centre = parse.masks[entity.id].centroid_mm(parse.geometry)
        for name in (entity.name, *VOCABULARY.ancestors(entity.name)):
            found.setdefault(name, []).append(centre)
    return {name: np.mean(centres, axis=0) for name, centres in found.items()}


def _right(name: str) -> str:
    return VOCABULARY.term(name).mirror or ""


@dataclass(frozen=True, eq=False)
class _Sample:
    """Voxels (N, 3) of one entity, and the range of HU that its tissue has."""

    voxels: NDArray[np.int64]
    low: float
    high: float


def _samples(parse: Parse) -> Iterator[_Sample]:
    for entity in parse.entities:
        if entity.id not in parse.present_ids or not (entity.kind in _ANATOMY or entity.name in _BONY):
            continue
        names = {entity.name, *VOCABULARY.ancestors(entity.name)}
        if names & _HOLLOW:
            continue
        voxels = parse.masks[entity.id].indices()
        step = max(1, len(voxels) // _PER_ENTITY)
        if "lung" in names:
            yield _Sample(voxels[::step], -np.inf, _AIR_HU)
        elif "bone" in names:
            yield _Sample(voxels[::step], _BONE_HU, np.inf)
        else:
            yield _Sample(voxels[::step], _FAT_HU, np.inf)


def _fit(image: Volume, samples: list[_Sample], axis: int | None, last: NDArray[np.int64]) -> float:
    """Mean over the entities of the share of voxels within range, the masks flipped along an axis or not."""
    shares = []
    for sample in samples:
        voxels = sample.voxels
        if axis is not None:
            voxels = voxels.copy()
            voxels[:, axis] = last[axis] - voxels[:, axis]
        values = image.array[tuple(voxels.T)]
        shares.append(np.mean((values >= sample.low) & (values <= sample.high)))
    return float(np.mean(shares))
