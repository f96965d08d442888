"""CT numbers as network inputs and back."""

from __future__ import annotations

import torch
from torch import Tensor

LOW_HU, HIGH_HU = -1024.0, 1500.0
AIR_HU = -1000.0
UNIT_HU = 100.0  # one network unit; likelihoods are per unit, and ratios do not depend on it


def clamp_hu(hu: Tensor) -> Tensor:
    """HU limited to what the decoders model; beyond lie metal and padding."""
    return hu.clamp(LOW_HU, HIGH_HU)


def compress(hu: Tensor) -> Tensor:
    """HU to the units of latents, (-2.6 .. 3.0): asinh(HU / 150), which keeps soft tissue contrasts apart."""
    return torch.asinh(clamp_hu(hu) / (1.5 * UNIT_HU))


def expand(units: Tensor) -> Tensor:
    """Inverse of `compress`."""
    return torch.sinh(units.clamp(-4.0, 4.0)) * (1.5 * UNIT_HU)


def windows(hu: Tensor) -> Tensor:
    """(B, 1, ...) HU to (B, 2, ...): the whole range, and soft tissue stretched as in an abdomen window."""
    return torch.cat([clamp_hu(hu) / 1000.0, torch.tanh((hu - 30.0) / 150.0)], dim=1)
