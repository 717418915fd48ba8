"""``filmgate migrate prompt --batch``: a file of prompts, with progress and a summary."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from filmgate.direction.migration.language_model import Assisted
    from filmgate.direction.migration.migrate import Migration
    from filmgate.spec import FilmgateError

_TABLE, _LINES = ".csv", (".jsonl", ".ndjson")


class Line(NamedTuple):
    """A prompt of a batch with the other fields of its line."""

    prompt: str
    fields: dict[str, Any]


class Result(NamedTuple):
    """What became of a line: a migration, or what was wrong with it; neither for a line without a prompt."""

    line: Line
    migration: Migration | None = None
    error: FilmgateError | None = None
    rejected: str = ""


def migrate_batch(
    file: Path,
    column: str,
    output: Path | None,
    html: Path | None,
    migrate: Callable[[str], Assisted | Migration],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Migrate every prompt of a file. One that contradicts itself or cannot be read does not stop the others.

    Raises:
        InvalidRequest: the file cannot be read, or has no prompts.
        typer.Exit: with 1, if some could not be migrated; the others were written.
    """
    import typer

    from filmgate.cli.text import json_text
    from filmgate.direction.migration.comparison import html_page, summary
    from filmgate.media.publish import write_bytes

    lines = read_lines(file, column)
    suffix = output.suffix.lower() if output is not None else ""
    _check_suffix(output, suffix)
    results = []
    with _progress(len(lines), quiet=quiet or as_json) as step:
        for line in lines:
            results.append(_one(line, migrate))
            step()
    done = [result.migration for result in results if result.migration is not None]
    if html is not None:
        write_bytes(html, html_page(done, f"Prompt migration: {file.name}").encode())
    if output is not None:
        write_bytes(output, written(results, suffix).encode())
    counts = summary(done)
    if as_json:
        print(json_text({"summary": counts, "prompts": _records(results)}))
    elif output is None:
        print(written(results, ".txt"), end="")
    if not quiet:
        _tell(results, counts, alone=not as_json and suffix in ("", ".txt"))
    if any(
        result.error is not None or (result.migration and result.migration.status == "conflict") for result in results
    ):
        raise typer.Exit(1)


def read_lines(file: Path, column: str) -> list[Line]:
    """The prompts of a file: of a CSV's column, of a field of JSON objects, or of every line that is not empty.

    Raises:
        InvalidRequest: it cannot be read, has no such column, or has no prompts.
    """
    from filmgate.spec import InvalidRequest

    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest("batch", f"{file} cannot be read: {error}", allowed="a text file in UTF-8") from None
    suffix = file.suffix.lower()
    if suffix == _TABLE:
        lines = list(_of_table(file, text, column))
    elif suffix in _LINES:
        lines = list(_of_objects(file, text, column))
    else:
        lines = [Line(line.strip(), {}) for line in text.splitlines()]
    if not any(line.prompt.strip() for line in lines):
        raise InvalidRequest("batch", f"{file} has no prompts", allowed="at least one")
    return lines


def _of_table(file: Path, text: str, column: str) -> Iterator[Line]:
    from filmgate.spec import InvalidRequest, UnknownName

    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names = reader.fieldnames or []
        if column not in names:
            raise UnknownName("column", column, names)
        for row in reader:
            extra = row.pop(None, None)
            if extra:
                raise InvalidRequest("batch", f"{file}, line {reader.line_num} has more cells than the header")
            yield Line(row[column] or "", {name: value for name, value in row.items() if name != column})
    except csv.Error as error:
        raise InvalidRequest("batch", f"{file} is no table: {error}", allowed="comma-separated values") from None


def _of_objects(file: Path, text: str, column: str) -> Iterator[Line]:
    from filmgate.spec import InvalidRequest

    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        fields = {column: value} if isinstance(value, str) else value
        if not isinstance(fields, dict) or not isinstance(fields.get(column), str):
            what = f"{file}, line {number} is no object with a text called {column!r}"
            raise InvalidRequest("batch", what, allowed=f'{{"{column}": "..."}}, or a text')
        yield Line(fields[column], {name: item for name, item in fields.items() if name != column})


