"""Declared spatial relations against the masks: geometry decides, the image is not asked.

Each relation has one measure and what it must be at least; the score says how far it is from that in tolerances:

    score = (measured - needed) / tolerance,      wrong below -1, open between -1 and 0

A tolerance is what the jitter of a correct outline may cost: two voxels of a distance, a quarter of a share (which is
left open where it would hold were the holder a voxel larger: a lesion of a dozen voxels loses all of it). Only what
was declared is checked: what was derived from these very masks agrees with them by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from synth.parse import Parse, Relation
from synth.volume import Geometry, Mask

WRONG = -1.0
SHARE, SHARE_TOLERANCE = 0.5, 0.25
TOLERANCE_VOXELS = 2.0
BEYOND_MM = 30.0  # apart in view, and yet two that are cut together may touch beyond the image
DIRECTIONS: Mapping[str, tuple[int, float]] = MappingProxyType(
    {
        "left_of": (0, -1.0),
        "right_of": (0, 1.0),
        "posterior_to": (1, -1.0),
        "anterior_to": (1, 1.0),
        "inferior_to": (2, -1.0),
        "superior_to": (2, 1.0),
    }
)
"""Axis and sign of each direction, RAS+."""


@dataclass(frozen=True)
class Measured:
    """What the masks say of one relation.

    Attributes:
        value: in `unit` ("mm" or "share"); needed, tolerance: in the same.
    """

    value: float
    needed: float
    tolerance: float
    unit: str

    @property
    def score(self) -> float:
        """Distance from what is needed, in tolerances; positive where the relation holds."""
        return (self.value - self.needed) / self.tolerance


@dataclass(frozen=True)
class CheckedRelation:
    """A declared relation, checked.

    Attributes:
        measured: None where it cannot be checked, and `reason` says why.
        wrong: None where the masks do not decide.
    """

    relation: Relation
    measured: Measured | None
    wrong: bool | None
    reason: str

    def to_json(self) -> dict[str, object]:
        """Plain data for `findings.json`."""
        found = self.measured
        return {
            "type": self.relation.type,
            "object": self.relation.object,
            "wrong": self.wrong,
            "score": None if found is None else round(found.score, 3),
            "measured": None if found is None else round(found.value, 3),
            "unit": None if found is None else found.unit,
            "reason": self.reason,
        }


def check_relations(parse: Parse) -> tuple[CheckedRelation, ...]:
    """Every declared relation of a parse, on the parse's own grid.

    Example:
        >>> from synth.parse import Entity
        >>> shape, grid = (16, 16, 16), Geometry.regular((16, 16, 16), 2.0)
        >>> left, right = (Mask.from_box(shape, (x, 6, 6), np.ones((3, 3, 3), bool)) for x in (2, 11))
        >>> z = Parse(
        ...     [Entity(id="l", name="kidney_left"), Entity(id="r", name="kidney_right")],
        ...     relations=[Relation(type="left_of", subject="r", object="l")],
        ...     geometry=grid,
        ...     masks={"l": left, "r": right},
        ... )
        >>> checked, = check_relations(z)
        >>> checked.wrong, checked.reason
        (True, '18 mm on the other side')
    """
    return tuple(_checked(parse, relation) for relation in parse.relations if not relation.derived)


def measure(parse: Parse, relation: Relation) -> Measured | None:
    """What the masks say of it; None for a relation that is not spatial, or without both masks."""
    measured = MEASURES.get(relation.type)
    ends = [parse.masks.get(i) for i in (relation.subject, relation.object)]
    if measured is None or any(mask is None or mask.is_empty for mask in ends):
        return None
    subject, object_ = ends
    assert subject is not None  # seen above
    assert object_ is not None
    return measured(subject, object_, parse.geometry)


def _checked(parse: Parse, relation: Relation) -> CheckedRelation:
    if relation.type not in MEASURES:
        kind = relation.definition.family
        return CheckedRelation(relation, None, None, f"a {kind} relation: masks do not show it")
    found = measure(parse, relation)
    if found is None:
        return CheckedRelation(relation, None, None, "not both of its ends are delineated")
    wrong = True if found.score < WRONG else (False if found.score >= 0 else None)
    reason = _reason(relation, found)
    if wrong and relation.type == "abuts" and -found.value <= BEYOND_MM and _cut_together(parse, relation):
        return CheckedRelation(relation, found, None, f"{reason} in view; both go on beyond the image")
    if wrong and _within_a_voxel(parse, relation):
        return CheckedRelation(relation, found, None, f"{reason}, and more within a voxel")
    return CheckedRelation(relation, found, wrong, reason)


def _within_a_voxel(parse: Parse, relation: Relation) -> bool:
    """Something of a few voxels lies in what holds it, or nearly, once the latter is a voxel larger."""
    if MEASURES[relation.type] is not share_inside:
        return False
    subject, object_ = (parse.masks[end] for end in (relation.subject, relation.object))
    return share_inside(subject, _grown(object_), parse.geometry).score >= WRONG


def _cut_together(parse: Parse, relation: Relation) -> bool:
    """Both ends reach the same face of the image: they may touch beyond it."""
    one, other = (parse.masks[end].border_faces for end in (relation.subject, relation.object))
    return bool(one & other)


def _reason(relation: Relation, found: Measured) -> str:
    if relation.type in DIRECTIONS:
        return f"{abs(found.value):.0f} mm on the {'declared' if found.value >= 0 else 'other'} side"
    if found.unit == "mm":
        return f"{-found.value:.0f} mm apart" if found.value < 0 else "they touch"
    return f"{100 * found.value:.0f}% of it {'is' if relation.type != 'encases' else 'along the vessel is'} there"


def share_inside(subject: Mask, object_: Mask, geometry: Geometry) -> Measured:
    """Share of the subject within the object, or of the voxels right around it: labels may exclude each other, and
    outlines that were drawn so still overlap by a little."""
    inside = subject.overlap(object_) / subject.voxels
    shell = _grown(subject) - subject
    around = shell.overlap(object_) / max(shell.voxels, 1)
    return Measured(max(inside, around), SHARE, SHARE_TOLERANCE, "share")


def _gap(subject: Mask, object_: Mask, geometry: Geometry) -> Measured:
    """Minus the distance between the nearest voxels of the two, zero where they touch."""
    tolerance = TOLERANCE_VOXELS * max(geometry.spacing_mm)
    if _grown(subject).overlap(object_):
        return Measured(0.0, -tolerance, tolerance, "mm")
    one, other = (_surface_mm(mask, geometry) for mask in (subject, object_))
    nearest, _ = spatial.cKDTree(one).query(other)
    return Measured(-float(nearest.min()), -tolerance, tolerance, "mm")


def _share_of_wall(subject: Mask, object_: Mask, geometry: Geometry) -> Measured:
    """Share of the object's wall, in the axial slices that the subject reaches, that the subject covers."""
    wall = _grown(object_) - object_
    low, high = subject.slices[2].start, subject.slices[2].stop
    dense = np.zeros(wall.shape, bool)
    dense[:, :, low:high] = wall.dense()[:, :, low:high]
    count = int(np.count_nonzero(dense))
    covered = int(np.count_nonzero(dense & subject.dense()))
    return Measured(covered / max(count, 1), SHARE, SHARE_TOLERANCE, "share")


