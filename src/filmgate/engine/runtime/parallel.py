"""Processes that make one video together, one to a device: who they are and how they talk.

Every rank walks the whole way from noise to video; what differs is which tokens, which text or which rows of a frame it
works on in between. After each exchange all ranks hold the same bits, so that none of them decides anything alone.

A collective waits for the slowest rank, which does the same work: a wait of more than ``patience`` seconds is a rank
that hangs. Where ranks may rightly be apart, because each reads files or one encodes for all, they meet in a group of
its own that waits longer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import gcd
from types import FrameType
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from filmgate.spec.errors import InvalidRequest
from filmgate.spec.layout import Layout

Value = TypeVar("Value")
Meeting = str | Store
"""Where processes find one another: torch's ``init_method``, or a store that all of them know."""
PATIENCE = 20.0
"""Seconds that ranks wait for one another in the middle of their work."""
LONG_PATIENCE = 1800.0
"""Seconds that they wait where one of them reads or encodes."""


@dataclass(frozen=True)
class Group:
    """Ranks that talk to one another, among them this one.

    Attributes:
        ranks: Their numbers in the whole, in the order of what they work on.
        index: Place of this rank among them.
        handle: What torch calls the group; None where it is one rank alone.
    """

    ranks: tuple[int, ...] = (0,)
    index: int = 0
    handle: dist.ProcessGroup | None = None

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.ranks)

    def own(self, length: int) -> slice:
        """This rank's part of ``length`` things."""
        lengths = parts(length, self.size)
        begin = sum(lengths[: self.index])
        return slice(begin, begin + lengths[self.index])

    def gathered(self, part: Tensor, length: int, dim: int) -> Tensor:
        """The whole along ``dim``, of which every rank has the part that :meth:`own` gives it."""
        if self.handle is None:
            return part
        lengths = parts(length, self.size)
        part = part.movedim(dim, 0)
        # All send equally much; what fills a shorter part up is cut off again.
        filled = part.new_zeros(max(lengths), *part.shape[1:])
        filled[: len(part)] = part
        whole = [torch.empty_like(filled) for _ in lengths]
        dist.all_gather(whole, filled, group=self.handle)
        return torch.cat([piece[:count] for piece, count in zip(whole, lengths, strict=True)]).movedim(0, dim)

    def joined(self, part: Tensor, whole: Tensor) -> None:
        """Fill ``whole`` with the parts [n] of all ranks, one after the other; every rank has equally much."""
        if self.handle is None:
            whole.copy_(part)
        else:
            _gather(whole, part, group=self.handle)

    def summed(self, x: Tensor) -> Tensor:
        """The sum of all ranks' tensors, in place of this one's."""
        if self.handle is not None:
            dist.all_reduce(x, group=self.handle)
        return x

    def passed(self, sent: dict[int, Tensor], received: dict[int, Tensor]) -> list[dist.Work]:
        """Send tensors to places in the group and fill others from there; the exchange has begun when this returns."""
        if not sent and not received:
            return []
        sending = [dist.P2POp(dist.isend, x.contiguous(), self.ranks[to], self.handle) for to, x in sent.items()]
        receiving = [dist.P2POp(dist.irecv, x, self.ranks[of], self.handle) for of, x in received.items()]
        works: list[dist.Work] = dist.batch_isend_irecv([*sending, *receiving])
        return works


# Torch 2.13 has another name for it, and warns of the old one.
_gather: Callable[..., object] = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
ALONE = Group()
SINGLE = Layout()


