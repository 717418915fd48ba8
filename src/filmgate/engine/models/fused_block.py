"""A block of the diffusion transformer with its small operations fused: the same mathematics in fewer passes.

Legend: B batch, L tokens, D model dimension, U distinct timesteps.

Every linear layer and every attention is called as the module that it is, so that what others have put on it (LoRA, few
bits, streams, guidance) holds. For inference: nothing here keeps what a backward pass needs.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

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
    _, y = residual_norm(x, None, Modulation(1 + scale1, shift1, None, index), block.eps, _reads(block.self_attn.q))
    y = _attend_self(block.self_attn, y, rope)
    norm = block.norm3
    # The same for all timesteps: one row, seen once for each of them.
    weighted = Modulation(norm.weight.float().expand_as(gate1), norm.bias.float().expand_as(gate1), gate1, index)
    x, y = residual_norm(x, y, weighted, norm.eps, _reads(block.cross_attn.q))
    y = _attend_text(block.cross_attn, y, keys_values)
    first, activation, second = block.ffn
    x, y = residual_norm(x, y, Modulation(1 + scale2, shift2, None, index), block.eps, _reads(first))
    y = second(_activated(first, activation, y))
    return gated_sum(x, y, gate2, index)


def _attend_self(layer: SelfAttention, x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    v = layer.v(x).unflatten(-1, layer.heads)
    q = norm_heads(layer.q(x), layer.norm_q.weight, layer.norm_q.eps, layer.heads, rope)
    k = norm_heads(layer.k(x), layer.norm_k.weight, layer.norm_k.eps, layer.heads, rope)
    mixed: Tensor = layer.o(layer.attend(q, k, v).flatten(-2))
    return mixed


def _attend_text(layer: CrossAttention, x: Tensor, keys_values: KeysValues | FoldedText) -> Tensor:
    if isinstance(keys_values, FoldedText):
        return layer.attend_folded(x, keys_values)
    (k, v), *image = keys_values
    q = norm_heads(layer.q(x), layer.norm_q.weight, layer.norm_q.eps, layer.heads).expand(k.shape[0], -1, -1, -1)
    mixed = layer.attend(q, k, v)
    for k, v in image:
        mixed = mixed + layer.attend(q, k, v)
    result: Tensor = layer.o(mixed.flatten(-2))
    return result


def _reads(layer: nn.Module) -> torch.dtype:
    """What a linear layer computes in: it would round its input to that anyway."""
    return cast(Linear, layer).computes_in


def _activated(layer: nn.Module, activation: nn.Module, x: Tensor) -> Tensor:
    """A linear layer and its activation, in one product if nothing else hangs on the layer."""
    if type(layer) is Linear and not layer._forward_hooks and x.dtype == layer.weight.dtype:
        return linear_gelu_tanh(x, layer.weight, layer.bias)
    result: Tensor = activation(layer(x))
    return result
