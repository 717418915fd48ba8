"""``filmgate schema``."""

from __future__ import annotations

from typing import Annotated

import typer


def schema(
    noun: Annotated[
        str | None,
        typer.Argument(
            help="One document: request, plan, take, report, capabilities, or an event: started, progress, preview, "
            "done, failed. Default: all of them.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of what Filmgate reads and writes as JSON.

    That of a request is of what may be given, where only the prompt must; all others are of what is written.
    """
    from filmgate.cli.text import json_text
    from filmgate.spec.schema import document_schema, json_schema

    print(json_text(json_schema() if noun is None else document_schema(noun)))
