"""Where the image is hidden from a decoder: the claimed mask, a margin around it, and the box that is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from synth.conditioning import paste
from synth.contracts import Box
from synth.volume import Mask

MARGIN_VOXELS = 2  # hidden around the claimed mask: where its border should be seen, and where a moved one shows
CONTEXT_VOXELS = 8  # seen around the hole
Floating = TypeVar("Floating", bound=np.floating[Any])


@dataclass(frozen=True, eq=False)
class Hole:
    """A hidden region over a box that may reach beyond the grid.

    Attributes:
        box: slices in grid voxels, possibly negative or past the end; sides divisible by the network's multiple.
        core: (x, y, z) bool, the claimed mask; hidden: (x, y, z) bool, core and margin.
    """

    box: Box
    core: NDArray[np.bool_]
    hidden: NDArray[np.bool_]


def hole_around(mask: Mask, *, margin: int = MARGIN_VOXELS, context: int = CONTEXT_VOXELS, multiple: int = 8) -> Hole:
    """The hole of a claimed mask, with the box a network needs to fill it."""
    box = tuple(
        _window(start - margin - context, start + size + margin + context, multiple)
        for start, size in zip(mask.origin, mask.box.shape, strict=True)
    )
    return hole_in_box(mask, box, margin=margin)  # type: ignore[arg-type]  # a generator loses the length of 3


def hole_in_box(mask: Mask, box: Box, *, margin: int = MARGIN_VOXELS) -> Hole:
    """The hole of a mask within a given box; what lies outside the box is cut off."""
    core = np.zeros(tuple(s.stop - s.start for s in box), bool)
    paste(mask, box, core)
    hidden = (
        ndimage.binary_dilation(core, ndimage.generate_binary_structure(3, 1), iterations=margin) if margin else core
    )
    return Hole(box, core, hidden)


def take(array: NDArray[Floating], box: Box, fill: float) -> NDArray[Floating]:
    """The box of an array, `fill` where the box reaches beyond it."""
    inner, pads = _clip(box, array.shape)
    return np.pad(array[inner], pads, constant_values=fill)


def put_back(box: Box, shape: tuple[int, ...]) -> tuple[Box, Box]:
    """(slices of the grid, slices of the box) of the part of the box that lies on the grid."""
    inner, pads = _clip(box, shape)
    return inner, tuple(slice(p[0], (w.stop - w.start) - p[1]) for p, w in zip(pads, box, strict=True))  # type: ignore[return-value]  # as above


def paint(base: NDArray[Any], inner: Box, keep: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    """A copy of `base` with `values` where `keep`, both over the box `inner`."""
    out = base.copy()
    out[inner][keep] = values[keep]
    return out


def _clip(box: Box, shape: tuple[int, ...]) -> tuple[Box, list[tuple[int, int]]]:
    inner, pads = [], []
    for window, size in zip(box, shape, strict=True):
        start, stop = min(max(window.start, 0), size), max(min(window.stop, size), 0)
        stop = max(start, stop)
        inner.append(slice(start, stop))
        before = min(max(-window.start, 0), window.stop - window.start)
        pads.append((before, (window.stop - window.start) - (stop - start) - before))
    return tuple(inner), pads  # type: ignore[return-value]  # as above


def _window(start: int, stop: int, multiple: int) -> slice:
    extra = -(stop - start) % multiple
    return slice(start - extra // 2, stop + extra - extra // 2)
