"""What was read from files, remembered in this process for as long as they do not change. Without torch.

A worker reads the headers of its model several times for every request; of a model with two experts of 1095 tensors
that takes longer than all else that comes before the first step. Files are the same if their size, time of change and
place on the disk are. What changed less than two seconds ago is read again: it could change once more without its time
telling.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

Read = TypeVar("Read")
State = tuple[str, int, int, int]
SETTLED_NS = 2_000_000_000


class Unchanged(Generic[Read]):
    """Room for as many things as ``most``, those that were used last. Threads may share it.

    Args:
        files: What a thing was read from.
        most: How many are kept.
    """

    def __init__(self, files: Callable[[Read], Iterable[Path]], most: int) -> None:
        self._files, self._most = files, most
        self._lock = Lock()
        self._known: OrderedDict[Hashable, tuple[tuple[State, ...], Read]] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], Read]) -> Read:
        """What ``read`` gave for this key, if its files are as they were; else what it gives now, with its errors."""
        with self._lock:
            known = self._known.get(key)
        if known is not None and states_of(self._files(known[1])) == known[0]:
            with self._lock:
                if key in self._known:
                    self._known.move_to_end(key)
            return known[1]
        began = time.time_ns()
        found = read()
        # Looked at afterwards: a file that changed meanwhile has a time after the beginning, and is not settled.
        states = states_of(self._files(found))
        with self._lock:
            self._known.pop(key, None)
            if states is not None and all(began - changed > SETTLED_NS for _, _, changed, _ in states):
                self._known[key] = states, found
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return found


def states_of(files: Iterable[Path]) -> tuple[State, ...] | None:
    """Path, size, time of change (ns) and number of every file; None if one is gone."""
    try:
        stats = [(str(path), path.stat()) for path in files]
    except OSError:
        return None
    return tuple((path, stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in stats)
