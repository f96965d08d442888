"""The sampler of the flow decoder."""

from __future__ import annotations

import pytest
import torch

from synth.decoder.flow import interpolate, mean_of_data, sample, times, velocity_target
from synth.decoder.latent_net import blank


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 30, 200])
@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("corrected", [True, False])
def test_an_exact_velocity_lands_on_the_target_at_every_step_count(steps: int, shift: float, corrected: bool) -> None:
    generator = torch.Generator().manual_seed(steps)
    noise, data = torch.randn(2, 1, 3, 2, 2, 2, generator=generator)

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return velocity_target(data, noise)

    made = sample(velocity, noise, steps, shift=shift, corrected=corrected)
    assert torch.allclose(made, data, atol=1e-5)


def test_a_wrong_velocity_misses_the_target() -> None:
    noise, data = torch.zeros(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)
    ended = sample(lambda x, t: 0.5 * velocity_target(data, noise), noise, 10)
    assert not torch.allclose(ended, data, atol=0.1)


def test_more_steps_come_nearer_on_a_curved_path() -> None:
    start = torch.ones(1, 1, 1, 1, 1)
    exact = start * torch.exp(torch.tensor(-1.0))  # dx/dt = x from t = 1 to 0
    errors = [float((sample(lambda x, t: x, start, n) - exact).abs()) for n in (2, 8, 32)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02
    plain = float((sample(lambda x, t: x, start, 8, corrected=False) - exact).abs())
    assert plain > 2 * errors[1]  # one evaluation a step knows nothing of the curve


def test_the_path_starts_at_the_data_and_ends_at_the_noise() -> None:
    data, noise = torch.zeros(2, 1, 1, 1, 1), torch.ones(2, 1, 1, 1, 1)
    assert interpolate(data, noise, torch.tensor([0.0, 1.0])).flatten().tolist() == [0.0, 1.0]
    grid = times(5, shift=2.0)
    assert grid[0] == 1
    assert grid[-1] == 0
    assert bool((grid.diff() < 0).all())


def test_the_mean_of_the_data_is_read_off_at_the_first_time() -> None:
    data = torch.randn(1, 2, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    asked = []

    def velocity(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(float(t))
        return x - data + 0.3 * x.mean()  # a network's error that depends on the noise cancels over the pair

    noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(mean_of_data(velocity, noise), data, atol=1e-6)
    assert asked == [1.0, 1.0]


def test_a_hole_is_blanked_wherever_its_latent_voxels_reach() -> None:
    hole = torch.zeros(1, 1, 2, 2, 2)
    hole[..., 1] = 1
    left = blank(torch.full((1, 1, 4, 4, 4), 70.0), hole, 2)
    assert (left[..., :2] == 70).all()
    assert (left[..., 2:] == 0).all()
