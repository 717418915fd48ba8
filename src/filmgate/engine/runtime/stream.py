"""Blocks of a network that come to the device one after the other, each while the one before it computes.

A network's blocks are almost all of it, and are used one at a time, in the same order in every pass. Two buffers on the
device are enough: while a block computes in one, the next is copied to the other. What a block will be followed by is
what followed it last. The network itself does not know: before a part of a block runs, a hook puts the block's tensors
where they belong, as views of a buffer; meanwhile those of the other blocks have shapes and no numbers (torch's meta
device), so that using one is an error and never a wrong number.

On CUDA, copies run on a stream of their own, from page-locked memory, which is filled once, or, where the host has no
room for that, from two page-locked buffers that a thread fills from the file. Elsewhere the same is done with copies
that nothing hides.

Where several ranks share the work, blocks can come from them instead: each rank has an equal part of the bytes of every
block on its device, and all of them put a block together when it works. What is put together is what the file says, bit
by bit, in whatever format. All ranks need the same blocks in the same order, as they do when they make the same passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from filmgate.engine.runtime.host_memory import HostBlock, HostRoom
from filmgate.engine.runtime.parallel import ALONE, Group
from filmgate.spec.residency import HostPlace

Patch = Callable[[Tensor], None]
"""Changes a tensor in place, as a LoRA does."""
_ALIGNMENT = 256


class Source(Protocol):
    """Where the tensors of a network come from."""

    def copy_into(self, name: str, target: Tensor) -> None:
        """Write the tensor of that name to ``target``, which has its shape and format and is on any device."""

    def copy_all(self, groups: Iterable[Sequence[tuple[str, Tensor]]]) -> None:
        """Write many, as :meth:`copy_into` does one; those of a group in any order. Groups are asked for while those
        before are being written."""


@dataclass(frozen=True, eq=False)
class _Place:
    """A tensor of a block: the module that has it, the attribute, and its bytes in a buffer."""

    name: str
    owner: nn.Module
    leaf: str
    offset: int
    like: Tensor
    parameter: bool

    def view(self, buffer: Tensor) -> Tensor:
        data = buffer[self.offset : self.offset + self.like.nbytes]
        return data.view(self.like.dtype).view(self.like.shape)

    def put(self, tensor: Tensor) -> None:
        held = self.owner._parameters if self.parameter else self.owner._buffers
        held[self.leaf] = tensor  # type: ignore[assignment]


class _Block:
    """The tensors of one block, how they lie in a buffer, and where they are on the host."""

    def __init__(self, prefix: str, module: nn.Module) -> None:
        self.places: list[_Place] = []
        self.bytes = 0
        self.host: HostBlock | None = None
        self.part: Tensor | None = None
        for path, owner in module.named_modules(prefix=prefix):
            for parameter, held in ((True, owner._parameters), (False, owner._buffers)):
                for leaf, tensor in held.items():
                    if tensor is not None:
                        self.places.append(_Place(f"{path}.{leaf}", owner, leaf, self.bytes, tensor.data, parameter))
                        self.bytes += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        self.absent = [_wrapped(place, torch.empty_like(place.like, device="meta")) for place in self.places]

    def put(self, tensors: Sequence[Tensor]) -> None:
        for place, tensor in zip(self.places, tensors, strict=True):
            place.put(tensor)

    def views(self, buffer: Tensor) -> list[tuple[str, Tensor]]:
        """Names of the tensors, and where they belong in a buffer."""
        return [(place.name, place.view(buffer)) for place in self.places]

    def fill(self, buffer: Tensor, source: Source) -> None:
        source.copy_all([self.views(buffer)])


class _Buffer:
    """Room for a block on the device, and which block is in it or on its way."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.bytes = torch.empty(size, dtype=torch.uint8, device=device)
        self.holds: int | None = None
        self.ready: torch.cuda.Event | None = None
        self.filling: Future[None] | None = None
        self.staging: HostBlock | None = None
        self.views: dict[int, list[Tensor]] = {}


