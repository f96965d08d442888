"""Lesions that grow together, and lesions that fall apart."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from synth.parse.match import Regroup
from synth.volume import Mask

PART = 0.1  # least share of the voxels that makes a fragment a lesion of its own
_AROUND = np.ones((3, 3, 3))


def touch(one: Mask, other: Mask) -> bool:
    """Whether two masks share a voxel, a face, an edge or a corner."""
    x, y, z = one.padded_slices(1)
    if any(a.start >= b.stop or b.start >= a.stop for a, b in zip((x, y, z), other.slices, strict=True)):
        return False
    grown = ndimage.binary_dilation(one.crop((x, y, z)), _AROUND)
    return bool((grown & other.crop((x, y, z))).any())


def merges(before: Mapping[str, Mask], after: Mapping[str, Mask]) -> tuple[Regroup, ...]:
    """Groups of lesions that were apart and touch now; each takes the id of the one that was the largest.

    Args:
        before, after: id -> mask; one that is not in `before` is new.

    Example:
        >>> a, b = (Mask.from_box((9, 3, 3), (x, 1, 1), np.ones((2, 1, 1), bool)) for x in (0, 5))
        >>> merges({"a": a, "b": b}, {"a": a, "b": Mask.from_box((9, 3, 3), (2, 1, 1), np.ones((5, 1, 1), bool))})
        (Regroup(kind='merge', first=('a', 'b'), second=('a',)),)
    """
    ids = sorted(after)
    group = {id: id for id in ids}
    for place, one in enumerate(ids):
        for other in ids[place + 1 :]:
            if touch(after[one], after[other]) and not _touched(before, one, other):
                old, kept = group[other], group[one]
                group = {id: kept if root == old else root for id, root in group.items()}
    joined: dict[str, list[str]] = {}
    for id, root in group.items():
        joined.setdefault(root, []).append(id)
    return tuple(_merge(before, members) for members in joined.values() if len(members) > 1)


def _merge(before: Mapping[str, Mask], members: list[str]) -> Regroup:
    ordered = sorted(members, key=lambda id: (-before[id].voxels if id in before else 0, id))
    return Regroup("merge", tuple(ordered), (ordered[0],))


def _touched(before: Mapping[str, Mask], one: str, other: str) -> bool:
    return one in before and other in before and touch(before[one], before[other])


def fragments(before: Mask, after: Mask) -> tuple[Mask, ...]:
    """The parts that a lesion fell into, largest first; itself alone where it holds together as it did before.

    A part with less than a tenth of the voxels is no lesion of its own and stays with the largest.
    """
    labels, count = ndimage.label(after.box, _AROUND)
    if count <= ndimage.label(before.box, _AROUND)[1]:
        return (after,)
    sizes = np.bincount(labels.ravel())[1:]
    parts = [k + 1 for k in np.argsort(-sizes, kind="stable") if sizes[k] >= PART * after.voxels]
    largest = after.box & ~np.isin(labels, parts[1:])
    boxes = [largest, *(labels == part for part in parts[1:])]
    return tuple(Mask.from_box(after.shape, after.origin, box) for box in boxes)
