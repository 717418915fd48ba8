"""``filmgate migrate prompt``: prompts of other dialects in Wan 2.2's words, with an account of every part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.options import AsJson, Quiet

if TYPE_CHECKING:
    from filmgate.direction.migration.endpoint import Endpoint
    from filmgate.direction.migration.language_model import Assisted
    from filmgate.direction.migration.migrate import Migration, Options
    from filmgate.direction.prompts import CountTokens


def prompt(
    text: Annotated[
        str | None, typer.Argument(help="The prompt; - for standard input.", show_default=False)
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Read the prompt from a file.", show_default=False)
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            "--batch",
            help="Migrate many: a column of a .csv, a field of a .jsonl, or every line of a text file.",
            show_default=False,
        ),
    ] = None,
    column: Annotated[str, typer.Option("--column", help="Column or field of the prompts in a batch.")] = "prompt",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Where a batch goes: .csv, .jsonl or .txt. Default: standard output.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write old beside new as one HTML page.", show_default=False)
    ] = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="Published model that is migrated to, as wan2.2-ti2v-5b.")
    ] = "wan2.2-t2v-a14b",
    image_to_video: Annotated[
        bool, typer.Option("--image-to-video", help="Motion and camera only: a first picture shows the rest.")
    ] = False,
    conflicts: Annotated[
        str, typer.Option("--conflicts", help="Of what contradicts itself: error, first, last, or sequence.")
    ] = "error",
    dialect: Annotated[
        str | None,
        typer.Option("--from", help="Dialect of it all, as key_value. Default: found out.", show_default=False),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", help="Write en or zh. Default: the prompt's own.", show_default=False),
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="Words to use where a prompt has no subject.", show_default=False)
    ] = None,
    scene: Annotated[
        str | None, typer.Option("--scene", help="Words to use where a prompt has no scene.", show_default=False)
    ] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="Words to use where a prompt has no action.", show_default=False)
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer", help="tokenizer.json of umT5, or a model's directory. Default: of a fetched model.",
            show_default=False,
        ),
    ] = None,
    assist: Annotated[
        str | None,
        typer.Option(
            "--assist", help="Let a language model extract, realise or enrich. Its answer is checked.",
            show_default=False,
        ),
    ] = None,
    endpoint: Annotated[
        str,
        typer.Option(
            "--endpoint", metavar="URL",
            help="Server that speaks OpenAI's protocol; its key is read from FILMGATE_LANGUAGE_MODEL_KEY.",
        ),
    ] = "http://localhost:8080/v1",
    language_model: Annotated[
        str, typer.Option("--language-model", help="The server's name of the language model.")
    ] = "default",
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Write a prompt in the form that Wan 2.2 was made for, and account for every part of it.

    The new prompt goes to standard output, what became of each part to standard error. Numbers become words, job
    settings leave the text, contradictions stop the command (see --conflicts), and nothing is invented: what a prompt
    lacks is named. Plain language comes back unchanged.
    """
    from filmgate.cli.migrate_batch import migrate_batch
    from filmgate.spec import InvalidRequest

    options = _options(model, conflicts, dialect, language, image_to_video, (subject, scene, action))
    count = _counter(tokenizer)
    if sum(given is not None for given in (text, file, batch)) != 1:
        raise InvalidRequest("prompt", "there must be exactly one", allowed="a prompt, --file FILE, or --batch FILE")
    if batch is None and output is not None:
        raise InvalidRequest("output", "is for a batch", allowed="--batch FILE, or standard output and --json")
    with _endpoint(assist, endpoint, language_model) as helper:
        if batch is None:
            made = _migrate(_text(text, file), options, count, assist, helper)
            _conclude(made, html, as_json=as_json, quiet=quiet)
            return
        migrate_batch(
            batch,
            column,
            output,
            html,
            lambda words: _migrate(words, options, count, assist, helper),
            as_json=as_json,
            quiet=quiet,
        )


