"""A contrast cut to the grid: a decoder may pad its box beyond the field of view."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synth.contracts import Contrast

Map = NDArray[np.float32]


def on_grid(contrast: Contrast, shape: tuple[int, int, int]) -> Contrast:
    """The same contrast over the part of its box that lies on a grid of this shape.

    Example:
        >>> box = (slice(-1, 2), slice(0, 2), slice(1, 4))
        >>> wide = Contrast(np.ones((1, 3, 2, 3)), np.ones((3, 2, 3), bool), np.ones((3, 2, 3), bool), box, "nats")
        >>> on_grid(wide, (8, 8, 3)).ratio.shape
        (1, 2, 2, 2)
    """
    x, y, z = (slice(max(s.start, 0), max(min(s.stop, n), 0)) for s, n in zip(contrast.box, shape, strict=True))
    cut = tuple(slice(b.start - a.start, b.stop - a.start) for a, b in zip(contrast.box, (x, y, z), strict=True))

    def kept(array: Map | None) -> Map | None:
        return None if array is None else array[cut]

    return replace(
        contrast,
        ratio=contrast.ratio[(slice(None), *cut)],
        region=contrast.region[cut],
        core=contrast.core[cut],
        box=(x, y, z),
        with_parse=kept(contrast.with_parse),
        with_alternative=kept(contrast.with_alternative),
    )
