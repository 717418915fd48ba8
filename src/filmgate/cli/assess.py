"""``filmgate assess``: which model, on which machine, for a month's work, and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filmgate.cli import reckoning
from filmgate.cli.days import OnDay, day
from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.economics.assess import Assessment
    from filmgate.economics.machine import MachineFacts
    from filmgate.economics.needs import Needs
    from filmgate.economics.prices import PriceList
    from filmgate.spec import DeviceDescription

Html = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Write one HTML page that needs no network.", show_default=False),
]
Markdown = Annotated[
    Path | None, typer.Option("--markdown", metavar="FILE", help="Write the report as Markdown.", show_default=False)
]


def assess(
    file: Annotated[
        Path | None,
        typer.Argument(help="Answers as TOML, as --save writes them; options go before them.", show_default=False),
    ] = None,
    *,
    videos: Annotated[
        int | None, typer.Option("--videos", help="Usable videos a month.", show_default=False)
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="t2v, i2v or flf2v. Default: t2v.", show_default=False)
    ] = None,
    resolution: Annotated[
        str | None, typer.Option("--resolution", help="480p, 720p or 1080p. Default: 720p.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Length of a video. Default: 5.", show_default=False)
    ] = None,
    quality: Annotated[
        str | None,
        typer.Option("--quality", help="draft, social, commercial or broadcast. Default: social.", show_default=False),
    ] = None,
    motion: Annotated[
        str | None, typer.Option("--motion", help="simple or complex. Default: simple.", show_default=False)
    ] = None,
    usable_rate: Annotated[
        float | None,
        typer.Option("--usable-rate", help="Share of attempts that are used, 0 to 1. Default: assumed, and said so.",
                     show_default=False),
    ] = None,
    few_steps: Annotated[
        bool | None,
        typer.Option("--few-steps/--no-few-steps", help="4-step weights were compared and found good enough, or not.",
                     show_default=False),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option("--deadline", metavar="MINUTES", help="How long one video may take, from order to file.",
                     show_default=False),
    ] = None,
    privacy: Annotated[
        str | None,
        typer.Option("--privacy", help="Where prompts and pictures may go: open (any service), rented (rented"
                     " machines) or own (nowhere). Default: open.", show_default=False),
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Where machines must stand, as EU: prices of other regions do not"
                     " count.", show_default=False)
    ] = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", help="What a month may cost.", show_default=False)
    ] = None,
    growth: Annotated[
        float | None, typer.Option("--growth", metavar="PERCENT", help="Growth a month.", show_default=False)
    ] = None,
    peak: Annotated[
        float | None,
        typer.Option("--peak", help="How many average days' work comes on the busiest day.", show_default=False),
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", help="Hours a day that machines may work.", show_default=False)
    ] = None,
    desktop: Annotated[
        bool | None, typer.Option("--desktop/--headless", help="Cards show a screen too, or not.", show_default=False)
    ] = None,
    cards: Annotated[
        list[str] | None,
        typer.Option("--card", metavar="NAME", help="A card to compare, as rtx4090; may be given several times."
                     " Default: six common ones.", show_default=False),
    ] = None,
    now_model: Annotated[
        str | None, typer.Option("--now-model", help="What is used today, as wan2.1-t2v-14b.", show_default=False)
    ] = None,
    now_card: Annotated[
        str | None, typer.Option("--now-card", help="Where it runs today, as h100.", show_default=False)
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask for everything that is not given.")] = False,
    no_machine: Annotated[bool, typer.Option("--no-machine", help="Leave this machine out.")] = False,
    disk: Annotated[
        Path | None,
        typer.Option("--disk", metavar="DIR", help="Where models are to lie. Default: where `filmgate fetch` puts"
                     " them.", show_default=False),
    ] = None,
    prices: reckoning.PriceFile = None,
    price: reckoning.OwnPrices = None,
    on: OnDay = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the answers as TOML.", show_default=False)
    ] = None,
    markdown: Markdown = None,
    html: Html = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Look at this machine, take a month's needs, and recommend model, precision, memory mode and deployment.

    Every rule that was applied is shown, with the runner-up, what decides, and the answers that would change it.
    """
    from filmgate.cli.text import json_text
    from filmgate.economics.assessment_document import assessment_document
    from filmgate.economics.document import html_of, markdown_of, text_of
    from filmgate.economics.needs import toml_of_needs
    from filmgate.spec import InvalidRequest

    given = {
        "videos": videos, "kind": kind, "resolution": resolution, "seconds": seconds, "quality": quality,
        "motion": motion, "usable_rate": usable_rate, "few_steps_accepted": few_steps, "deadline_minutes": deadline,
        "privacy": privacy, "region": region, "budget": budget, "growth": growth, "peak": peak,
        "hours_per_day": hours, "desktop": desktop, "cards": tuple(cards) if cards else None, "now_model": now_model,
        "now_card": now_card,
    }  # fmt: skip
    if no_machine and disk is not None:
        raise InvalidRequest("disk", "contradicts --no-machine, which leaves it out", allowed="one of the two")
    needs = _needs(file, given, ask=ask)
    known = _prices(needs, prices, price or [])
    made = _assessed(needs, None if no_machine else _this_machine(disk), known, on)
    document = assessment_document(made)
    write_texts(
        (save, toml_of_needs(needs)), (markdown, markdown_of(document)), (html, html_of(document))
    )  # fmt: skip
    print(json_text(made) if as_json else text_of(assessment_document(made, whole=False)))


