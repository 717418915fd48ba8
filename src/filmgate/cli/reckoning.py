"""What ``filmgate cost`` and ``filmgate roi`` are told, and what they have in common when they show it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from filmgate.cli.days import day

if TYPE_CHECKING:
    from filmgate.economics.options import Scenario, Workload
    from filmgate.economics.prices import PriceList
    from filmgate.economics.summary import Inputs

Usable = Annotated[
    float | None, typer.Option("--usable", metavar="N", help="Usable videos a month. Default: 150.", show_default=False)
]
Seconds = Annotated[
    float | None, typer.Option("--seconds", metavar="S", help="Length of a video. Default: 5.", show_default=False)
]
Resolution = Annotated[
    str | None, typer.Option("--resolution", metavar="SIZE", help="480p or 720p. Default: 720p.", show_default=False)
]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="[NAME=]KIND:MODEL[@DEVICE]",
        help="What to compare, as card=local:wan2.2-ti2v-5b@rtx4090; kinds: local, cluster, pod, serverless, hosted. "
        "May be given several times. Default: nine usual ways.",
        show_default=False,
    ),
]
ScenarioFile = Annotated[
    Path | None, typer.Option("--scenario", metavar="FILE", help="TOML with all of it.", show_default=False)
]
Takes = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="DIR", help="Takes that were made: their seconds and energy count.", show_default=False
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Any number, as local-5b.machine.price=3500.", show_default=False),
]
PriceFile = Annotated[
    Path | None,
    typer.Option(
        "--prices", metavar="FILE", help="TOML with prices of your own, in the form of ours.", show_default=False
    ),
]
OwnPrices = Annotated[
    list[str] | None,
    typer.Option("--price", metavar="ID=VALUE", help="One price, as runpod.pod.h100=2.40.", show_default=False),
]
Rates = Annotated[
    list[str] | None,
    typer.Option(
        "--exchange", metavar="CURRENCY=WORTH", help="Worth of a currency in that of the reckoning.", show_default=False
    ),
]
Html = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write a report that works offline.", show_default=False)
]
Pictures = Annotated[
    Path | None, typer.Option("--pictures", metavar="DIR", help="Write the pictures as PNG.", show_default=False)
]


_TEXTS = {
    "finance.currency": 'currency = "EUR" under [finance] in --scenario FILE',
    "finance.staff": "--staff of roi, or staff = true under [finance] in --scenario FILE",
    "workload.resolution": "--resolution SIZE",
}
_ENDS = {
    ".machine.depreciation": 'machine.depreciation = "capital_recovery" in an [[option]] of --scenario FILE',
    ".overflow": 'overflow = "NAME" in an [[option]] of --scenario FILE',
}
"""Where those things belong that are no numbers."""


class Told(NamedTuple):
    """The options of a reckoning as they were given."""

    usable: float | None = None
    seconds: float | None = None
    resolution: str | None = None
    options: Sequence[str] = ()
    scenario: Path | None = None
    takes: Path | None = None
    settings: Sequence[str] = ()
    prices: Path | None = None
    own_prices: Sequence[str] = ()
    rates: Sequence[str] = ()
    on: str | None = None


def prices_of(told: Told) -> PriceList:
    """The prices to reckon with: shipped ones, those of a file, and single ones.

    Raises:
        InvalidRequest: one is wrong (UnknownName: there is none of that id).
    """
    from filmgate.economics.prices import load

    today = day(told.on)
    prices = load(told.prices).with_exchange(numbers(told.rates, "exchange"))
    for name, value in numbers(told.own_prices, "price").items():
        prices = prices.with_value(name, value, today)
    return prices


def inputs_of(told: Told) -> tuple[Inputs, Mapping[str, Any]]:
    """What was asked for, and the scenario's file as it was read (empty without one).

    Raises:
        InvalidRequest: something is wrong, or contradicts something else; names both.
    """
    from filmgate.economics.scenario import with_numbers
    from filmgate.economics.summary import Inputs

    prices, settings = prices_of(told), _settings(told.settings)
    scenario, notes, table, given = _scenario(told, prices, settings)
    prices = prices.reckoned_in(scenario.finance.currency)
    if told.takes is not None:
        scenario, more = _with_takes(scenario, told.takes, prices)
        notes += more
    scenario = with_numbers(scenario, settings)
    notes += [f"no price is in {currency}: its rate changes nothing" for currency in prices.exchange
              if all(row.currency != currency for row in prices.rows)]  # fmt: skip
    return Inputs(scenario, prices, day(told.on), (*given, *settings), tuple(notes)), table


def _settings(texts: Sequence[str]) -> dict[str, float]:
    """Numbers by their paths.

    Raises:
        InvalidRequest: one has another form, or is no number; says where that belongs.
    """
    from filmgate.spec.errors import InvalidRequest

    for path in (text.partition("=")[0].strip() for text in texts):
        belongs = _TEXTS.get(path) or next((where for end, where in _ENDS.items() if path.endswith(end)), None)
        if belongs is not None:
            raise InvalidRequest("set", f"{path} is no number", allowed=belongs)
    return numbers(texts, "set")


def _scenario(
    told: Told, prices: PriceList, settings: Mapping[str, float]
) -> tuple[Scenario, list[str], Mapping[str, Any], list[str]]:
    """The scenario, notes, the file's table, and the paths that were given."""
    from filmgate.economics.options import Finance
    from filmgate.economics.prices import read_toml
    from filmgate.economics.scenario import build, from_table, given_paths, standard
    from filmgate.spec.errors import InvalidRequest

    flags = {"usable": told.usable, "seconds": told.seconds, "resolution": told.resolution}
    flags = {name: value for name, value in flags.items() if value is not None}
    if told.scenario is not None:
        if flags or told.options:
            name = next(iter(flags), "option")
            raise InvalidRequest("scenario", f"was given together with {name}", allowed="one of the two, or --set",
                                 nearest=f"{name} in {told.scenario}")  # fmt: skip
        table = read_toml(told.scenario, "scenario")
        return from_table(table, prices, str(told.scenario)), [], table, given_paths(table)
    workload = checked_workload(flags)
    given = [f"workload.{name}" for name in flags if name != "resolution"]
    if told.options:
        return build(named_options(told.options), prices, workload, Finance(), given=settings), [], {}, given
    scenario, left_out = standard(prices, workload, Finance(), settings)
    return scenario, left_out, {}, given


