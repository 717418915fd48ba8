"""A transformer whose work is divided over ranks, from outside: the network stays as it is written.

Legend: B batch, L tokens, D model dimension.

Every rank has all weights and is told all of the latent. Tokens are divided after the patch embedding and gathered
before they become a picture again; between them only self-attention sees other tokens than its own. What is given per
token (rotary positions, timesteps, features of a camera, VACE's context) is divided in the same way. Where guidance has
two texts in one batch, each rank of :attr:`Team.texts` reads one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from filmgate.engine.models.dit import TextCache, WanDiT
from filmgate.engine.models.dit_layers import FoldedText, KeysValues
from filmgate.engine.runtime.parallel import Group, Team
from filmgate.engine.runtime.sequence import TokenSplit


def parallel_transformer(network: WanDiT, team: Team) -> WanDiT:
    """Let a transformer do this rank's part: a step of :mod:`~filmgate.engine.runtime.prepare`, which says what comes
    before it. For inference."""
    if team.layout.sequence > 1:
        _divide_tokens(network, team)
    if team.texts.handle is not None:
        network.forward = partial(_own_text, network.forward, team.texts)  # type: ignore[method-assign]
    return network


def _divide_tokens(network: WanDiT, team: Team) -> None:
    split = TokenSplit(team)
    network.patch_embedding.register_forward_hook(partial(_take_own, split))
    if network.config.vace_layers:
        network.vace_patch_embedding.register_forward_hook(partial(_take_own, split))
    if network.config.camera_scale is not None:
        network.control_adapter.register_forward_hook(partial(_take_own, split))
    for block in network.text_blocks():
        block.register_forward_pre_hook(partial(_own_positions, split))
        block.self_attn.attend = split.attend(block.self_attn.attend)
    network.head.register_forward_pre_hook(partial(_own_times, split))
    # Before whatever else stands behind the head: that expects all tokens.
    network.head.register_forward_hook(partial(_gather, split), prepend=True)


def _take_own(split: TokenSplit, _module: nn.Module, _inputs: Any, tokens: Tensor) -> Tensor:
    split.length = tokens.shape[1]
    # A copy: a part that is only looked at would keep the whole in memory.
    return tokens[:, split.own].clone()


def _own_positions(split: TokenSplit, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    x, e0, index, keys_values, (cos, sin) = inputs
    return x, e0, _of(split, index), keys_values, (cos[split.own], sin[split.own])


def _own_times(split: TokenSplit, _module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    tokens, e, index = inputs
    return tokens, e, _of(split, index)


def _of(split: TokenSplit, index: Tensor | None) -> Tensor | None:
    """[B, L] to this rank's tokens."""
    return None if index is None else index[:, split.own]


def _gather(split: TokenSplit, _module: nn.Module, _inputs: Any, patches: Tensor) -> Tensor:
    return split.gathered(patches)


def _own_text(
    forward: Callable[..., Tensor],
    group: Group,
    x: Tensor,
    *args: Any,
    text_cache: TextCache | None = None,
    **rest: Any,
) -> Tensor:
    """A pass with as many texts as there are ranks in the group, each of which reads its own; any other pass is made by
    all of them alike."""
    if text_cache is None or x.shape[0] != 1 or _texts(text_cache) != group.size:
        return forward(x, *args, text_cache=text_cache, **rest)
    own = [_text(entry, group.index) for entry in text_cache]
    return group.gathered(forward(x, *args, text_cache=own, **rest), group.size, 0).contiguous()


def _texts(cache: TextCache) -> int:
    first = cache[0]
    return len(first.k) if isinstance(first, FoldedText) else len(first[0][0])


def _text(entry: KeysValues | FoldedText, index: int) -> KeysValues | FoldedText:
    """One text of those of a layer."""
    one = slice(index, index + 1)
    if isinstance(entry, FoldedText):
        return FoldedText(entry.k[one], entry.v[one], entry.log_count)
    return tuple((k[one], v[one]) for k, v in entry)
