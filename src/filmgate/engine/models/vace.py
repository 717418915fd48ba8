"""VACE (arXiv 2503.07598): a branch of blocks beside the transformer's own, which reads a second latent video, the
context, and gives hints to some of them. In Wan 2.1 VACE and in both experts of VACE-Fun A14B.

Legend: B batch, L tokens, D model dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

from torch import Tensor

from filmgate.engine.kernels.attention import Attend
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit_layers import Block, FoldedText, KeysValues, Linear

Step = Callable[[Block, Tensor, KeysValues | FoldedText], Tensor]
"""A block's work on tokens [B, L, D] with its text, at the present timestep and positions."""


class VaceBlock(Block):
    """A block of the branch, with the projection of its hint.

    Args:
        config: Architecture of the transformer.
        attend: Attention.
        first: Whether the branch begins here, where the video's tokens join the context's.
    """

    def __init__(self, config: DitConfig, attend: Attend, *, first: bool) -> None:
        super().__init__(config, attend)
        self.before_proj = Linear(config.dim, config.dim) if first else None
        self.after_proj = Linear(config.dim, config.dim)


def hints(
    branch: Sequence[tuple[Block, KeysValues | FoldedText]], context: Tensor, tokens: Tensor, step: Step
) -> Iterator[Tensor]:
    """What is added after each block of ``vace_layers``, in their order.

    The branch looks at the noisy video as it is before the first block, at the text and at the timestep, so that its
    hints are new in every pass. Each is computed when it is asked for: one hint is in memory at a time, not all.

    Args:
        branch: The blocks of the branch, each with its text.
        context: Patch embedding of the context, [B, L, D].
        tokens: The video's, [B, L, D], before the first block.
        step: How a block is run.

    Yields:
        [B, L, D], fp32.
    """
    for reader, keys_values in branch:
        block = cast(VaceBlock, reader)
        if block.before_proj is not None:
            context = block.before_proj(context).float() + tokens
        context = step(block, context, keys_values)
        yield block.after_proj(context).float()
