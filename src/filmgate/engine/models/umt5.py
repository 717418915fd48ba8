"""The umT5 text encoder of the Wan models.

Legend: B batch, L tokens, D width, N heads, Dh head dimension.

A T5 encoder (Raffel et al., 2020) whose layers have each their own table of relative-position biases (Chung et al.,
"UniMax", 2023). Nothing is scaled by 1/√Dh, no layer has a bias vector, and positions enter only through the tables.
Attribute names are those of the original checkpoints.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from filmgate.engine.kernels.attention import sdpa
from filmgate.engine.kernels.gelu import GeluTanh
from filmgate.engine.kernels.norm import rms_norm
from filmgate.engine.models.config import TextEncoderConfig
from filmgate.spec.errors import InvalidRequest

EPS = 1e-6


def relative_buckets(length: int, buckets: int, max_distance: int, device: torch.device | None = None) -> Tensor:
    """Bucket of the distance from every query to every key: [L, L] int64, queries first.

    Half of the buckets are for keys after the query. In each half, short distances have a bucket of their own; longer
    ones share buckets that widen logarithmically up to ``max_distance``, beyond which all fall into the last.
    """
    position = torch.arange(length, device=device)
    distance = position[None, :] - position[:, None]
    half = buckets // 2
    exact = half // 2
    far = distance.abs().clamp_min(1).float()
    steps = torch.log(far / exact) / math.log(max_distance / exact) * (half - exact)
    shared = (exact + steps.to(torch.int64)).clamp_max(half - 1)
    return torch.where(distance.abs() < exact, distance.abs(), shared) + half * (distance > 0)


class RmsNorm(nn.Module):
    """T5's layer normalisation: no mean, no bias."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return rms_norm(x, self.weight, EPS)


class RelativeBias(nn.Module):
    """A learned number per head and bucket of relative distance."""

    def __init__(self, buckets: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(buckets, heads)

    def forward(self, bucket: Tensor) -> Tensor:
        """Buckets [L, L] to biases [1, N, L, L]."""
        bias: Tensor = self.embedding(bucket)
        return bias.permute(2, 0, 1)[None]


class SelfAttention(nn.Module):
    """Attention with position and padding biases, without scaling."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(config.dim, config.dim_attn, bias=False) for _ in range(3))
        self.o = nn.Linear(config.dim_attn, config.dim, bias=False)
        self.heads = (config.heads, config.dim_attn // config.heads)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """[B, L, D] and ``bias`` broadcastable to [B, N, L, L] to [B, L, D]."""
        q, k, v = (project(x).unflatten(-1, self.heads) for project in (self.q, self.k, self.v))
        mixed: Tensor = self.o(sdpa(q, k, v, bias=bias.to(q.dtype), scale=1.0).flatten(-2))
        return mixed


class FeedForward(nn.Module):
    """Gated feed-forward network."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(config.dim, config.dim_ffn, bias=False), GeluTanh())
        self.fc1 = nn.Linear(config.dim, config.dim_ffn, bias=False)
        self.fc2 = nn.Linear(config.dim_ffn, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        y: Tensor = self.fc2(self.fc1(x) * self.gate(x))
        return y


class Block(nn.Module):
    """Attention, then feed-forward network, each on normalised input and added to the stream."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.norm1 = RmsNorm(config.dim)
        self.attn = SelfAttention(config)
        self.norm2 = RmsNorm(config.dim)
        self.ffn = FeedForward(config)
        self.pos_embedding = RelativeBias(config.buckets, config.heads)

    def forward(self, x: Tensor, bucket: Tensor, padding: Tensor) -> Tensor:
        """Tokens [B, L, D], buckets [L, L] and the bias of padded keys [B, 1, 1, L] to [B, L, D]."""
        x = x + self.attn(self.norm1(x), self.pos_embedding(bucket) + padding)
        y: Tensor = x + self.ffn(self.norm2(x))
        return y


class Umt5Encoder(nn.Module):
    """Token ids to features."""

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab, config.dim)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.layers)])
        self.norm = RmsNorm(config.dim)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode padded texts.

        Args:
            ids: [B, L], int64.
            mask: [B, L], true (or non-zero) on tokens, false on padding.

        Returns:
            [B, L, D]. Rows at padding hold numbers without meaning, not zeros: multiply by the mask before the
            transformer sees them.

        Raises:
            InvalidRequest: ``mask`` has another shape than ``ids``.
        """
        if ids.shape != mask.shape:
            raise InvalidRequest("mask", f"shape {tuple(mask.shape)}", allowed=f"that of ids, {tuple(ids.shape)}")
        x = self.token_embedding(ids)
        bucket = relative_buckets(ids.shape[1], self.config.buckets, self.config.max_distance, ids.device)
        padding = torch.zeros(mask.shape, dtype=x.dtype, device=x.device)
        padding = padding.masked_fill(~mask.bool(), torch.finfo(x.dtype).min)[:, None, None]
        for block in self.blocks:
            x = block(x, bucket, padding)
        y: Tensor = self.norm(x)
        return y
