"""A mixture of logistics per voxel: the direct decoder's answer, with a location and a scale in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from synth.contracts import Box
from synth.decoder.intensity import UNIT_HU, clamp_hu

COMPONENTS = 3
PARAMETERS = 3 * COMPONENTS
START_UNITS = (-8.0, -0.5, 1.0)  # air, fat to water, soft tissue and bone: where training starts
NARROWEST = 0.05  # 5 HU: below the noise of any CT at 4 mm, so that a likelihood cannot run away


@dataclass(frozen=True, eq=False)
class Mixture:
    """p(x_v) = sum_k w_k Logistic(x_v; location_k, scale_k), in units of 100 HU.

    Attributes: log_weight, location, log_scale: (B, K, X, Y, Z) float32.
    """

    log_weight: Tensor
    location: Tensor
    log_scale: Tensor

    @classmethod
    def from_network(cls, raw: Tensor) -> Mixture:
        """(B, 3K, X, Y, Z) network output of any dtype."""
        logits, location, log_scale = rearrange(raw.float(), "b (three k) x y z -> three b k x y z", three=3)
        start = location.new_tensor(START_UNITS)[:, None, None, None]
        scale = NARROWEST + F.softplus(log_scale - 1.0)
        return cls(logits.log_softmax(dim=1), start + location, scale.log())

    def cpu(self) -> Mixture:
        """The same on the CPU."""
        return Mixture(self.log_weight.cpu(), self.location.cpu(), self.log_scale.cpu())

    def log_prob(self, hu: Tensor) -> Tensor:
        """(B, X, Y, Z) nats per voxel of an image (B, 1, X, Y, Z) in HU."""
        z = (clamp_hu(hu) / UNIT_HU - self.location) / self.log_scale.exp()
        log_pdf = -z - 2.0 * F.softplus(-z) - self.log_scale
        return torch.logsumexp(self.log_weight + log_pdf, dim=1)

    def mean_hu(self) -> Tensor:
        """(B, X, Y, Z) HU."""
        return (self.log_weight.exp() * self.location).sum(dim=1) * UNIT_HU

    def std_hu(self) -> Tensor:
        """(B, X, Y, Z) HU; the variance of a logistic is (pi s)^2 / 3."""
        within = (math.pi**2 / 3.0) * (2.0 * self.log_scale).exp()
        weight = self.log_weight.exp()
        mean = (weight * self.location).sum(dim=1, keepdim=True)
        return (weight * (within + (self.location - mean) ** 2)).sum(dim=1).clamp_min(0).sqrt() * UNIT_HU

    def sample_hu(self, generator: torch.Generator, part: tuple[Sequence[int], Box] | None = None) -> Tensor:
        """(B, X, Y, Z) HU, voxels independent given the mixture.

        `part` is the shape of a larger box and the window of it that this mixture covers: what is drawn is then what
        a mixture over all of that box would draw there.
        """

        def uniform() -> Tensor:
            if part is None:
                return torch.rand(self.location[:, :1].shape, generator=generator)
            return torch.rand((len(self.location), 1, *part[0]), generator=generator)[(..., *part[1])]

        pick = uniform()
        edges = self.log_weight.exp().cumsum(dim=1)
        chosen = (pick > edges).sum(dim=1, keepdim=True).clamp_max(COMPONENTS - 1)
        location, scale = self.location.gather(1, chosen), self.log_scale.gather(1, chosen).exp()
        u = uniform().clamp(1e-4, 1 - 1e-4)
        return clamp_hu((location + scale * torch.logit(u))[:, 0] * UNIT_HU)
