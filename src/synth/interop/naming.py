"""From the names that people give labels to the names of the vocabulary."""

from __future__ import annotations

import re

from synth.errors import InputError
from synth.parse import VOCABULARY, unknown_name

IGNORED = frozenset({"background", "ignore", "clear_label", "unlabeled", "unlabelled", "exterior"})
"""Names that say that a label stands for nothing."""

# What challenges and planning systems write, on the left, for what the vocabulary calls the name on the right.
_ALIASES = {
    "adrenal_left": "adrenal_gland_left",
    "adrenal_right": "adrenal_gland_right",
    "bladder": "urinary_bladder",
    "brain_stem": "brainstem",
    "enhancing_tumor": "glioma_enhancing",
    "femoral_head_left": "femur_left",
    "femoral_head_right": "femur_right",
    "gall_bladder": "gallbladder",
    "hcc": "hepatocellular_carcinoma",
    "kidney_tumor": "renal_cell_carcinoma",
    "liver_tumor": "liver_lesion",
    "liver_tumour": "liver_lesion",
    "lung_tumor": "lung_carcinoma",
    "oesophagus": "esophagus",
    "pancreas_tumor": "pancreatic_carcinoma",
    "parotid_left": "parotid_gland_left",
    "parotid_right": "parotid_gland_right",
    "portal_vein": "portal_vein_and_splenic_vein",
    "postcava": "inferior_vena_cava",
    "small_intestine": "small_bowel",
    "spinalcord": "spinal_cord",
    "submandibular_left": "submandibular_gland_left",
    "submandibular_right": "submandibular_gland_right",
    "thyroid": "thyroid_gland",
    "tumor": "tumour",
}
_SIDES = {"left": "left", "l": "left", "lt": "left", "right": "right", "r": "right", "rt": "right"}


def normalised(name: str) -> str:
    """Lower case, words joined by underscores, the side last.

    Example:
        >>> normalised("RightParotid"), normalised("Left kidney"), normalised("rib_left_4"), normalised("PTV70")
        ('parotid_right', 'kidney_left', 'rib_left_4', 'ptv70')
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
    sides = [word for word in words if word in _SIDES]
    if len(sides) == 1 and words[0] == sides[0]:
        words = [*words[1:], _SIDES[sides[0]]]
    elif len(sides) == 1 and words[-1] == sides[0]:
        words[-1] = _SIDES[sides[0]]
    return "_".join(words)


def vocabulary_name(name: str, where: str) -> str | None:
    """The vocabulary's name for a label's name; None for background and the like.

    Raises InputError, listing the nearest names, for one that is unknown; `where` says which field it came from.

    Example:
        >>> vocabulary_name("RightParotid", "label 3"), vocabulary_name("background", "label 0")
        ('parotid_gland_right', None)
    """
    if name in VOCABULARY:
        return name
    plain = normalised(name)
    if not plain:
        raise InputError(where, expected="a name", got=repr(name), fix="name the label, or call it background")
    if plain in IGNORED:
        return None
    found = next((each for each in (plain, _ALIASES.get(plain), _ptv(plain)) if each in VOCABULARY), None)
    if found is None:
        raise unknown_name(where, plain, VOCABULARY.names)
    return found


def _ptv(plain: str) -> str | None:
    """Planning volumes are written PTV70, PTV_70 or ptv-70 Gy."""
    dose = re.fullmatch(r"ptv_?(\d+)(_?gy)?", plain)
    return f"ptv_{dose[1]}" if dose else None
