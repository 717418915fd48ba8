"""What stands in for passes and blocks that a plan skips.

Legend: B passes at once, L tokens, D model dimension; C T H W of a latent. On several ranks L are the tokens of one.
Where each rank reads one text of a pair, it remembers for both branches what it has itself; it is asked for by pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from filmgate.engine.models.dit import FoldedText, TextCache, WanDiT
from filmgate.engine.pipeline.values import Memory
from filmgate.engine.runtime.block_residual import added, noted
from filmgate.engine.sampling.step_cache import Branch, Skips, predicted, remembered

CONDITIONAL: tuple[Branch, ...] = ("conditional",)
BOTH: tuple[Branch, ...] = ("conditional", "unconditional")


class Skipper:
    """Lets the passes of one expert be made as a plan says, and remembers what it needs for it.

    Args:
        network: The expert.
        skips: What the plan skips; None: nothing.
        memory: Brought up to date with every step.
    """

    def __init__(self, network: WanDiT, skips: Skips | None, memory: Memory) -> None:
        self._network = network
        self._skips = skips
        self._memory = memory

    def begin(self, index: int) -> None:
        """Forget what does not count in a step."""
        if self._skips is not None and self._skips.starts[index]:
            self._memory.difference = None
            self._memory.residuals.clear()

    def velocities(self, branches: Sequence[Branch], make: Callable[[], Tensor], index: int) -> Tensor:
        """What a forward pass gives, [B, C, T, H, W], one velocity to a branch.

        Args:
            branches: Whose.
            make: Makes the pass. Its blocks are left out if the plan says so.
            index: Of the step.
        """
        skips = self._skips
        if skips is None:
            return make()
        if skips.work[index].blocks != "computed":
            with added(self._network, partial(self._residual, branches, index)):
                return make()
        if skips.residual[index]:
            with noted(self._network, partial(self._note, branches, index)):
                return make()
        return make()

    def difference(self, index: int) -> Tensor | None:
        """Conditional less unconditional velocity [C, T, H, W], if a step keeps that of an earlier one."""
        kept = self._skips is not None and self._skips.work[index].difference == "kept"
        return self._memory.difference if kept else None

    def end(self, index: int, difference: Callable[[], Tensor] | None = None) -> None:
        """Remember what will be asked for, and nothing else; ``difference`` is that of a guided step."""
        if self._skips is None:
            return
        wanted = difference is not None and self._skips.difference[index]
        self._memory.difference = difference() if wanted and difference is not None else None
        if not self._skips.residual[index]:
            self._memory.residuals.clear()

    def _note(self, branches: Sequence[Branch], index: int, residual: Tensor) -> None:
        """Remember [B, L, D] by branch, in the format that the network computes in."""
        order = 0 if self._skips is None else self._skips.order[index]
        residual = residual.to(self._network.patch_embedding.weight.dtype)
        parts = residual.split(1) if len(residual) == len(branches) else [residual] * len(branches)
        known = self._memory.residuals
        for branch, part in zip(branches, parts, strict=True):
            known[branch] = remembered(known.get(branch), part, index, order)

    def _residual(self, branches: Sequence[Branch], index: int, texts: TextCache) -> Tensor:
        """What the blocks would add for as many texts as there are, [B, L, D], fp32."""
        first = texts[0]
        count = len(first.k if isinstance(first, FoldedText) else first[0][0])
        parts = [predicted(self._memory.residuals[branch], index).float() for branch in branches]
        return torch.cat(parts)[:count]
