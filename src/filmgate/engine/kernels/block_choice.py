"""Which blocks of keys are worth reading: a guess that costs next to nothing beside the attention that it saves.

Legend: B batch, L tokens, N heads, Dh head dimension, R blocks, C blocks that are read.

Two guesses can be added, both logarithms of a weight. From the data: the mean query of a block against the mean key
of another, both after their rotation, so that their places are in it. From the place alone: blocks that are far apart
in space or time are read less (the energy that Radial Attention finds to fall exponentially). Own and nearest blocks
are always read. The weights of the guesses are those that did best on Toybox's attention, where the place alone is no
better than chance (docs/lab-notes.md); on models of true size they are still to be measured.

Sources: block selection by pooled queries and keys as in MInference (arXiv 2407.02490) and SpargeAttn (arXiv
2502.18137); Radial Attention (arXiv 2506.19852).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.engine.kernels.block_attention import BLOCK, HeadGroup, KeptBlocks, all_blocks, blocks_of
from filmgate.engine.kernels.skipped_blocks import pooled
from filmgate.spec.errors import InvalidRequest


@dataclass(frozen=True)
class ChoiceRule:
    """How blocks are chosen.

    Attributes:
        budget: Share of the blocks that is read, over all heads; above 0, up to 1.
        pooled: Weight of the guess from the data; 0: places alone.
        radial: Weight of the guess from the place.
        reach: Distances over which the place takes away one unit of the logarithm: latent frames, and tokens within a
            frame.
        near: How many of the nearest blocks are always read, the own one among them.
        per_head: Whether heads that spread their attention may read more, and the others less. The counts of a head
            are then those of a batch.
    """

    budget: float
    pooled: float = 1.0
    radial: float = 0.0
    reach: tuple[float, float] = (4.0, 8.0)
    near: int = 3
    per_head: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 1:
            raise InvalidRequest("budget", f"{self.budget} of the blocks", allowed="above 0, up to 1")
        if self.near < 1:
            raise InvalidRequest("near", f"{self.near} blocks", allowed="at least 1: the own one")

    def count(self, blocks: int) -> int:
        """How many of ``blocks`` a block reads, on average."""
        return min(blocks, max(self.near, round(self.budget * blocks)))


class Geometry(NamedTuple):
    """How far blocks are from one another, in the units of a rule, [R, R] fp32; and which are always read, [R, R]."""

    distance: Tensor
    near: Tensor

    @classmethod
    def of(cls, places: Tensor, rule: ChoiceRule, device: torch.device | str | None = None) -> Geometry:
        """From where blocks are, [R, 3] (frame, row, column) on the CPU; see :func:`~.token_order.block_places`."""
        time = (places[:, None, 0] - places[None, :, 0]).abs() / rule.reach[0]
        space = (places[:, None, 1:] - places[None, :, 1:]).norm(dim=-1) / rule.reach[1]
        distance = time + space
        nearest = distance.argsort(dim=-1, stable=True)[:, : rule.near]
        near = torch.zeros_like(distance, dtype=torch.bool).scatter_(1, nearest, value=True)
        return cls(distance.to(device), near.to(device))


def choose_blocks(q: Tensor, k: Tensor, geometry: Geometry, rule: ChoiceRule, block: int = BLOCK) -> KeptBlocks:
    """Choose for every head and block of queries.

    Args:
        q, k: [B, L, N, Dh], in the order of the blocks. Each sample has lists of its own, so that it does not matter
            which samples go in together.
        geometry: Of the blocks.
        rule: How.
        block: Tokens of a block.
    """
    length, heads = q.shape[1:3]
    blocks = blocks_of(length, block)
    count = rule.count(blocks)
    if count == blocks:
        return all_blocks(length, heads, block, q.device)
    scores = (-rule.radial * geometry.distance).expand(len(q), heads, -1, -1)
    if rule.pooled:
        scores = scores + rule.pooled * block_scores(q, k, block)
    counts = [count] * heads
    if rule.per_head and heads > 1:
        counts = head_counts(scores.softmax(-1).mean(0), count, rule.near)
    return kept_best(scores.masked_fill(geometry.near, float("inf")), counts, block)


def kept_best(scores: Tensor, counts: list[int], block: int = BLOCK) -> KeptBlocks:
    """The best blocks by scores [B, N, R, R], ``counts`` of them by head, each list in ascending order."""
    groups = []
    for count in sorted({*counts}):
        own = [head for head, wanted in enumerate(counts) if wanted == count]
        heads = torch.tensor(own, device=scores.device)
        best = scores.index_select(1, heads).topk(count, dim=-1).indices.sort(-1).values
        groups.append(HeadGroup(None if len(own) == len(counts) else heads, best.int().contiguous()))
    return KeptBlocks(tuple(groups), block)


def block_scores(q: Tensor, k: Tensor, block: int) -> Tensor:
    """The guess from the data [B, N, R, R], fp32: mean query times mean key, scaled."""
    query, key = (pooled(x, block) for x in (q, k))
    scores: Tensor = (query @ key.transpose(-1, -2)) * q.shape[-1] ** -0.5
    return scores


def head_counts(weights: Tensor, count: int, least: int) -> list[int]:
    """How many blocks each head reads, half, once or twice ``count``, and no more than that on average.

    Args:
        weights: Guessed weight of every block [N, R, R]; rows sum to 1.
        count: Blocks of a head on average.
        least: What every head reads.
    """
    heads, blocks = weights.shape[0], weights.shape[-1]
    few, many = max(least, count // 2), min(blocks, 2 * count)
    if few >= count or many <= count:
        return [count] * heads
    ordered = weights.topk(many, dim=-1).values.mean(1).double().cpu()
    lost, won = ordered[:, few:count].sum(-1), ordered[:, count:].sum(-1)
    generous, thrifty = won.argsort(descending=True).tolist(), lost.argsort().tolist()
    best, best_gain = [count] * heads, 0.0
    for rich in range(1, heads):
        poor = -(-rich * (many - count) // (count - few))
        if rich + poor > heads:
            break
        above = generous[:rich]
        below = [head for head in thrifty if head not in above][:poor]
        gain = float(won[above].sum() - lost[below].sum())
        if gain > best_gain:
            best_gain = gain
            best = [many if head in above else few if head in below else count for head in range(heads)]
    return best
