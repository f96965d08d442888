"""The same patient as another scanner would have made the image: a condition of its own in the faults benchmark.

brighter, darker    calibrated 8 HU off
noisy               noise of 15 HU, smooth over 5 mm, on top of its own
soft, sharp         another kernel: blurred by a Gaussian of 2.5 mm, or what that takes away added once more by 0.6
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.benchmark.result import Row
from synth.benchmark.verdict_patients import Patients
from synth.benchmark.verdict_truth import Truth
from synth.errors import InputError
from synth.fault import smooth_noise
from synth.volume import Volume

OFFSET_HU = 8.0
NOISE_HU, NOISE_MM = 15.0, 5.0
KERNEL_MM, SHARPENED = 2.5, 0.6
_Change = Callable[[Volume, np.random.Generator], NDArray[np.float32]]


def _soft(image: Volume) -> NDArray[np.float32]:
    sigma = [KERNEL_MM / s for s in image.geometry.spacing_mm]
    return np.asarray(ndimage.gaussian_filter(image.array, sigma), np.float32)


def _noise(image: Volume, rng: np.random.Generator) -> NDArray[np.float32]:
    return NOISE_HU * smooth_noise(image.shape, image.geometry.spacing_mm, NOISE_MM, rng)


_CHANGES: Mapping[str, _Change] = MappingProxyType(
    {
        "brighter": lambda image, rng: image.array + np.float32(OFFSET_HU),
        "darker": lambda image, rng: image.array - np.float32(OFFSET_HU),
        "noisy": lambda image, rng: image.array + _noise(image, rng),
        "soft": lambda image, rng: _soft(image),
        "sharp": lambda image, rng: image.array + np.float32(SHARPENED) * (image.array - _soft(image)),
    }
)
SCANNERS: Sequence[str] = tuple(_CHANGES)


def as_scanned(image: Volume, scanner: str, *, seed: int = 0) -> Volume:
    """The image, HU, as another scanner would have made it, on the same grid; the same image and seed, the same noise.

    Raises InputError for a scanner that is none of `SCANNERS`.

    Example:
        >>> from synth.volume import Geometry
        >>> image = Volume(np.zeros((4, 4, 4), np.float32), Geometry.regular((4, 4, 4), 4.0), "CT", "HU")
        >>> float(as_scanned(image, "brighter").array.mean())
        8.0
    """
    change = _CHANGES[known_scanner(scanner)]
    rng = np.random.default_rng([seed, zlib.crc32(image.array.tobytes())])
    return image.with_array(np.asarray(change(image, rng), np.float32))


def known_scanner(name: str) -> str:
    """The name. Raises InputError for one that is none of `SCANNERS`."""
    if name not in _CHANGES:
        raise InputError("scanner", expected=f"one of {', '.join(SCANNERS)}", got=name, fix="choose one of these")
    return name


@dataclass(frozen=True)
class OtherScanner:
    """The patients of the verdicts benchmark, their images as another scanner would have made them."""

    patients: Patients
    scanner: str

    @property
    def names(self) -> Sequence[str]:
        """As they are."""
        return self.patients.names

    @property
    def arena(self) -> str:
        """As it is."""
        return self.patients.arena

    @property
    def about(self) -> str:
        """With the scanner: the audits are others."""
        return f"{self.patients.about} {self.scanner}"

    def truth(self, number: int, spacing_mm: float, *, drawn: int = 0) -> Truth:
        """The same outlines over another image."""
        truth = self.patients.truth(number, spacing_mm, drawn=drawn)
        image = as_scanned(truth.image, self.scanner)
        outlines, parse = (z.of_image(image) for z in (truth.outlines, truth.parse))
        return replace(truth, image=image, outlines=outlines, parse=parse)


def of_scanner(rows: Iterable[Row], scanner: str | None) -> tuple[Row, ...]:
    """Rows with the scanner in their group; as they are for None."""
    return tuple(rows if scanner is None else (replace(row, group={**row.group, "scanner": scanner}) for row in rows))
