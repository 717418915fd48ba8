"""Progress of a batch on standard error: which of how many, what it does, and how long all of them will still take."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from filmgate.cli.display import RenderFailed, told
from filmgate.media.publish import write_bytes
from filmgate.spec import BackendError, Done, Event, Failed, Preview, Progress

if TYPE_CHECKING:
    from filmgate.app import Order

_SECONDS_BETWEEN_LINES = 5.0


def watch_batch(
    events: Generator[tuple[int, Event]], orders: Sequence[Order], *, quiet: bool
) -> dict[int, Mapping[str, Any]]:
    """Show events of a batch as they come. Returns, by number, the ``take`` or the ``error`` that each ends in.

    However this function is left, the generator is closed.
    """
    results: dict[int, Mapping[str, Any]] = {}
    previews = [order.output.with_suffix(".preview.png") for order in orders]
    try:
        with closing(events), _display([len(order.plan.steps) for order in orders], quiet=quiet) as show:
            for number, event in events:
                match event:
                    case Progress():
                        show(number, event)
                    case Preview():
                        write_bytes(previews[number], event.png)
                    case Done():
                        results[number] = {"take": event.take}
                    case Failed():
                        results[number] = {"error": RenderFailed(event)}
    finally:
        for preview in previews:
            preview.unlink(missing_ok=True)
    silent = {"error": BackendError("the backend stopped without a result")}
    return {number: results.get(number, silent) for number in range(len(orders))}


class _Show(Protocol):
    """Takes every progress event with the number of its request, in order."""

    def __call__(self, number: int, progress: Progress) -> None: ...


@contextmanager
def _display(steps: Sequence[int], *, quiet: bool) -> Iterator[_Show]:
    """The display that fits where standard error goes, for requests of so many steps each."""
    if quiet:
        yield lambda _number, _progress: None
    elif sys.stderr.isatty():
        with _bar(steps) as show:
            yield show
    else:
        yield _Lines(len(steps))


class _Lines:
    """Prints notes, the end of every request, and a line every few seconds between."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._printed = 0.0

    def __call__(self, number: int, progress: Progress) -> None:
        if progress.note:
            print(f"[{number + 1}/{self._count}] Note: {progress.note}", file=sys.stderr, flush=True)
        now = time.monotonic()
        if progress.done and (progress.stage == "deliver" or now - self._printed >= _SECONDS_BETWEEN_LINES):
            print(f"[{number + 1}/{self._count}] {told(progress)}", file=sys.stderr, flush=True)
            self._printed = now


@contextmanager
def _bar(steps: Sequence[int]) -> Iterator[_Show]:
    """One bar for all: its length is steps, and decoding counts as one of each request."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    with Bars(BarColumn(bar_width=28), TextColumn("{task.description}"), console=Console(stderr=True)) as bars:
        task = bars.add_task("", total=sum(steps) + len(steps))
        done = [0] * len(steps)

        def show(number: int, progress: Progress) -> None:
            if progress.note:
                bars.console.print(f"[{number + 1}/{len(steps)}] Note: {progress.note}", markup=False, highlight=False)
            if progress.stage == "denoise":
                done[number] = progress.done
            elif progress.stage == "deliver":
                done[number] = steps[number] + 1
            text = f"{number + 1}/{len(steps)} {told(progress)}"
            bars.update(task, completed=sum(done), description=text)

        yield show
