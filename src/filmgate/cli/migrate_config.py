"""``filmgate migrate config``: a setup of Wan 2.1 becomes one of Wan 2.2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.assess import Html, Markdown, write_texts
from filmgate.cli.interchange import Dialect, read_source
from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filmgate.direction.interchange.report import Entry
    from filmgate.direction.upgrade import Upgrade
    from filmgate.direction.upgrade_advice import Advice
    from filmgate.economics.document import Document, Verdict
    from filmgate.spec import Request


def config(
    source: Annotated[
        list[str],
        typer.Argument(
            help="The setup, as `filmgate import` takes it: a file, a Diffusers directory, or, after --, a command line"
            " of generate.py. Nothing of it is executed.",
            show_default=False,
        ),
    ],
    dialect: Dialect = None,
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
    from filmgate.cli.text import json_text
    from filmgate.direction.upgrade import upgrade
    from filmgate.economics.document import html_of, markdown_of, text_of

    setup = read_source(source, dialect)
    made = upgrade(setup, variant, target)
    made = made.model_copy(update={"advice": (*made.advice, *_looked_into(setup.request, made.target))})
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


def _looked_into(request: Request, target: str) -> Iterator[Advice]:
    """How much of every LoRA that is here has a place in a published model, by the headers of the files."""
    from filmgate.direction.upgrade_advice import Advice
    from filmgate.engine.checkpoints.lora_inspection import inspect_lora, of_published
    from filmgate.spec import CheckpointError

    against = of_published(target)
    for lora in (*request.lora, *request.lora_high, *request.lora_low):
        path = Path(lora.path)
        if against is None or not path.exists():
            continue
        try:
            facts = inspect_lora(path, against)
        except CheckpointError as error:
            text = str(error)
        else:
            fits = [f"{m.matched} of {m.changes} changes have a place in {m.model}" for m in facts.matches]
            text = f"{path.name}: {'; '.join(fits) or facts.problem}"
        yield Advice(topic="lora", text=text, source="`filmgate lora inspect`, the headers of the file")


def _verdict(made: Upgrade, verdict: type[Verdict]) -> Verdict:
    if made.source == made.target:
        return verdict(f"{made.source} is of Wan 2.2 already: the setup is left as it is.")
    changed, checked = len(made.changed), len(made.to_check)
    because = f"{changed} of {len(made.entries)} settings change; {checked} must be looked at."
    return verdict(f"{made.source} becomes {made.target}.", because)


def _row(entry: Entry) -> tuple[str, ...]:
    return entry.field, _short(entry.before), _short(entry.after), entry.fate, entry.reason


def _short(text: str) -> str:
    most = 40 if text.isascii() else 24  # Chinese characters are twice as wide
    return text if len(text) <= most else f"{text[: most - 3]}..."
