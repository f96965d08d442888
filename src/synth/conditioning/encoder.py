"""Entity tokens, mixed by a small graph transformer whose attention is biased by the declared relations."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from synth.conditioning.batch import SceneBatch
from synth.conditioning.codec import MODALITIES, PHASES, Codec
from synth.conditioning.scene import FRAME_FEATURES, GEOMETRY_FEATURES
from synth.parse import Presence


class EntityEncoder(nn.Module):
    """Scene to tokens.

    token_e = sum over the name's ancestors of their embedding + presence + attributes + geometry, then `layers` of
    attention in which the logit of (i, j) gains a learned bias per head for each relation type between i and j, in each
    direction. A global token (modality, contrast phase, voxel and field of view) takes part and comes out first.

    Args:
        codec: the checkpoint's vocabulary; width: of the tokens; layers, heads: of the graph transformer.
        edges: relations are carried along as values as well, not only as a bias of who listens to whom.
        frame: the global token is told the voxel's side and the field of view.
    """

    def __init__(
        self,
        codec: Codec,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        *,
        edges: bool = False,
        frame: bool = False,
    ) -> None:
        super().__init__()
        self.width = width
        self.name = nn.Embedding(len(codec.names) + 1, width, padding_idx=0)
        self.presence = nn.Embedding(len(Presence), width)
        self.numeric = nn.Linear(2 * len(codec.numeric), width, bias=False)
        self.category = nn.ModuleList(nn.Embedding(len(v) + 1, width, padding_idx=0) for _, v in codec.categorical)
        self.geometry = nn.Sequential(nn.Linear(GEOMETRY_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.modality = nn.Embedding(len(MODALITIES) + 1, width)
        self.phase = nn.Embedding(len(PHASES) + 1, width)
        self.frame = nn.Linear(FRAME_FEATURES, width) if frame else None
        self.blocks = nn.ModuleList(GraphBlock(width, heads, len(codec.relations), edges=edges) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, scene: SceneBatch) -> tuple[Tensor, Tensor]:
        """Tokens (B, 1 + E, width), the global one first, and which of them voxels may ask (B, 1 + E)."""
        known = ~scene.numeric.isnan()
        values = torch.cat([torch.nan_to_num(scene.numeric), known.float()], dim=-1)
        entity = self.name(scene.lineage).sum(dim=2) + self.presence(scene.presence)
        entity = entity + self.numeric(values) + self.geometry(scene.geometry)
        for column, table in enumerate(self.category):
            entity = entity + table(scene.category[..., column])
        overall = self.modality(scene.circumstance[:, 0]) + self.phase(scene.circumstance[:, 1])
        if self.frame is not None:
            overall = overall + self.frame(scene.frame)
        tokens = torch.cat([overall[:, None], entity], dim=1)
        valid = F.pad(scene.valid, (1, 0), value=True)
        relations = F.pad(scene.relations, (1, 0, 1, 0)).to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, valid, relations)
        return self.norm(tokens), F.pad(scene.valid & scene.told[:, None], (1, 0), value=True)


class GraphBlock(nn.Module):
    """Pre-norm attention with a relation bias, then a feed-forward layer.

    With `edges`, what is heard from a related entity gains a learned vector for each relation type and direction
    (Shaw et al. 2018, "Self-Attention with Relative Position Representations", eq. 3).
    """

    def __init__(self, width: int, heads: int, relation_types: int, *, edges: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(2, heads, relation_types))
        self.edges = nn.Parameter(torch.zeros(2, relation_types, width)) if edges else None
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, valid: Tensor, relations: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm_1(tokens)), "b n (three h d) -> three b h n d", three=3, h=self.heads)
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        logits = logits + torch.einsum("brij,hr->bhij", relations, self.bias[0])
        logits = logits + torch.einsum("brji,hr->bhij", relations, self.bias[1])
        logits = logits.masked_fill(~valid[:, None, None, :], float("-inf"))
        heard = logits.softmax(dim=-1)
        mixed = rearrange(heard @ v, "b h n d -> b n (h d)")
        if self.edges is not None:
            edges = rearrange(self.edges, "two r (h d) -> two h r d", h=self.heads).to(heard.dtype)
            for way, pattern in enumerate(("bhij,brij->bihr", "bhij,brji->bihr")):
                along = torch.einsum(pattern, heard, relations.to(heard.dtype))
                mixed = mixed + rearrange(torch.einsum("bihr,hrd->bihd", along, edges[way]), "b i h d -> b i (h d)")
        tokens = tokens + self.out(mixed)
        return tokens + self.feed(self.norm_2(tokens))


class Scatter(nn.Module):
    """Paint tokens into space through their masks, parents and children in layers of their own.

    map[layer](v) = sum_e occupancy_e(v) W_layer token_e, so a lesion (child) does not erase its organ (parent).
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.parent, self.child = nn.Linear(width, channels), nn.Linear(width, channels)

    def forward(self, tokens: Tensor, scene: SceneBatch) -> Tensor:
        """(B, 2 * channels, x, y, z)."""
        entity = tokens[:, 1:]
        child = scene.layer[..., None].to(entity.dtype)
        painted = torch.cat([self.parent(entity) * (1 - child), self.child(entity) * child], dim=-1)
        maps = []
        for row, occupancy in zip(painted, scene.occupancy, strict=True):
            soft = occupancy.to(_product_dtype(row))
            maps.append(torch.einsum("ec,exyz->cxyz", row[: len(soft)].to(soft.dtype), soft))
        return torch.stack(maps)


def _product_dtype(x: Tensor) -> torch.dtype:
    """The type that a product with x is computed in: under autocast the masks, which are large, go there directly."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
