"""``filmgate migrate config``: a setup of Wan 2.1 becomes one of Wan 2.2."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.direction.upgrade import Upgrade


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
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Say what changes from a setup of Wan 2.1 to Wan 2.2, and write the request that does the same there.

    `filmgate export` writes that request in the words of generate.py, ComfyUI, Diffusers or LightX2V.
    """
    from filmgate.cli.interchange import read_source
    from filmgate.cli.text import json_text
    from filmgate.direction.upgrade import upgrade
    from filmgate.media.publish import write_bytes

    made = upgrade(read_source(source, dialect), variant, target)
    if output is not None:
        text = json_text(made.request.model_dump(mode="json", exclude_defaults=True))
        write_bytes(output, f"{text}\n".encode())
    print(json_text(made) if as_json else describe_upgrade(made))
    if output is not None and not as_json:
        print(f"\nRequest: {output}")


def describe_upgrade(made: Upgrade) -> str:
    """Every setting before and after, what must be looked at, and advice."""
    from filmgate.cli.text import columns

    if made.source == made.target:
        head = f"{made.source}: a setup of Wan 2.2 already, left as it is."
    else:
        head = f"From {made.source} to {made.target}."
    rows = [(entry.fate, entry.field, _change(entry.before, entry.after), entry.reason) for entry in made.entries]
    parts = [head, columns(rows)]
    if made.high_steps is not None:
        parts.append(f"Of {made.steps} steps the high-noise expert paints {made.high_steps}.")
    if made.gigabytes is not None:
        before = "" if made.gigabytes_before is None else f", {made.gigabytes_before} GB before"
        parts.append(f"On disk: {made.gigabytes} GB as published{before}.")
    lost = [entry for entry in made.read if entry.fate == "dropped"]
    if lost:
        parts.append("Not read from the setup:\n" + columns([(e.field, e.before, e.reason) for e in lost], indent="  "))
    parts += [f"{advice.topic.capitalize()}: {advice.text} ({advice.source})" for advice in made.advice]
    return "\n\n".join(parts)


def _change(before: str, after: str) -> str:
    return _short(before) if before == after or not after else f"{_short(before)} -> {_short(after)}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
