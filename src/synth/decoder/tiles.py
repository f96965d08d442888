"""A large volume seen through small overlapping windows, as a network saw crops in training.

    v(x) = sum_k w_k v_k(x) / sum_k w_k,    w_k a tent that falls to the borders of window k

Group normalisation averages over whatever it is given: a network trained on cubes sees, in a whole patient with much
air around, other statistics than it knows. Averaging the velocities (not the images) at every step keeps windows from
disagreeing, so that no seam is left (Bar-Tal et al. 2023, "MultiDiffusion", eq. 5).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from synth.decoder.flow import Velocity

Window = tuple[slice, slice, slice]


def windows_over(shape: Sequence[int], side: int, overlap: int, *, multiple: int = 1) -> list[Window]:
    """Windows of `side` (or the whole axis, where that is shorter) that overlap by about `overlap` at least.

    Starts are multiples of `multiple`, as the sides of the shape and of the windows are. Raises ValueError where the
    overlap leaves no step.

    Example:
        >>> [w[0] for w in windows_over((20, 8, 8), 12, 4)]
        [slice(0, 12, None), slice(8, 20, None)]
    """
    if not 0 <= overlap < side:
        raise ValueError(f"an overlap of 0 to {side - 1}, got {overlap}")
    axes = []
    for size in shape:
        count = 1 + max(0, math.ceil((size - side) / (side - overlap)))
        steps = [k * (size - side) / (count - 1) for k in range(count)] if count > 1 else [0.0]
        starts = [multiple * round(s / multiple) for s in steps]
        axes.append([slice(s, min(s + side, size)) for s in starts])
    return [(x, y, z) for x, y, z in itertools.product(*axes)]


def mapped(function: Callable[[Tensor], Tensor], x: Tensor, side: int, overlap: int, *, factor: float = 1.0) -> Tensor:
    """`function` of x (1, C, x, y, z) made window by window and blended, (1, C', factor x, factor y, factor z) float32.

    `function` multiplies every side by `factor` (0.5 for an encoder that halves, 2 for a decoder that doubles), and the
    windows' sides and starts are multiples of what it divides by.
    """
    out, weight = torch.empty(0), torch.zeros([round(n * factor) for n in x.shape[2:]])
    for window in windows_over(x.shape[2:], side, overlap, multiple=max(1, round(1 / factor))):
        part = function(x[(slice(None), slice(None), *window)]).float()
        into = tuple(slice(round(s.start * factor), round(s.stop * factor)) for s in window)
        tent = _tent(part.shape[2:]).to(part)
        if not out.numel():
            out, weight = torch.zeros(1, part.shape[1], *weight.shape).to(part), weight.to(part)
        out[(slice(None), slice(None), *into)] += tent * part
        weight[into] += tent
    return out / weight


def blended(parts: Sequence[tuple[Window, Velocity]]) -> Velocity:
    """One velocity over the whole from one for each window: (B, C, x, y, z) and t (B,) in, (B, C, x, y, z) out.

    The windows together cover the whole.
    """
    weight = torch.zeros([max(window[axis].stop for window, _ in parts) for axis in range(3)])
    tents = [_tent([s.stop - s.start for s in window]) for window, _ in parts]
    for (window, _), tent in zip(parts, tents, strict=True):
        weight[window] += tent

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for (window, part), tent in zip(parts, tents, strict=True):
            at = (slice(None), slice(None), *window)
            total[at] += tent.to(x) * part(x[at], t).to(x)
        return total / weight.to(x)

    return velocity


def _tent(shape: Sequence[int]) -> Tensor:
    """(x, y, z) positive weights, largest in the middle."""
    ramps = [torch.minimum(torch.arange(1, n + 1), torch.arange(n, 0, -1)).float() for n in shape]
    return torch.einsum("x,y,z->xyz", *ramps)
