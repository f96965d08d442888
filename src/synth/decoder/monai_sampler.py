"""A velocity driven by MONAI's own inferer and scheduler, to compare ours with."""

from __future__ import annotations

from typing import Any, cast

from monai.inferers import DiffusionInferer
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import RFlowScheduler
from torch import Tensor, nn

from synth.decoder.flow import Velocity

TIMES = 1000  # MONAI counts times in so many parts


class _Handed(nn.Module):
    """The velocity as MONAI's inferer calls it: times in its own unit, data minus noise."""

    def __init__(self, velocity: Velocity) -> None:
        super().__init__()
        self.velocity = velocity

    def forward(self, x: Tensor, timesteps: Tensor, **_: Any) -> Tensor:
        return -self.velocity(x, timesteps.float() / TIMES)


def sampled_by_monai(velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """Data (B, C, x, y, z) from noise by Euler's method, `DiffusionInferer` with `RFlowScheduler`."""
    scheduler = RFlowScheduler(num_train_timesteps=TIMES, use_discrete_timesteps=False)
    scheduler.set_timesteps(num_inference_steps=steps)
    network = cast(DiffusionModelUNet, _Handed(velocity))  # the inferer asks no more of it than forward
    return cast(Tensor, DiffusionInferer(scheduler).sample(noise, network, scheduler=scheduler, verbose=False))
