"""Who watches over processes that ``torchrun`` started: each of them over all.

``torchrun`` ends all when one is gone. It does not notice one that is frozen, and of what the others then say only
torch's own words would remain. So every process tells, in the store where all meet, that it lives, and looks whether
the others do. What it finds ends its work with one sentence that says which rank is to blame.

A process that is frozen does not hear that it shall end, and ``torchrun`` would wait 30 seconds for it: its neighbours
kill it. They touch only a process whose parent is theirs, and that was told the same launch and the rank that is meant.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from filmgate.backends.launch import MARK, Board, Launch
from filmgate.backends.ranks import FROZEN, GRACE, SILENCE, STARTING, Idle
from filmgate.engine.runtime.parallel import between_ranks
from filmgate.spec.errors import BackendError, FilmgateError

_BEAT = 1.0
_DONE = b"done"
_END = 5.0
"""Seconds in which the main thread must have ended by itself, once the run is at its end."""
_TERMINATED = 128 + signal.SIGTERM
"""How a process ends that was asked to."""


class _Verdict(NamedTuple):
    """Why a run ends: the ranks to blame, what they did, and whether they say it themselves."""

    blamed: tuple[int, ...]
    what: str
    told: bool = False


class LaunchWatch:
    """A thread that tells the others of this process, and this one of them.

    Args:
        launch: Place of this process.
        board: A way to the store that nobody waits on: who waits lets no other through.
        silence: Seconds without a sign of life after which a process counts as frozen, or as hanging.
    """

    def __init__(self, launch: Launch, board: Board, silence: float = SILENCE) -> None:
        self._launch, self._board, self._silence = launch, board, silence
        self._others = [rank for rank in range(launch.ranks) if rank != launch.rank]
        self._started = time.monotonic()
        self._heard: dict[int, tuple[bytes, float]] = {}
        self._here: dict[int, int] = {}
        self._killed: set[int] = set()
        self._working = self._left = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(Idle(),), daemon=True, name="filmgate watch")
        self._thread.start()
        # A thread that is in the store when Python ends would end the process by a signal.
        atexit.register(self._stop)

    @contextmanager
    def work(self) -> Iterator[None]:
        """What all do together; a process that does nothing in it and waits for nobody hangs.

        Raises:
            BackendError: another process is to blame for the end; says which.
            SystemExit: so it is, and another process says it.
        """
        self._working = True
        try:
            yield
            self._working = False
            self._wait_for_all()
        except (KeyboardInterrupt, SystemExit, Exception) as error:
            self._fail(error)
            raise
        finally:
            self._working = False
            self.leave()

    def _stop(self) -> None:
        self._over.set()
        self._thread.join(2 * _BEAT)

    def leave(self) -> None:
        """Nobody waits for this process any more."""
        self._left = True
        with suppress(RuntimeError):
            self._board.set(self._key("beat", self._launch.rank), _DONE.decode())

    def _wait_for_all(self) -> None:
        """Only who is still there notices that another one is frozen at the very end."""
        self._board.set(self._key("beat", self._launch.rank), _DONE.decode())
        self._left = True
        while any(self._heard.get(rank, (b"", 0.0))[0] != _DONE for rank in self._others):
            if (verdict := self._found()) is not None:
                raise self._error(verdict)
            time.sleep(0.05)

    def _fail(self, error: BaseException) -> None:
        """Say why this process ends its work: on its own account, or because of another one."""
        ended = isinstance(error, SystemExit) and error.code == _TERMINATED
        if isinstance(error, KeyboardInterrupt | SystemExit) and not ended:
            return
        # torchrun asks all to end as soon as one has: what this one has to say would not be said.
        with suppress(ValueError):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        own = self._launch.rank
        verdict = self._found()
        if verdict is None and isinstance(error, FilmgateError):
            self._declare(_Verdict((own,), f"rank {own} ended the run: {error}", told=True))
        elif verdict is None and not ended and not between_ranks(error):
            self._declare(_Verdict((own,), f"rank {own} broke: {_line(error)}", told=True))
        else:
            verdict = verdict or self._blamed(None if ended else _line(error))
            if verdict is not None and own not in verdict.blamed:
                self._kill(verdict.blamed)
                raise (self._error(verdict) if self._tells(verdict) else SystemExit(1)) from error

    def _blamed(self, complaint: str | None) -> _Verdict | None:
        """Who is to blame, once all who can have complained too; None: nobody."""
        if complaint is not None:
            self._board.set(self._key("complaint", self._launch.rank), complaint)
        until = time.monotonic() + GRACE
        while True:
            if (found := self._found()) is not None:
                return found
            gone = [rank for rank, pid in self._here.items() if not _runs(pid)]
            # Who has ended in good order said so before.
            if gone := [rank for rank in gone if not self._has(rank, "complaint") and self._beat(rank) != _DONE]:
                return self._declare(_Verdict(tuple(gone), f"{_names(gone)} is gone: something ended its process"))
            silent = [rank for rank in self._others if not self._has(rank, "complaint") and self._beat(rank) != _DONE]
            frozen = [rank for rank in silent if self._quiet(rank) > FROZEN]
            if time.monotonic() > until or (complaint is not None and frozen):
                break
            time.sleep(0.1)
        if complaint is None:
            return None
        if not silent:
            return self._declare(_Verdict((), f"no rank reaches another: {complaint}"))
        names = _names(frozen or silent)
        own = self._launch.rank
        return self._declare(
            _Verdict(tuple(frozen or silent), f"{names} did not answer the others; rank {own} says: {complaint}")
        )

    def _watch(self, idle: Idle) -> None:
        """Beat and listen; the thread's whole life."""
        turn, last, end = 0, time.monotonic(), None
        while True:
            try:
                now = time.monotonic()
                if now - last > FROZEN:  # stopped and continued, and the others may have been with it
                    idle, self._started = Idle(), now
                    self._heard = {rank: (beat, now) for rank, (beat, _) in self._heard.items()}
                last, turn = now, turn + 1
                if not self._left:
                    self._board.set(self._key("beat", self._launch.rank), str(turn))
                self._listen(now)
                verdict = self._found() or self._judged(idle.seconds())
            except RuntimeError:  # the store is gone, and torchrun with it
                if self._working:
                    self._quit(_Verdict((), "torchrun is gone"))
                return
            if verdict is not None:
                self._kill(verdict.blamed)
                end = end or now + _END
                if now > end:
                    self._quit(verdict)
            if self._over.wait(_BEAT):
                return

    def _listen(self, now: float) -> None:
        for rank in self._others:
            beat = self._beat(rank)
            if beat is not None and beat != self._heard.get(rank, (None, 0.0))[0]:
                self._heard[rank] = (beat, now)
                if rank not in self._here and (pid := _sibling(rank)) is not None:
                    self._here[rank] = pid

    def _judged(self, idle: float) -> _Verdict | None:
        own = self._launch.rank
        if self._working and idle > self._silence:
            return self._declare(_Verdict((own,), f"rank {own} has done nothing for {idle:.0f} s: it hangs"))
        for rank in self._others:
            limit = self._silence if rank in self._heard else max(self._silence, STARTING)
            if self._heard.get(rank, (b"", 0.0))[0] != _DONE and self._quiet(rank) > limit:
                return self._declare(_Verdict((rank,), f"rank {rank} has given no sign of life for {limit:g} s"))
        return None

    def _quit(self, verdict: _Verdict) -> NoReturn:
        """End a process whose main thread does not."""
        if self._tells(verdict):
            sys.stderr.write(f"Error: {self._error(verdict)}\n")
            sys.stderr.flush()
        os._exit(1)

    def _quiet(self, rank: int) -> float:
        return time.monotonic() - self._heard.get(rank, (b"", self._started))[1]

    def _tells(self, verdict: _Verdict) -> bool:
        """Whether this is the process that says it: the first one, or who is the first of those that can."""
        can = [rank for rank in range(self._launch.ranks) if rank not in verdict.blamed]
        return self._launch.rank == (0 if verdict.told else min(can, default=0))

    def _error(self, verdict: _Verdict) -> BackendError:
        here = all(rank in self._here or rank in self._killed for rank in self._others)
        rest = "none is left running" if here else "torchrun ends what is left of it"
        return BackendError(
            f"{verdict.what.removesuffix('.')}; the run of {self._launch.ranks} ranks was ended, {rest}. "
            "The same command starts it again"
        )

    def _found(self) -> _Verdict | None:
        if not self._board.check([self._key("end")]):
            return None
        blamed, what, told = json.loads(self._board.get(self._key("end")))
        return _Verdict(tuple(blamed), what, told)

    def _declare(self, verdict: _Verdict) -> _Verdict:
        """Let all know; the first verdict stands."""
        if (found := self._found()) is not None:
            return found
        self._board.set(self._key("end"), json.dumps(verdict))
        return verdict

    def _kill(self, ranks: Sequence[int]) -> None:
        """End processes that do not hear; who still beats ends by itself."""
        for rank in ranks:
            if rank != self._launch.rank and rank not in self._killed and self._quiet(rank) > FROZEN:
                _end_sibling(rank)
                self._killed.add(rank)

    def _has(self, rank: int, what: str) -> bool:
        return self._board.check([self._key(what, rank)])

    def _beat(self, rank: int) -> bytes | None:
        return self._board.get(self._key("beat", rank)) if self._has(rank, "beat") else None

    def _key(self, *words: str | int) -> str:
        return "/".join(map(str, ("filmgate/watch", self._launch.attempt, *words)))


def _names(ranks: Sequence[int]) -> str:
    return ", ".join(f"rank {rank}" for rank in ranks)


def _line(error: BaseException) -> str:
    """The end of what Python would print."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def _sibling(rank: int) -> int | None:
    """The process of a rank on this machine, if it has the parent of this one and is of the same launch; Linux."""
    wanted = {f"RANK={rank}", f"{MARK}={os.environ.get(MARK)}"}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getppid() and wanted <= {*(folder / "environ").read_text(errors="replace").split("\0")}:
                return int(folder.name)
    return None


def _runs(pid: int) -> bool:
    """Whether a process is there and no mere remainder of one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _end_sibling(rank: int) -> None:
    pid = _sibling(rank)
    if pid is None:
        return
    with suppress(OSError):
        # The number may have become another process's: what is held is looked at once more.
        held = os.pidfd_open(pid)
        try:
            if _sibling(rank) == pid:
                signal.pidfd_send_signal(held, signal.SIGKILL)
        finally:
            os.close(held)
