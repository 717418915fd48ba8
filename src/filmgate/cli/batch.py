"""``filmgate generate --batch`` and ``filmgate resume``: several videos in one go."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from filmgate.cli.options import AsJson, Quiet, State

if TYPE_CHECKING:
    from filmgate.app import Filmgate, Order
    from filmgate.spec import FilmgateError, Request, Take


class Item(NamedTuple):
    """What became of one request of a batch: the order that was made of it, a take, or an error."""

    prompt: str
    output: str | None = None
    order: Order | None = None
    take: Take | None = None
    error: FilmgateError | None = None
    kept: bool = False


def read_batch(file: Path, base: Request) -> list[Request | FilmgateError]:
    """The requests of a file, in its order: a prompt on every line, or in a ``.jsonl`` an object with the fields of a
    request, or in a ``.json`` a list of such. Empty lines and those that begin with ``#`` do not count.

    Args:
        file: Text in UTF-8.
        base: What the lines leave open; its prompt does not count.

    Returns:
        A request for every line, or what is wrong with it.

    Raises:
        InvalidRequest: the file is not there, is not text, or has no requests, or is a ``.json`` that is no list.
    """
    from filmgate.spec import InvalidRequest

    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise InvalidRequest("batch", f"{file} cannot be read: {reason}", allowed="a .txt or a .jsonl") from error
    if file.suffix.lower() == ".json":
        return _listed(file, text, base)
    numbered = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    wanted = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    if not wanted:
        raise InvalidRequest("batch", f"{file} has no requests", allowed="one on every line")
    if file.suffix.lower() != ".jsonl":
        return [base.model_copy(update={"prompt": line}) for _, line in wanted]
    return [_request(f"{file.name}, line {number}", line, base) for number, line in wanted]


def _listed(file: Path, text: str, base: Request) -> list[Request | FilmgateError]:
    """The requests of a list; one request is for another option."""
    from filmgate.spec import InvalidRequest

    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("batch", f"{file} is not JSON: {error}", allowed="a list of requests") from error
    if isinstance(found, dict):
        raise InvalidRequest("batch", f"{file} is one object", allowed="a list; one request is for --request FILE")
    if not isinstance(found, list) or not found:
        raise InvalidRequest("batch", f"{file} has no requests", allowed="a list of requests")
    return [_wish(f"{file.name}, entry {number}", entry, base) for number, entry in enumerate(found, 1)]


def _request(place: str, line: str, base: Request) -> Request | FilmgateError:
    from filmgate.spec import InvalidRequest

    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return InvalidRequest("batch", f"{place} is not JSON: {error}", allowed='{"prompt": "..."}')
    return _wish(place, fields, base)


def _wish(place: str, fields: Any, base: Request) -> Request | FilmgateError:
    from filmgate.cli.interchange import request_of
    from filmgate.spec import InvalidRequest

    known = base.model_dump(exclude={"prompt"}, exclude_defaults=True)
    try:
        return request_of({**known, **fields} if isinstance(fields, dict) else fields, place)
    except InvalidRequest as error:
        return error


def plan_batch(
    filmgate: Filmgate,
    wishes: Sequence[Request | FilmgateError],
    folder: Path,
    *,
    sheet: bool,
    overwrite: bool,
    state: Path | None = None,
) -> list[Item]:
    """An order for every request, its video called after its number and its prompt, or what is wrong with it. Videos
    that are there already, of the same plan, are kept, unless the run that made them is written down as unfinished."""
    from filmgate.app import Order
    from filmgate.cli.output import slug
    from filmgate.spec import FilmgateError

    items = []
    for number, wish in enumerate(wishes, 1):
        if isinstance(wish, FilmgateError):
            items.append(Item(prompt="", error=wish))
            continue
        try:
            if wish.model is not None:
                filmgate.model(wish.model)  # one that is not here is no matter of this device
            plan = filmgate.plan(wish)
        except FilmgateError as error:
            items.append(Item(wish.prompt, error=error))
            continue
        video = folder / f"{number:03d}-{slug(wish.prompt)}.mp4"
        order = Order(plan, video, video.with_suffix(".png") if sheet else None, overwrite)
        begun = filmgate.unfinished(plan, state) == video.absolute()
        before = None if overwrite or begun else _take_of(order)
        items.append(Item(wish.prompt, str(video), order, before, kept=before is not None))
    return items


def _take_of(order: Order) -> Take | None:
    """The take of a video that an order was carried out with before."""
    from filmgate.media.manifest import manifest_path, read_take
    from filmgate.spec import FilmgateError

    files = [order.output, manifest_path(order.output), *([] if order.sheet is None else [order.sheet])]
    if not all(file.is_file() for file in files):
        return None
    try:
        inside = read_take(order.output)
        return read_take(files[1]) if inside.plan_sha256 == order.plan.fingerprint else None
    except FilmgateError:
        return None


def carry_out(
    filmgate: Filmgate, items: Sequence[Item], *, state: Path | None, resume: bool, quiet: bool
) -> list[Item]:
    """The items with their takes, or with what went wrong. What killed processes left beside a video is taken away."""
    from filmgate.cli.batch_display import watch_batch
    from filmgate.cli.failure import resumable
    from filmgate.media.workspace import sweep

    for item in items:
        if item.kept and item.output is not None:
            sweep(Path(item.output))
    open_items = [number for number, item in enumerate(items) if item.order is not None and item.take is None]
    orders = [order for number in open_items if (order := items[number].order) is not None]
    done = dict(enumerate(items))
    if orders:
        events = filmgate.render_batch(orders, state=state, resume=resume)
        with resumable(lambda: resume and any(filmgate.unfinished(one.plan, state) for one in orders), state):
            results = watch_batch(events, orders, quiet=quiet)
        for place, result in results.items():
            number = open_items[place]
            done[number] = done[number]._replace(**result)
    return [done[number] for number in range(len(items))]


def generate_batch(
    file: Path,
    base: Request,
    output: Path | None,
    *,
    sheet: bool,
    overwrite: bool,
    state: Path | None,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make a video of every request of a file.

    Raises:
        InvalidRequest: the file cannot be read, or ``output`` is not a directory.
        typer.Exit: with 1, if a request could not be carried out; the others were.
    """
    from filmgate.app import Filmgate
    from filmgate.spec import InvalidRequest

    folder = output or Path()
    if not folder.is_dir():
        raise InvalidRequest("output", f"{folder} is not a directory", allowed="for a batch, a directory that exists")
    filmgate = Filmgate()
    items = plan_batch(filmgate, read_batch(file, base), folder, sheet=sheet, overwrite=overwrite, state=state)
    if not dry_run:
        items = carry_out(filmgate, items, state=state, resume=resume, quiet=quiet)
    conclude(items, folder, as_json=as_json, quiet=quiet)


