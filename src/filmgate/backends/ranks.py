"""Worker processes that make one video together, and whoever watches over them.

Each worker is a process of its own with a pipe to this one. It says that it lives and, if it is the first, what it has
to tell. Five things end a run at once, and with it every worker:

* a worker is gone, whatever killed it;
* a worker raises an error, such as that it waited too long for another one (see
  :mod:`filmgate.engine.runtime.parallel`): then those that do not complain are the ones that hang;
* a worker says nothing at all for :data:`SILENCE` seconds: its process is frozen;
* a worker says that it lives, but its main thread has not used the processor for as long, and does not wait for the
  others either: it hangs in a read, a lock or a sleep, also where the others would rightly wait for long;
* this process closes the generator or dies: workers end when their pipe does.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from filmgate.engine.runtime.parallel import Team
from filmgate.spec.errors import BackendError, FilmgateError

Work = Callable[[int, str], Iterable[Any]]
"""What the worker of a rank does, given where all meet (torch's ``init_method``); picklable. Yields as it goes."""
SILENCE = 25.0
"""Seconds without a sign of life after which a worker counts as frozen."""
STARTING = 180.0
"""The same before the first sign: a process that starts imports a lot, from a disk that may be slow."""
_BEAT = 2.0
_STIR = 1e-3
"""Seconds of the processor that count as having done something; being asked for its frames costs a thread less."""
FROZEN = 3 * _BEAT
"""Seconds without a sign of life after which a worker is the one to blame, once another one complains."""
GRACE = 3.0
"""Seconds in which the others complain too, if they can, or the one that died is found dead."""
_END = 10.0
"""Seconds until the others are done after the first."""


class RankFailed(BackendError):
    """A worker ended the run with an error of our own kind, whose ``code`` and text it keeps."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self._code = code

    @property
    def code(self) -> str:
        """See :class:`~filmgate.spec.errors.FilmgateError`."""
        return self._code


def on_ranks(work: Work, count: int, *, silence: float = SILENCE) -> Generator[Any, None, None]:
    """Let ``count`` processes work together.

    Yields:
        What the first of them yields.

    Raises:
        BackendError: one of them died, hangs or broke; says which. None is left running.
        RankFailed: one of them raised an error of our own kind.
    """
    with tempfile.TemporaryDirectory(prefix="filmgate-ranks-", ignore_cleanup_errors=True) as folder:
        watch = _Watch(work, count, (Path(folder) / "meeting").as_uri(), silence)
        try:
            yield from watch.told()
        finally:
            watch.end()


class _Watch:
    def __init__(self, work: Work, count: int, meeting: str, silence: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._silence = silence
        self._pipes: list[Connection] = []
        self._workers: list[SpawnProcess] = []
        self._done: set[int] = set()
        self._broken: dict[int, str] = {}
        for rank in range(count):
            here, there = context.Pipe()
            worker = context.Process(
                target=_worker, args=(work, rank, meeting, there), name=f"filmgate rank {rank}", daemon=True
            )
            worker.start()
            there.close()
            self._pipes.append(here)
            self._workers.append(worker)
        self._started = time.monotonic()
        self._heard: dict[int, float] = {}

    def told(self) -> Generator[Any, None, None]:
        until = None
        while len(self._done) < len(self._workers):
            open_pipes = [self._pipes[rank] for rank in self._left()]
            for pipe in wait(open_pipes, timeout=_BEAT):
                rank = next(rank for rank in self._left() if self._pipes[rank] is pipe)
                try:
                    item = self._hear(rank)
                except BackendError:
                    if 0 in self._done:  # all that was to be told is told
                        return
                    raise
                if item is not None:
                    yield item[0]
            now = time.monotonic()
            if 0 in self._done:
                until = until or now + _END
                if now > until:
                    return
            for rank in self._left():
                limit = self._silence if rank in self._heard else max(self._silence, STARTING)
                if now - self._heard.get(rank, self._started) > limit:
                    raise self._error(f"rank {rank} has given no sign of life for {limit:g} s")

    def _left(self) -> list[int]:
        return [rank for rank in range(len(self._workers)) if rank not in self._done]

    def _hear(self, rank: int) -> tuple[Any] | None:
        """Take a message; what is to be told of it."""
        try:
            kind, value = self._pipes[rank].recv()
        except (EOFError, OSError):
            raise self._death(rank) from None
        self._heard[rank] = time.monotonic()
        if kind == "beat" and value is not None and value > self._silence:
            raise self._error(f"rank {rank} has done nothing for {value:.0f} s: it hangs")
        if kind == "item":
            return (value,)
        if kind == "done":
            self._done.add(rank)
        elif kind == "failed":
            raise RankFailed(*value)
        elif kind == "broke":
            raise self._breakage(rank, value)
        return None

    def _death(self, rank: int) -> BackendError:
        worker = self._workers[rank]
        worker.join(GRACE)
        code = worker.exitcode
        if code is None:
            return self._error(f"rank {rank} went silent")
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if code == -signal.SIGABRT:  # so NCCL ends a process that waited for another one in vain
            how += ", perhaps because another rank hangs"
        return self._error(f"rank {rank} {how}")

    def _breakage(self, rank: int, text: str) -> BackendError:
        """Why a rank broke: another one is dead, or silent while all others complain, or it is its own fault."""
        broken, until = {rank}, time.monotonic() + GRACE
        while time.monotonic() < until:
            for other in self._left():
                if other in broken:
                    continue
                with suppress(EOFError, OSError):
                    while self._pipes[other].poll(0.05):
                        kind, value = self._pipes[other].recv()
                        self._heard[other] = time.monotonic()
                        if kind == "failed":
                            return RankFailed(*value)
                        if kind == "broke":
                            broken.add(other)
                            break
                    continue
                if other not in broken:
                    return self._death(other)
        silent = [other for other in self._left() if other not in broken]
        # One that began to wait later than the others complains later, but lives.
        frozen = [other for other in silent if time.monotonic() - self._heard.get(other, self._started) > FROZEN]
        silent = frozen or silent
        last = text.strip().splitlines()[-1]
        if silent:
            names = ", ".join(f"rank {other}" for other in silent)
            return self._error(f"{names} did not answer the others; rank {rank} says: {last}")
        return self._error(f"rank {rank} broke: {last}")

    def _error(self, what: str) -> BackendError:
        return BackendError(f"{what}; the run of {len(self._workers)} ranks was ended, none is left running")

    def end(self) -> None:
        """Nobody is left."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.join()
        for pipe in self._pipes:
            pipe.close()


class Idle:
    """For how long the main thread of a worker has done nothing, though nobody keeps it waiting."""

    def __init__(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        self._main = main
        self._clock = time.pthread_getcpuclockid(main) if hasattr(time, "pthread_getcpuclockid") else None
        self._used, self._since = -1.0, time.monotonic()

    def seconds(self) -> float:
        """Since it last used the processor or waited for the others; 0 where threads have no clocks of their own."""
        if self._clock is None:
            return 0.0
        used = time.clock_gettime(self._clock)
        if used - self._used > _STIR or Team.awaits(sys._current_frames().get(self._main)):
            self._used, self._since = used, time.monotonic()
        return time.monotonic() - self._since


def _worker(work: Work, rank: int, meeting: str, pipe: Connection) -> None:
    """What a worker process does; it ends without waiting for anybody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever watches ends it
    lock = threading.Lock()

    def tell(kind: str, value: object = None) -> None:
        with lock:
            pipe.send((kind, value))

    idle = Idle()

    def live() -> None:
        while True:
            try:
                tell("beat", idle.seconds())
                if pipe.poll(_BEAT):
                    pipe.recv()
            except (EOFError, OSError):
                os._exit(1)

    threading.Thread(target=live, daemon=True).start()
    status = 1
    try:
        for item in work(rank, meeting):
            tell(*(("item", item) if rank == 0 else ("beat", None)))
        tell("done")
        status = 0
    except FilmgateError as error:
        tell("failed", (error.code, str(error)))
    except Exception:
        tell("broke", traceback.format_exc())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
