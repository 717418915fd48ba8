"""``filmgate fetch``: a published model from a hub to where ``filmgate models`` finds it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.options import AsJson, Quiet

if TYPE_CHECKING:
    from filmgate.engine.checkpoints.fetch import Arrived, Offer


def fetch(
    model: Annotated[
        str,
        typer.Argument(
            help="A published model, as wan2.2-ti2v-5b (filmgate models lists them), or OWNER/NAME on the hub.",
            show_default=False,
        ),
    ],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit. Default: main.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and stop.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Download a model from huggingface.co, or from the hub at HF_ENDPOINT, and check every hash.

    What was interrupted goes on where it stopped. Models lie in FILMGATE_MODELS, or in the user's directory for data.
    """
    from filmgate.cli.text import json_text
    from filmgate.engine.checkpoints.describe import describe
    from filmgate.engine.checkpoints.fetch import fetch as transfer
    from filmgate.engine.checkpoints.fetch import is_here, offer

    found = offer(*place_of(model), revision=revision)
    here = is_here(found)
    if not dry_run and not here:
        with _display(quiet=quiet) as show:
            transfer(found, describe, show)
    if as_json:
        print(json_text(facts(found, done=here or not dry_run)))
    elif dry_run:
        print(describe_offer(found))
    else:
        print(f"{found.destination}{' is complete already' if here else ''}")
    if dry_run and not here and found.missing > found.free:
        raise typer.Exit(1)


def place_of(model: str) -> tuple[str, Path]:
    """The repository of a model, and the directory that it gets.

    Raises:
        UnknownName: it is neither the name of a published model nor of a repository.
    """
    from filmgate.app.places import models_directory
    from filmgate.direction.published import PUBLISHED
    from filmgate.spec import UnknownName

    known = PUBLISHED.get(model.lower())
    repository = known.repository if known is not None else model
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise UnknownName("model", model, PUBLISHED)
    return repository, models_directory() / repository.split("/")[1]


def facts(found: Offer, *, done: bool) -> dict[str, object]:
    """An offer as plain data; sizes in bytes."""
    return {
        "repository": found.repository,
        "commit": found.commit,
        "path": str(found.destination),
        "complete": done,
        "bytes": found.total,
        "missing": 0 if done else found.missing,
        "free": found.free,
        "files": [{"name": file.name, "bytes": file.bytes, "hash": file.hash} for file in found.files],
    }


def describe_offer(found: Offer) -> str:
    """What would be fetched: files with their sizes, the sum, and the space on the disk."""
    from filmgate.cli.text import columns, size_text

    enough = "" if found.missing <= found.free else ": not enough"
    rows = [(file.name, size_text(file.bytes)) for file in found.files]
    rows += [
        ("All files", size_text(found.total)),
        ("Still missing", size_text(found.missing)),
        ("Free on the disk", f"{size_text(found.free)}{enough}"),
    ]
    return f"{found.repository} at {found.commit[:12]} to {found.destination}\n" + columns(rows, indent="  ")


@contextmanager
def _display(*, quiet: bool) -> Iterator[Callable[[Arrived], None]]:
    """One line that is written over on a terminal; elsewhere a line at each tenth; nothing if quiet."""
    terminal, tenth = sys.stderr.isatty(), 0

    def show(arrived: Arrived) -> None:
        nonlocal tenth
        if quiet:
            return
        if terminal:
            print(f"\r\x1b[K{describe_arrived(arrived)}", end="", file=sys.stderr, flush=True)
        elif (now := 10 * arrived.done // max(arrived.total, 1)) != tenth:
            tenth = now
            print(describe_arrived(arrived), file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if terminal and not quiet:
            print(file=sys.stderr)


def describe_arrived(arrived: Arrived) -> str:
    """How far a fetch is, and how long the rest takes."""
    from filmgate.cli.text import duration_text, size_text

    share = 100 * arrived.done // max(arrived.total, 1)
    text = f"{share} %  {size_text(arrived.done)} of {size_text(arrived.total)}  {arrived.file}"
    return text if not arrived.eta_seconds else f"{text}  {duration_text(arrived.eta_seconds)} left"
