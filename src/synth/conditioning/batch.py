"""Scenes of different sizes, stacked for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synth.conditioning.scene import SceneCrop


@dataclass(frozen=True, eq=False)
class SceneBatch:
    """B scene crops, entities padded to the longest.

    Attributes: lineage (B, E, D), presence (B, E), numeric (B, E, N), category (B, E, C), geometry (B, E, 7),
        relations (B, R, E, E), layer (B, E), circumstance (B, 2), frame (B, 4), valid (B, E) bool, told (B,) bool;
        occupancy: B tensors (E_b, x, y, z), not padded, since the masks are by far the largest part.
    """

    lineage: Tensor
    presence: Tensor
    numeric: Tensor
    category: Tensor
    geometry: Tensor
    relations: Tensor
    layer: Tensor
    circumstance: Tensor
    frame: Tensor
    valid: Tensor
    told: Tensor
    occupancy: tuple[Tensor, ...]

    def rows(self, chosen: Tensor) -> SceneBatch:
        """The batch of these rows, in this order; `chosen` is (n,) of row numbers."""
        picked = {k: v[chosen] for k, v in vars(self).items() if isinstance(v, Tensor)}
        return SceneBatch(**picked, occupancy=tuple(self.occupancy[i] for i in chosen.tolist()))

    def to(self, device: torch.device) -> SceneBatch:
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return SceneBatch(**moved, occupancy=tuple(o.to(device) for o in self.occupancy))


def collate(scenes: Sequence[SceneCrop]) -> SceneBatch:
    """Stack crops of one box shape."""
    longest = max(1, *(len(s.presence) for s in scenes))

    def pad(name: str, fill: float = 0) -> Tensor:
        arrays = [getattr(s, name) for s in scenes]
        out = np.full((len(arrays), longest, *arrays[0].shape[1:]), fill, arrays[0].dtype)
        for row, array in zip(out, arrays, strict=True):
            row[: len(array)] = array
        return torch.from_numpy(out)

    relations = np.zeros((len(scenes), scenes[0].relations.shape[0], longest, longest), bool)
    valid = np.zeros((len(scenes), longest), bool)
    for i, s in enumerate(scenes):
        n = len(s.presence)
        relations[i, :, :n, :n] = s.relations
        valid[i, :n] = True
    return SceneBatch(
        lineage=pad("lineage"),
        presence=pad("presence"),
        numeric=pad("numeric", np.nan),
        category=pad("category"),
        geometry=pad("geometry"),
        relations=torch.from_numpy(relations),
        layer=pad("layer"),
        circumstance=torch.from_numpy(np.stack([s.circumstance for s in scenes])),
        frame=torch.from_numpy(np.stack([s.frame for s in scenes])),
        valid=torch.from_numpy(valid),
        told=torch.tensor([s.told for s in scenes]),
        occupancy=tuple(torch.from_numpy(s.occupancy) for s in scenes),
    )
