"""Days as they are typed: what ``--date`` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import date

OnDay = Annotated[
    str | None,
    typer.Option("--date", metavar="YYYY-MM-DD", help="The day to count from. Default: today.", show_default=False),
]


def day(text: str | None, field: str = "date") -> date:
    """A date as it is typed; None: today.

    Raises:
        InvalidRequest: it is no date.
    """
    from datetime import date

    from filmgate.spec import InvalidRequest

    if text is None:
        return date.today()
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(field, f"{text!r} is no date", allowed="YYYY-MM-DD, as 2026-12-01") from None
