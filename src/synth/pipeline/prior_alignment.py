"""A prior visit, brought onto the grid of the present one, and how well its organs lie on those of today."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.parse import Parse, load_bundle
from synth.parse.align import LEAST_SHARED, rigid_by_organs, shared_dice
from synth.pipeline.preflight import preflight, require
from synth.residual.findings import Message, PriorAlignment
from synth.volume import Volume, read_volume
from synth.volume.register import register

Method = Literal["images", "organs", "frame"]
WORDS: Mapping[Method, str] = {
    "images": "by registration of the two images",
    "organs": "by the organs that both parses draw",
    "frame": "as it lies in its own frame of reference",
}
LEAST_DICE = 0.3  # median over the shared organs; below, its masks say nothing of where things are now


@dataclass(frozen=True, eq=False)
class PriorVisit:
    """What is known of an earlier visit of the same patient.

    Attributes:
        parse: what was found then.
        image: the image that it is of, where there still is one; the two visits are then registered by their images.

    Raises:
        InputError: image and parse do not fit together.
    """

    parse: Parse
    image: Volume | None = None

    def __post_init__(self) -> None:
        if self.image is not None:
            require(preflight(self.image, self.parse))

    @classmethod
    def read(cls, bundle: str | Path, image: str | Path | None = None, modality: str | None = None) -> PriorVisit:
        """Read a bundle and, where there is one, its image."""
        volume = None if image is None else read_volume(image, modality=modality)
        return cls(load_bundle(bundle), volume)


@dataclass(frozen=True, eq=False)
class PlacedPrior:
    """A prior visit in the world of the present image.

    Attributes:
        parse: on the grid of the present parse it was placed on.
        how: what brought it there; matrix: (4, 4) world mm of the present image -> those of the prior one.
        dice: name -> Dice of each organ that both draw, after it.
    """

    visit: PriorVisit
    parse: Parse
    how: Method
    matrix: NDArray[np.float64]
    dice: Mapping[str, float] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether its masks say anything of where things are now; taken on trust where no organ is shared."""
        return not self.dice or self.median_dice >= LEAST_DICE

    @property
    def median_dice(self) -> float:
        """Over the shared organs; 0 without any."""
        return float(np.median(list(self.dice.values()))) if self.dice else 0.0

    def record(self) -> PriorAlignment:
        """The alignment, for the findings."""
        cosine = (np.trace(self.matrix[:3, :3]) - 1.0) / 2.0
        middle = np.append(self.parse.geometry.world((np.array(self.parse.geometry.shape) - 1) / 2), 1.0)
        return PriorAlignment(
            method=self.how,
            shared={name: round(value, 3) for name, value in self.dice.items()},
            median_dice=round(self.median_dice, 3) if self.dice else None,
            shift_mm=round(float(np.linalg.norm((self.matrix @ middle - middle)[:3])), 1),
            rotation_deg=round(float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))), 1),
            used=self.fits,
        )

    def message(self) -> Message:
        """The alignment, in words."""
        few = len(self.dice) < LEAST_SHARED
        severity = "info" if self.fits and not (few and self.how != "images") else "warning"
        if not self.dice:
            well = "no organ is drawn in both, so nothing shows how well"
        else:
            worst = min(self.dice, key=lambda name: self.dice[name])
            well = (
                f"median Dice {self.median_dice:.2f} of {len(self.dice)} organs that both draw, "
                f"least {self.dice[worst]:.2f} ({worst.replace('_', ' ')})"
            )
        unused = "" if self.fits else f"; below {LEAST_DICE:g} it is not used: is it the same patient and region?"
        return Message(
            severity=severity, code="prior_visit", message=f"prior visit aligned {WORDS[self.how]}: {well}{unused}"
        )


def place_prior(visit: PriorVisit, image: Volume, parse: Parse) -> PlacedPrior:
    """The prior visit on the grid of `parse`, by the way that brings most organs onto theirs.

    Tried are the images, where the prior one is there, the organs, where four or more are drawn in both, and the frame
    as it is. Where no organ is drawn in both the images decide, else the frame of two grids that are the same.

    Raises:
        InputError: another patient, or nothing that tells how the visits lie.
    """
    _check_same_patient(visit.parse, parse)
    same_grid = visit.parse.geometry.matches(image.geometry)
    placed = [_placed(visit, parse, how, matrix) for how, matrix in _ways(visit, image, parse)]
    placed = [each for each in placed if each.dice or each.how == "images" or same_grid]
    if not placed:
        expected = "its image, an organ drawn in both visits, or the grid of the present image"
        raise InputError("prior visit", expected=expected, got="none of them", fix="give its image with --prior-image")
    return max(placed, key=lambda each: each.median_dice)


def _ways(visit: PriorVisit, image: Volume, parse: Parse) -> Iterator[tuple[Method, NDArray[np.float64]]]:
    """The most trusted first: of equal ones the first is taken."""
    if visit.image is not None:
        yield "images", _registered(visit.image, image)
    by_organs = rigid_by_organs(visit.parse, parse)
    if by_organs is not None:
        yield "organs", by_organs
    yield "frame", np.eye(4)


def _registered(prior: Volume, image: Volume) -> NDArray[np.float64]:
    try:
        return register(prior, image).matrix
    except ModuleNotFoundError:
        fix = "pip install 'parse-synth[visits]', or leave --prior-image out"
        raise InputError("registration", expected="SimpleITK", got="not installed", fix=fix) from None


def _placed(visit: PriorVisit, parse: Parse, how: Method, matrix: NDArray[np.float64]) -> PlacedPrior:
    there = visit.parse.replace(geometry=visit.parse.geometry.brought(matrix))
    here = there.resampled(parse.geometry)
    return PlacedPrior(visit, here, how, matrix, shared_dice(here, parse))


def _check_same_patient(prior: Parse, parse: Parse) -> None:
    one, other = prior.circumstance.patient, parse.circumstance.patient
    if one is not None and other is not None and one != other:
        fix = "give a visit of the same patient"
        raise InputError("patient of the prior visit", expected=f"'{other}'", got=f"'{one}'", fix=fix)