def write_texts(*outputs: tuple[Path | None, str]) -> None:
    """Write every text that has a place, once all are there.

    Raises:
        OutputError: a place cannot be written.
    """
    from filmgate.media.publish import write_bytes

    for path, text in outputs:
        if path is not None:
            write_bytes(path, text.encode())


def read_text(path: Path, field: str) -> str:
    """A text file of the caller.

    Raises:
        InvalidRequest: it cannot be read.
    """
    from filmgate.spec import InvalidRequest

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise InvalidRequest(field, f"{path} cannot be read: {reason}", allowed="a text file in UTF-8") from None


def _needs(file: Path | None, given: dict[str, Any], *, ask: bool) -> Needs:
    from filmgate.economics.needs import needs_from, needs_of_toml

    known = {} if file is None else needs_of_toml(read_text(file, "file"))
    known |= {name: value for name, value in given.items() if value is not None}
    if ask or (not known and sys.stdin.isatty()):
        from filmgate.cli.questions import ask_for

        known = ask_for(known)
    return needs_from(known)


def _prices(needs: Needs, prices: Path | None, own: list[str]) -> PriceList:
    """Prices that are shipped, of a file, and single ones, in the region that is needed."""
    from filmgate.economics.rents import in_region

    return in_region(reckoning.prices_of(reckoning.Told(prices=prices, own_prices=own)), needs.region)


def _assessed(
    needs: Needs, here: tuple[MachineFacts, DeviceDescription | None] | None, prices: PriceList, on: str | None
) -> Assessment:
    from filmgate.app.places import default_cache
    from filmgate.backends.measurements import this_machine
    from filmgate.economics.assess import assess as assessed
    from filmgate.economics.feasibility import places_of
    from filmgate.economics.rents import rates_of

    facts, fallback = here or (None, None)
    seen = this_machine(default_cache())
    return assessed(
        needs, places_of(facts, needs, fallback), day(on), machine=facts, rates=rates_of(prices, needs.cards),
        measured=seen.measured, versions=seen.versions, prices=prices,
    )  # fmt: skip


def _this_machine(disk: Path | None) -> tuple[MachineFacts, DeviceDescription | None]:
    """What this machine has, and its GPU if only the planner's own way finds it."""
    import platform

    from filmgate.app.places import models_directory
    from filmgate.backends.hardware import describe_device
    from filmgate.economics.inspection import inspect_machine
    from filmgate.spec import DeviceError

    facts = inspect_machine(describe_device("cpu"), disk or models_directory())
    if facts.gpus:
        return facts, None
    try:
        return facts, describe_device("mps" if platform.system() == "Darwin" else None)
    except DeviceError:
        return facts, None