@dataclass(frozen=True)
class Team:
    """This process among those of a run.

    Attributes:
        layout: How they divide the work.
        rank: This one's number.
        everyone: All of them.
        texts: Those that have the same tokens and other texts.
        heads: Those that divide the heads of an attention (Ulysses), each with its tokens, all with the same text.
        ring: Those whose tokens go round (ring attention), where there are more ranks than heads divide by.
        patient: All of them, for where they wait long; on the CPU.
    """

    layout: Layout = SINGLE
    rank: int = 0
    everyone: Group = ALONE
    texts: Group = ALONE
    heads: Group = ALONE
    ring: Group = ALONE
    patient: Group = ALONE

    @classmethod
    def join(
        cls, layout: Layout, heads: int, meeting: Meeting, rank: int, *, device: torch.device,
        patience: float = PATIENCE,
    ) -> Team:  # fmt: skip
        """Meet the others.

        Args:
            layout: How they divide the work.
            heads: Of the transformer.
            meeting: Where.
            rank: This one's number.
            device: Where this process computes.
            patience: See the module.

        Raises:
            RuntimeError: the others did not come, which torch says in its own words: who they are, only whoever watches
                over all knows.
        """
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            backend, init_method=meeting if isinstance(meeting, str) else None,
            store=None if isinstance(meeting, str) else meeting, rank=rank, world_size=layout.ranks,
            timeout=timedelta(seconds=patience),
        )  # fmt: skip
        return cls.formed(layout, heads, rank, patience)

    @classmethod
    def formed(cls, layout: Layout, heads: int, rank: int, patience: float = PATIENCE) -> Team:
        """The groups of processes that have met already. All must call this at the same time."""
        divided = gcd(heads, layout.sequence)
        rings = layout.sequence // divided
        spot = [(text, turn, head) for text in range(layout.cfg) for turn in range(rings) for head in range(divided)]
        text, turn, head = spot[rank]

        def group(members: Sequence[tuple[int, int, int]]) -> Group:
            return _formed(sorted(spot.index(member) for member in members), rank, patience)

        texts = [group([(t, r, h) for t in range(layout.cfg)]) for r in range(rings) for h in range(divided)]
        by_head = [group([(t, r, h) for h in range(divided)]) for t in range(layout.cfg) for r in range(rings)]
        by_ring = [group([(t, r, h) for r in range(rings)]) for t in range(layout.cfg) for h in range(divided)]
        return cls(
            layout=layout,
            rank=rank,
            everyone=_formed(range(layout.ranks), rank, patience),
            texts=texts[turn * divided + head],
            heads=by_head[text * rings + turn],
            ring=by_ring[text * divided + head],
            patient=_formed(range(layout.ranks), rank, LONG_PATIENCE, backend="gloo"),
        )

    @property
    def first(self) -> bool:
        """Whether this process is the one that encodes, writes and tells."""
        return self.rank == 0

    @property
    def place(self) -> Group:
        """Place of this rank's tokens in the sequence; for arithmetic, not for talking."""
        count = self.heads.size * self.ring.size
        return Group(tuple(range(count)), self.ring.index * self.heads.size + self.heads.index)

    def shared(self, value: Value | None) -> Value:
        """The first rank's value, on every rank. It travels by way of the host."""
        box = [value]
        if self.patient.handle is not None:
            dist.broadcast_object_list(box, 0, group=self.patient.handle)
        if box[0] is None:
            raise AssertionError("nothing to share")
        return box[0]

    def meet(self) -> None:
        """Wait until all are here."""
        if self.patient.handle is not None:
            dist.barrier(group=self.patient.handle)

    def leave(self) -> None:
        """Part from the others."""
        if self.everyone.handle is not None:
            dist.destroy_process_group()

    @staticmethod
    def awaits(frame: FrameType | None) -> bool:
        """Whether a thread, by its innermost frame, waits where ranks may rightly be apart."""
        long = (Team.join.__code__, Team.formed.__code__, Team.shared.__code__, Team.meet.__code__)
        while frame is not None:
            if frame.f_code in long:
                return True
            frame = frame.f_back
        return False


ONE = Team()
"""A process on its own."""


def meeting_of_launch(rank: int, ranks: int) -> Store:
    """Where the processes that ``torchrun`` started meet, by what it says in their environment."""
    store: Store = next(iter(rendezvous("env://", rank, ranks)))[0]
    return store


def between_ranks(error: BaseException) -> bool:
    """Whether an error is one of talking to the others: torch has no class for all of them."""
    words = str(error).lower()
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(word in words for word in ("gloo", "nccl", "wait timeout"))
    )


def parts(length: int, count: int) -> list[int]:
    """``length`` things divided as evenly as can be; the first parts are the longer ones.

    Raises:
        InvalidRequest: there is not one for everybody.
    """
    if length < count:
        raise InvalidRequest(
            "gpus", f"{length} tokens or rows cannot be divided by {count}", allowed=f"up to {length}",
            nearest=str(length),
        )  # fmt: skip
    return [length // count + (index < length % count) for index in range(count)]


def _formed(ranks: Sequence[int], rank: int, patience: float, backend: str | None = None) -> Group:
    """A group; every process makes every group, in the same order."""
    if len(ranks) == 1:
        return Group(tuple(ranks), 0, None)
    handle = dist.new_group(list(ranks), timeout=timedelta(seconds=patience), backend=backend)
    if rank not in ranks:
        return ALONE
    return Group(tuple(ranks), list(ranks).index(rank), handle)
