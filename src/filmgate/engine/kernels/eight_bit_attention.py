"""Attention by blocks in eight bits: queries, keys, values and weights in e4m3, sums in fp32.

Legend: B batch, L tokens, N heads, Dh head dimension, R blocks, C blocks that are read.

Fast path: ``block_sparse_attention_fp8_forward`` of NVIDIA's cudnn-frontend on Hopper. What it rounds, and so does the
reference: queries with a scale per token, that scale through bf16; keys minus their mean over all tokens, which changes
no softmax (K smoothing, SageAttention, arXiv 2410.02367), with a scale for every 16 tokens; values with a scale per
channel; weights times 2⁸ as they are, while their sum is taken before they are rounded. The kernel rounds weights
against the maximum that it has seen so far, the reference against the maximum of the row: with few exceptions both lose
the same.

The kernel knows no blocks that are part empty. What is missing of the last block is filled with the mean key and the
mean value: by Jensen's inequality such a key never has more than the mean weight of all keys, so that 48 of them beside
75,600 take less than 0.07 % of a row, and give for it the mean of all values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from filmgate.engine.kernels.block_attention import KeptBlocks, by_group, rows_of
from filmgate.engine.kernels.partial_attention import Part

E4M3_MAX = 448.0
KEYS_PER_SCALE = 16
LOG2_E = 1.4426950408889634
SHIFT = 8.0
"""Weights are times two to the power of this before they are rounded: the largest is 256."""
_LEAST = 1e-3


def eight_bit_attention(q: Tensor, k: Tensor, v: Tensor, kept: KeptBlocks, *, summary: bool = True) -> Tensor:
    """:func:`~.block_attention.block_attention` in eight bits.

    Args:
        q, k, v: [B, L, N, Dh]; on a GPU bf16 and Dh 128.
        kept: For L tokens and N heads.
        summary: As there; means are not rounded to eight bits.

    Returns:
        [B, L, N, Dh], dtype of ``q``.
    """
    if q.is_meta:
        return torch.empty_like(q)
    return by_group(q, k, v, kept, _cudnn if q.device.type == "cuda" else part_reference, summary=summary)


def eight_bit_attention_reference(q: Tensor, k: Tensor, v: Tensor, kept: KeptBlocks, *, summary: bool = True) -> Tensor:
    """:func:`eight_bit_attention` with the same roundings, one block of queries at a time."""
    return by_group(q, k, v, kept, part_reference, summary=summary)


def part_reference(q: Tensor, k: Tensor, v: Tensor, index: Tensor, block: int) -> Part:
    """See :func:`~.block_attention.part_reference`; the sum of exponentials is that of the rounded scores."""
    length = q.shape[1]
    offset = mean_scores(q, k)
    q, k, v = (filled(x, block, mean=mean).transpose(1, 2) for x, mean in ((q, False), (k, True), (v, True)))
    wide_q, wide_k = rounded_queries(q), rounded_keys(k)
    # Values of one scale per channel: what is rounded is v / scale, and the scale comes back at the end.
    scale = v.float().abs().amax((0, 1), keepdim=True).clamp(min=_LEAST) / E4M3_MAX
    wide_v = e4m3(v.float() / scale)
    mixed, log_sum = torch.empty_like(q), torch.empty(q.shape[:-1], device=q.device)
    for own, scores, values in rows_of(wide_q, wide_k, wide_v, index, block):
        largest = scores.amax(-1, keepdim=True)
        weights = ((scores - largest) * LOG2_E + SHIFT).exp2()
        sums = weights.sum(-1, keepdim=True)
        mixed[:, own] = ((e4m3(weights) @ values / sums).transpose(1, 2) * scale).to(q.dtype)
        log_sum[:, own] = (sums.log() + largest)[..., 0].transpose(1, 2) - SHIFT / LOG2_E
    return Part(mixed[:, :length], log_sum[:, :length] + offset)


def mean_scores(q: Tensor, k: Tensor) -> Tensor:
    """What the scores of all keys have lost when their mean was taken from them: [B, L, N], fp32."""
    mean = k.mean(1, keepdim=True, dtype=torch.float32).to(q.dtype)
    scores: Tensor = (q * mean).sum(-1, dtype=torch.float32) * q.shape[-1] ** -0.5
    return scores


def rounded_queries(q: Tensor) -> Tensor:
    """Queries [B, L, N, Dh] as the kernel sees them, fp32."""
    scale = q.float().abs().amax(-1, keepdim=True).clamp(min=_LEAST) / E4M3_MAX
    inverse = scale.bfloat16().reciprocal()
    rounded: Tensor = e4m3((q.bfloat16() * inverse).float()) * scale
    return rounded


def rounded_keys(k: Tensor) -> Tensor:
    """Keys [B, L, N, Dh], L a multiple of 16, as the kernel sees them, fp32: minus their mean."""
    centred = k.float() - k.float().mean(1, keepdim=True)
    grouped = centred.unflatten(1, (-1, KEYS_PER_SCALE))
    scale = grouped.abs().amax((2, 4), keepdim=True).clamp(min=_LEAST) / E4M3_MAX
    rounded: Tensor = (e4m3(grouped / scale) * scale).flatten(1, 2)
    return rounded


def e4m3(x: Tensor) -> Tensor:
    """Rounded to e4m3, back in fp32; what is beyond its range becomes its largest number."""
    return x.clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn).float()


def filled(x: Tensor, block: int, *, mean: bool) -> Tensor:
    """[B, L, N, Dh] to [B, N, L', Dh] contiguous, L' the next multiple of ``block``; what is new is the mean over L, or
    nothing."""
    batch, length, heads, width = x.shape
    whole = x.new_empty(batch, heads, -(-length // block) * block, width)
    whole[:, :, :length] = x.transpose(1, 2)
    if whole.shape[2] > length:
        filling = x.mean(1, dtype=torch.float32).to(x.dtype)[:, :, None] if mean else 0
        whole[:, :, length:] = filling
    return whole


def _cudnn(q: Tensor, k: Tensor, v: Tensor, index: Tensor, block: int) -> Part:
    # The package's own function for this gives no sums of exponentials; these two are what it consists of.
    from cudnn.block_sparse_attention._fp8_quant import _quantize_sage_bhsd
    from cudnn.block_sparse_attention._interface import _bsa_attn_fwd_sm90_fp8_blk128

    length = q.shape[1]
    whole = [filled(x, block, mean=mean) for x, mean in ((q, False), (k, True), (v, True))]
    rounded = _quantize_sage_bhsd(*whole, v_layout="bhds")
    lists = index.expand(len(q), -1, -1, -1).contiguous()
    mixed, log_sum = _bsa_attn_fwd_sm90_fp8_blk128(*rounded, lists, index.shape[-1], None)
    return Part(mixed[:, :, :length].transpose(1, 2), log_sum[:, :, :length].transpose(1, 2) + mean_scores(q, k))