def _along(axis: int, sign: float) -> Callable[[Mask, Mask, Geometry], Measured]:
    def measured(subject: Mask, object_: Mask, geometry: Geometry) -> Measured:
        """How far the centre of the subject lies on the declared side of the object's."""
        one, other = (geometry.world(mask.centroid_voxel())[axis] for mask in (subject, object_))
        tolerance = TOLERANCE_VOXELS * max(geometry.spacing_mm)
        return Measured(sign * float(one - other), 0.0, tolerance, "mm")

    return measured


MEASURES: Mapping[str, Callable[[Mask, Mask, Geometry], Measured]] = MappingProxyType(
    {
        "located_in": share_inside,
        "part_of": share_inside,
        "abuts": _gap,
        "encases": _share_of_wall,
        **{name: _along(axis, sign) for name, (axis, sign) in DIRECTIONS.items()},
    }
)
"""How each checkable relation is measured; a new one is one line here."""


def _grown(mask: Mask) -> Mask:
    """The mask with every voxel that shares a face with it."""
    window = mask.padded_slices(1)
    start = (window[0].start, window[1].start, window[2].start)
    return Mask.from_box(mask.shape, start, ndimage.binary_dilation(mask.crop(window)))


def _surface_mm(mask: Mask, geometry: Geometry) -> NDArray[np.float64]:
    """(N, 3) centres of the voxels on the border, mm."""
    border = mask.box & ~ndimage.binary_erosion(mask.box)
    voxels = np.argwhere(border) + np.asarray(mask.origin)
    return np.asarray(voxels * np.asarray(geometry.spacing_mm), np.float64)
