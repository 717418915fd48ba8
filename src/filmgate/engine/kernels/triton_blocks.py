"""Triton kernels that take one block of queries at a time; see :mod:`~.skipped_blocks` for what they compute.

Legend: B batch, L tokens, N heads, Dh head dimension, R blocks.
"""

# mypy: disable-error-code="no-untyped-def, untyped-decorator"

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from filmgate.engine.kernels.partial_attention import Part

_KEYS_AT_ONCE = 64


@triton.jit
def _skipped_kernel(
    q, mixed, log_sum, keys, values, kept, heads, length, count, width, scale,
    q_batch, q_token, q_head, mixed_batch, mixed_token, mixed_head, sum_batch, sum_token, sum_head,
    kept_batch, kept_head,
    BLOCK: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    pair = tl.program_id(1).to(tl.int64)
    sample = pair // heads
    head = pair - sample * heads
    within = tl.arange(0, ROWS)
    tokens = row * BLOCK + within
    there = (within < BLOCK) & (tokens < length)
    channels = tl.arange(0, WIDTH)
    real = channels < width
    square = there[:, None] & real[None, :]
    places = tokens.to(tl.int64)[:, None]
    query = tl.load(
        q + sample * q_batch + head * q_head + places * q_token + channels[None, :], mask=square, other=0.0
    )  # fmt: skip
    result = mixed + sample * mixed_batch + head * mixed_head + places * mixed_token + channels[None, :]
    total = tl.load(result, mask=square, other=0.0).to(tl.float32)
    sums = log_sum + sample * sum_batch + head * sum_head + tokens.to(tl.int64) * sum_token
    largest = tl.load(sums, mask=there, other=0.0)
    weight = tl.zeros((ROWS,), tl.float32) + 1.0
    last = length - (count - 1) * BLOCK
    for start in range(0, count, STEP):
        blocks = start + tl.arange(0, STEP)
        skipped = blocks < count
        mask = tl.load(kept + sample * kept_batch + head * kept_head + row * count + blocks, mask=skipped, other=1)
        skipped = mask == 0
        offsets = (pair * count + blocks)[:, None] * width + channels[None, :]
        inside = (blocks < count)[:, None] & real[None, :]
        key = tl.load(keys + offsets, mask=inside, other=0.0)
        size = tl.where(blocks == count - 1, last, BLOCK).to(tl.float32)
        scores = tl.dot(query, tl.trans(key)) * scale + tl.log(size)[None, :]
        scores = tl.where(skipped[None, :], scores, float("-inf"))
        higher = tl.maximum(largest, tl.max(scores, axis=1))
        shrink = tl.exp(largest - higher)
        weights = tl.exp(scores - higher[:, None])
        weight = weight * shrink + tl.sum(weights, axis=1)
        value = tl.load(values + offsets, mask=inside, other=0.0)
        total = total * shrink[:, None] + tl.dot(weights.to(value.dtype), value)
        largest = higher
    tl.store(result, (total / weight[:, None]).to(mixed.dtype.element_ty), mask=square)
    tl.store(sums, largest + tl.log(weight), mask=there)


def launch_skipped(part: Part, q: Tensor, keys: Tensor, values: Tensor, kept: Tensor, block: int) -> None:
    """See :func:`~.skipped_blocks.with_skipped`: changes ``part``.

    Args:
        part: ``mixed`` [B, L, N, Dh], channels side by side, and ``log_sum`` [B, L, N], fp32.
        q: [B, L, N, Dh].
        keys, values: Means [B, N, R, Dh], of the dtype of ``q``.
        kept: [B, N, R, R], bytes.
        block: Tokens of a block.
    """
    batch, length, heads, width = q.shape
    count = keys.shape[2]
    mixed, log_sum = part
    _skipped_kernel[(count, batch * heads)](
        q, mixed, log_sum, keys.contiguous(), values.contiguous(), kept, heads, length, count, width, width**-0.5,
        *q.stride()[:3], *mixed.stride()[:3], *log_sum.stride(), kept.stride(0), kept.stride(1),
        BLOCK=block, ROWS=max(16, triton.next_power_of_2(block)), WIDTH=max(16, triton.next_power_of_2(width)),
        STEP=_KEYS_AT_ONCE, num_warps=8,
    )  # fmt: skip
