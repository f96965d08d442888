"""A small critic: a 3D network that sees a claim and its counterfactual and says whether it is right.

logit = mean over windows of  W [mean, max over the window of features(cube)] + b        24 voxels a side
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

import numpy as np
import torch
from critic_claims import CHANNELS, LOOSE, SIDE, Seen
from numpy.typing import NDArray
from torch import Tensor, nn

from synth.benchmark.extents import TRUE

STRIDE = 18  # voxels between the windows of what is longer than one
MASK = CHANNELS.index("mask")
MIN_SHARE = 0.1  # of the fullest window's voxels of the mask; a window with fewer says nothing
EPOCHS, BATCH, RATE, WARM_UP = 14, 16, 2e-3, 20
Start = tuple[int, int, int]


class Critic(nn.Module):
    """(n, channels, 24, 24, 24) to (n,) logits; positive speaks for the claim."""

    def __init__(self, channels: int = len(CHANNELS), width: int = 16) -> None:
        super().__init__()
        sizes = [(channels, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 1), (2 * width, 4 * width, 2),
                 (4 * width, 4 * width, 1)]  # fmt: skip
        self.body = nn.Sequential(*(self._layer(*size) for size in sizes))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8 * width, 1)

    @staticmethod
    def _layer(before: int, after: int, stride: int) -> nn.Module:
        return nn.Sequential(nn.Conv3d(before, after, 3, stride, 1), nn.GroupNorm(4, after), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        found = self.body(x)
        pooled = torch.cat([found.mean(dim=(2, 3, 4)), found.amax(dim=(2, 3, 4))], dim=1)
        return torch.as_tensor(self.head(self.drop(pooled)))[:, 0]


def windows(cube: NDArray[np.float16]) -> list[Start]:
    """Where the windows of a cube start: one in the middle, several along what is longer."""
    axes = []
    for side in cube.shape[1:]:
        free = side - SIDE - 2 * LOOSE
        count = 1 + -(-free // STRIDE)
        axes.append([LOOSE + round(free * (k + 0.5 * (count == 1)) / max(count - 1, 1)) for k in range(count)])
    starts: list[Start] = list(itertools.product(*axes))
    held = [float(cut(cube, s)[MASK].sum(dtype=np.float32)) for s in starts]
    return [s for s, h in zip(starts, held, strict=True) if h >= MIN_SHARE * max(held)]


def cut(cube: NDArray[np.float16], start: Start) -> NDArray[np.float16]:
    """One window of a cube."""
    x, y, z = (slice(s, s + SIDE) for s in start)
    return cube[:, x, y, z]


def augmented(cube: NDArray[np.float16], starts: Sequence[Start], rng: np.random.Generator) -> NDArray[np.float16]:
    """A random window, shifted by up to `LOOSE` voxels and mirrored along some axes."""
    start = starts[int(rng.integers(len(starts)))]
    x, y, z = (int(s + rng.integers(-LOOSE, LOOSE + 1)) for s in start)
    flips = [1 + int(axis) for axis in np.flatnonzero(rng.random(3) < 0.5)]
    return np.flip(cut(cube, (x, y, z)), flips)


def fit(seen: Sequence[Seen], *, seed: int = 0) -> Critic:
    """Train on these claims at a rate that falls to nothing."""
    torch.manual_seed(seed)
    rng, critic = np.random.default_rng(seed), Critic().to(memory_format=torch.channels_last_3d)
    optimiser = torch.optim.AdamW(critic.parameters(), lr=RATE, weight_decay=1e-2)
    starts = [windows(s.cube) for s in seen]
    right = torch.tensor([s.told.family == TRUE for s in seen], dtype=torch.float32)
    weight = torch.where(right > 0, 0.5 / right.mean(), 0.5 / (1 - right.mean()))
    order = [part for _ in range(EPOCHS) for part in shuffled(len(seen), rng)]
    critic.train()
    for step, part in enumerate(order):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * (1 - step / len(order))
        x = as_tensor([augmented(seen[k].cube, starts[k], rng) for k in part])
        with torch.autocast("cpu", torch.bfloat16):
            logit = critic(x)
        loss = nn.functional.binary_cross_entropy_with_logits(logit.float(), right[part], weight[part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 50 == 0:
            sys.stderr.write(f"step {step} of {len(order)}: loss {float(loss.detach()):.3f}\n")
    return critic


def shuffled(count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Every claim once, in batches."""
    return list(np.array_split(rng.permutation(count), max(count // BATCH, 1)))


def as_tensor(drawn: Sequence[NDArray[np.float16]]) -> Tensor:
    """A batch the way the network likes it."""
    stacked = torch.from_numpy(np.stack(drawn).astype(np.float32))
    return stacked.to(memory_format=torch.channels_last_3d)


@torch.inference_mode()
def asked(critic: Critic, seen: Sequence[Seen]) -> NDArray[np.float64]:
    """(claims,) logits, the mean over each claim's windows."""
    critic.eval()
    out = []
    for claim in seen:
        x = as_tensor([cut(claim.cube, s) for s in windows(claim.cube)])
        with torch.autocast("cpu", torch.bfloat16):
            out.append(float(critic(x).float().mean()))
    return np.array(out)
