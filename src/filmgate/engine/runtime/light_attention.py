"""Self-attention that reads a part of the blocks of keys, or computes in eight bits, or both; around any dense kernel.

Legend: B batch, L tokens, N heads, Dh head dimension, R blocks.

What it does depends on the step: the first ones decide what a video shows, and are left as they are. Blocks are chosen
in every pass from its own queries and keys, unless the rule says that lists are kept for some steps: then it matters
from which step on a run is resumed, and a resumed run is not the same to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from filmgate.engine.kernels.attention import Attend
from filmgate.engine.kernels.block_attention import BLOCK, KeptBlocks, all_blocks, block_attention
from filmgate.engine.kernels.block_choice import ChoiceRule, Geometry, choose_blocks
from filmgate.engine.kernels.eight_bit_attention import eight_bit_attention
from filmgate.engine.kernels.token_order import CELL, TokenOrder, block_places, token_order


@dataclass(frozen=True)
class LightRule:
    """What is light, and where.

    Attributes:
        choice: How blocks are chosen; None: all are read.
        dense_steps: The share of all steps, from the first on, in which all blocks are read.
        dense_layers: Layers in which they always are.
        refresh: Lists are chosen in every so many-th step.
        summary: Whether skipped blocks are read as their means.
        eight_bit: Whether what is read is read in eight bits.
        wide_steps: The share of all steps, from the first on, in which it is not.
        last_wide: How many steps at the end are not either.
        cell: Of the order of tokens.
        block: Tokens of a block; on a GPU 128.
    """

    choice: ChoiceRule | None = None
    dense_steps: float = 0.0
    dense_layers: tuple[int, ...] = ()
    refresh: int = 1
    summary: bool = True
    eight_bit: bool = False
    wide_steps: float = 0.0
    last_wide: int = 0
    cell: tuple[int, int] = CELL
    block: int = BLOCK


def is_early(index: int, count: int, share: float) -> bool:
    """Whether step ``index`` of ``count`` is among the first ``share`` of them."""
    return index < share * count - 1e-9


class LightAttention:
    """The attention of all layers of a network.

    Args:
        rule: What it does.
    """

    def __init__(self, rule: LightRule) -> None:
        self.rule = rule
        self.sparse = rule.choice is not None
        self.narrow = rule.eight_bit
        self.passes = 0
        self._step = 0
        self._grid: tuple[int, int, int] | None = None
        self._orders: dict[tuple[tuple[int, int, int], torch.device], TokenOrder] = {}
        self._geometries: dict[tuple[tuple[int, int, int], torch.device], Geometry] = {}
        self._lists: dict[tuple[int, int, int], KeptBlocks] = {}

    def begin_step(self, index: int, count: int) -> None:
        """See :func:`~.pace.listen`."""
        rule = self.rule
        if index < 0 or (rule.refresh > 1 and index % rule.refresh == 0):
            self._lists.clear()
        self._step, self.passes = index, 0
        self.sparse = rule.choice is not None and not is_early(index, count, rule.dense_steps)
        late = index >= count - rule.last_wide
        self.narrow = rule.eight_bit and not late and not is_early(index, count, rule.wide_steps)

    def begin_pass(self, grid: tuple[int, int, int]) -> None:
        """A pass over a grid (T, h, w) of tokens begins."""
        self._grid = grid
        self.passes += 1

    def order(self, grid: tuple[int, int, int], device: torch.device) -> TokenOrder:
        """The order that passes over a grid must give their tokens."""
        key = (grid, device)
        if key not in self._orders:
            self._orders[key] = token_order(grid, self.rule.cell, device)
        return self._orders[key]

    def attend(self, layer: int, dense: Attend) -> Attend:
        """The attention of a layer; ``dense`` is what it calls where nothing is light."""

        def light(q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
            sparse = self.sparse and layer not in self.rule.dense_layers
            if not sparse and not self.narrow:
                return dense(q, k, v)
            kept = self._kept(layer, q, k) if sparse else all_blocks(q.shape[1], q.shape[2], self.rule.block, q.device)
            kernel = eight_bit_attention if self.narrow else block_attention
            return kernel(q, k, v, kept, summary=self.rule.summary)

        return light

    def _kept(self, layer: int, q: Tensor, k: Tensor) -> KeptBlocks:
        choice, block = self.rule.choice, self.rule.block
        assert choice is not None
        if q.is_meta:
            return all_blocks(q.shape[1], q.shape[2], block, q.device)
        # A step may make one pass of two texts, and the next one of one: each has lists of its own.
        key = (layer, self.passes, len(q))
        if self.rule.refresh == 1:
            return choose_blocks(q, k, self._geometry(choice, q.device), choice, block)
        if key not in self._lists:
            self._lists[key] = choose_blocks(q, k, self._geometry(choice, q.device), choice, block)
        return self._lists[key]

    def _geometry(self, choice: ChoiceRule, device: torch.device) -> Geometry:
        assert self._grid is not None
        key = (self._grid, device)
        if key not in self._geometries:
            places = block_places(self._grid, self.rule.block, self.order(*key))
            self._geometries[key] = Geometry.of(places, choice, device)
        return self._geometries[key]