class BlockStream:
    """Blocks of a module that are on the device only while they work. Made by :func:`stream_blocks`.

    Attributes:
        device: Where blocks work.
        overlaps: Whether copies run while blocks compute.
        copied: Blocks that were copied to the device so far.
        late: How many of these were not on their way when they were needed.
    """

    def __init__(
        self,
        blocks: Sequence[tuple[str, nn.Module]],
        source: Source,
        device: torch.device,
        room: HostRoom,
        group: Group = ALONE,
    ) -> None:
        self.device = device
        self._group = group
        self.overlaps = _overlaps(device)
        self.copied = self.late = 0
        self._source = source
        self._room = room
        self._patches: dict[str, Patch] = {}
        self._blocks = [_Block(prefix, module) for prefix, module in blocks]
        size = max(map(self._shared, self._blocks))
        self._buffers = (_Buffer(size, device), _Buffer(size, device))
        self._current: int | None = None
        self._after: dict[int, int] = {}
        self._lane = torch.cuda.Stream(device) if self.overlaps else None
        self._reader: ThreadPoolExecutor | None = None
        self._handles = [
            part.register_forward_pre_hook(_Need(self, index))
            for index, (_, module) in enumerate(blocks)
            for part in (module, *_owners(module))
        ]
        for block in self._blocks:
            block.put(block.absent)

    def hold_on_host(self) -> None:
        """Read all blocks to the host now, page-locked on CUDA, so that no pass reads a file."""

        def views() -> Iterator[list[tuple[str, Tensor]]]:
            for block in self._blocks:
                block.host = self._take(block.bytes)
                yield block.views(block.host.bytes)

        self._source.copy_all(views())

    def read_as_needed(self) -> None:
        """Read blocks from their source in every pass."""
        if self.overlaps:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="filmgate-blocks")
            for buffer in self._buffers:
                buffer.staging = self._take(buffer.bytes.nbytes)

    def share(self) -> None:
        """Read all blocks now, and keep this rank's part of each on the device."""
        buffer = self._buffers[0].bytes
        host = self._take(buffer.nbytes)
        for block in self._blocks:
            block.fill(host.bytes, self._source)
            buffer.copy_(host.bytes)
            block.part = buffer[: self._shared(block)].chunk(self._group.size)[self._group.index].clone()
        self._room.give(host)

    def _shared(self, block: _Block) -> int:
        """Bytes of a block, filled up so that all ranks have equally many."""
        unit = _ALIGNMENT * self._group.size
        return -(-block.bytes // unit) * unit

    def _take(self, size: int) -> HostBlock:
        # Locking makes a context on whichever device is the present one.
        with torch.cuda.device(self.device) if self.overlaps else nullcontext():
            return self._room.take(size, locked=self.overlaps)

    @property
    def names(self) -> set[str]:
        """The tensors that are streamed."""
        return {place.name for block in self._blocks for place in block.places}

    @property
    def device_bytes(self) -> int:
        """Bytes of the buffers on the device, and of this rank's parts of the blocks."""
        parts = [block.part.nbytes for block in self._blocks if block.part is not None]
        return sum(parts) + sum(buffer.bytes.nbytes for buffer in self._buffers)

    @property
    def host_bytes(self) -> int:
        """Bytes on the host that are kept for this, without what is mapped."""
        return sum(host.bytes.nbytes for host in self._hosts())

    @property
    def locked(self) -> bool:
        """Whether all of :attr:`host_bytes` is page-locked; where it is not, computing waits for copies."""
        return self.overlaps and all(host.locked for host in self._hosts())

    def _hosts(self) -> list[HostBlock]:
        hosts = [block.host for block in self._blocks] + [buffer.staging for buffer in self._buffers]
        return [host for host in hosts if host is not None]

    def patch(self, patches: Mapping[str, Patch]) -> None:
        """Change tensors, by their names in the module, whenever they arrive; in place of what was said before.

        What is on the device, or on its way, comes again.
        """
        self._patches = dict(patches)
        for buffer in self._buffers:
            if buffer.filling is not None:
                buffer.filling.result()
            buffer.holds, buffer.filling = None, None
        if self._current is not None:
            self._blocks[self._current].put(self._blocks[self._current].absent)
            self._current = None

    def need(self, index: int) -> None:
        """Put a block in its place, and start to copy the one that will probably follow."""
        if index == self._current:
            return
        before, self._current = self._current, index
        buffer = next((buffer for buffer in self._buffers if buffer.holds == index), None)
        if buffer is None:
            self.late += 1
            buffer = self._buffers[0] if before is None or self._buffers[1].holds == before else self._buffers[1]
            self._start(buffer, index)
        self._arrive(buffer)
        if before is not None:
            self._blocks[before].put(self._blocks[before].absent)
            self._after[before] = index
        self._blocks[index].put(buffer.views[index])
        following = self._after.get(index, (index + 1) % len(self._blocks))
        other = self._buffers[0] if buffer is self._buffers[1] else self._buffers[1]
        if following not in (index, other.holds):
            self._start(other, following)

    def close(self) -> None:
        """Let go of all memory; the blocks are then without numbers. A second call does nothing."""
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)
        if self._lane is not None:
            torch.cuda.synchronize(self.device)
        for handle in self._handles:
            handle.remove()
        for host in self._hosts():
            self._room.give(host)
        for block in self._blocks:
            block.put(block.absent)
            block.host = block.part = None
        self._buffers = ()  # type: ignore[assignment]
        self._handles = []

    def _start(self, buffer: _Buffer, index: int) -> None:
        """Begin to copy a block to a buffer, once what was computed from that buffer is done."""
        buffer.holds = index
        self.copied += 1
        block = self._blocks[index]
        if index not in buffer.views:
            buffer.views[index] = [_wrapped(place, place.view(buffer.bytes)) for place in block.places]
        if self._lane is None:
            self._copy(block, buffer)
            return
        done = torch.cuda.current_stream(self.device).record_event()
        if self._reader is None or block.host is not None:
            self._send(block, buffer, done)
        else:
            buffer.filling = self._reader.submit(self._send, block, buffer, done)

    def _send(self, block: _Block, buffer: _Buffer, done: torch.cuda.Event) -> None:
        """Copy on the stream for copies, after ``done``."""
        assert self._lane is not None
        staging = buffer.staging
        with torch.cuda.stream(self._lane):
            if block.host is None and staging is not None:
                if buffer.ready is not None:
                    buffer.ready.synchronize()  # what was staged there before has left
                block.fill(staging.bytes, self._source)
            self._lane.wait_event(done)
            self._copy(block, buffer, staging)
            buffer.ready = self._lane.record_event()

    def _copy(self, block: _Block, buffer: _Buffer, staging: HostBlock | None = None) -> None:
        host = block.host or staging
        if block.part is not None:
            self._group.joined(block.part, buffer.bytes[: self._shared(block)])
        elif host is None:
            block.fill(buffer.bytes, self._source)
        else:
            size = block.bytes
            buffer.bytes[:size].copy_(host.bytes[:size], non_blocking=self.overlaps)
        for place in block.places:
            if (patch := self._patches.get(place.name)) is not None:
                patch(place.view(buffer.bytes))

    def _arrive(self, buffer: _Buffer) -> None:
        """What is computed from now on may use the buffer."""
        if buffer.filling is not None:
            filling, buffer.filling = buffer.filling, None
            filling.result()
        if buffer.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(buffer.ready)