def resume(
    listed: Annotated[bool, typer.Option("--list", help="Only say which there are.")] = False,
    state: State = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with every video whose making was killed, cancelled or failed.

    Exit code 0: all are finished, or there are none. 1: one could not be finished; the others are.
    """
    from filmgate.app import Filmgate, Order

    filmgate = Filmgate()
    items = []
    for note in filmgate.unfinished_runs(state):
        order = Order(note.plan, Path(note.output), None if note.sheet is None else Path(note.sheet), note.overwrite)
        items.append(Item(note.plan.prompt, note.output, order))
    if not listed:
        items = carry_out(filmgate, items, state=state, resume=True, quiet=quiet)
    conclude(items, Path(), as_json=as_json, quiet=quiet)


def conclude(items: Sequence[Item], folder: Path, *, as_json: bool, quiet: bool) -> None:
    """Say what became of every item; exit code 1 if anything went wrong.

    Raises:
        typer.Exit: with 1, if one has an error.
    """
    from filmgate.cli.text import json_text

    failed = [item for item in items if item.error is not None]
    if as_json:
        print(json_text({"directory": str(folder.resolve()), "requests": [_facts(item) for item in items]}))
    elif not quiet:
        print(describe_batch(items))
    for number, item in enumerate(items, 1):
        if item.error is not None:
            print(f"Error: request {number}: {item.error}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _facts(item: Item) -> dict[str, Any]:
    error = None if item.error is None else {"code": item.error.code, "message": str(item.error)}
    plan = None if item.order is None or item.take is not None else item.order.plan
    return {"prompt": item.prompt, "output": item.output, "plan": plan, "take": item.take, "error": error}


def describe_batch(items: Sequence[Item]) -> str:
    """One item a line: what became of it, its file and its prompt; then the time that what is left takes."""
    from filmgate.cli.text import columns, duration_text

    if not items:
        return "Nothing is unfinished."
    rows = [(str(number), _fate(item), item.output or "", item.prompt) for number, item in enumerate(items, 1)]
    left = [item.order.plan for item in items if item.order and item.take is None and item.error is None]
    if not left:
        return columns(rows)
    return f"{columns(rows)}\nTime   about {duration_text(sum(plan.seconds for plan in left))} for what is not done"


def _fate(item: Item) -> str:
    if item.error is not None:
        return "FAILED"
    if item.kept:
        return "was done"
    return "done" if item.take is not None else "to do"
