"""What the diffusion transformer is made of: embeddings, attention, blocks and head.

Legend: B batch, C latent channels, T H W latent frames, rows and columns, L = T·(H/2)·(W/2) tokens, D model dimension,
N heads, Dh head dimension, S text rows, U distinct timesteps, P image tokens.

Attribute names are those of the original checkpoints. Their order of execution in a block is norm1, norm3, norm2; only
norm3 has weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from filmgate.engine.kernels.attention import Attend
from filmgate.engine.kernels.fp64 import in_fp64
from filmgate.engine.kernels.gelu import GeluTanh
from filmgate.engine.kernels.norm import layer_norm, layer_norm_modulate, rms_norm, rms_scale
from filmgate.engine.kernels.rope import apply_rope
from filmgate.engine.models.config import PATCH, DitConfig

KeysValues = tuple[tuple[Tensor, Tensor], ...]
"""What a layer's cross-attention reads: (k, v) of the text, then (k, v) of the image in models with that branch."""
TIMESTEP_BASE = 10_000.0
IMAGE_EPS = 1e-5


class FoldedText(NamedTuple):
    """The same as :data:`KeysValues` for a short text, arranged for less work per step.

    All rows of padding are one row that counts as often as it occurs, the weights of the queries' norm are already
    applied to the keys, and the output projection to the values, head by head. Worth it while S, the rows that are
    left, is below the head dimension.

    Attributes:
        k: Scaled keys [B, N, S, Dh].
        v: Projected values [B, N·S, D], with the projection's bias in those of the first head.
        log_count: How many rows each row stands for, as a logarithm: [S, 1].
    """

    k: Tensor
    v: Tensor
    log_count: Tensor


TextCache = Sequence[KeysValues | FoldedText]
"""One entry per block."""


class Linear(nn.Linear):
    """A linear layer that takes its input in any dtype and computes in its weight's (or in autocast's)."""

    @property
    def computes_in(self) -> torch.dtype:
        """What it rounds its input to."""
        return self.weight.dtype

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        if x.dtype != self.weight.dtype and not torch.is_autocast_enabled(x.device.type):
            x = x.to(self.weight.dtype)
        return F.linear(x, self.weight, self.bias)


class LayerNorm(nn.LayerNorm):
    """Layer normalisation with weights, in fp32."""

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] of any dtype to fp32."""
        return layer_norm(x, self.weight, self.bias, self.eps)


class RmsNorm(nn.Module):
    """Root-mean-square normalisation over the whole model dimension, before it is split into heads."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return rms_norm(x, self.weight, self.eps)


class PatchEmbedding(nn.Conv3d):
    """Non-overlapping patches to tokens; its kernel covers each patch once, so that it is a linear layer."""

    def __init__(self, in_dim: int, dim: int) -> None:
        super().__init__(in_dim, dim, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, T, H, W] to [B, L, D]."""
        if not torch.is_autocast_enabled(x.device.type):
            x = x.to(self.weight.dtype)
        _, rows, columns = PATCH
        patches = rearrange(x, "b c t (h p) (w q) -> b (t h w) (c p q)", p=rows, q=columns)
        return F.linear(patches, self.weight.flatten(1), self.bias)


class ImageEmbedding(nn.Module):
    """Image features to context tokens (Wan 2.1 image to video and first-last frame)."""

    def __init__(self, image_dim: int, dim: int, positions: int | None) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            LayerNorm(image_dim, IMAGE_EPS),
            Linear(image_dim, image_dim),
            nn.GELU(),
            Linear(image_dim, dim),
            LayerNorm(dim, IMAGE_EPS),
        )
        self.emb_pos = None if positions is None else nn.Parameter(torch.zeros(1, positions, image_dim))

    def forward(self, features: Tensor) -> Tensor:
        """[B, P, image_dim] to [B, P, D]."""
        if self.emb_pos is not None:
            features = features + self.emb_pos
        tokens: Tensor = self.proj(features)
        return tokens


class SelfAttention(nn.Module):
    """Attention among the video's tokens, with rotary positions."""

    def __init__(self, config: DitConfig, attend: Attend) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (Linear(config.dim, config.dim) for _ in range(4))
        self.norm_q, self.norm_k = (RmsNorm(config.dim, config.eps) for _ in range(2))
        self.heads = (config.num_heads, config.head_dim)
        self.attend = attend

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """[B, L, D] to [B, L, D]; ``rope`` is (cos, sin), each [L, Dh/2]."""
        v = self.v(x).unflatten(-1, self.heads)
        q = apply_rope(self.norm_q(self.q(x)).unflatten(-1, self.heads), *rope).to(v.dtype)
        k = apply_rope(self.norm_k(self.k(x)).unflatten(-1, self.heads), *rope).to(v.dtype)
        mixed: Tensor = self.o(self.attend(q, k, v).flatten(-2))
        return mixed