def checked_workload(flags: Mapping[str, Any]) -> Workload:
    """A workload of flags."""
    from filmgate.economics.options import Workload
    from filmgate.economics.quantities import read

    return read(Workload, flags, "workload")


def _with_takes(scenario: Scenario, folder: Path, prices: PriceList) -> tuple[Scenario, list[str]]:
    """The scenario with what takes measured, in its options where they are of the same thing and else as options of
    their own."""
    from dataclasses import replace

    from filmgate.economics.takes import measured_options, read_takes, with_measurements

    measured, notes = read_takes(folder)
    applied = with_measurements(scenario, measured)
    bases = {option.basis for option in applied.options} - {option.basis for option in scenario.options}
    taken = [option.name for option in scenario.options]
    own = [one for one in measured_options(measured, prices, scenario.workload, taken) if one.basis not in bases]
    return replace(applied, options=(*applied.options, *own)), notes


def named_options(texts: Sequence[str]) -> dict[str, str]:
    """Options by name, in order; without a name they are called by their kind, numbered where that is taken.

    Raises:
        InvalidRequest: two have the same name.
    """
    from filmgate.spec.errors import InvalidRequest

    found: dict[str, str] = {}
    for text in texts:
        name, separator, spec = text.partition("=")
        if not separator:
            kind = text.partition(":")[0] or "option"
            name, spec, number = kind, text, 1
            while name in found:
                number += 1
                name = f"{kind}-{number}"
        if name in found or name in ("workload", "finance") or not re.fullmatch(r"[\w.-]+", name):
            raise InvalidRequest("option", f"{name!r} cannot be the name of {spec}", allowed="another name, each once")
        found[name] = spec
    return found


def numbers(texts: Sequence[str], field: str) -> dict[str, float]:
    """``NAME=VALUE`` texts as numbers by name.

    Raises:
        InvalidRequest: one has another form.
    """
    from filmgate.spec.errors import InvalidRequest

    found = {}
    for text in texts:
        name, separator, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            separator = ""
        if not separator or not name.strip():
            raise InvalidRequest(field, f"{text!r} is not NAME=VALUE", allowed="a name, =, and a number")
    return found


def write_page(path: Path | None, make: Callable[[], str]) -> None:
    """Write a report, if one is asked for.

    Raises:
        OutputError: it cannot be written there.
    """
    if path is None:
        return
    from filmgate.media.publish import write_bytes

    write_bytes(path, make().encode())


def money(amount: float, currency: str) -> str:
    """An amount with its currency."""
    from filmgate.economics.audit import money_text

    sign = "$" if currency == "USD" else f"{currency} "
    return f"-{sign}{money_text(-amount)}" if amount < 0 else f"{sign}{money_text(amount)}"


def describe_options(data: Mapping[str, Any]) -> str:
    """The options as a table."""
    from filmgate.cli.text import columns
    from filmgate.economics.summary import title_of

    rows = [("option", "one more", "with machines", "with people", "attempts", "machines", "busy", "each makes", "")]
    for one in data["options"]:
        costs = (money(one[key], data["currency"]) for key in ("marginal", "amortised", "loaded"))
        busy = "-" if one["utilisation"] is None else f"{one['utilisation']:.0%}"
        makes = "-" if one["capacity_per_machine"] is None else f"{one['capacity_per_machine']:,.0f}"
        rows.append((one["name"], *costs, f"{one['attempts_per_usable']:.2f}", str(one["machines"] or "-"), busy, makes,
                     title_of(one)))  # fmt: skip
    return columns(rows)


def describe_warnings(data: Mapping[str, Any]) -> str:
    """The warnings, a line each, after an empty one; nothing where there are none."""
    return "".join(f"\nWarning: {one}" for one in data["warnings"])
