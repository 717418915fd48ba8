"""Attention of tokens that are divided over ranks, around any attention of one device.

Legend: B batch, L tokens of the whole, l of this rank, N heads, n heads of this rank, Dh head dimension, R ranks.

Ulysses (arXiv 2309.14509): every rank gives its tokens' heads away and gets all tokens of some heads, attends, and
gives them back. Ring (arXiv 2310.01889): keys and values go round, and what each rank makes of them is added up
exactly. Where the heads do not divide by the ranks, Ulysses takes the largest number that divides both and rings the
rest.

No rank has tokens that are not there: parts may be of unequal length, and nothing is filled up.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from filmgate.engine.kernels.attention import Attend
from filmgate.engine.kernels.partial_attention import attend_part, merged
from filmgate.engine.runtime.parallel import Group, Team, parts


class TokenSplit:
    """Which tokens of the pass that is being made are this rank's; ``length`` L is set where the tokens are made."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self.length = 0

    @property
    def count(self) -> int:
        """Ranks that divide the tokens."""
        return self._team.layout.sequence

    @property
    def own(self) -> slice:
        """This rank's tokens."""
        return self._team.place.own(self.length)

    def gathered(self, tokens: Tensor) -> Tensor:
        """[B, l, ...] of every rank to [B, L, ...]."""
        return _joined(self._team.ring, _joined(self._team.heads, tokens, self.near()), self.turns())

    def turns(self) -> list[int]:
        """Tokens of all ranks that divide heads among themselves, for each place in the ring."""
        size, lengths = self._team.heads.size, parts(self.length, self.count)
        return [sum(lengths[begin : begin + size]) for begin in range(0, len(lengths), size)]

    def near(self) -> list[int]:
        """Tokens of each of the ranks that this one divides heads with."""
        heads, lengths = self._team.heads, parts(self.length, self.count)
        return lengths[self._team.ring.index * heads.size :][: heads.size]

    def attend(self, attend: Attend) -> Attend:
        """Attention among the tokens of all ranks, by ``attend`` where that sees whole sequences."""

        def across(q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
            inner = attend
            if self._team.ring.handle is not None:
                turns = self.turns()

                def inner(q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
                    return ring_attention(self._team.ring, turns, q, k, v)

            if self._team.heads.handle is None:
                return inner(q, k, v)
            return ulysses_attention(self._team.heads, self.near(), inner, q, k, v)

        return across


def ulysses_attention(group: Group, lengths: Sequence[int], attend: Attend, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend q [B, l, N, Dh] to the keys and values of all ranks of a group, each of which attends for N/R heads.

    Args:
        group: The ranks.
        lengths: l of each.
        attend: Attention of one rank.
        q, k, v: [B, l, N, Dh].
    """
    batch, own, heads, width = q.shape
    size, total = group.size, sum(lengths)
    # Heads by rank, then tokens: what goes to a rank lies in one piece, and what comes is in order of tokens.
    given = q.new_empty(size, own, 3, batch, heads // size, width)
    for place, x in enumerate((q, k, v)):
        given[:, :, place] = x.unflatten(2, (size, -1)).permute(2, 1, 0, 3, 4)
    got = q.new_empty(total, *given.shape[2:])
    dist.all_to_all_single(got, given.flatten(0, 1), list(lengths), [own] * size, group=group.handle)
    del given  # as large as q, k and v together: nothing holds what is no longer needed
    mixed = attend(*(x.transpose(0, 1) for x in got.unbind(1)))
    del got
    back = q.new_empty(size * own, batch, heads // size, width)
    dist.all_to_all_single(
        back, mixed.transpose(0, 1).contiguous(), [own] * size, list(lengths), group=group.handle
    )  # fmt: skip
    result: Tensor = back.unflatten(0, (size, own)).permute(2, 1, 0, 3, 4).flatten(2, 3)
    return result


def ring_attention(group: Group, lengths: Sequence[int], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend q [B, l, N, Dh] to the keys and values of all ranks of a group, which go round while all of them compute.

    Args:
        group: The ranks.
        lengths: l of each.
        q, k, v: [B, l, N, Dh].
    """
    held, whole = torch.stack((k, v)), None
    for turn in range(group.size):
        works: list[dist.Work] = []
        coming = held
        if turn < group.size - 1:
            source = (group.index - turn - 1) % group.size
            coming = held.new_empty(2, k.shape[0], lengths[source], *k.shape[2:])
            works = group.passed(
                {(group.index + 1) % group.size: held}, {(group.index - 1) % group.size: coming}
            )  # fmt: skip
        part = attend_part(q, *held)
        whole = part if whole is None else merged(whole, part)
        for work in works:
            work.wait()
        held = coming
    if whole is None:
        raise AssertionError("a ring of no ranks")
    return whole.mixed.to(v.dtype)


def _joined(group: Group, tokens: Tensor, lengths: Sequence[int]) -> Tensor:
    """[B, l, ...] of the ranks of a group, of these lengths, one after the other."""
    if group.handle is None:
        return tokens
    filled = tokens.new_zeros(tokens.shape[0], max(lengths), *tokens.shape[2:])
    filled[:, : tokens.shape[1]] = tokens
    every = [torch.empty_like(filled) for _ in lengths]
    dist.all_gather(every, filled, group=group.handle)
    return torch.cat([piece[:, :count] for piece, count in zip(every, lengths, strict=True)], dim=1)