def _check_suffix(output: Path | None, suffix: str) -> None:
    from filmgate.spec import InvalidRequest

    if output is not None and suffix not in (_TABLE, *_LINES, ".txt"):
        raise InvalidRequest("output", f"{output} has no known ending", allowed=".csv, .jsonl or .txt")


def _one(line: Line, migrate: Callable[[str], Assisted | Migration]) -> Result:
    from filmgate.direction.migration.migrate import Migration
    from filmgate.spec import FilmgateError

    if not line.prompt.strip():
        return Result(line)
    try:
        made = migrate(line.prompt)
    except FilmgateError as error:
        return Result(line, error=error)
    if isinstance(made, Migration):
        return Result(line, made)
    return Result(line, made.migration, rejected=made.rejected)


def written(results: Sequence[Result], suffix: str) -> str:
    """The results as a file: a table, a JSON object on every line, or the new prompts alone.

    A text file keeps a line for every prompt; one that has no new prompt is empty there.
    """
    if suffix == ".txt":
        return "".join(f"{result.migration.text if result.migration else ''}\n" for result in results)
    records = _records(results)
    if suffix != _TABLE:
        return "".join(json.dumps(record, ensure_ascii=False, default=str) + "\n" for record in records)
    names = list(dict.fromkeys(name for record in records for name in record))
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return stream.getvalue()


def _records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Every line with its own fields first, and what became of it; where a name is taken, under ``migrated_...``."""
    taken = {name for result in results for name in result.line.fields}
    return [
        {
            **result.line.fields,
            **{f"migrated_{name}" if name in taken else name: value for name, value in _outcome(result).items()},
        }
        for result in results
    ]


def _outcome(result: Result) -> dict[str, Any]:
    source: dict[str, Any] = {"source": result.line.prompt}
    migration = result.migration
    if migration is None:
        status = "empty" if result.error is None else "error"
        return {**source, "status": status, "notes": [] if result.error is None else [str(result.error)]}
    rejected = [f"language model not used: {result.rejected}"] if result.rejected else []
    return {
        **source,
        "prompt": migration.text,
        "negative": migration.negative,
        "settings": _settings(migration),
        "status": migration.status,
        "missing": list(migration.missing),
        "passed": migration.passed,
        "coverage": round(migration.ledger.coverage, 4),
        "invented": list(migration.ledger.invented),
        "dialects": list(migration.dialects),
        "notes": [*map(str, migration.conflicts), *migration.notes, *rejected],
    }


def _settings(migration: Migration) -> dict[str, Any]:
    return migration.request.model_dump(mode="json", exclude_defaults=True, exclude={"prompt", "negative"})


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _tell(results: Sequence[Result], counts: dict[str, int | float], *, alone: bool) -> None:
    """The summary and every prompt that needs a person, on standard error.

    ``alone`` says that only the prompts were written: what else belongs to them is named then.
    """
    from filmgate.direction.migration.comparison import facts_text

    empty = sum(not result.line.prompt.strip() for result in results)
    print(f"{len(results)} lines: {facts_text(counts, [f'{empty} empty'] if empty else [])}", file=sys.stderr)
    lost = [made for result in results if (made := result.migration) and (made.negative or _settings(made))]
    if alone and lost:
        print(
            f"Not written: negative prompts or settings of {len(lost)} prompts; a .csv, a .jsonl or --json has them.",
            file=sys.stderr,
        )
    for number, result in enumerate(results, 1):
        if result.error is not None:
            print(f"Error: prompt {number}: {result.error}", file=sys.stderr)
        elif result.migration is not None and result.migration.status == "conflict":
            print(f"Conflict: prompt {number}: {'; '.join(map(str, result.migration.conflicts))}", file=sys.stderr)
        elif result.migration is not None and result.migration.missing:
            print(f"Incomplete: prompt {number}: {', '.join(result.migration.missing)}", file=sys.stderr)


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar on standard error where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Migrating", total=total)
        yield lambda: bar.advance(task)
