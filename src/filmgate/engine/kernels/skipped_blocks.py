"""What the blocks that attention skips would have said, in one key and one value each.

Legend: B batch, L tokens, N heads, Dh head dimension, R blocks, C blocks that are read exactly.

Left out, the weight of skipped blocks goes to those that are read, which shifts the result; of blocks that are skipped
because each matters little, all together matter much. A block of n keys is read here as n times its mean key, with its
mean value: R more scores for every query, below one per cent of the work of dense attention. On Toybox this halves the
error at every budget (docs/lab-notes.md). The softmax goes on where attention to the other blocks left it, which is
exact. The mean of exponentials is larger than the exponential of the mean: skipped blocks still get a little less
weight than is theirs.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.engine.kernels.partial_attention import Part, merged


class Tokens(NamedTuple):
    """Queries, keys and values, [B, L, N, Dh] each."""

    q: Tensor
    k: Tensor
    v: Tensor


def with_skipped(part: Part, tokens: Tokens, index: Tensor, block: int) -> Part:
    """Add the means of the skipped blocks to what was read exactly.

    Args:
        part: Attention to the blocks that are kept.
        tokens: All of them.
        index: The blocks that were kept, [1 or B, N, R, C].
        block: Tokens of a block.

    Returns:
        Attention to all of them, in the dtype of the queries.
    """
    q, k, v = tokens
    if q.device.type != "cuda":
        return with_skipped_reference(part, tokens, index, block)
    from filmgate.engine.kernels.triton_blocks import launch_skipped

    keys, values = (pooled(x, block).to(q.dtype) for x in (k, v))
    launch_skipped(part, q, keys, values, kept_mask(index, len(q)), block)
    return part


def with_skipped_reference(part: Part, tokens: Tokens, index: Tensor, block: int) -> Part:
    """:func:`with_skipped` step by step, one block of queries at a time."""
    q, k, v = tokens
    keys, values = (pooled(x, block).to(q.dtype) for x in (k, v))
    kept = kept_mask(index, len(q)).bool()
    blocks, length = kept.shape[-1], q.shape[1]
    sizes = torch.full((blocks,), float(block), device=q.device)
    sizes[-1] = length - (blocks - 1) * block
    mixed, log_sum = torch.empty_like(part.mixed), torch.empty_like(part.log_sum)
    for row in range(blocks):
        own = slice(row * block, min(length, (row + 1) * block))
        scores = (q[:, own].transpose(1, 2) @ keys.transpose(-1, -2)).float() * q.shape[-1] ** -0.5 + sizes.log()
        scores = scores.masked_fill(kept[:, :, row, None], float("-inf"))
        total = scores.logsumexp(-1)
        weights = (scores - total.clamp(min=-1e30)[..., None]).exp().to(values.dtype)
        skipped = Part((weights @ values).transpose(1, 2), total.transpose(1, 2))
        whole = merged(Part(part.mixed[:, own], part.log_sum[:, own]), skipped)
        mixed[:, own], log_sum[:, own] = whole.mixed.to(q.dtype), whole.log_sum
    return Part(mixed, log_sum)


def kept_mask(index: Tensor, batch: int) -> Tensor:
    """Lists [1 or B, N, R, C] as bytes [B, N, R, R]: 1 where a block is kept."""
    _, heads, blocks, _ = index.shape
    mask = torch.zeros(len(index), heads, blocks, blocks, dtype=torch.uint8, device=index.device)
    return mask.scatter_(-1, index.long(), 1).expand(batch, -1, -1, -1)


def pooled(x: Tensor, block: int) -> Tensor:
    """Means over blocks: [B, L, N, Dh] to [B, N, R, Dh], fp32."""
    length = x.shape[1]
    whole = length // block * block
    parts = [x[:, :whole].unflatten(1, (-1, block)).mean(2, dtype=torch.float32)]
    if whole < length:
        parts.append(x[:, whole:].mean(1, keepdim=True, dtype=torch.float32))
    return torch.cat(parts, dim=1).transpose(1, 2)
