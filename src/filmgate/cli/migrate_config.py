"""``filmgate migrate config``: a setup of Wan 2.1 becomes one of Wan 2.2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.assess import Html, Markdown, write_texts
from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.direction.interchange.report import Entry
    from filmgate.direction.upgrade import Upgrade
    from filmgate.economics.document import Document, Verdict


def config(
    source: Annotated[
        list[str],
        typer.Argument(
            help="The setup, as `filmgate import` takes it: a file, a Diffusers directory, or, after --, a command line"
            " of generate.py. Nothing of it is executed.",
            show_default=False,
        ),
    ],
    dialect: Annotated[
        str | None,
        typer.Option(
            "--from", help="comfyui, diffusers, lightx2v or official. Default: found out.", show_default=False
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant", help="The model it is for, as wan2.1-t2v-14b. Default: by the model's name.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--to", help="The model to go to, as wan2.2-ti2v-5b. Default: the successor.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the request of Wan 2.2 to this file.", show_default=False),
    ] = None,
    markdown: Markdown = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say what changes from a setup of Wan 2.1 to Wan 2.2, and write the request that does the same there.

    `filmgate export` writes that request in the words of generate.py, ComfyUI, Diffusers or LightX2V.
    """
    from filmgate.cli.interchange import read_source
    from filmgate.cli.text import json_text
    from filmgate.direction.upgrade import upgrade
    from filmgate.economics.document import html_of, markdown_of, text_of

    made = upgrade(read_source(source, dialect), variant, target)
    request = json_text(made.request.model_dump(mode="json", exclude_defaults=True))
    document = upgrade_document(made)
    write_texts((output, f"{request}\n"), (markdown, markdown_of(document)), (html, html_of(document)))
    print(json_text(made) if as_json else text_of(document))
    if output is not None and not as_json:
        print(f"\nRequest: {output}")


def upgrade_document(made: Upgrade) -> Document:
    """Every setting before and after, what must be looked at, and advice."""
    from filmgate.economics.document import Block, Document, Heading, Table, Verdict, Words

    blocks: list[Block] = [_verdict(made, Verdict)]
    head = ("setting", "before", "after", "fate", "why")
    blocks += [Heading("Settings"), Table(head, tuple(map(_row, made.entries)))]
    if made.high_steps is not None:
        blocks.append(Words(f"Of {made.steps} steps the high-noise expert paints {made.high_steps}."))
    if made.gigabytes is not None:
        before = "" if made.gigabytes_before is None else f", {made.gigabytes_before} GB before"
        blocks.append(Words(f"On disk: {made.gigabytes} GB as published{before}."))
    lost = tuple(_row(entry) for entry in made.read if entry.fate in ("dropped", "approximated"))
    if lost:
        blocks += [Heading("Not exactly as the setup says"), Table(head, lost)]
    if made.advice:
        told = tuple((advice.topic, advice.text, advice.source) for advice in made.advice)
        blocks += [Heading("To know"), Table(("about", "advice", "source"), told)]
    return Document("From Wan 2.1 to Wan 2.2", f"A setup of {made.source}, read as {made.dialect}.", tuple(blocks))


def _verdict(made: Upgrade, verdict: type[Verdict]) -> Verdict:
    if made.source == made.target:
        return verdict(f"{made.source} is of Wan 2.2 already: the setup is left as it is.")
    changed, checked = len(made.changed), len(made.to_check)
    because = f"{changed} of {len(made.entries)} settings change; {checked} must be looked at."
    return verdict(f"{made.source} becomes {made.target}.", because)


def _row(entry: Entry) -> tuple[str, ...]:
    return entry.field, _short(entry.before), _short(entry.after), entry.fate, entry.reason


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
