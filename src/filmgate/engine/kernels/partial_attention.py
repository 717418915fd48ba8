"""Attention to a part of the keys, with what is needed to add the other parts exactly.

Legend: B batch, L query tokens, S key tokens, N heads, Dh head dimension.

The softmax over all keys is the mean of the softmaxes over their parts, each weighted with the sum of its exponentials
(Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). That sum is kept as a logarithm.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_HALF = (torch.bfloat16, torch.float16)


class Part(NamedTuple):
    """``mixed`` [B, L, N, Dh], attention to some of the keys; ``log_sum`` [B, L, N] of their exponentials, fp32."""

    mixed: Tensor
    log_sum: Tensor


def attend_part(q: Tensor, k: Tensor, v: Tensor) -> Part:
    """Attend q [B, L, N, Dh] to some keys and values [B, S, N, Dh]."""
    if q.device.type == "cuda" and q.dtype in _HALF:
        mixed, log_sum, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        )
        return Part(mixed.transpose(1, 2), log_sum[..., : q.shape[1]].transpose(1, 2))
    return attend_part_reference(q, k, v)


def attend_part_reference(q: Tensor, k: Tensor, v: Tensor) -> Part:
    """:func:`attend_part` written out, softmax in fp32."""
    scores = ((q.transpose(1, 2) * q.shape[-1] ** -0.5) @ k.permute(0, 2, 3, 1)).float()
    log_sum = scores.logsumexp(-1)
    weights = (scores - log_sum[..., None]).exp().to(v.dtype)
    return Part((weights @ v.transpose(1, 2)).transpose(1, 2), log_sum.transpose(1, 2))


def merged(one: Part, other: Part) -> Part:
    """Attention to the keys of both, in fp32."""
    log_sum = torch.logaddexp(one.log_sum, other.log_sum)
    first, second = ((part.log_sum - log_sum).exp()[..., None] for part in (one, other))
    return Part(one.mixed.float() * first + other.mixed.float() * second, log_sum)
