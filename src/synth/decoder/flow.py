"""Rectified flow: the path between noise and data, and the sampler that walks it.

    x_t = (1 - t) x_0 + t e,   v = dx_t/dt = e - x_0,   t = 1 is noise, t = 0 is data

Liu et al. 2023, "Flow Straight and Fast", eq. 1; Lipman et al. 2023. Sampling is Heun's method on a grid of times whose
first is exactly 1 and whose last is exactly 0, so that an exact velocity lands on the target at every step count.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]


def interpolate(data: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t for t (B,)."""
    s = t[:, None, None, None, None]
    return (1 - s) * data + s * noise


def velocity_target(data: Tensor, noise: Tensor) -> Tensor:
    """v = e - x_0, the same at every t."""
    return noise - data


def times(steps: int, *, shift: float = 1.0) -> Tensor:
    """(steps + 1,) times from 1 to 0; `shift` > 1 spends more of them near the noise (Esser et al. 2024, eq. 23).

    Raises ValueError for less than one step.

    Example:
        >>> times(4)
        tensor([1.0000, 0.7500, 0.5000, 0.2500, 0.0000])
    """
    if steps < 1:
        raise ValueError(f"a sampler takes at least one step, got {steps}")
    t = torch.linspace(1.0, 0.0, steps + 1)
    return shift * t / (1 + (shift - 1) * t)


def sample(
    velocity: Velocity,
    noise: Tensor,
    steps: int,
    *,
    shift: float = 1.0,
    corrected: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> Tensor:
    """Integrate dx/dt = velocity(x, t) from t = 1 (noise) to t = 0; velocity gets t as (B,).

    Heun's second evaluation is skipped on the last step, where the velocity at t = 0 is not trained, and, unless
    `corrected`, on all: Euler's method. `advance` is called after every step.
    """
    x = noise
    grid = times(steps, shift=shift).to(noise)
    for now, after in pairwise(grid):
        v = velocity(x, now.expand(len(x)))
        guess = x + (after - now) * v
        if corrected and after > 0:
            v = (v + velocity(guess, after.expand(len(x)))) / 2
        x = x + (after - now) * v
        advance()
    return x


def guided(told: Velocity, untold: Velocity, weight: float) -> Velocity:
    """Classifier-free guidance: v = v_untold + weight (v_told - v_untold) (Ho and Salimans 2022, eq. 6).

    With a weight of 1, `told` itself: what is compared is never guided.
    """
    if weight == 1.0:
        return told

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        base = untold(x, t)
        return base + weight * (told(x, t) - base)

    return velocity


def mean_of_data(velocity: Velocity, noise: Tensor) -> Tensor:
    """The mean of all data, E[x_0], from one antithetic pair of noises: at t = 1, where x_t is noise, v = e - E[x_0].

    Example:
        >>> mean_of_data(lambda x, t: x - 3.0, torch.randn(1, 2, 2, 2, 2)).unique()
        tensor([3.])
    """
    one = torch.ones(len(noise), device=noise.device)
    return (noise - velocity(noise, one) - noise - velocity(-noise, one)) / 2
