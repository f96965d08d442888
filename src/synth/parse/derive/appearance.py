"""Appearance attributes measured in the image under each mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.errors import InputError
from synth.parse.items import Attribute, Entity
from synth.parse.kinds import Kind, Phase
from synth.parse.parse import Parse
from synth.volume import Slices3, Volume

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

TEXTURE_SCALES_MM = (4.0, 8.0)

_LEAST_CORE_VOXELS = 20
_LEAST_TEXTURE_VOXELS = 60
_LEAST_RIM_VOXELS = 8


@dataclass(frozen=True, eq=False)
class Region:
    """Where one entity is measured, cut out of the grid with a margin.

    Attributes:
        slices: of the grid; mask: the entity there, (x, y, z); own: less the findings inside it; spacing_mm: of voxels.
    """

    slices: Slices3
    mask: Bools
    own: Bools
    spacing_mm: tuple[float, float, float]

    @classmethod
    def of(cls, parse: Parse, entity: Entity) -> Region:
        """Of a present, delineated entity."""
        mask, spacing = parse.masks[entity.id], parse.geometry.spacing_mm
        slices = mask.padded_slices(_margin(spacing))
        inside = mask.crop(slices)
        own = inside.copy()
        for other in parse.entities:
            if other.kind is Kind.finding and other.id != entity.id and other.id in parse.present_ids:
                held = parse.masks[other.id]
                if held.voxels < mask.voxels:
                    own &= ~held.crop(slices)
        return cls(slices, inside, own if own.any() else inside, spacing)

    @cached_property
    def core(self) -> Bools:
        """The inner voxels, free of partial volume, where enough are left; else all of them."""
        eroded = ndimage.binary_erosion(self.own)
        return eroded if np.count_nonzero(eroded) >= _LEAST_CORE_VOXELS else self.own

    @cached_property
    def rim(self) -> Bools:
        """The outermost voxels of the mask."""
        return np.asarray(self.mask & ~ndimage.binary_erosion(self.mask), dtype=np.bool_)

    def band(self, image: Floats) -> Floats | None:
        """What of the image in `slices` lies between the two scales of the texture; None where too little is inside.

        Neither scale looks outside the entity.
        """
        if np.count_nonzero(self.own) < _LEAST_TEXTURE_VOXELS:
            return None
        sigmas = [[scale / step for step in self.spacing_mm] for scale in TEXTURE_SCALES_MM]
        fine, coarse = (smoothed_within(image, self.own, sigma) for sigma in sigmas)
        return fine - coarse

    def texture(self, band: Floats) -> float:
        """ln variance of a band, ln(HU²)."""
        return float(np.log(max(float(band[self.own].var()), 1e-4)))

    def slope(self, image: Floats) -> float | None:
        """Mean slope across the border, HU/mm: the gradient's length on the rim of the mask, robust to single voxels;
        None where there is too little of it."""
        if np.count_nonzero(self.rim) < _LEAST_RIM_VOXELS or min(image.shape) < 2:
            return None
        squares = [np.square(np.gradient(image, step, axis=axis)) for axis, step in enumerate(self.spacing_mm)]
        return float(np.median(np.sqrt(np.sum(squares, axis=0))[self.rim]))


def derive_appearance(parse: Parse, volume: Volume, *, unenhanced: Volume | None = None) -> Parse:
    """The parse with the appearance of every present, delineated entity as measured in `volume`.

    Mean and spread (eroded where the entity is thick enough, findings inside it left out), texture between the scales
    of `TEXTURE_SCALES_MM`, edge sharpness, and, against an `unenhanced` image of the same grid, enhancement. All are
    marked as derived with the image's hash as their source; an audit of that image must not be given them.
    Raises `InputError` when the image is not on the grid of the parse.
    """
    _check_grid(parse, volume, "image")
    if unenhanced is not None:
        _check_grid(parse, unenhanced, "unenhanced image")
    phase = parse.circumstance.phase
    measured = [
        attribute
        for entity in parse.entities
        if entity.id in parse.present_ids and entity.kind is not Kind.target
        for attribute in _measured(parse, entity, volume, unenhanced, phase)
    ]
    source = volume.sha256()
    fresh = [attribute.model_copy(update={"source": source}) for attribute in measured]
    keys = {attribute.key for attribute in fresh}
    kept = [
        a for a in parse.attributes if a.key not in keys and not (a.derived and a.definition.family == "appearance")
    ]
    declared = [a for a in parse.attributes if a.key in keys and not a.derived]
    said = {attribute.key for attribute in declared}
    attributes = (*kept, *declared, *(a for a in fresh if a.key not in said))
    circumstance = parse.circumstance.deriving(*sorted({f"attributes.{a.type}" for a in fresh}))
    return parse.replace(attributes=attributes, circumstance=circumstance)


def _check_grid(parse: Parse, volume: Volume, what: str) -> None:
    difference = parse.geometry.describe_difference(volume.geometry)
    if difference is not None:
        raise InputError(what, expected="the grid of the parse", got=difference, fix="resample one to the other")


def measured_appearance(
    parse: Parse, entity: Entity, volume: Volume, *, unenhanced: Volume | None = None
) -> dict[str, float]:
    """Attribute type -> value, of one present, delineated entity, as `derive_appearance` measures it.

    The image is on the grid of the parse. What is too small to be measured is left out.
    """
    region = Region.of(parse, entity)
    image = volume.array[region.slices]
    values = image[region.core].astype(np.float64)
    names = ("mean_attenuation", "attenuation_spread") if volume.unit == "HU" else ("mean_signal", "signal_spread")
    found: dict[str, float | None] = {names[0]: float(values.mean()), names[1]: float(values.std())}
    if volume.unit == "HU":
        band = region.band(image)
        found["texture"] = None if band is None else region.texture(band)
        found["edge_sharpness"] = region.slope(image)
        if unenhanced is not None:
            plain = unenhanced.array[region.slices][region.core]
            found["enhancement"] = float(values.mean() - plain.mean(dtype=np.float64))
    return {name: value for name, value in found.items() if value is not None}


def _measured(
    parse: Parse, entity: Entity, volume: Volume, unenhanced: Volume | None, phase: Phase | None
) -> Iterator[Attribute]:
    for name, value in measured_appearance(parse, entity, volume, unenhanced=unenhanced).items():
        yield Attribute(entity=entity.id, type=name, value=value, phase=phase, derived=True)


def _margin(spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    x, y, z = (max(2, int(np.ceil(2 * TEXTURE_SCALES_MM[1] / step))) for step in spacing_mm)
    return x, y, z


def smoothed_within(image: Floats, own: Bools, sigma: float | Sequence[float]) -> Floats:
    """The image smoothed by a Gaussian of `sigma` voxels that does not look outside `own`."""
    weight = own.astype(np.float32)
    offset = float(image[own].mean())
    total = ndimage.gaussian_filter((image - offset) * weight, sigma)
    return np.asarray(total / np.maximum(ndimage.gaussian_filter(weight, sigma), 1e-6), dtype=np.float32)
