"""Tensors read from their files to where they belong, by several threads at once.

A mapped file comes in page by page, each time somebody touches one that is not there: on one thread that is a fraction
of what a disk or the page cache can give. Here threads read large pieces straight into the memory of the tensors, or,
for a GPU or for another number format, into small buffers (page-locked for a GPU) from which they are copied on while
the next piece is read. What is asked for is what the headers said; no byte is interpreted but as a number.

Beside the targets this takes ``2 * threads`` buffers of ``chunk`` bytes on the host, and where formats differ as much
on the GPU. Nothing is mapped, so that nothing else counts as memory of this process.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import torch
from torch import Tensor

from filmgate.engine.checkpoints.records import TensorRecord
from filmgate.engine.runtime.host_memory import HostBlock
from filmgate.spec.errors import DamagedFile, MissingFile

AVAILABLE = hasattr(os, "preadv")
"""Whether this system reads into several buffers at once; where it does not, files are mapped."""
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
THREADS = max(2, min(8, _CORES))
"""As many as can copy from the page cache at once. More of them disturb each other on a disk that reads ahead."""
CHUNK = 8 << 20
"""Bytes of one read."""
_ALIGNMENT = 256
_MAX_PARTS = 256
"""Tensors of one read; systems allow 1024."""
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Wanted:
    """A tensor that shall be read.

    Attributes:
        name: For messages.
        record: Where its bytes are: in one piece, and not within a pickle.
        dtype: What they are; torch's name for that of the record, or bytes for GGUF's blocks.
        target: Contiguous, of as many elements, in any format and on a CPU or a CUDA device.
    """

    name: str
    record: TensorRecord
    dtype: torch.dtype
    target: Tensor

    @property
    def direct(self) -> bool:
        """Whether the bytes can be read to where they shall be."""
        return self.target.device.type == "cpu" and self.target.dtype == self.dtype


def dtype_of(record: TensorRecord) -> torch.dtype:
    """What the bytes of a tensor are in torch; GGUF's blocks are bytes."""
    dtype: torch.dtype = torch.uint8 if record.dtype.block > 1 else getattr(torch, record.dtype.torch)
    return dtype


def place_of(record: TensorRecord) -> tuple[Path, int]:
    """Where a tensor lies, to sort by."""
    return record.file, record.begin or 0


def read_all(
    wanted: Iterable[Wanted], device: torch.device = CPU, *, threads: int = THREADS, chunk: int = CHUNK
) -> None:
    """Read tensors into their targets; all of them are there when this returns.

    Args:
        wanted: Asked for one after the other while those before are read, so that targets may be made on the way. In
            the order of the file they are read in larger pieces, and from a disk in half the time.
        device: Of the targets that are not on the CPU.
        threads: That read.
        chunk: Bytes of a read.

    Raises:
        DamagedFile: a file is shorter than its header said; a file that is too short when it is opened is not read.
        MissingFile: a file is gone, or cannot be read.
    """
    with ExitStack() as stack:
        reading = _Reading(stack, device, threads, chunk)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="filmgate-read")
        try:
            pending: deque[Future[None]] = deque()
            for run in _runs(wanted, chunk):
                reading.open(run)
                pending.append(pool.submit(reading.read, run))
                while pending and pending[0].done():
                    pending.popleft().result()
            for future in pending:
                future.result()
        finally:
            # Before files are closed: another file may get the number of one that is still read.
            pool.shutdown(wait=True, cancel_futures=True)


