"""Images whose entities look otherwise than usual, with scenes that say so.

In real images the look of an organ follows from its name, and little is learned from what a parse declares beside it.
Here the declared mean and spread are the only sign of how an entity looks, and so they must be used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synth.conditioning import Scene, paste
from synth.parse import Kind
from synth.volume import Mask

MEAN, SPREAD, TEXTURE = "mean_attenuation", "attenuation_spread", "texture"
SHIFT_HU, LN_FACTOR = 60.0, 0.4  # standard deviations of the change of a mean and of the logarithm of a spread
MOST = 4  # entities of one image
Box = tuple[slice, slice, slice]
Columns = Mapping[str, tuple[int, float, float]]


def repainted(
    hu: NDArray[np.float32], scene: Scene, box: Box, columns: Columns, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Scene]:
    """The image with up to `MOST` entities brighter or darker, rougher or smoother; the scene that declares it.

    Mean, spread and texture are declared anew; what the change makes unknown (edges, enhancement, categories) is not
    declared any more. Findings keep their look when their organ changes; of two that overlap one is changed.

    Args:
        hu: (x, y, z) over `box`; scene: measured in this image; columns: index, centre and half-range of each numeric
            attribute.
    """
    rows = [i for i in range(len(scene)) if _measured(scene, i, columns) and _cut(scene.masks[i], box).any()]
    if not rows:
        return hu, scene
    out, numeric, category = hu.copy(), scene.numeric.copy(), scene.category.copy()
    taken = np.zeros(hu.shape, bool)
    count = min(len(rows), int(rng.integers(1, MOST + 1)))
    for row in rng.choice(rows, size=count, replace=False).tolist():
        shift, factor = rng.normal(0.0, SHIFT_HU), float(np.exp(rng.normal(0.0, LN_FACTOR)))
        own = _own(scene, row, box)
        if (own & taken).any():
            continue
        taken |= own
        column, centre, half = columns[MEAN]
        out[own] += (factor - 1) * (hu[own] - (numeric[row, column] * half + centre)) + shift
        declared = _redeclared(numeric[row], columns, shift, factor)
        numeric[row], category[row] = declared, 0
    return np.asarray(out, np.float32), replace(scene, numeric=numeric, category=category)


def _redeclared(values: NDArray[np.float32], columns: Columns, shift: float, factor: float) -> NDArray[np.float32]:
    """The numeric attributes of an entity whose mean moved by `shift` HU and whose spread grew by `factor`."""
    out = np.full_like(values, np.nan)
    column, _, half = columns[MEAN]
    out[column] = values[column] + shift / half
    column, centre, half = columns[SPREAD]
    out[column] = ((values[column] * half + centre) * factor - centre) / half
    if TEXTURE in columns:
        column, _, half = columns[TEXTURE]
        out[column] = values[column] + 2 * np.log(factor) / half
    return out


def _measured(scene: Scene, row: int, columns: Columns) -> bool:
    """A drawn entity, no tissue, whose mean and spread are declared."""
    known = not np.isnan(scene.numeric[row, [columns[MEAN][0], columns[SPREAD][0]]]).any()
    return scene.masks[row] is not None and scene.kinds[row] not in (Kind.tissue, Kind.target) and known


def _own(scene: Scene, row: int, box: Box) -> NDArray[np.bool_]:
    """Where the entity is and no smaller finding."""
    mask = scene.masks[row]
    assert mask is not None  # a measured one has a mask
    own = _cut(mask, box)
    for i, other in enumerate(scene.masks):
        if other is not None and scene.kinds[i] is Kind.finding and other.voxels < mask.voxels:
            own &= ~_cut(other, box)
    return own


def _cut(mask: Mask | None, box: Box) -> NDArray[np.bool_]:
    out = np.zeros(tuple(s.stop - s.start for s in box), bool)
    if mask is not None:
        paste(mask, box, out)
    return out
