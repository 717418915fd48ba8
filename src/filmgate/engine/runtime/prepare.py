"""What makes a network fast, applied from outside and in one fixed order; the network itself stays as it is written.

1. Weights of convolutions lie as the GPU's convolutions read them.
2. Attention: another kernel with the same result up to rounding (:mod:`~.attention_race`).
3. Where an acceleration says so, self-attention is light (:mod:`~.light_attention`), and tokens are put in its order.
4. Blocks run a fused form of their forward pass.
5. Tokens and texts are divided over ranks, around all of that.
6. Where an acceleration says so, layers compute in eight bits (:mod:`~.eight_bit_linear`).

Loading, few bits and streaming come before: they change what a block's layers are, and these steps leave layers alone.
LoRA comes before the last step, which takes the weights that it merges into.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from filmgate.engine.kernels.attention import Attend


def channels_last(network: nn.Module) -> None:
    """Let the weights of convolutions lie with their channels side by side, as GPUs read them; values stay."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])


def call_attention(network: nn.Module, attend: Attend) -> None:
    """Let every layer of a network that attends call ``attend``."""
    for layer in network.modules():
        if hasattr(layer, "attend"):
            setattr(layer, "attend", attend)  # noqa: B010  (a module's attributes have no types)


def run_as(blocks: Iterable[nn.Module], forward: Callable[..., Any]) -> None:
    """Let blocks run ``forward(block, ...)`` in place of their own forward pass; hooks on them stay."""
    for block in blocks:
        block.forward = partial(forward, block)
