"""What of a model is where, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from filmgate.engine.runtime.stream import BlockStream


@dataclass(frozen=True)
class Holding:
    """Memory that a network takes.

    Attributes:
        name: Of the network.
        where: A device, or ``host`` and ``host, page-locked`` for what is kept there only to be copied.
        bytes: How much.
    """

    name: str
    where: str
    bytes: int


def holdings(name: str, network: nn.Module, stream: BlockStream | None = None) -> Iterator[Holding]:
    """Where a network's tensors are, and what brings its blocks to the device; what has no numbers yet takes nothing.

    Args:
        name: What to call it.
        network: Its parameters and buffers are counted once each; on a CPU they may lie in a mapped file.
        stream: The one that works for it.
    """
    found: dict[str, int] = {}
    streamed = set() if stream is None else stream.names
    for key, tensor in (*network.named_parameters(), *network.named_buffers()):
        if not tensor.is_meta and key not in streamed:
            found[str(tensor.device)] = found.get(str(tensor.device), 0) + tensor.nbytes
    if stream is not None:
        device = str(stream.device)
        found[device] = found.get(device, 0) + stream.device_bytes
        found["host, page-locked" if stream.locked else "host"] = stream.host_bytes
    yield from (Holding(name, where, size) for where, size in found.items() if size)
