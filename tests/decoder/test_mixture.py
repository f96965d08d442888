"""The per-voxel distribution of the direct decoder."""

from __future__ import annotations

import pytest
import torch

from synth.decoder.intensity import UNIT_HU
from synth.decoder.mixture import PARAMETERS, Mixture


@pytest.fixture
def mixture() -> Mixture:
    raw = torch.randn(1, PARAMETERS, 2, 3, 4, generator=torch.Generator().manual_seed(3))
    return Mixture.from_network(raw)


def test_the_density_integrates_to_one(mixture: Mixture) -> None:
    grid = torch.linspace(-40.0, 40.0, 8001)  # units of 100 HU, well beyond what images are clamped to
    shifted = Mixture(mixture.log_weight, mixture.location.clamp(-8, 8), mixture.log_scale)
    z = (grid[:, None, None, None, None, None] - shifted.location) / shifted.log_scale.exp()
    log_pdf = -z - 2 * torch.nn.functional.softplus(-z) - shifted.log_scale + shifted.log_weight
    mass = log_pdf.exp().sum(dim=2).sum(dim=0) * (grid[1] - grid[0])
    assert torch.allclose(mass, torch.ones_like(mass), atol=1e-2)


def test_samples_have_the_mean_and_spread_that_the_mixture_states(mixture: Mixture) -> None:
    inside = Mixture(mixture.log_weight, mixture.location.clamp(-5, 5), mixture.log_scale.clamp_max(-0.5))
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([inside.sample_hu(generator) for _ in range(4000)])
    assert torch.allclose(draws.mean(dim=0), inside.mean_hu(), atol=25.0)
    assert torch.allclose(draws.std(dim=0), inside.std_hu(), rtol=0.15)


def test_the_likelihood_prefers_the_location_to_a_place_far_off(mixture: Mixture) -> None:
    best = mixture.log_weight.argmax(dim=1, keepdim=True)
    at = mixture.location.gather(1, best) * UNIT_HU
    assert bool((mixture.log_prob(at) > mixture.log_prob(torch.full_like(at, 1400.0))).all())


def test_no_component_is_narrower_than_the_noise_floor() -> None:
    raw = torch.full((1, PARAMETERS, 1, 1, 1), -50.0)
    assert float(Mixture.from_network(raw).log_scale.exp().min()) * UNIT_HU >= 4.99