class _Part(NamedTuple):
    """Some bytes of a tensor: from the ``first``, so many."""

    wanted: Wanted
    first: int
    bytes: int

    @property
    def begin(self) -> int:
        """In the file."""
        assert self.wanted.record.begin is not None
        return self.wanted.record.begin + self.first

    @property
    def target(self) -> Tensor:
        size = self.wanted.dtype.itemsize
        flat = self.wanted.target.view(-1)
        return flat[self.first // size : (self.first + self.bytes) // size]


def _runs(wanted: Iterable[Wanted], size: int) -> Iterator[list[_Part]]:
    """Bytes that follow one another in a file, at most ``size`` of them; no element is divided."""
    run: list[_Part] = []
    left, follows = size, (Path(), -1)
    for item in wanted:
        first, unit = 0, item.dtype.itemsize
        if item.target.numel() * unit != item.record.bytes:
            raise AssertionError(f"{item.name}: the target has another size than the tensor")
        while first < item.record.bytes:
            part = _Part(item, first, min(item.record.bytes - first, left // unit * unit))
            if run and (not part.bytes or (item.record.file, part.begin) != follows or len(run) == _MAX_PARTS):
                yield run
                run, left = [], size
                continue
            run.append(part)
            first, left = first + part.bytes, left - part.bytes
            follows = item.record.file, part.begin + part.bytes
    if run:
        yield run


class _Stage:
    """A buffer on the host that is read to, what is copied from it, and when that is done."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.host = HostBlock(size, locked=device.type == "cuda")
        self.device: Tensor | None = None
        self.left: torch.cuda.Event | None = None


class _Reading:
    """One call of :func:`read_all`: the open files and the buffers. Threads call :meth:`read`."""

    def __init__(self, stack: ExitStack, device: torch.device, threads: int, chunk: int) -> None:
        self._stack, self._device = stack, device
        self._inference = torch.is_inference_mode_enabled()  # targets may have been made so; threads do not know
        self._size = chunk + _MAX_PARTS * _ALIGNMENT
        self._files: dict[Path, tuple[int, int]] = {}
        # Places for buffers, which are made on first use: small files need few.
        self._stages: SimpleQueue[_Stage | None] = SimpleQueue()
        for _ in range(2 * threads):
            self._stages.put(None)
        self._lane: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._lane = torch.cuda.Stream(device)
            # Targets may be where something is still being computed.
            self._lane.wait_stream(torch.cuda.current_stream(device))
            stack.callback(self._join)

    def open(self, run: Sequence[_Part]) -> None:
        """Open the file of a run, if it was not yet, and see that it is long enough."""
        part = run[-1]
        path, end = part.wanted.record.file, part.begin + part.bytes
        if path not in self._files:
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise _unreadable(path, error) from error
            self._stack.callback(os.close, handle)
            self._files[path] = handle, os.fstat(handle).st_size
        size = self._files[path][1]
        if end > size:
            raise _shorter(part, end, size)

    def read(self, run: Sequence[_Part]) -> None:
        """Read a run to where it belongs; copies to a GPU may still be on their way."""
        if all(part.wanted.direct for part in run):
            self._read(run, [part.target for part in run])
            return
        stage = self._stages.get()
        try:
            with torch.cuda.device(self._device) if self._lane is not None else nullcontext():
                stage = stage or _Stage(self._size, self._device)
                if stage.left is not None:
                    stage.left.synchronize()  # what was read before has left
                places = list(_places(run))
                staged = [stage.host.bytes[place : place + part.bytes] for place, part in zip(places, run, strict=True)]
                self._read(
                    run, [part.target if part.wanted.direct else own for part, own in zip(run, staged, strict=True)]
                )
                lane = torch.cuda.stream(self._lane) if self._lane is not None else nullcontext()
                with torch.no_grad(), torch.inference_mode(self._inference), lane:
                    for place, part, own in zip(places, run, staged, strict=True):
                        if not part.wanted.direct:
                            self._copy(stage, place, part, own)
                    if self._lane is not None:
                        stage.left = self._lane.record_event()
        finally:
            self._stages.put(stage)

    def _copy(self, stage: _Stage, place: int, part: _Part, own: Tensor) -> None:
        """What was staged, to its target, and into the target's format: on the target's device."""
        target, dtype = part.target, part.wanted.dtype
        if target.device.type == "cpu" or target.dtype == dtype:
            target.copy_(own.view(dtype), non_blocking=self._lane is not None)
            return
        if stage.device is None:
            stage.device = torch.empty(self._size, dtype=torch.uint8, device=target.device)
        there = stage.device[place : place + part.bytes]
        there.copy_(own, non_blocking=True)
        target.copy_(there.view(dtype))

    def _read(self, run: Sequence[_Part], targets: Sequence[Tensor]) -> None:
        path = run[0].wanted.record.file
        handle, offset = self._files[path][0], run[0].begin
        buffers = [target.view(torch.uint8).numpy().data for target in targets]
        while buffers:
            try:
                count = os.preadv(handle, buffers, offset)
            except OSError as error:
                raise _unreadable(path, error) from error
            if not count:
                raise _shorter(run[-1], run[-1].begin + run[-1].bytes, os.fstat(handle).st_size)
            offset += count
            while buffers and count >= len(buffers[0]):
                count -= len(buffers.pop(0))
            if count:
                buffers[0] = buffers[0][count:]

    def _join(self) -> None:
        """All copies are done: buffers may be unlocked, and whoever computes may use the targets."""
        assert self._lane is not None
        self._lane.synchronize()


def _places(run: Sequence[_Part]) -> Iterator[int]:
    """Where parts begin in a buffer, each where any format may."""
    place = 0
    for part in run:
        yield place
        place += -(-part.bytes // _ALIGNMENT) * _ALIGNMENT


def _shorter(part: _Part, expected: int, found: int) -> DamagedFile:
    return DamagedFile(
        part.wanted.record.file, "became shorter while open", key=part.wanted.name, expected=expected, found=found
    )


def _unreadable(path: Path, error: OSError) -> MissingFile:
    return MissingFile(path, f"cannot be read: {error.strerror or error}")
