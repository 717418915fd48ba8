"""Memory of the host: that which a GPU can read by itself, while both go on computing, and that which is used again.

Torch's own page-locked memory comes in powers of two, which for blocks of 0.7 GB wastes a third. Here whole pages of
ordinary memory are locked, as many as are needed.
"""

from __future__ import annotations

import weakref

import numpy as np
import torch
from torch import Tensor

PAGE = 4096
_PORTABLE = 1
"""cudaHostRegisterPortable: locked for every device, not only for the present one."""

_KEPT_SIZE = 31 * 2**20
"""Just below what glibc takes for memory that it shall never keep (32 MiB, header included)."""


def keep_freed_memory() -> None:
    """Let this process keep small amounts of memory that it frees, for its next tensors; on Linux with glibc.

    Freed memory goes back to the system at once if there is more of it than twice the largest piece that was ever freed
    so far, and every page of the next tensor is then asked for and zeroed anew. A network on a CPU, whose tensors are
    all about as large as that piece, spends a tenth of its time so. One large piece, freed once, is what the rule
    goes by from then on (mallopt(3), M_MMAP_THRESHOLD): up to 62 MiB stay. Nobody writes to it, so it costs nothing.
    Other allocators, and thresholds that the environment sets, are left as they are.
    """
    torch.empty(_KEPT_SIZE, dtype=torch.uint8, device="cpu")


class HostBlock:
    """Bytes [n] on the host, page-locked for CUDA where that is possible; unlocked when the object goes.

    Args:
        size: Bytes.
        locked: Whether to lock them; needs a CUDA device.

    Attributes:
        bytes: The memory, uint8.
        locked: Whether copies from it run beside the computation; False too where the driver refused.
    """

    def __init__(self, size: int, *, locked: bool) -> None:
        room = -(-size // PAGE) * PAGE
        # NumPy's, because torch writes to new memory where results shall be repeatable.
        whole = torch.from_numpy(np.empty(room + PAGE, dtype=np.uint8))
        # From a page's begin on, so that no page is shared with a neighbour that may be locked too.
        pages = whole[-whole.data_ptr() % PAGE :][:room]
        self.bytes: Tensor = pages[:size]
        self.locked = locked and _lock(pages)
        if self.locked:
            # At the end of the program the driver unlocks everything, and may be gone already.
            weakref.finalize(self, _unlock, pages).atexit = False


class HostRoom:
    """Blocks that nobody uses at the moment, for the next who wants some of the same sizes.

    Two experts of a model have the same blocks. To make and to lock 28 GB anew takes longer than to fill them.
    """

    def __init__(self) -> None:
        self._free: list[HostBlock] = []

    def take(self, size: int, *, locked: bool) -> HostBlock:
        """A block of exactly that size. Where none is free, what is free is let go of first: it is for nobody."""
        for index, block in enumerate(self._free):
            if block.bytes.nbytes == size and block.locked == locked:
                return self._free.pop(index)
        self._free.clear()
        return HostBlock(size, locked=locked)

    def give(self, block: HostBlock) -> None:
        """Take a block back; nobody may look at it any more."""
        self._free.append(block)


def _lock(pages: Tensor) -> bool:
    return int(torch.cuda.cudart().cudaHostRegister(pages.data_ptr(), pages.nbytes, _PORTABLE)) == 0


def _unlock(pages: Tensor) -> None:
    """The pages are an argument so that they live until they are unlocked."""
    torch.cuda.cudart().cudaHostUnregister(pages.data_ptr())
