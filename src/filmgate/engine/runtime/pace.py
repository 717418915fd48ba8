"""Where in its walk from noise to video a network is: told by whoever makes the walk, read by what acts on the network
from outside and does so in some steps and not in others.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Listener = Callable[[int, int], None]
"""Is told the index of the step that begins, and how many there are; -1 before the first step of a walk, or of what is
left of one."""
_KEY = "_pace_listeners"


def listen(network: nn.Module, listener: Listener) -> None:
    """Let ``listener`` know whenever a step of the network begins."""
    network.__dict__.setdefault(_KEY, []).append(listener)


def begin_step(network: nn.Module, index: int, count: int) -> None:
    """Say that the passes which follow are those of step ``index`` of ``count``; see :data:`Listener`."""
    for listener in network.__dict__.get(_KEY, ()):
        listener(index, count)
