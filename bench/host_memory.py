"""What a process holds of the host's memory at most, for the benchmarks of loading and of small cards; Linux."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HostMemory:
    """The memory of this process, looked at again and again: bytes, without pages of files if ``anonymous``."""

    def __init__(self) -> None:
        self.peak = self.anonymous_peak = 0
        self._highest = self._read("VmHWM")
        self._stop = threading.Event()

    @staticmethod
    def _read(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    @classmethod
    def now(cls) -> tuple[int, int]:
        """All that is in memory, and what of it belongs to no file."""
        return cls._read("VmRSS"), cls._read("RssAnon")

    @contextmanager
    def watched(self) -> Iterator[HostMemory]:
        """Within the body peaks are noted, every 20 ms."""

        def look() -> None:
            while not self._stop.wait(0.02):
                self._note()

        watcher = threading.Thread(target=look, daemon=True)
        self._note()
        watcher.start()
        try:
            yield self
        finally:
            self._stop.set()
            watcher.join()
            self._note()
            highest = self._read("VmHWM")
            if highest > self._highest:  # between two looks it was more
                self.peak = max(self.peak, highest)

    def _note(self) -> None:
        everything, anonymous = self.now()
        self.peak, self.anonymous_peak = max(self.peak, everything), max(self.anonymous_peak, anonymous)