class CrossAttention(nn.Module):
    """Attention of the video's tokens to text and, in some models, to an image. No positions and no mask."""

    def __init__(self, config: DitConfig, attend: Attend) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (Linear(config.dim, config.dim) for _ in range(4))
        self.norm_q, self.norm_k = (RmsNorm(config.dim, config.eps) for _ in range(2))
        if config.image_dim is not None:
            self.k_img, self.v_img = (Linear(config.dim, config.dim) for _ in range(2))
            self.norm_k_img = RmsNorm(config.dim, config.eps)
        self.heads = (config.num_heads, config.head_dim)
        self.attend = attend

    def keys_values(self, text: Tensor, image: Tensor | None) -> KeysValues:
        """Keys and values [B, S, N, Dh] of embedded text [B, S, D] and image [B, P, D]."""
        v = self.v(text)
        pairs = [(self.norm_k(self.k(text)).to(v.dtype), v)]
        if image is not None:
            v = self.v_img(image)
            pairs.append((self.norm_k_img(self.k_img(image)).to(v.dtype), v))
        return tuple((k.unflatten(-1, self.heads), v.unflatten(-1, self.heads)) for k, v in pairs)

    def folded(self, text: Tensor, log_count: Tensor) -> FoldedText:
        """:meth:`keys_values` of embedded text [B, S, D] whose rows stand for exp(``log_count``) rows each."""
        ((k, v),) = self.keys_values(text, None)
        output = self.o.weight.unflatten(1, self.heads)
        factor = self.norm_q.weight.unflatten(0, self.heads) * self.heads[1] ** -0.5
        projected = torch.einsum("bsnh,dnh->bnsd", v, output)
        projected[:, 0] += self.o.bias  # a head's weights add up to one
        return FoldedText(
            (k * factor).to(k.dtype).transpose(1, 2).contiguous(),
            projected.flatten(1, 2),
            log_count.to(k.dtype)[:, None],
        )

    def attend_folded(self, x: Tensor, text: FoldedText) -> Tensor:
        """:meth:`forward` on folded text."""
        q = self.q(x)
        scale = rms_scale(q, self.norm_q.eps).transpose(1, 2)[:, None].to(text.k.dtype)  # [B, 1, 1, L]
        # Rows before tokens: the softmax of a few rows is fast where many tokens lie side by side. Text by text: one
        # product over texts and heads would copy the queries first.
        queries = q.to(text.k.dtype).unflatten(-1, self.heads).permute(0, 2, 3, 1).expand(len(text.k), -1, -1, -1)
        scores = torch.stack([k @ tokens for k, tokens in zip(text.k, queries, strict=True)])
        weights = torch.addcmul(text.log_count, scores, scale).softmax(-2)
        # The heads' weights side by side times the heads' projected values one above the other: the sum over heads.
        return weights.flatten(1, 2).transpose(1, 2) @ text.v

    def forward(self, x: Tensor, keys_values: KeysValues | FoldedText) -> Tensor:
        """[B, L, D] to [B, L, D]; tokens of batch 1 are shared by all texts of the keys and values."""
        if isinstance(keys_values, FoldedText):
            return self.attend_folded(x, keys_values)
        (k, v), *image = keys_values
        q = self.norm_q(self.q(x)).to(v.dtype).unflatten(-1, self.heads).expand(k.shape[0], -1, -1, -1)
        mixed = self.attend(q, k, v)
        for k, v in image:
            mixed = mixed + self.attend(q, k, v)
        result: Tensor = self.o(mixed.flatten(-2))
        return result


