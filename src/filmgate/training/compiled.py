"""Compiled kernels that travel: what one machine compiled, the next need not compile again.

The renderer's one kernel takes a minute and more to compile, in which the device waits. A file that does not fit (other
versions, another device) is of no use, and of no harm.
"""

from __future__ import annotations

from pathlib import Path

import torch

LARGEST = 16 << 20
"""Larger files stay where they are, in bytes."""


def fetch(path: Path | None) -> None:
    """Give this process what an earlier one compiled."""
    if path is not None and path.is_file():
        torch.compiler.load_cache_artifacts(path.read_bytes())


def carry(path: Path | None) -> None:
    """Keep what this process has compiled, and what it was given, if it is not too large."""
    artifacts = None if path is None else torch.compiler.save_cache_artifacts()
    if path is None or artifacts is None:
        return
    if len(artifacts[0]) > LARGEST:
        print(f"{len(artifacts[0]) >> 20} MiB of compiled kernels are too many to keep", flush=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(artifacts[0])
    part.replace(path)
