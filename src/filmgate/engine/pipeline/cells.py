"""A transformer whose blocks see tokens in another order than frame by frame, from outside.

Legend: B batch, L tokens, D model dimension.

Tokens are put in order once, behind the patch embedding, and back behind the head; between them only positions and what
is given per token (timesteps, a camera's features, VACE's context) have to go along. Without positions attention knows
no order, so that dense attention gives what it gave, up to rounding.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from filmgate.engine.kernels.token_order import TokenOrder
from filmgate.engine.models.config import PATCH
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.runtime.light_attention import LightAttention


class _Pass:
    """The order of the pass that is being made."""

    def __init__(self, light: LightAttention) -> None:
        self._light = light
        self.now: TokenOrder | None = None
        self._seen: tuple[Tensor, Tensor] | None = None
        self._turned: tuple[Tensor, Tensor] | None = None

    def embed(self, _module: nn.Module, inputs: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
        """Behind the patch embedding: [B, L, D] of x [B, C, T, H, W]."""
        self._light.begin_pass(_grid(inputs[0]))
        return self.embed_beside(_module, inputs, tokens)

    def embed_beside(self, _module: nn.Module, inputs: tuple[Tensor, ...], tokens: Tensor) -> Tensor:
        """Behind the patch embedding of VACE's context, which may come first."""
        self.now = self._light.order(_grid(inputs[0]), tokens.device)
        return self.put(tokens)

    def put(self, tokens: Tensor) -> Tensor:
        """[B, L, ...] in order."""
        assert self.now is not None
        return tokens.index_select(1, self.now.places)

    def positions(self, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """(cos, sin), [L, Dh/2] each, in order; made once for all blocks of a pass."""
        assert self.now is not None
        if self._turned is None or self._seen is not rope:
            self._seen, self._turned = rope, (rope[0][self.now.places], rope[1][self.now.places])
        return self._turned

    def back(self, _module: nn.Module, _inputs: Any, patches: Tensor) -> Tensor:
        """Behind the head: [B, L, ...] frame by frame again."""
        assert self.now is not None
        self._seen = self._turned = None
        return patches.index_select(1, self.now.back)


def order_tokens(network: WanDiT, light: LightAttention) -> None:
    """Let the blocks of a transformer see tokens in the order that its light attention wants: a part of a step of
    :mod:`~filmgate.engine.runtime.prepare`, before tokens are divided over ranks.

    Args:
        network: It is changed.
        light: Is told when a pass begins, and asked for the order.
    """
    state = _Pass(light)
    network.patch_embedding.register_forward_hook(state.embed)
    if network.config.vace_layers:
        network.vace_patch_embedding.register_forward_hook(state.embed_beside)
    if network.config.camera_scale is not None:
        network.control_adapter.register_forward_hook(partial(_put, state))
    for block in network.text_blocks():
        block.register_forward_pre_hook(partial(_block, state))
    network.head.register_forward_pre_hook(partial(_head, state))
    network.head.register_forward_hook(state.back)


def _grid(x: Tensor) -> tuple[int, int, int]:
    t, h, w = (side // patch for side, patch in zip(x.shape[2:], PATCH, strict=True))
    return t, h, w


def _put(state: _Pass, _module: nn.Module, _inputs: Any, tokens: Tensor) -> Tensor:
    return state.put(tokens)


def _block(state: _Pass, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    x, e0, index, keys_values, rope = inputs
    return x, e0, None if index is None else state.put(index), keys_values, state.positions(rope)


def _head(state: _Pass, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    tokens, e, index = inputs
    return tokens, e, None if index is None else state.put(index)
