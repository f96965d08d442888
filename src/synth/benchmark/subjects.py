"""The patients of the reconstruction benchmark, and what its methods are told of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from synth.decoder.intensity import AIR_HU
from synth.interop import with_tissues
from synth.interop.openkbp import patient_folders, read_patient
from synth.parse import Parse
from synth.parse.derive import derive_appearance
from synth.phantom import make, sample_spec
from synth.volume import Geometry, Mask, Volume
from synth.volume.tissue import body_mask

FIRST_PHANTOM = 40_000


@dataclass(frozen=True, eq=False)
class Subject:
    """A patient on the decoder's grid.

    Attributes:
        parse: of the organs, nothing measured; with_tissue: the same and the tissue entities; body: the patient.
    """

    name: str
    image: Volume
    parse: Parse
    with_tissue: Parse
    body: Mask

    def told(self, told: Told) -> Parse:
        """The parse that the methods are given."""
        parse = self.parse if told.tissue == "none" else self.with_tissue
        return parse if told.attributes == "none" else derive_appearance(parse, self.image)


class Told(NamedTuple):
    """What the methods are told: `tissue` "none" or "all", `attributes` "none" or "measured"."""

    tissue: str
    attributes: str


EVERY = (Told("none", "none"), Told("all", "none"), Told("all", "measured"))
ALONE = Told("none", "none")  # methods that do not look at the parse, or at its masks only
EVERYTHING = Told("all", "measured")
MEASURED_TERMS = ("mean_attenuation", "histogram", "texture", "edge_sharpness")  # of d_clin, and told


def read_subjects(folder: Path, spacing_mm: float, limit: int | None = None) -> list[Subject]:
    """All patients of a folder laid out like OpenKBP, resampled."""
    subjects = []
    for case in patient_folders(folder)[:limit]:
        patient = read_patient(case).resampled(spacing_mm)
        image, parse = patient.image, patient.parse
        subjects.append(Subject(patient.name, image, parse, with_tissues(parse, image), body_mask(image)))
    return subjects


def read_phantoms(spacing_mm: float, count: int) -> list[Subject]:
    """Phantoms of the abdomen that no training drew, with their lesions and what is declared of them."""
    subjects = []
    for seed in range(FIRST_PHANTOM, FIRST_PHANTOM + count):
        spec = replace(sample_spec(seed), field_of_view="abdomen")
        made = make(seed, spec=spec, spacing_mm=(spacing_mm,) * 3)
        parse = made.parse.without_derived()
        name, body = f"phantom {seed}", body_mask(made.image)
        subjects.append(Subject(name, made.image, parse, with_tissues(parse, made.image), body))
    return subjects


def cut(subject: Subject, side: int) -> Subject:
    """The cube of `side` voxels around the middle of the organs; air where the image is smaller."""
    ends = [subject.parse.masks[i].slices for i in subject.parse.present_ids]
    box = []
    for axis, size in enumerate(subject.image.shape):
        low, high = min(s[axis].start for s in ends), max(s[axis].stop for s in ends)
        start = max(0, min((low + high - side) // 2, size - side))
        box.append(slice(start, min(start + side, size)))
    slices = (box[0], box[1], box[2])
    image = padded(subject.image.cropped(slices), side)
    parse = subject.parse.cropped(slices).resampled(image.geometry)
    return Subject(subject.name, image, parse, with_tissues(parse, image), body_mask(image))


def padded(image: Volume, side: int) -> Volume:
    """The image with air behind its last voxels, up to `side` each way."""
    array = np.full((side,) * 3, AIR_HU, np.float32)
    array[tuple(slice(0, n) for n in image.shape)] = image.array
    geometry = Geometry((side,) * 3, image.geometry.affine)
    return Volume(array, geometry, "CT", "HU")
