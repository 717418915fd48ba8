"""Scaled dot-product attention behind one narrow protocol.

Legend: B batch, L query tokens, S key tokens, N heads, Dh head dimension. Heads stay in axis 2, as the projections
leave them, so that implementations which split tokens or heads over devices can wrap one another.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Attend(Protocol):
    """Full bidirectional attention: softmax(q·kᵀ/√Dh)·v with no mask."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        """Attend q [B, L, N, Dh] to k and v [B, S, N, Dh], all of one dtype; returns [B, L, N, Dh]."""


def sdpa(q: Tensor, k: Tensor, v: Tensor, /, *, bias: Tensor | None = None, scale: float | None = None) -> Tensor:
    """PyTorch's own attention, which picks the best kernel of the device.

    Args:
        q: [B, L, N, Dh].
        k, v: [B, S, N, Dh], dtype of ``q``.
        bias: Added to the scaled scores; broadcasts to [B, N, L, S], dtype of ``q``.
        scale: Factor of the scores; 1/√Dh if not given.

    Returns:
        [B, L, N, Dh].
    """
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale).transpose(1, 2)


def cudnn_attention(q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
    """cuDNN's fused attention, called by itself: :func:`sdpa` leaves it out where results must be repeatable, because
    of its backward pass. Its forward pass gives the same bits every time; a test on a GPU states it.

    Args:
        q: [B, L, N, Dh], bf16 or fp16, on a GPU.
        k, v: [B, S, N, Dh], dtype of ``q``.

    Returns:
        [B, L, N, Dh].
    """
    if q.is_meta:
        return torch.empty_like(q)
    # Samples that are one sample seen twice have no distance in memory, which cuDNN does not know.
    q, k, v = (x.contiguous().transpose(1, 2) if x.stride(0) == 0 else x.transpose(1, 2) for x in (q, k, v))
    result, *_ = torch.ops.aten._scaled_dot_product_cudnn_attention(q, k, v, None, False)
    mixed: Tensor = result.transpose(1, 2)
    return mixed


def flash4_attention(q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
    """FlashAttention 4 (PyPI ``flash-attn-4``, kernels in CuTe for Hopper and Blackwell). The first call with a dtype
    compiles for some seconds.

    Args:
        q: [B, L, N, Dh], bf16 or fp16, on a GPU.
        k, v: [B, S, N, Dh], dtype of ``q``.

    Returns:
        [B, L, N, Dh].
    """
    if q.is_meta:
        return torch.empty_like(q)
    from flash_attn.cute import flash_attn_func

    q, k, v = (x.contiguous() if x.stride(0) == 0 else x for x in (q, k, v))
    mixed: Tensor = flash_attn_func(q, k, v)[0]
    return mixed


def attention_reference(
    q: Tensor, k: Tensor, v: Tensor, /, *, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """:func:`sdpa` written out, softmax in fp32; the measure for every faster implementation."""
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = (q.transpose(1, 2) * scale) @ k.permute(0, 2, 3, 1)
    if bias is not None:
        scores = scores + bias
    weights = scores.float().softmax(-1).to(v.dtype)
    return (weights @ v.transpose(1, 2)).transpose(1, 2)
