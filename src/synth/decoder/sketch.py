"""A sketch of the image that a parse declares: how each voxel's entities are said to look, painted in their place.

    sketch(v) = sum_e w_e m_e(v) u_e / sum_e w_e m_e(v),    ln w_e = -2 ln(volume of e) + learned

with m_e the mask and u_e the intensity of entity e: the declared mean attenuation if there is one, else what is usual
for its name, corrected by what the network makes of the scene. Behind all entities is air where a body is drawn, else
anything. Small entities lie on large ones, so a lesion covers its organ and an organ the body. A network that starts
from the sketch has only to add what no parse holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from synth.conditioning import Codec, SceneBatch
from synth.decoder.intensity import AIR_HU, UNIT_HU, compress

MEAN = "mean_attenuation"
BY_VOLUME = 2.0  # how strongly a small entity covers a large one
NO_VOLUME_ML = 2e5  # larger than any patient: what lies behind every entity
CORRECTION_GAIN = 4.0  # of what is learned about intensity and precedence, which would else be learned slowly
BODY = "body"
BEHIND_ANYTHING = -1.0  # between air and soft tissue


class Sketch(nn.Module):
    """Tokens and masks to a sketch.

    Args:
        codec: the checkpoint's vocabulary; width: of the tokens.

    Attributes:
        told: number of channels that `forward` gives beside the intensity.
    """

    def __init__(self, codec: Codec, width: int) -> None:
        super().__init__()
        self.usual = nn.Embedding(len(codec.names) + 1, 1, padding_idx=0)
        self.behind = nn.Parameter(torch.tensor([BEHIND_ANYTHING, math.asinh(AIR_HU / (1.5 * UNIT_HU))]))
        self.correction = nn.Linear(width, 2)  # of the intensity, and of the precedence
        for part in (self.usual.weight, self.correction.weight, self.correction.bias):
            nn.init.zeros_(part)
        self.names = codec.names
        self.body = 1 + codec.names.index(BODY) if BODY in codec.names else -1
        columns = {name: (i, centre, half) for i, (name, centre, half) in enumerate(codec.numeric)}
        self.mean = columns.get(MEAN)
        self.told = 2 * len(codec.numeric)

    @torch.no_grad()
    def fit(self, mean_hu: Mapping[str, float]) -> None:
        """Set what is usual for each name, HU."""
        for row, name in enumerate(self.names, start=1):
            if name in mean_hu:
                self.usual.weight[row] = compress(torch.tensor(float(mean_hu[name])))

    def forward(self, tokens: Tensor, scene: SceneBatch) -> tuple[Tensor, Tensor]:
        """Compressed intensities (B, 1, X, Y, Z), and each numeric attribute with whether it is declared, painted with
        the same weights (B, `told`, X, Y, Z); tokens (B, 1 + E, W), the global one first."""
        with torch.autocast(tokens.device.type, enabled=False):
            correction, precedence = (CORRECTION_GAIN * self.correction(tokens.float())).unbind(dim=-1)
            known = ~scene.numeric.isnan()
            enclosed = (scene.lineage[..., 0] == self.body).any(dim=1).long()
            back = self.behind[enclosed] + correction[:, 0]
            front = self._declared(scene.numeric, self.usual(scene.lineage[..., 0])[..., 0] + correction[:, 1:])
            intensity = torch.cat([back[:, None], front], dim=1)
            said = torch.cat([torch.nan_to_num(scene.numeric), known.float()], dim=-1)
            behind = torch.full_like(precedence[:, :1], math.log(NO_VOLUME_ML))
            size = torch.cat([behind, scene.geometry[..., 0] * math.log(10.0)], dim=1)
            weight = (precedence - BY_VOLUME * size).clamp(-40.0, 40.0).exp()
            rows = zip(intensity, said, weight, scene.occupancy, strict=True)
            painted = torch.stack([_painted(*row) for row in rows])
        return painted[:, :1], painted[:, 1:]

    def _declared(self, numeric: Tensor, expected: Tensor) -> Tensor:
        """(B, E) intensities: declared, else expected."""
        if self.mean is None:
            return expected
        column, centre, half = self.mean
        value = numeric[..., column]
        return torch.where(value.isnan(), expected, compress(torch.nan_to_num(value) * half + centre))


def _painted(intensity: Tensor, said: Tensor, weight: Tensor, occupancy: Tensor) -> Tensor:
    """(1 + N, x, y, z) of one scene; intensity and weight (1 + E,), said (E, N), occupancy (E', x, y, z), E' <= E."""
    count = len(occupancy)
    w, behind = weight[1 : count + 1], weight[0]
    channels = torch.cat([intensity[1 : count + 1, None], said[:count]], dim=1) * w[:, None]
    masks = occupancy.to(w.dtype)
    total = torch.einsum("ec,exyz->cxyz", channels, masks)
    total[0] = total[0] + behind * intensity[0]
    return total / (torch.einsum("e,exyz->xyz", w, masks) + behind)
