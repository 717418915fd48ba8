"""From an exception to one clean message and an exit code: 2 for what the caller can mend, 130 for Ctrl-C."""

from __future__ import annotations

import functools
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that deliberate errors end in a message on standard error and their own exit code.

    A KeyboardInterrupt may have a sentence for the person who pressed Ctrl-C, as :func:`resumable` gives it.

    With ``--json`` the error is an object on standard output as well. SIGTERM is treated as Ctrl-C is: open files are
    given up, and the process says 143. Anything else is a defect of ours and keeps its traceback.
    """

    @functools.wraps(command)
    def wrapper(*args: Any, **options: Any) -> None:
        signal.signal(signal.SIGTERM, _terminate)
        try:
            command(*args, **options)
        except KeyboardInterrupt as interrupt:
            said = ("Cancelled; no unfinished file was left behind.", *map(str, interrupt.args))
            print("\n" + " ".join(said), file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            # The class is looked up late: importing it costs more than printing the help.
            from filmgate.spec.errors import FilmgateError

            if not isinstance(error, FilmgateError):
                raise
            if options.get("as_json"):
                from filmgate.cli.text import json_text

                print(json_text({"error": {"code": error.code, "message": str(error)}}))
            print(f"Error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None

    return wrapper


@contextmanager
def resumable(kept: Callable[[], bool], state: Path | None) -> Iterator[None]:
    """Let who cancels the body know how to go on.

    Args:
        kept: Asked after the body has tidied up: whether something of the work is kept.
        state: Where, if not in the default place.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not kept():
            raise
        command = "filmgate resume" if state is None else f"filmgate resume --state {shlex.quote(str(state))}"
        raise KeyboardInterrupt(
            f"What was done is kept: the same command goes on from there, and so does `{command}`."
        ) from None


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
