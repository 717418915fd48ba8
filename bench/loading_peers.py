"""What bench/loading.py compares with: the fastest plain way for the same bytes to the same place, and the library."""

from __future__ import annotations

import os
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from filmgate.engine.checkpoints.records import TensorRecord
from filmgate.engine.runtime.host_memory import HostBlock

THREADS, CHUNK = (1, 2, 4, 8, 16), 16 << 20


class Peer:
    """Nothing but threads that read pieces of files, and for a GPU copies of these.

    All memory is taken, locked and touched here, before any clock starts.

    Args:
        records: Tensors to read.
        device: A GPU, or the CPU.
        to_host: Whether to read to the host's memory, page-locked for a GPU, or to the GPU.
        touched: Whether the host's memory is there, and not only promised.
    """

    def __init__(
        self, records: Iterable[TensorRecord], device: torch.device, *, to_host: bool, touched: bool = True
    ) -> None:
        self.device = device
        self.pieces: list[tuple[Path, int, int, int]] = []
        total = 0
        for path, begin, end in ranges_of(records):
            for offset in range(begin, end, CHUNK):
                size = min(CHUNK, end - offset)
                self.pieces.append((path, offset, total, size))
                total += size
        self.total = total
        self.host: HostBlock | None = None
        self.there: Tensor | None = None
        self.rings: list[list[HostBlock]] = []
        if to_host:
            self.host = HostBlock(total, locked=device.type == "cuda")
            if touched:
                self.host.bytes.zero_()
        else:
            self.there = torch.zeros(total, dtype=torch.uint8, device=device)
            self.rings = [[HostBlock(CHUNK, locked=True) for _ in range(2)] for _ in range(max(THREADS))]

    def read(self, threads: int) -> None:
        """All bytes to the host's memory, or, if there is none, to the device's."""
        left = iter(self.pieces)
        lock = threading.Lock()
        handles = {path: os.open(path, os.O_RDONLY) for path in {piece[0] for piece in self.pieces}}
        failed: list[BaseException] = []

        def pieces() -> Iterator[tuple[int, int, int, int]]:
            while True:
                with lock:
                    piece = next(left, None)
                if piece is None:
                    return
                yield handles[piece[0]], *piece[1:]

        def work(ring: list[HostBlock]) -> None:
            try:
                if self.host is None:
                    self._to_device(pieces(), ring)
                else:
                    self._to_memory(pieces())
            except BaseException as error:
                failed.append(error)

        rings = self.rings or [[] for _ in range(threads)]
        workers = [threading.Thread(target=work, args=(rings[index],)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for handle in handles.values():
            os.close(handle)
        if failed:
            raise failed[0]

    def _to_memory(self, pieces: Iterator[tuple[int, int, int, int]]) -> None:
        assert self.host is not None
        whole = self.host.bytes.numpy().data
        for handle, offset, place, size in pieces:
            whole_read(handle, whole[place : place + size], offset)

    def _to_device(self, pieces: Iterator[tuple[int, int, int, int]], ring: list[HostBlock]) -> None:
        assert self.there is not None
        with torch.cuda.device(self.device), torch.cuda.stream(torch.cuda.Stream(self.device)):
            done: list[torch.cuda.Event | None] = [None, None]
            for turn, (handle, offset, place, size) in enumerate(pieces):
                stage, event = ring[turn % 2].bytes[:size], done[turn % 2]
                if event is not None:
                    event.synchronize()
                whole_read(handle, stage.numpy().data, offset)
                self.there[place : place + size].copy_(stage, non_blocking=True)
                done[turn % 2] = torch.cuda.current_stream(self.device).record_event()
            torch.cuda.current_stream(self.device).synchronize()


def whole_read(handle: int, target: memoryview, offset: int) -> None:
    """Fill ``target`` from a file."""
    while target:
        count = os.preadv(handle, [target], offset)
        if not count:
            raise EOFError("the file ended")
        target, offset = target[count:], offset + count


def ranges_of(records: Iterable[TensorRecord]) -> list[tuple[Path, int, int]]:
    """Files, and from where to where they hold tensors without a gap."""
    found: list[tuple[Path, int, int]] = []
    for path, begin, end in sorted((one.file, one.begin or 0, (one.begin or 0) + one.bytes) for one in records):
        if found and found[-1][0] == path and found[-1][2] == begin:
            found[-1] = (path, found[-1][1], end)
        else:
            found.append((path, begin, end))
    return found


def library(files: Sequence[Path], names: Container[str], device: torch.device) -> dict[str, Tensor]:
    """safetensors' own way; pages of the named tensors touched."""
    found: dict[str, Tensor] = {}
    for path in files:
        found |= load_file(path, device=str(device))
    for name, tensor in found.items():
        if tensor.device.type == "cpu" and name in names:
            int(tensor.reshape(-1).view(torch.uint8)[::4096].sum())
    return found
