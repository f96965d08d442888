"""The relations that hold in a phantom: what lies in what, drains what, supplies what, touches what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from synth.parse import Relation
from synth.volume import Mask

_DRAINS = {  # vein or duct: what it drains
    "portal_vein_and_splenic_vein": ("spleen", "pancreas", "stomach", "small_bowel", "duodenum", "colon"),
    "inferior_vena_cava": (
        "liver",
        "kidney_left",
        "kidney_right",
        "iliac_vena_left",
        "iliac_vena_right",
        "adrenal_gland_right",
    ),
    "superior_vena_cava": ("brachiocephalic_vein_left", "brachiocephalic_vein_right"),
    "heart": ("inferior_vena_cava", "superior_vena_cava", "pulmonary_vein"),
    "pulmonary_vein": (
        "lung_upper_lobe_left",
        "lung_lower_lobe_left",
        "lung_upper_lobe_right",
        "lung_middle_lobe_right",
        "lung_lower_lobe_right",
    ),
    "gallbladder": ("liver",),
    "urinary_bladder": ("kidney_left", "kidney_right"),
    "duodenum": ("pancreas", "gallbladder", "stomach"),
}
_SUPPLIES = {
    "aorta": (
        "liver",
        "spleen",
        "pancreas",
        "stomach",
        "kidney_left",
        "kidney_right",
        "adrenal_gland_left",
        "adrenal_gland_right",
        "small_bowel",
        "colon",
        "iliac_artery_left",
        "iliac_artery_right",
    ),
    "portal_vein_and_splenic_vein": ("liver",),
    "iliac_artery_left": ("gluteus_maximus_left", "urinary_bladder"),
    "iliac_artery_right": ("gluteus_maximus_right",),
}
_TOUCHING = (
    ("liver", "gallbladder"),
    ("liver", "stomach"),
    ("liver", "inferior_vena_cava"),
    ("liver", "kidney_right"),
    ("liver", "duodenum"),
    ("liver", "adrenal_gland_right"),
    ("liver", "colon"),
    ("liver", "pancreas"),
    ("spleen", "stomach"),
    ("spleen", "kidney_left"),
    ("spleen", "colon"),
    ("spleen", "pancreas"),
    ("pancreas", "duodenum"),
    ("pancreas", "portal_vein_and_splenic_vein"),
    ("pancreas", "stomach"),
    ("stomach", "duodenum"),
    ("stomach", "colon"),
    ("stomach", "esophagus"),
    ("duodenum", "gallbladder"),
    ("duodenum", "inferior_vena_cava"),
    ("kidney_left", "iliopsoas_left"),
    ("kidney_right", "iliopsoas_right"),
    ("urinary_bladder", "prostate"),
    ("urinary_bladder", "uterus"),
    ("small_bowel", "colon"),
    ("heart", "aorta"),
    ("small_bowel", "urinary_bladder"),
    ("aorta", "esophagus"),
)


def declared(masks: Mapping[str, Mask], lesions: Mapping[str, str]) -> tuple[Relation, ...]:
    """Every relation that holds between the delineated entities; `lesions` maps a lesion's id to its organ.

    Example:
        >>> declared({}, {})
        ()
    """
    found = [*_containment(masks, lesions), *_flow("drains_from", _DRAINS, masks), *_flow("supplies", _SUPPLIES, masks)]
    return (*found, *_touching(masks, lesions))


def _containment(masks: Mapping[str, Mask], lesions: Mapping[str, str]) -> Iterator[Relation]:
    for part in masks:
        if part.startswith("liver_segment_"):
            yield Relation(type="part_of", subject=part, object="liver")
    for id, organ in lesions.items():
        if id in masks and organ in masks:
            yield Relation(type="located_in", subject=id, object=organ)
        segment = _segment(masks, id) if organ == "liver" and id in masks else None
        if segment is not None:
            yield Relation(type="located_in", subject=id, object=segment)


def _segment(masks: Mapping[str, Mask], id: str) -> str | None:
    """The liver segment that holds most of a lesion."""
    shares = {n: masks[id].overlap(m) for n, m in masks.items() if n.startswith("liver_segment_")}
    best = max(shares, key=lambda n: shares[n], default=None)
    return best if best is not None and shares[best] > 0 else None


def _flow(kind: str, table: Mapping[str, tuple[str, ...]], masks: Mapping[str, Mask]) -> Iterator[Relation]:
    for subject, objects in table.items():
        for other in objects:
            if subject in masks and other in masks:
                yield Relation(type=kind, subject=subject, object=other)


def _touching(masks: Mapping[str, Mask], lesions: Mapping[str, str]) -> Iterator[Relation]:
    pairs = list(_TOUCHING)
    for id, organ in lesions.items():
        others = ("inferior_vena_cava", "portal_vein_and_splenic_vein", "gallbladder", "stomach", "liver", "spleen")
        pairs += [(id, other) for other in others if other != organ]
    for a, b in pairs:
        if a in masks and b in masks and touches(masks[a], masks[b]):
            yield Relation(type="abuts", subject=a, object=b)


def touches(a: Mask, b: Mask) -> bool:
    """Whether two masks share a voxel or the face of one."""
    box = tuple(
        slice(max(s.start, t.start) - 1, min(s.stop, t.stop) + 1) for s, t in zip(a.slices, b.slices, strict=True)
    )
    if any(s.start >= s.stop for s in box):
        return False
    inside = tuple(slice(max(s.start, 0), min(s.stop, n)) for s, n in zip(box, a.shape, strict=True))
    cut = (inside[0], inside[1], inside[2])
    one, two = a.crop(cut), b.crop(cut)
    if bool((one & two).any()):
        return True
    for axis in range(3):
        here, there = (np.moveaxis(m, axis, 0) for m in (one, two))
        if bool((here[:-1] & there[1:]).any() or (here[1:] & there[:-1]).any()):
            return True
    return False