def per_token(vectors: Tensor, index: Tensor | None) -> Tensor:
    """Spread modulation over tokens: [B, D] to [B, 1, D], or [U, D] with ``index`` [B, L] to [B, L, D]."""
    return vectors[:, None] if index is None else vectors[index]


class Block(nn.Module):
    """Self-attention, cross-attention and feed-forward network; the noise level modulates the first and the last."""

    def __init__(self, config: DitConfig, attend: Attend) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config, attend)
        self.norm3 = LayerNorm(config.dim, config.eps)
        self.cross_attn = CrossAttention(config, attend)
        self.ffn = nn.Sequential(Linear(config.dim, config.ffn_dim), GeluTanh(), Linear(config.ffn_dim, config.dim))
        self.modulation = nn.Parameter(torch.randn(1, 6, config.dim) / config.dim**0.5)
        self.eps = config.eps

    def forward(
        self,
        x: Tensor,
        e0: Tensor,
        index: Tensor | None,
        keys_values: KeysValues | FoldedText,
        rope: tuple[Tensor, Tensor],
    ) -> Tensor:
        """One block.

        Args:
            x: Tokens [B, L, D], fp32.
            e0: Projected timesteps [B, 6, D], or [U, 6, D] with ``index``; fp32.
            index: Row of ``e0`` for every token [B, L], where timesteps differ between tokens.
            keys_values: Of this block's cross-attention.
            rope: (cos, sin), each [L, Dh/2].

        Returns:
            Tokens [B, L, D], fp32.
        """
        shift1, scale1, gate1, shift2, scale2, gate2 = (
            per_token(m, index) for m in (self.modulation.float() + e0).unbind(1)
        )
        y = self.self_attn(layer_norm_modulate(x, shift1, scale1, self.eps), rope)
        x = torch.addcmul(x, y.float(), gate1)
        x = x + self.cross_attn(self.norm3(x), keys_values)
        y = self.ffn(layer_norm_modulate(x, shift2, scale2, self.eps))
        return torch.addcmul(x, y.float(), gate2)


class Head(nn.Module):
    """Tokens to patches of velocity, modulated by the timestep embedding itself (not by its projection)."""

    def __init__(self, config: DitConfig) -> None:
        super().__init__()
        self.head = Linear(config.dim, config.out_dim * PATCH[0] * PATCH[1] * PATCH[2])
        self.modulation = nn.Parameter(torch.randn(1, 2, config.dim) / config.dim**0.5)
        self.eps = config.eps

    def forward(self, x: Tensor, e: Tensor, index: Tensor | None) -> Tensor:
        """Tokens [B, L, D] and timestep embedding [B, D] (or [U, D] with ``index`` [B, L]) to [B, L, 4·C]."""
        shift, scale = (per_token(m, index) for m in (self.modulation.float() + e[:, None]).unbind(1))
        patches: Tensor = self.head(layer_norm_modulate(x, shift, scale, self.eps))
        return patches


def timestep_sinusoid(timestep: Tensor, dim: int) -> Tensor:
    """Cosines, then sines, of t·10000^(-i/half), computed in fp64: t [U], 0 ... 1000, to [U, dim] in fp32."""
    half = dim // 2
    exact = in_fp64(timestep)
    exponents = torch.arange(half, device=exact.device, dtype=torch.float64) / half
    angles = torch.outer(exact, TIMESTEP_BASE**-exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1).float().to(timestep.device)


def unpatchify(patches: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Tokens [B, L, 4·C], each its patch row by row with the channel fastest, to [B, C, T, H, W]."""
    t, h, w = grid
    _, rows, columns = PATCH
    return rearrange(patches, "b (t h w) (p q c) -> b c t (h p) (w q)", t=t, h=h, w=w, p=rows, q=columns)
