"""``filmgate import`` and ``filmgate export``: other tools' settings become a request, and a request theirs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.direction.interchange.report import Entry, Imported
    from filmgate.spec import Request

Dialect = Annotated[
    str | None,
    typer.Option("--from", help="comfyui, diffusers, lightx2v or official. Default: found out.", show_default=False),
]


def import_(
    source: Annotated[
        list[str],
        typer.Argument(
            help="A file (ComfyUI in API format, LightX2V or Diffusers as JSON, a script that calls Diffusers), a"
            " Diffusers directory, or, after --, a command line of generate.py. Nothing of it is executed.",
            show_default=False,
        ),
    ],
    dialect: Dialect = None,
    as_json: AsJson = False,
) -> None:
    """Read another tool's settings as a request, printed as JSON, and say on standard error which of them differ."""
    from filmgate.cli.text import json_text

    found = read_source(source, dialect)
    if as_json:
        print(json_text(found))
        return
    print(json_text(found.request.model_dump(mode="json", exclude_defaults=True)))
    _tell(found.differing)


def export(
    request: Annotated[Path, typer.Argument(help="A request, as `filmgate import` prints it.", show_default=False)],
    dialect: Annotated[
        str, typer.Option("--to", help="comfyui, diffusers, lightx2v or official.", show_default=False)
    ],
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant", help="The published model, as wan2.2-t2v-a14b. Default: by the model's name.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write a request in another tool's words, and say on standard error which settings differ."""
    from filmgate.cli.text import json_text
    from filmgate.direction.interchange.dialects import export_settings

    text = read_text(request)
    made = export_settings(read_request(text), dialect, variant or _said_variant(text))
    if as_json:
        print(json_text(made))
        return
    print(made.text)
    _tell(made.differing)


def read_source(source: list[str], dialect: str | None) -> Imported:
    """The request of a file, a directory or the words of a command line.

    Raises:
        InvalidRequest: it cannot be read, or is in no dialect.
    """
    from filmgate.direction.interchange.dialects import import_settings
    from filmgate.direction.interchange.diffusers import import_diffusers_directory

    if len(source) > 1:
        return import_settings(shlex.join(source), dialect or "official")
    path = Path(source[0])
    if path.is_dir():
        scheduler = path / "scheduler" / "scheduler_config.json"
        return import_diffusers_directory(str(path), read_text(path / "model_index.json"), read_text(scheduler))
    if not path.exists() and "generate.py" in source[0]:
        return import_settings(source[0], dialect)
    return import_settings(read_text(path), dialect)


def read_request(text: str) -> Request:
    """A request from JSON; from what ``import --json`` prints, the one in it.

    Raises:
        InvalidRequest: it is not one; see :func:`request_of`.
    """
    from filmgate.direction.interchange.values import parse_object

    given = parse_object(text, "request")
    return request_of(given.get("request", given))


def request_of(fields: Any, place: str = "request") -> Request:
    """A request of what JSON held.

    Args:
        fields: An object, if all is well.
        place: What messages call it.

    Raises:
        InvalidRequest: it is not one; names the first field that does not exist (UnknownName), or else is wrong.
    """
    from pydantic import ValidationError

    from filmgate.spec import InvalidRequest, Request, UnknownName

    if not isinstance(fields, dict):
        raise InvalidRequest(place, "it is not an object", allowed='{"prompt": "..."}')
    for name in fields:
        if name not in Request.model_fields:
            raise UnknownName(place, name, Request.model_fields, noun="field of a request")
    try:
        return Request.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        given = "" if first["type"] == "missing" else f", and it is {first['input']!r:.80}"
        raise InvalidRequest(field, f"{place}: {first['msg']}{given}") from None


def _said_variant(text: str) -> str | None:
    """The published model that ``import --json`` found the settings to be for."""
    from filmgate.direction.interchange.values import parse_object

    found = parse_object(text, "request").get("variant")
    return found if isinstance(found, str) else None


def read_text(path: Path) -> str:
    """A small text file; ``-`` is standard input.

    Raises:
        InvalidRequest: it cannot be read.
    """
    from filmgate.direction.interchange.values import LARGEST
    from filmgate.spec import InvalidRequest

    if str(path) == "-":
        return sys.stdin.read()
    try:
        if path.is_file() and path.stat().st_size > 4 * LARGEST:  # a character takes up to four bytes
            raise InvalidRequest("file", f"{path} has {path.stat().st_size} bytes", allowed=f"{LARGEST} characters")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest("file", f"{path} cannot be read: {error}", allowed="a text file in UTF-8") from None


def _tell(entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        change = entry.before if not entry.after else f"{entry.before} -> {entry.after}"
        print(f"{entry.fate.capitalize()}: {entry.field}: {change} ({entry.reason})", file=sys.stderr)