class _Need:
    """A forward pre-hook of a part of a block."""

    def __init__(self, stream: BlockStream, index: int) -> None:
        self.stream, self.index = stream, index

    def __call__(self, _: nn.Module, __: tuple[Any, ...]) -> None:
        """Called by torch before the part."""
        self.stream.need(self.index)


def stream_blocks(
    module: nn.Module,
    source: Source,
    device: torch.device,
    *,
    host: HostPlace = "pinned",
    kept: int = 0,
    room: HostRoom | None = None,
    group: Group | None = None,
) -> BlockStream | None:
    """Leave the blocks of a module, which has shapes only, on the host, and bring each to the device when it works.

    Blocks are the members of the lists that the module has at its top. Everything else, and ``kept`` of the blocks,
    evenly spread, is not touched: put it on the device in the ordinary way, see :func:`streamed_prefixes`.

    Args:
        module: Made on the meta device.
        source: Of the numbers.
        device: Where to compute.
        host: Where blocks are meanwhile.
        kept: Blocks that shall stay on the device.
        room: Where memory on the host comes from, and goes to when the stream is closed.
        group: Ranks that have a part of every block each, in place of the host; all of them make the same passes.

    Returns:
        None if no block is left to be streamed.
    """
    blocks = [(name, module.get_submodule(name)) for name in streamed_prefixes(module, kept)]
    if not blocks:
        return None
    stream = BlockStream(blocks, source, device, room or HostRoom(), group or ALONE)
    if group is not None:
        stream.share()
    elif host == "pinned":
        stream.hold_on_host()
    else:
        stream.read_as_needed()
    return stream


def is_streamed(module: nn.Module) -> bool:
    """Whether some of a module's tensors are only there while they are needed, so that nobody may read them now."""
    return any(isinstance(hook, _Need) for part in module.modules() for hook in part._forward_pre_hooks.values())


def streamed_prefixes(module: nn.Module, kept: int = 0) -> list[str]:
    """Names of the blocks that are streamed where ``kept`` of them stay."""
    names = [
        f"{name}.{index}"
        for name, part in module.named_children()
        if isinstance(part, nn.ModuleList)
        for index in range(len(part))
    ]
    # Spread out, so that every copy has something to hide behind.
    staying = {position * len(names) // kept for position in range(kept)} if kept else set()
    return [name for position, name in enumerate(names) if position not in staying]


def _overlaps(device: torch.device) -> bool:
    """Whether the device copies while it computes."""
    return device.type == "cuda"


def _owners(module: nn.Module) -> Iterator[nn.Module]:
    """Parts within a module that have tensors of their own."""
    for part in module.modules():
        if part is not module and (part._parameters or part._buffers):
            yield part


def _wrapped(place: _Place, tensor: Tensor) -> Tensor:
    return nn.Parameter(tensor, requires_grad=False) if place.parameter else tensor
