"""What all blocks of a transformer add to its tokens, noted or put in their place, from outside.

Legend: B batch, L tokens, D model dimension. On several ranks L are the tokens of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_METHOD = "through_blocks"
"""Of the network, from embedded tokens [B, L, D] and the texts to tokens [B, L, D]."""


@contextmanager
def noted(network: nn.Module, note: Callable[[Tensor], None]) -> Iterator[None]:
    """Within the body, every pass tells ``note`` what its blocks added, [B, L, D], fp32."""

    def through(inner: Callable[..., Tensor], tokens: Tensor, *args: Any) -> Tensor:
        after = inner(tokens, *args)
        note(after - tokens)
        return after

    with _replaced(network, through):
        yield


@contextmanager
def added(network: nn.Module, residual: Callable[[Any], Tensor]) -> Iterator[None]:
    """Within the body no block works: every pass adds ``residual`` [B, L, D] to its tokens instead, which is asked for
    with the texts of the pass."""

    def through(_inner: Callable[..., Tensor], tokens: Tensor, texts: Any, *_args: Any) -> Tensor:
        return tokens + residual(texts)

    with _replaced(network, through):
        yield


@contextmanager
def _replaced(network: nn.Module, through: Callable[..., Tensor]) -> Iterator[None]:
    inner, own = getattr(network, _METHOD), _METHOD in vars(network)
    setattr(network, _METHOD, lambda *args: through(inner, *args))
    try:
        yield
    finally:
        # A method of its own would keep a network alive that nobody has any more.
        setattr(network, _METHOD, inner) if own else delattr(network, _METHOD)
