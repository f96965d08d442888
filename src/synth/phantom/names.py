"""Which names a phantom can delineate, and their order when one voxel may hold only one of them."""

from __future__ import annotations

from synth.parse import TOTALSEGMENTATOR_CLASSES
from synth.phantom.spec import LESION_TYPES

_NOT_DRAWN = {"vertebrae_C1", "vertebrae_C2", "atrial_appendage_left", "brain", "skull"}
_TISSUES = ("subcutaneous_fat", "visceral_fat", "skeletal_muscle")
_LESIONS = tuple(sorted(LESION_TYPES))

LABEL_ORDER: tuple[str, ...] = (
    *_TISSUES,
    *(name for name in TOTALSEGMENTATOR_CLASSES if name not in _NOT_DRAWN and name not in _LESIONS),
    *_LESIONS,
)
"""Lowest first: tissues, then organs (which exclude each other), then lesions on top of their organ. The place in this
order, from one, is the value in a label map. Left out, for others cover them: body, bone, bowel_gas, liver segments."""