def _conclude(made: Assisted | Migration, html: Path | None, *, as_json: bool, quiet: bool) -> None:
    from filmgate.cli.migrate_display import describe
    from filmgate.cli.text import json_text
    from filmgate.direction.migration.comparison import html_page
    from filmgate.direction.migration.migrate import Migration
    from filmgate.media.publish import write_bytes
    from filmgate.spec import InvalidRequest

    migration = made if isinstance(made, Migration) else made.migration
    if html is not None:
        write_bytes(html, html_page([migration]).encode())
    if as_json:
        print(json_text(made))
    if migration.status == "conflict":
        if not quiet:
            describe(made, sys.stderr)
        what = "; ".join(map(str, migration.conflicts))
        error = InvalidRequest("prompt", what, allowed="--conflicts first, last or sequence")
        if as_json:  # the account above has the contradictions
            print(f"Error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code)
        raise error
    if as_json:
        return
    print(migration.text)
    if not quiet:
        describe(made, sys.stderr)


def _migrate(
    text: str,
    options: Options,
    counter: Callable[[str], CountTokens | None],
    assist: str | None,
    helper: Endpoint | None,
) -> Assisted | Migration:
    from filmgate.direction.migration.migrate import migrate

    count = counter(text)
    if helper is None:
        return migrate(text, options, count)
    from filmgate.direction.migration.language_model import enrich, extract, realise

    if assist == "extract":
        return extract(text, helper, options, count)
    return (realise if assist == "realise" else enrich)(migrate(text, options, count), helper, count)


def _options(
    model: str,
    conflicts: str,
    dialect: str | None,
    language: str | None,
    image_to_video: bool,
    defaults: tuple[str | None, str | None, str | None],
) -> Options:
    """Options from the command line; every name is checked.

    Raises:
        UnknownName: there is no such policy, dialect or language.
    """
    from typing import get_args

    from filmgate.direction.migration.conflicts import Policy
    from filmgate.direction.migration.form import Dialect
    from filmgate.direction.migration.migrate import Options
    from filmgate.direction.migration.vocabulary import Language
    from filmgate.direction.presets import PRESETS
    from filmgate.spec import UnknownName

    checked = (
        ("model", model, PRESETS, "published model"), ("conflicts", conflicts, get_args(Policy), "policy"),
        ("from", dialect, get_args(Dialect), "dialect"), ("language", language, get_args(Language), "language"),
    )  # fmt: skip
    for field, value, known, noun in checked:
        if value is not None and value not in known:
            raise UnknownName(field, value, known, noun=noun)
    given = zip(("subject", "scene", "action"), defaults, strict=True)
    return Options.model_validate(
        {
            "model": model,
            "profile": "image_to_video" if image_to_video else None,
            "conflicts": conflicts,
            "dialect": dialect,
            "language": language,
            "defaults": tuple((slot, words) for slot, words in given if words),
        }
    )


def _counter(tokenizer: Path | None) -> Callable[[str], CountTokens | None]:
    """What counts the tokens of a text: the tokenizer that was named, else for a long text that of a fetched model, if
    there is one. Reading umT5's takes a second, and a short text is far from the limit."""
    from filmgate.direction.migration.tokens import TEXT_LEN, length_of, token_counter

    if tokenizer is not None:
        named = token_counter(tokenizer)
        return lambda _text: named

    @lru_cache(maxsize=1)
    def fetched() -> CountTokens | None:
        from filmgate.app.places import models_directory

        found = next(iter(sorted(models_directory().glob("*/google/umt5-xxl/tokenizer.json"))), None)
        return None if found is None else token_counter(found)

    return lambda text: fetched() if length_of(text).tokens > TEXT_LEN / 2 else None


@contextmanager
def _endpoint(assist: str | None, url: str, model: str) -> Iterator[Endpoint | None]:
    """The language model, where one shall help."""
    import os
    from typing import get_args

    if assist is None:
        yield None
        return
    from filmgate.direction.migration.endpoint import Endpoint
    from filmgate.direction.migration.language_model import Service
    from filmgate.spec import UnknownName

    if assist not in get_args(Service):
        raise UnknownName("assist", assist, get_args(Service), noun="service")
    with closing(Endpoint(url, model, key=os.environ.get("FILMGATE_LANGUAGE_MODEL_KEY"))) as endpoint:
        yield endpoint


def _text(text: str | None, file: Path | None) -> str:
    """The prompt from the command line, a file or standard input.

    Raises:
        InvalidRequest: it cannot be read.
    """
    from filmgate.spec import InvalidRequest

    if text is not None and text != "-":
        return text
    source = sys.stdin if file is None else file
    try:
        return source.read() if file is None else file.read_text(encoding="utf-8-sig")  # type: ignore[union-attr]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest("file", f"{file or 'standard input'} cannot be read: {error}", allowed="UTF-8") from None
