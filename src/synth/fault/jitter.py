"""Smooth jitter of a correct mask: what two careful readers would differ by, never a fault."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth.errors import InputError
from synth.parse import Parse
from synth.volume import Geometry, Mask, signed_distance

_CORRELATION_MM = 16.0
# Width of the kernel in lattice steps: narrower and the lattice shows, wider and the noise is smoother than it says.
_KERNEL_WIDTH = 0.7


def jitter(
    mask: Mask,
    geometry: Geometry,
    rng: np.random.Generator,
    min_dice: float = 0.85,
    *,
    amplitude_mm: float = 4.0,
    correlation_mm: float = _CORRELATION_MM,
) -> Mask:
    """Push the surface in and out by a smooth random field, keeping Dice ≥ `min_dice` to the original.

    With φ the signed distance and n a smooth field of unit variance, the voxel v changes side once the amplitude
    reaches a(v) = -φ(v) / n(v). Voxels are flipped in that order, so the Dice after each flip is known in advance and
    the bound is met exactly, on a spinal cord four voxels wide as on a liver. How far to go is drawn at random: up to
    `amplitude_mm` or the Dice bound, whichever comes first, and at least one voxel where the bound allows one.

    Raises InputError for an empty mask.

    Example:
        >>> mask = Mask.from_box((20, 20, 20), (5, 5, 5), np.ones((8, 8, 8), bool))
        >>> other = jitter(mask, Geometry.regular((20, 20, 20), 4.0), np.random.default_rng(0))
        >>> 0.85 <= mask.dice(other) < 1.0
        True
    """
    if mask.is_empty:
        raise InputError("jitter", expected="a mask with voxels", got="an empty mask", fix="leave it out")
    field = signed_distance(mask, geometry, margin_mm=2.5 * amplitude_mm)
    noise = smooth_noise(field.values.shape, geometry.spacing_mm, correlation_mm, rng)
    distance, push = field.values.ravel(), noise.ravel()
    # Noise beyond four standard deviations does not happen, so nothing further off is reached.
    near = np.flatnonzero((distance * push < 0) & (np.abs(distance) <= 4.0 * amplitude_mm))
    reach = -distance[near] / push[near]
    order = np.argsort(reach, kind="stable")
    inside = mask.crop(field.slices).ravel()
    wanted_dice = rng.uniform(min_dice, 0.5 * (1.0 + min_dice))
    flips = _allowed(near[order], inside, reach[order] <= amplitude_mm, wanted_dice, min_dice)
    changed = inside.copy()
    changed[flips] ^= True
    start = (field.slices[0].start, field.slices[1].start, field.slices[2].start)
    return Mask.from_box(mask.shape, start, changed.reshape(field.values.shape))


def jittered(parse: Parse, rng: np.random.Generator) -> Parse:
    """The parse with every outline jittered, each on its own; what has no voxels stays as it is.

    Example:
        >>> from synth.phantom import make
        >>> parse = make(0, spacing_mm=(12.0, 12.0, 12.0)).parse
        >>> other = jittered(parse, np.random.default_rng(0))
        >>> 0.85 <= parse.masks["liver"].dice(other.masks["liver"]) < 1.0
        True
    """
    return parse.replace(masks={i: m if m.is_empty else jitter(m, parse.geometry, rng) for i, m in parse.masks.items()})


def smooth_noise(
    shape: tuple[int, ...], spacing_mm: tuple[float, float, float], correlation_mm: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Smooth Gaussian noise of unit variance over a grid, with a stated correlation length.

    White noise on a coarse lattice, spread by a separable Gaussian kernel: n = (Wx ⊗ Wy ⊗ Wz) ε with the rows of each
    W of unit length, so that the variance is one everywhere and the borders are like the middle.
    """
    weights = [_kernel(n, s / correlation_mm, float(rng.uniform())) for n, s in zip(shape, spacing_mm, strict=True)]
    noise = rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
    for kernel in weights:
        # Each contraction takes the first axis and puts its result last, so three of them restore the order.
        noise = np.tensordot(noise, kernel, axes=(0, 1))
    return np.ascontiguousarray(noise)


def _kernel(count: int, step: float, phase: float) -> NDArray[np.float32]:
    """Rows (voxel) by columns (lattice node) of the Gaussian, the nodes one correlation length apart."""
    nodes = np.arange(-2, int(np.ceil(count * step)) + 4)
    distance = np.arange(count)[:, None] * step + phase - nodes[None, :]
    weights = np.exp(-0.5 * (distance / _KERNEL_WIDTH) ** 2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), dtype=np.float32)


def _allowed(
    order: NDArray[np.int64],
    inside: NDArray[np.bool_],
    near: NDArray[np.bool_],
    wanted_dice: float,
    min_dice: float,
) -> NDArray[np.int64]:
    """The longest run of flips that are `near` and keep the wanted Dice; else the one flip that the bound allows."""
    total = int(inside.sum())
    removed = np.cumsum(inside[order])
    added = np.cumsum(~inside[order])
    dice = 2.0 * (total - removed) / np.maximum(2 * total - removed + added, 1)
    within = (dice >= wanted_dice) & near
    if within.any():
        return order[: int(np.flatnonzero(within)[-1]) + 1]
    alone = np.where(inside[order], 2.0 * (total - 1) / (2 * total - 1), 2.0 * total / (2 * total + 1))
    return order[np.flatnonzero(alone >= min_dice)[:1]]
