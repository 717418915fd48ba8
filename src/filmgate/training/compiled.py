"""Compiled kernels that travel: what one machine compiled, the next need not compile again.

The renderer's one kernel takes a minute and more to compile, in which the device waits. A file that does not fit (other
versions, another device) is of no use, and of no harm.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import torch

LARGEST = 16 << 20
"""Larger files stay where they are, in bytes."""


def fetch(path: Path | None) -> None:
    """Give this process what an earlier one compiled."""
    if path is None or not path.is_file():
        return
    try:
        artifacts = lzma.decompress(path.read_bytes())
    except lzma.LZMAError as error:
        print(f"{path} holds no compiled kernels ({error}): they are compiled anew", flush=True)
        return
    torch.compiler.load_cache_artifacts(artifacts)


def carry(path: Path | None) -> None:
    """Keep what this process has compiled, and what it was given, if it is not too large.

    Packed as fast as LZMA goes: the rich world's renderer is 57 MiB, much of it text, and the device waits meanwhile.
    """
    artifacts = None if path is None else torch.compiler.save_cache_artifacts()
    if path is None or artifacts is None:
        return
    packed = lzma.compress(artifacts[0], preset=0)
    if len(packed) > LARGEST:
        print(f"{len(packed) >> 20} MiB of compiled kernels, packed, are too many to keep", flush=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(packed)
    part.replace(path)
