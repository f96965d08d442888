"""The 3D U-Net under both decoders: convolutions in space, cross-attention to the entity tokens at the coarse levels.

Activations stay in channels_last_3d, where bf16 convolutions on a CPU are two to thirty times faster than float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8


class UNet(nn.Module):
    """Features in, features out, at one resolution.

    Args:
        channels: of the input and of the output (the caller has its own stem and head).
        widths: channels per level; every level after the first halves the resolution.
        token_width: of the entity tokens for cross-attention at levels from `attend_from` on.
        time: add an embedding of t in [0, 1] to every block (the flow decoder) or not (the direct one).
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        token_width: int,
        *,
        blocks: int = 1,
        attend_from: int = 1,
        time: bool = False,
    ) -> None:
        super().__init__()
        self.embed_width = 4 * widths[0] if time else token_width
        self.time = TimeEmbedding(self.embed_width) if time else None
        self.overall = nn.Linear(token_width, self.embed_width)
        self.entry = nn.Conv3d(channels, widths[0], 1) if channels != widths[0] else nn.Identity()
        self.down, self.up, self.pool, self.lift = (nn.ModuleList() for _ in range(4))
        for level, width in enumerate(widths):
            attends = token_width if level >= attend_from else None
            self.down.append(Stage(width, width, blocks, self.embed_width, attends))
            if level + 1 < len(widths):
                self.pool.append(nn.Conv3d(width, widths[level + 1], 2, stride=2))
                self.lift.append(nn.ConvTranspose3d(widths[level + 1], width, 2, stride=2))
                self.up.append(Stage(2 * width, width, blocks, self.embed_width, attends))
        self.exit = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), nn.Conv3d(widths[0], channels, 1))

    def forward(self, x: Tensor, tokens: Tensor, valid: Tensor, t: Tensor | None = None) -> Tensor:
        """x (B, C, X, Y, Z) with sides divisible by 2^(levels - 1); tokens (B, N, W), global first; t (B,)."""
        embedding = self.overall(tokens[:, 0])
        if self.time is not None:
            if t is None:
                raise ValueError("a network built with time=True needs t")
            embedding = embedding + self.time(t)
        x = self.entry(x)
        skips = []
        for level, stage in enumerate(self.down):
            x = stage(x, embedding, tokens, valid)
            if level < len(self.pool):
                skips.append(x)
                x = self.pool[level](x)
        for level in reversed(range(len(self.up))):
            x = torch.cat([self.lift[level](x), skips[level]], dim=1)
            x = self.up[level](x, embedding, tokens, valid)
        return self.exit(x)


class Stage(nn.Module):
    """Residual blocks, then cross-attention where the level has it."""

    def __init__(self, inputs: int, outputs: int, blocks: int, embed: int, token_width: int | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(inputs if i == 0 else outputs, outputs, embed) for i in range(blocks))
        self.attend = CrossAttention(outputs, token_width) if token_width else None

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, embedding)
        return x if self.attend is None else self.attend(x, tokens, valid)


class Block(nn.Module):
    """Pre-activation residual block, scaled and shifted by the embedding."""

    def __init__(self, inputs: int, outputs: int, embed: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(GROUPS, inputs), nn.GroupNorm(GROUPS, outputs)
        self.conv_1 = nn.Conv3d(inputs, outputs, 3, padding=1)
        self.conv_2 = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.film = nn.Linear(embed, 2 * outputs)
        self.skip = nn.Conv3d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        nn.init.zeros_(self.conv_2.weight)
        if self.conv_2.bias is not None:
            nn.init.zeros_(self.conv_2.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.film(F.silu(embedding))[..., None, None, None].chunk(2, dim=1)
        h = self.conv_1(F.silu(self.norm_1(x)))
        h = self.norm_2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv_2(F.silu(h))


class CrossAttention(nn.Module):
    """Voxels ask the entity tokens; an output gate that starts at zero leaves the network convolutional at first."""

    def __init__(self, channels: int, token_width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(token_width, 2 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        shape = x.shape[2:]
        q = rearrange(
            self.query(rearrange(self.norm(x), "b c x y z -> b (x y z) c")), "b n (h d) -> b h n d", h=self.heads
        )
        k, v = rearrange(self.key_value(tokens.to(x.dtype)), "b n (two h d) -> two b h n d", two=2, h=self.heads)
        mixed = F.scaled_dot_product_attention(q, k.to(q.dtype), v.to(q.dtype), attn_mask=valid[:, None, None, :])
        flat = self.out(rearrange(mixed, "b h n d -> b n (h d)"))
        return x + rearrange(flat, "b (x y z) c -> b c x y z", x=shape[0], y=shape[1], z=shape[2])


class TimeEmbedding(nn.Module):
    """Sinusoids of t in [0, 1], then two linear layers."""

    def __init__(self, width: int, frequencies: int = 64) -> None:
        super().__init__()
        self.rate: Tensor
        self.register_buffer("rate", torch.exp(torch.linspace(0, math.log(1000.0), frequencies)), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        angle = t[:, None].float() * self.rate
        return self.layers(torch.cat([angle.sin(), angle.cos()], dim=1))
