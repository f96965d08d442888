"""Image pairs of two visits: read, registered, on the grid of the first visit.

Two layouts, a folder for each patient:

    visit1_t1post, visit2_t1post, visit1_tumour, visit2_tumour     with supplementary.csv (id, initialDate, endDate)
    visit1_flair, visit2_flair, new_lesions, brain                 with patient_info.csv, one space already
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.errors import InputError
from synth.volume import Geometry, Mask, Volume, read_mask, read_volume
from synth.volume.register import register

PLACEHOLDER_MM = (1.0, 1.0, 1.0)
TUMOUR_MM = (0.9, 0.9, 6.0)
"""Voxel size of the tumour pairs, whose headers hold a placeholder: in-plane and slice distance of the source's scans,
5 to 6.5 mm; every length that is reported is as uncertain as that."""
_TUMOUR = ("visit1_t1post", "visit2_t1post", "visit1_tumour", "visit2_tumour")
_LESIONS = ("visit1_flair", "visit2_flair", "new_lesions", "brain")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two visits on the grid of the first.

    Attributes:
        patient: name of its folder; kind: "tumour" or "lesions"; days: between the visits, None where nobody says.
        image: the first visit; head: what is not background.
        before: the mask at the first visit, empty for new lesions; after: the mask at the second.
        similarity: mutual information before and after registration, nats.
    """

    patient: str
    kind: str
    days: float | None
    image: Volume
    head: Mask
    before: Mask
    after: Mask
    similarity: tuple[float, float]

    @property
    def geometry(self) -> Geometry:
        """The grid of the first visit."""
        return self.image.geometry

    @property
    def log_ratio(self) -> float:
        """ln of the second volume over the first."""
        return float(np.log(self.after.voxels / self.before.voxels))


def read_pairs(folder: Path) -> tuple[Pair, ...]:
    """Every patient of the folder, sorted by name; registered where the visits are not in one space.

    Raises:
        InputError: no folder, no patient of either layout, a patient with files left out, masks that do not fit.
    """
    if not folder.is_dir():
        raise InputError(str(folder), expected="a folder of patients", got="nothing there", fix="check the path")
    days = _days(folder)
    found = [pair for case in sorted(folder.iterdir()) if case.is_dir() for pair in [_read(case, days)] if pair]
    if not found:
        expected = f"folders with {', '.join(_TUMOUR)} or {', '.join(_LESIONS)} (.nii.gz)"
        raise InputError(str(folder), expected=expected, got="none", fix="give the folder above the patients")
    return tuple(found)


def _read(case: Path, days: dict[str, float]) -> Pair | None:
    for names, kind in ((_TUMOUR, "tumour"), (_LESIONS, "lesions")):
        there = [name for name in names if (case / f"{name}.nii.gz").is_file()]
        if len(there) == len(names):
            return (_tumour if kind == "tumour" else _lesions)(case, days.get(case.name))
        if names[0] in there:
            missing = next(name for name in names if name not in there)
            raise InputError(str(case), expected=f"{missing}.nii.gz", got="nothing there", fix="copy the whole patient")
    return None


def _tumour(case: Path, days: float | None) -> Pair:
    first, second = (_image(case / f"visit{n}_t1post.nii.gz") for n in (1, 2))
    before, after = (_mask(case / f"visit{n}_tumour.nii.gz", v) for n, v in ((1, first), (2, second)))
    aligned = register(second, first)
    moved = aligned.mask(after, second.geometry, first.geometry)
    if before.is_empty or moved.is_empty:
        raise InputError(
            str(case), expected="a tumour at both visits", got="an empty mask", fix="leave the patient out"
        )
    return Pair(case.name, "tumour", days, first, _head(first), before, moved, (aligned.before, aligned.after))


def _lesions(case: Path, days: float | None) -> Pair:
    first = _image(case / "visit1_flair.nii.gz")
    brain, new = (_mask(case / f"{name}.nii.gz", first) for name in ("brain", "new_lesions"))
    return Pair(case.name, "lesions", days, first, brain, Mask.empty(first.shape), new, (0.0, 0.0))


def _image(path: Path) -> Volume:
    volume = read_volume(path, modality="MR")
    if not np.allclose(volume.spacing_mm, PLACEHOLDER_MM):
        return volume
    return Volume(volume.array, Geometry.regular(volume.shape, TUMOUR_MM), "MR")


def _mask(path: Path, image: Volume) -> Mask:
    mask, _ = read_mask(path)
    if mask.shape != image.shape:
        raise InputError(
            str(path), expected=f"shape {image.shape}", got=str(mask.shape), fix="give the mask of that image"
        )
    return mask


def _head(image: Volume) -> Mask:
    """What is not background: the filled body of each slice."""
    solid = image.array > 0.1 * float(np.percentile(image.array, 99))
    filled: NDArray[np.bool_] = np.stack([ndimage.binary_fill_holes(s) for s in np.moveaxis(solid, 2, 0)], axis=2)
    return Mask.from_dense(filled)


def _days(folder: Path) -> dict[str, float]:
    """Days between the visits, by folder name, from whichever table is there; none where there is none."""
    for name, read in (("supplementary.csv", _from_dates), ("patient_info.csv", _from_days)):
        if (folder / name).is_file():
            try:
                return dict(read(row) for row in _rows(folder / name))
            except (KeyError, ValueError) as error:
                expected = "the columns id, initialDate, endDate or patient_id, days_between_studies, dates YYYY-MM-DD"
                fix = "correct the table or take it away"
                raise InputError(str(folder / name), expected=expected, got=str(error), fix=fix) from None
    return {}


def _from_dates(row: dict[str, str]) -> tuple[str, float]:
    first, second = (date.fromisoformat(row[name]) for name in ("initialDate", "endDate"))
    return row["id"], float((second - first).days)


def _from_days(row: dict[str, str]) -> tuple[str, float]:
    return f"patient{int(row['patient_id']):02d}", float(row["days_between_studies"])


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.reader(stream, escapechar="\\"))
    head = [cell.strip() for cell in lines[0]]
    return [dict(zip(head, (cell.strip() for cell in line), strict=False)) for line in lines[1:] if line]
