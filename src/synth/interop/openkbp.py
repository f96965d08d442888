"""Folders laid out like OpenKBP: `PATIENT/ct.nii.gz` and `PATIENT/labels.nii.gz`, seven head-and-neck organs.

Source: Babier et al. 2021, Med Phys 48:5549. An organ without voxels was not contoured: `not_assessed`, not `absent`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from synth.errors import InputError
from synth.parse import Circumstance, Entity, Parse, Presence
from synth.volume import Mask, Volume, read_labels, read_volume, resample

ORGANS = {
    1: "brainstem",
    2: "spinal_cord",
    3: "parotid_gland_right",
    4: "parotid_gland_left",
    5: "esophagus",
    6: "larynx",
    7: "mandible",
}


@dataclass(frozen=True, eq=False)
class Patient:
    """One case: its folder's name, the CT and the parse of the contoured organs, on the CT's own grid."""

    name: str
    image: Volume
    parse: Parse

    def resampled(self, spacing_mm: float) -> Patient:
        """The case on an isotropic grid."""
        grid = self.image.geometry.with_spacing(spacing_mm)
        return Patient(self.name, resample(self.image, grid), self.parse.resampled(grid))


def patient_folders(folder: Path) -> tuple[Path, ...]:
    """The case folders, by number where their names hold one."""
    if not folder.is_dir():
        raise InputError(str(folder), expected="a folder of case folders", got="no such folder", fix="check the path")
    cases = [p.parent for p in folder.glob("*/ct.nii.gz") if (p.parent / "labels.nii.gz").exists()]
    if not cases:
        got = "none"
        raise InputError(
            str(folder), expected="*/ct.nii.gz with */labels.nii.gz beside it", got=got, fix="check the path"
        )
    return tuple(sorted(cases, key=lambda p: (_number(p.name), p.name)))


def read_patient(folder: Path) -> Patient:
    """Read one case folder."""
    image = read_volume(folder / "ct.nii.gz", modality="CT")
    labels = read_labels(folder / "labels.nii.gz")
    difference = image.geometry.describe_difference(labels.geometry)
    if difference:
        raise InputError(
            f"{folder.name}/labels.nii.gz", expected="the grid of ct.nii.gz", got=difference, fix="resample the labels"
        )
    entities, masks = [], {}
    for value, name in ORGANS.items():
        mask = Mask.from_dense(labels.labels == value)
        drawn = not mask.is_empty
        state = Presence.present if drawn else Presence.not_assessed
        entities.append(Entity(id=name, name=name, presence=state, delineated=drawn))
        if drawn:
            masks[name] = mask
    circumstance = Circumstance(modality="CT", image_sha256=image.sha256(), made_by="OpenKBP contours")
    return Patient(folder.name, image, Parse(entities, geometry=image.geometry, circumstance=circumstance, masks=masks))


def _number(name: str) -> int:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else 0
