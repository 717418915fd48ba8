"""A block of the diffusion transformer with its small operations fused: the same mathematics in fewer passes.

Legend: B batch, L tokens, D model dimension, U distinct timesteps.

Every linear layer and every attention is called as the module that it is, so that what others have put on it (LoRA, few
bits, streams, guidance) holds. For inference: nothing here keeps what a backward pass needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from filmgate.engine.kernels.eight_bit_product import E4M3, Rounded, residual_norm_rounded, rounded_rows
from filmgate.engine.kernels.gelu import linear_gelu_tanh
from filmgate.engine.kernels.head_norm import norm_heads
from filmgate.engine.kernels.residual_norm import Modulation, gated_sum, residual_norm
from filmgate.engine.models.dit_layers import Block, CrossAttention, FoldedText, KeysValues, Linear, SelfAttention


def fused_block(
    block: Block,
    x: Tensor,
    e0: Tensor,
    index: Tensor | None,
    keys_values: KeysValues | FoldedText,
    rope: tuple[Tensor, Tensor],
) -> Tensor:
    """What ``Block.forward`` computes, with its arguments."""
    shift1, scale1, gate1, shift2, scale2, gate2 = (block.modulation.float() + e0).unbind(1)
    layers = block.self_attn
    first_rows = Modulation(1 + scale1, shift1, None, index)
    _, y = _normed(x, None, first_rows, block.eps, (layers.q, layers.k, layers.v))
    y = _attend_self(block.self_attn, y, rope)
    norm = block.norm3
    # The same for all timesteps: one row, seen once for each of them.
    weighted = Modulation(norm.weight.float().expand_as(gate1), norm.bias.float().expand_as(gate1), gate1, index)
    x, y = _normed(x, y, weighted, norm.eps, (block.cross_attn.q,))
    y = _attend_text(block.cross_attn, y, keys_values)
    first, activation, second = block.ffn
    x, y = _normed(x, y, Modulation(1 + scale2, shift2, None, index), block.eps, (first,))
    y = second(_activated(first, activation, second, y))
    return gated_sum(x, y, gate2, index)


def _attend_self(layer: SelfAttention, x: Tensor | Rounded, rope: tuple[Tensor, Tensor]) -> Tensor:
    v = layer.v(x).unflatten(-1, layer.heads)
    q = norm_heads(layer.q(x), layer.norm_q.weight, layer.norm_q.eps, layer.heads, rope)
    k = norm_heads(layer.k(x), layer.norm_k.weight, layer.norm_k.eps, layer.heads, rope)
    return _projected(layer.o, layer.attend(q, k, v))


def _attend_text(layer: CrossAttention, x: Tensor | Rounded, keys_values: KeysValues | FoldedText) -> Tensor:
    if isinstance(keys_values, FoldedText):
        return layer.attend_folded(cast(Tensor, x), keys_values)  # its query layer takes either
    (k, v), *image = keys_values
    q = norm_heads(layer.q(x), layer.norm_q.weight, layer.norm_q.eps, layer.heads).expand(k.shape[0], -1, -1, -1)
    mixed = layer.attend(q, k, v)
    for k, v in image:
        mixed = mixed + layer.attend(q, k, v)
    return _projected(layer.o, mixed)


def _reads(layer: nn.Module) -> torch.dtype:
    """What a linear layer computes in: it would round its input to that anyway."""
    return cast(Linear, layer).computes_in


def _normed(
    x: Tensor, update: Tensor | None, modulation: Modulation, eps: float, readers: Sequence[nn.Module]
) -> tuple[Tensor, Tensor | Rounded]:
    """The new residual stream, and what the layers that read it get of it: rounded to eight bits if all take that."""
    wide = [dtype for dtype in map(_reads, readers) if dtype != E4M3]
    if not wide:
        return residual_norm_rounded(x, update, modulation, eps)
    return residual_norm(x, update, modulation, eps, wide[0])


def _projected(layer: nn.Module, mixed: Tensor) -> Tensor:
    """A linear layer on what attention gave, [B, L, N, Dh]."""
    result: Tensor = layer(rounded_rows(mixed, heads=True) if _reads(layer) == E4M3 else mixed.flatten(-2))
    return result


def _activated(layer: nn.Module, activation: nn.Module, reader: nn.Module, x: Tensor | Rounded) -> Tensor | Rounded:
    """A linear layer and its activation, in one product if nothing else hangs on the layer; rounded if the reader of it
    would do that."""
    if _reads(reader) == E4M3:
        return rounded_rows(layer(x), gelu=True)
    if type(layer) is Linear and not layer._forward_hooks and isinstance(x, Tensor) and x.dtype == layer.weight.dtype:
        return linear_gelu_tanh(x, layer.weight, layer.bias)
    result: Tensor = activation(layer(x))
    return result
