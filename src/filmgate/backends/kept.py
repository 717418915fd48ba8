"""What a worker keeps from one request to the next: the networks of the last plan, as far as that plan lets them stay.

A request takes them out and gives them back when it has ended well. So nobody else can use them meanwhile, and what was
broken off never comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Protocol, TypeVar


class Closable(Protocol):
    """Something that holds memory."""

    def close(self) -> None:
        """Let go of it."""


Held = TypeVar("Held", bound=Closable)


class Kept:
    """Room for one thing that is dear to make, with the key of whom it is for. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: tuple[Hashable, Any] | None = None

    def take(self, key: Hashable, make: Callable[[], Held]) -> Held:
        """What was given back with an equal key, or else what ``make`` makes. What is for others is closed first, so
        that there is room."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None:
            if held[0] == key:
                found: Held = held[1]
                return found
            held[1].close()
        return make()

    def give(self, key: Hashable, thing: Closable) -> None:
        """Keep something for whoever takes it with an equal key, in place of what was kept."""
        with self._lock:
            before, self._held = self._held, (key, thing)
        if before is not None:
            before[1].close()

    def close(self) -> None:
        """Let go of what is kept."""
        with self._lock:
            before, self._held = self._held, None
        if before is not None:
            before[1].close()
