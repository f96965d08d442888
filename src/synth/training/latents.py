"""Latents of whole training images, encoded once: the autoencoder is frozen, a crop need not be encoded at every step.

An image is encoded window by window, each as large as the crops that are drawn from it, and blended: normalisation
layers then see as much of a patient as they do in a crop. What lies outside the image has the latents of air.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch import Tensor

from synth.contracts import Box
from synth.decoder.holes import take
from synth.decoder.intensity import AIR_HU
from synth.decoder.networks import AnyAutoencoder
from synth.decoder.tiles import mapped
from synth.training.prepared import Case, Latents
from synth.volume import atomic_path

MARGIN = 4  # latent voxels of air around the image, so that its border is encoded as in a crop that reaches beyond it
OVERLAP = 0.25  # of neighbouring windows, in sides


@dataclass(frozen=True)
class LatentStore:
    """Where the latents of a set are kept: a folder for each autoencoder and size of crops.

    Attributes:
        folder: of the prepared set; autoencoder_sha256: of its weights; crop: side of the windows, voxels.
    """

    folder: Path
    autoencoder_sha256: str
    crop: int

    def path(self, number: int) -> Path:
        """The file of case `number`."""
        return self.folder / f"latents-{self.autoencoder_sha256[:12]}-{self.crop}" / f"{number:05d}.npy"

    @torch.no_grad()
    def fill(self, cases: Sequence[Case], autoencoder: AnyAutoencoder, *, share: tuple[int, int] = (0, 1)) -> None:
        """Encode and write what is not there yet; each file appears whole or not at all.

        Args:
            share: (k, n) of several processes: this one begins with every n-th case from k on, then sees to the rest.
        """
        first, every = share
        numbers = sorted(range(len(cases)), key=lambda i: ((i - first) % every, i))
        for number in numbers:
            if not self.path(number).exists():
                with atomic_path(self.path(number)) as temporary, temporary.open("wb") as file:
                    np.save(file, encoded(cases[number].hu, autoencoder, self.crop), allow_pickle=False)

    def read(self, number: int, factor: int) -> Latents:
        """The latents of case `number`, mapped from the disk: a crop reads its own part only."""
        values = np.load(self.path(number), mmap_mode="r", allow_pickle=False)
        return Latents(values, -MARGIN * factor, factor)


class CasesWithLatents(Sequence[Case]):
    """Cases whose latents lie in a store that was filled."""

    def __init__(self, cases: Sequence[Case], store: LatentStore, factor: int) -> None:
        self.cases, self.store, self.factor = cases, store, factor

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, number: int) -> Case:  # type: ignore[override]  # slices are not needed
        case = self.cases[number]
        return replace(case, latents=self.store.read(number % len(self), self.factor))


def process() -> tuple[int, int]:
    """The number of this process and of all that train together."""
    state = PartialState()
    return state.process_index, state.num_processes


@torch.no_grad()
def encoded(hu: NDArray[np.float32], autoencoder: AnyAutoencoder, crop: int) -> NDArray[np.float16]:
    """(C, x, y, z) latents of an image (X, Y, Z) HU and of `MARGIN` latent voxels of air around it."""
    factor = autoencoder.factor
    device = next(autoencoder.parameters()).device
    margin = MARGIN * factor
    box: Box = tuple(slice(-margin, -(-n // factor) * factor + margin) for n in hu.shape)  # type: ignore[assignment]  # 3 long
    whole = torch.from_numpy(take(hu, box, AIR_HU))[None, None]

    def encode(window: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return autoencoder.encode(window.to(device)).float().cpu()

    overlap = max(1, round(OVERLAP * crop / factor)) * factor
    blended = mapped(encode, whole, crop, overlap, factor=1 / factor)
    return blended[0].numpy().astype(np.float16)
