"""Guidance inside the cross-attention of a transformer (NAG), from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import Tensor, nn

from filmgate.engine.kernels.attention import Attend
from filmgate.engine.models.dit_layers import CrossAttention
from filmgate.engine.sampling.steering import nag
from filmgate.spec.adapters import GuidanceRule


@contextmanager
def guided_attention(network: nn.Module, rule: GuidanceRule) -> Iterator[None]:
    """Within the body, what tokens read of two texts, a prompt and its negative, becomes one by normalised attention
    guidance: a forward pass with a text cache of both costs one pass and the second reading."""
    layers = [layer for layer in network.modules() if isinstance(layer, CrossAttention)]
    originals = [layer.attend for layer in layers]
    for layer, attend in zip(layers, originals, strict=True):
        layer.attend = partial(_read_away, attend, rule)
    try:
        yield
    finally:
        for layer, attend in zip(layers, originals, strict=True):
            layer.attend = attend


def _read_away(attend: Attend, rule: GuidanceRule, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """[2, L, N, Dh] of prompt and negative to [1, L, N, Dh]."""
    positive, negative = attend(q, k, v).split(1)
    return nag(positive, negative, scale=rule.nag_scale, tau=rule.nag_tau, alpha=rule.nag_alpha)
