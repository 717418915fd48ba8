"""``filmgate cost``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filmgate.cli import reckoning
from filmgate.cli.days import OnDay
from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from filmgate.economics.prices import PriceList

_RECORDS = (".attempt.", ".quality.", ".machine.", ".overhead.", ".staff.", ".move.")


def cost(
    *,
    usable: reckoning.Usable = None,
    seconds: reckoning.Seconds = None,
    resolution: reckoning.Resolution = None,
    option: reckoning.Options = None,
    scenario: reckoning.ScenarioFile = None,
    takes: reckoning.Takes = None,
    settings: reckoning.Settings = None,
    prices: reckoning.PriceFile = None,
    price: reckoning.OwnPrices = None,
    exchange: reckoning.Rates = None,
    on: OnDay = None,
    list_prices: Annotated[bool, typer.Option("--list-prices", help="Print the prices and stop.")] = False,
    html: reckoning.Html = None,
    pictures: reckoning.Pictures = None,
    as_json: AsJson = False,
) -> None:
    """Say what a usable video costs: one more, with its part of the machines, and with people's time.

    Options are compared side by side: a card of one's own, rented GPUs, hosted endpoints, a server. Failures are paid
    for in all of them.
    """
    from filmgate.cli.text import json_text

    told = reckoning.Told(
        usable,
        seconds,
        resolution,
        option or (),
        scenario,
        takes,
        settings or (),
        prices,
        price or (),
        exchange or (),
        on,
    )
    if list_prices:
        known = reckoning.prices_of(told)
        print(json_text(price_data(known)) if as_json else describe_prices(known))
        return
    from filmgate.economics.summary import cost_data

    inputs, _ = reckoning.inputs_of(told)
    data = cost_data(inputs)
    if html is not None or pictures is not None:
        from filmgate.economics.pictures import as_svg, cost_pictures, write_png
        from filmgate.economics.report import cost_page

        makers = cost_pictures(data, inputs.scenario)
        reckoning.write_page(html, lambda: cost_page(data, as_svg(makers)))
        if pictures is not None:
            write_png(makers, pictures)
    print(json_text(data) if as_json else describe_cost(data))


def describe_cost(data: Mapping[str, Any]) -> str:
    """The options, what they rest on, and what to beware of."""
    from filmgate.cli.text import columns

    workload = data["workload"]
    head = (
        f"Cost of a usable video of {workload['seconds']:g} s at {workload['resolution']}, "
        f"{workload['usable']:g} of them a month:"
    )
    bases = columns((one["name"], one["basis"]) for one in data["options"])
    assumed = columns(grouped(data["assumptions"])) if data["assumptions"] else ""
    parts = [f"{head}\n\n{reckoning.describe_options(data)}", f"Seconds and prices:\n{bases}"]
    if assumed:
        parts.append(f"Assumed, to be set with --set PATH=VALUE:\n{assumed}")
    return "\n\n".join(parts) + ("\n" + reckoning.describe_warnings(data) if data["warnings"] else "")


def grouped(assumptions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str]]:
    """Assumptions, those that are the same of several options in one row with all their names."""
    names: dict[tuple[str, str, str, str], list[str]] = {}
    for one in assumptions:
        name, path = split_path(one["path"])
        names.setdefault((path, f"{one['value']:g}", one["unit"], one["why"]), []).append(name)
    return [(path, f"{value} {unit}", ", ".join(found), why) for (path, value, unit, why), found in names.items()]


def split_path(path: str) -> tuple[str, str]:
    """The record that a path begins in, and the rest; names of options may hold dots."""
    for records in _RECORDS:
        name, dot, rest = path.rpartition(records)
        if dot:
            return name, f"{records[1:]}{rest}"
    name, _, rest = path.rpartition(".")
    return name, rest


def price_data(prices: PriceList) -> list[dict[str, Any]]:
    """All prices as plain data."""
    from dataclasses import asdict

    return [{**asdict(row), "as_of": row.as_of.isoformat(), "unit": row.unit} for row in prices.rows]


def describe_prices(prices: PriceList) -> str:
    """All prices as a table."""
    from filmgate.cli.text import columns

    rows = [("id", "value", "found", "unit", "region", "as of", "evidence", "source")]
    for row in prices.rows:
        low, high = row.span
        found = "" if low == high else f"{low:g} to {high:g}"
        dated = f"{'by ' if row.undated else ''}{row.as_of}"
        rows.append((row.id, f"{row.value:g}", found, row.unit, row.region, dated, row.evidence, row.source))
    return columns(rows)
