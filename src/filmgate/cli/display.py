"""Progress on standard error: a bar on a terminal, a line now and then in a log, silence when asked."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from filmgate.cli.text import duration_text
from filmgate.media.publish import write_bytes
from filmgate.spec import BackendError, Done, Event, Failed, FilmgateError, Preview, Progress, Take, errors

if TYPE_CHECKING:
    from rich.progress import TaskID

_VERBS = {
    "load": "Loading weights",
    "encode": "Encoding inputs",
    "denoise": "Denoising",
    "decode": "Decoding frames",
    "deliver": "Writing files",
}
_SECONDS_BETWEEN_LINES = 5.0


class RenderFailed(FilmgateError):
    """A :class:`~filmgate.spec.Failed` event, raised; code and exit code are those of the error that it tells of."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self._code = failed.code
        self.exit_code = getattr(errors, failed.code, BackendError).exit_code

    @property
    def code(self) -> str:
        """Name of the error that ended the work."""
        return self._code


def warn(warnings: Iterable[str]) -> None:
    """Print what the planner wants a person to know."""
    for warning in warnings:
        print(f"Warning: {warning}", file=sys.stderr)


def watch(events: Generator[Event], preview: Path, *, quiet: bool) -> Take:
    """Show events as they come and return the take that they end in.

    The newest preview lies at ``preview`` while the work goes on. However this function is left, the generator is
    closed, so that whoever yields can tidy up.

    Raises:
        RenderFailed: the events end with Failed.
        BackendError: they end with nothing.
    """
    take: Take | None = None
    try:
        with closing(events), display(quiet=quiet) as show:
            for event in events:
                match event:
                    case Progress():
                        show(event)
                    case Preview():
                        write_bytes(preview, event.png)
                    case Done():
                        take = event.take
                    case Failed():
                        raise RenderFailed(event)
    finally:
        preview.unlink(missing_ok=True)
    if take is None:
        raise BackendError("the backend stopped without a result")
    return take


class Display(Protocol):
    """Takes every progress event, in order."""

    def __call__(self, progress: Progress) -> None: ...


def describe(progress: Progress) -> str:
    """``12/20, low-noise expert, 0.21 s/step, 3.2 s left``."""
    parts = [f"{progress.done}/{progress.total}"]
    if progress.expert not in (None, "dense"):
        parts.append(progress.expert.replace("_noise", "-noise") + " expert")
    if progress.stage == "denoise" and progress.done:
        parts.append(f"{duration_text(progress.seconds)}/step")
    if progress.work is not None and progress.work.blocks != "computed":
        parts.append(f"blocks {progress.work.blocks}")
    if progress.eta_seconds:
        parts.append(f"{duration_text(progress.eta_seconds)} left")
    return ", ".join(parts)


def told(progress: Progress) -> str:
    """``Denoising: 12/20, low-noise expert, 0.21 s/step, 3.2 s left``."""
    return f"{_VERBS[progress.stage]}: {describe(progress)}"


def display(*, quiet: bool) -> AbstractContextManager[Display]:
    """The display that fits where standard error goes."""
    if quiet:
        return nullcontext(_silent)
    return _bar() if sys.stderr.isatty() else nullcontext(_Lines())


def _silent(progress: Progress) -> None:
    del progress


class _Lines:
    """Prints the beginning and the end of every stage, and a line every few seconds between."""

    def __init__(self) -> None:
        self.stage = ""
        self.printed = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.note:
            print(f"Note: {progress.note}", file=sys.stderr, flush=True)
        if not progress.done:
            return
        now = time.monotonic()
        ends = progress.stage != self.stage or progress.done == progress.total
        if ends or now - self.printed >= _SECONDS_BETWEEN_LINES:
            print(told(progress), file=sys.stderr, flush=True)
            self.printed = now
        self.stage = progress.stage


@contextmanager
def _bar() -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    style = (TextColumn("{task.description:<16}"), BarColumn(bar_width=28), TextColumn("{task.fields[detail]}"))
    with Bars(*style, console=Console(stderr=True), refresh_per_second=8) as bars:
        tasks: dict[str, TaskID] = {}

        def show(progress: Progress) -> None:
            if progress.note:
                bars.console.print(f"Note: {progress.note}", markup=False, highlight=False)
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(_VERBS[progress.stage], detail="")
            task, detail = tasks[progress.stage], describe(progress)
            bars.update(task, completed=progress.done, total=progress.total, detail=detail)

        yield show
