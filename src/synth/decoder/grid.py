"""Checks that inputs are on a decoder's grid, and the box of a whole volume."""

from __future__ import annotations

import numpy as np

from synth.contracts import EncodedImage
from synth.decoder.holes import Hole
from synth.errors import InputError
from synth.volume import Geometry, Mask

TOLERANCE_MM = 0.05


def check_grid(geometry: Geometry, spacing_mm: float, what: str) -> None:
    """Raise InputError unless the grid is the decoder's isotropic one."""
    if not np.allclose(geometry.spacing_mm, spacing_mm, atol=TOLERANCE_MM):
        got = "x".join(f"{s:.3g}" for s in geometry.spacing_mm) + " mm"
        raise InputError(
            what, expected=f"voxels of {spacing_mm:g} mm", got=got, fix="resample it to the decoder's grid"
        )


def check_encoded(encoded: EncodedImage, decoder: str, geometry: Geometry) -> None:
    """Raise InputError unless the image was encoded by this decoder and lies on the parse's grid."""
    if encoded.decoder != decoder:
        raise InputError(
            "encoded image", expected=f"one of {decoder!r}", got=repr(encoded.decoder), fix="encode it again"
        )
    difference = encoded.image.geometry.describe_difference(geometry)
    if difference:
        raise InputError(
            "parse", expected="the grid of the image", got=difference, fix="resample the parse to the image"
        )


def check_region(region: Mask, geometry: Geometry) -> None:
    """Raise InputError unless the region is a mask on this grid."""
    if region.shape != geometry.shape:
        got = str(region.shape)
        raise InputError("region", expected=f"shape {geometry.shape}", got=got, fix="resample it to the parse's grid")


def whole_box(shape: tuple[int, ...], multiple: int) -> Hole:
    """A hole that is the whole volume, its box padded to what the network divides by."""
    box = (
        slice(0, shape[0] + -shape[0] % multiple),
        slice(0, shape[1] + -shape[1] % multiple),
        slice(0, shape[2] + -shape[2] % multiple),
    )
    everywhere = np.ones(tuple(s.stop for s in box), bool)
    return Hole(box, everywhere, everywhere)
