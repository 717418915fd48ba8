"""``filmgate roi`` and ``filmgate roi audit``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from filmgate.cli import reckoning
from filmgate.cli.days import OnDay, day
from filmgate.cli.failure import reported
from filmgate.cli.options import AsJson

if TYPE_CHECKING:
    from datetime import date

    from filmgate.economics.audit import Audit, Finding, Reckoned
    from filmgate.economics.formula import Range
    from filmgate.economics.summary import Chance, Inputs

roi = typer.Typer(
    name="roi",
    invoke_without_command=True,
    no_args_is_help=False,
    rich_markup_mode=None,
    epilog="\b\nExamples:\n  filmgate roi\n  filmgate roi --baseline hosted-2.1 --candidate local-5b --html roi.html\n"
    "  filmgate roi --claimed-months 3-4\n  filmgate roi audit",
)


class Wishes(NamedTuple):
    """What is asked of a comparison beside its inputs."""

    baseline: str | None
    candidate: str | None
    staff: bool
    draws: int
    seed: int
    sobol: bool
    drivers: bool


@roi.callback()
@reported
def _roi(
    context: typer.Context,
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
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="NAME", help="Option that is used today.", show_default=False)
    ] = None,
    candidate: Annotated[
        str | None, typer.Option("--candidate", metavar="NAME", help="Option to change to.", show_default=False)
    ] = None,
    claimed: Annotated[
        str | None,
        typer.Option("--claimed-months", metavar="N[-N]", help="A break-even to hold against it.", show_default=False),
    ] = None,
    staff: Annotated[bool, typer.Option("--staff", help="Count people's time in the cash flows.")] = False,
    draws: Annotated[int, typer.Option("--draws", metavar="N", help="Draws of the uncertain inputs.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the draws.")] = 0,
    sobol: Annotated[bool, typer.Option("--sobol", help="Draw from a Sobol sequence.")] = False,
    drivers: Annotated[
        bool, typer.Option("--drivers", help="Say which inputs make it uncertain (Sobol indices).")
    ] = False,
    html: reckoning.Html = None,
    pictures: reckoning.Pictures = None,
    as_json: AsJson = False,
) -> None:
    """Say whether a change pays: break-even, present value, what it hangs on, and how sure that is."""
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    from filmgate.cli.text import json_text
    from filmgate.economics.summary import roi_data

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
    wishes = Wishes(baseline, candidate, staff, draws, seed, sobol, drivers or html is not None)
    claim = None if claimed is None else range_of(claimed, "claimed_months")
    inputs, chance = _asked(told, wishes)
    data, drawn = roi_data(inputs, chance)
    if claim is not None:
        data["claim"] = finding_data(_held_against(data, claim))
    if html is not None or pictures is not None:
        from filmgate.economics.pictures import as_svg, roi_pictures, write_png
        from filmgate.economics.report import roi_page

        makers = roi_pictures(data, inputs.scenario, drawn)
        reckoning.write_page(html, lambda: roi_page(data, as_svg(makers)))
        if pictures is not None:
            write_png(makers, pictures)
    print(json_text(data) if as_json else describe_roi(data))


def _refuse_options(context: typer.Context) -> None:
    """Options of the comparison do nothing for a subcommand: say so.

    Raises:
        InvalidRequest: there is one.
    """
    from filmgate.spec.errors import InvalidRequest

    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InvalidRequest(name, f"is an option of the comparison, not of {context.invoked_subcommand}",
                                 allowed=f"options of {context.invoked_subcommand}, after its name")  # fmt: skip


def _asked(told: reckoning.Told, wishes: Wishes) -> tuple[Inputs, Chance]:
    """The two options that are compared, and how to draw."""
    from dataclasses import replace

    from filmgate.economics.scenario import paired
    from filmgate.economics.summary import Chance
    from filmgate.economics.uncertainty import from_table, usual
    from filmgate.spec.errors import InvalidRequest

    inputs, table = reckoning.inputs_of(told)
    scenario = paired(inputs.scenario, wishes.baseline, wishes.candidate)
    if scenario.baseline == scenario.candidate:
        raise InvalidRequest("candidate", f"{scenario.candidate} is the baseline too",
                             allowed=", ".join(one.name for one in scenario.options))  # fmt: skip
    if wishes.staff:
        scenario = replace(scenario, finance=replace(scenario.finance, staff=True))
    uncertain, correlated = from_table(table, scenario)
    if not uncertain:
        uncertain = usual(scenario, inputs.prices)
    chance = Chance(tuple(uncertain), tuple(correlated), wishes.draws, wishes.seed, wishes.sobol, wishes.drivers)
    return replace(inputs, scenario=scenario), chance


def _held_against(data: Mapping[str, Any], months: Range) -> Finding:
    """A claimed break-even, reckoned from the first month of a comparison."""
    from filmgate.economics.audit import break_even_claim

    usable, found = data["workload"]["usable"], data["comparison"]
    running = {one: found["table"][one][1] / usable for one in ("baseline", "candidate")}
    upfront = found["upfront"]
    return break_even_claim(months, (usable, usable), (upfront, upfront), *((each, each) for each in running.values()))


def range_of(text: str, field: str) -> Range:
    """A number, or two with a hyphen between them.

    Raises:
        InvalidRequest: it is neither.
    """
    from filmgate.spec.errors import InvalidRequest

    try:
        ends = [float(part) for part in text.split("-")]
    except ValueError:
        ends = []
    if len(ends) not in (1, 2) or not 0 < ends[0] <= ends[-1] < float("inf"):
        raise InvalidRequest(field, f"{text!r} is no range", allowed="a number above 0, or two as 3-4")
    return ends[0], ends[-1]


def describe_roi(data: Mapping[str, Any]) -> str:
    """The answer, what it hangs on, and what to beware of."""
    from filmgate.cli.text import columns
    from filmgate.economics.audit import range_text
    from filmgate.economics.crossing import volumes_text
    from filmgate.economics.report import chance_text

    def amount(value: float) -> str:
        return reckoning.money(value, data["currency"])

    found, drawn = data["comparison"], data["simulation"]
    months, worth = drawn["break_even_month"], drawn["npv"]
    by_month = drawn["chance_of_break_even_by_month"].items()
    payback = "never" if found["payback_months"] is None else f"{found['payback_months']:.1f} months"
    payback = f"{payback}, by the first month alone" if found["upfront"] > 0 else "nothing is paid first"
    rows = [
        ("Paid first", amount(found["upfront"])),
        ("Saved", f"{amount(found['monthly_saving'])} in the first month"),
        ("Payback", payback),
        ("Break-even", found["break_even"]["text"]),
        ("", f"{found['discounted_break_even']['text']} where later money counts less"),
        ("Cheaper", _volumes(volumes_text(data["cheaper_volumes"][data["candidate"]][data["baseline"]]))),
        ("Present value", f"{amount(found['npv'])} over {data['finance']['horizon']:g} months; "
         + ", ".join(f"{amount(npv)} over {months}" for months, npv in found["npv_by_horizon"].items()
                     if months != f"{data['finance']['horizon']:g}")),
        ("Rate of return", rateless(found) if found["irr"] is None else f"{found['irr']:.0%} a year"),
        ("ROI", "nothing is invested" if found["roi"] is None else f"{found['roi']:.0%}"),
        ("Of 100 draws", breaking_even(months.values())),
        ("", f"10, 50 and 90 have a present value below {', '.join(amount(value) for value in worth.values())}"),
        ("Chances", f"{chance_text(drawn['chance_of_positive_npv'])} of a positive present value; of a break-even "
         + ", ".join(f"{chance_text(share)} by month {month}" for month, share in by_month)),
    ]  # fmt: skip
    turns = [
        (one["path"], f"now {one['now']:.4g}", f"pays {one['pays']} {one['value']:.4g} {one['unit']}")
        for one in data["switches"]
    ]
    bars = [(bar["path"], f"{bar['low']:.4g} to {bar['high']:.4g}", f"moves it by {amount(bar['swing'])}")
            for bar in data["tornado"] if bar["swing"] >= 0.005 * abs(found["npv"])]  # fmt: skip
    parts = [
        f"{data['candidate']} instead of {data['baseline']}, {data['workload']['usable']:g} usable videos a month:",
        columns(rows),
        *([data["another_model"]] if data["another_model"] else []),
        reckoning.describe_options(data),
    ]
    if data["cheaper"]:
        costs = {one["name"]: one["amortised"] for one in data["options"]}
        cheaper = ", ".join(f"{name} ({amount(costs[name])})" for name in data["cheaper"])
        parts.append(f"Cheaper than {data['candidate']} at this volume: {cheaper}")
    if turns:
        parts.append(f"Where the answer turns:\n{columns(turns)}")
    if bars:
        parts.append(f"What moves the present value:\n{columns(bars)}")
    if data["drivers"]:
        shares = [(path, f"{share:.0%} of the variance") for path, share in data["drivers"].items() if share >= 0.005]
        parts.append(f"What makes it uncertain:\n{columns(shares)}")
    if "claim" in data:
        claim = data["claim"]
        stated = range_text(tuple(claim["stated"]), "months")
        needs = "; ".join(f"{one['says']}: {one['text']}" for one in claim["also"])
        parts.append(f"Claimed: {stated}. The inputs imply {claim['text']}: it {claim['verdict']}. {needs}")
    return "\n\n".join(parts) + ("\n" + reckoning.describe_warnings(data) if data["warnings"] else "")


def _volumes(text: str) -> str:
    return {"always": "at any volume", "never": "at no volume"}.get(text, f"{text} usable videos a month")


def rateless(comparison: Mapping[str, Any]) -> str:
    """Why there is no rate of return."""
    if comparison["roi"] is None and comparison["upfront"] == 0:
        return "none: nothing is invested"
    if comparison["upfront"] < 0:
        return "none: nothing is invested, money is saved before it is paid"
    return "none, or more than one"


def breaking_even(months: Iterable[float | None]) -> str:
    """By which months 10, 50 and 90 of 100 draws break even."""
    known = [(share, month) for share, month in zip((10, 50, 90), months, strict=True) if month is not None]
    if not known:
        return "fewer than 10 break even within the months looked at"
    texts = [f"{share} break even {'at once' if month == 0 else f'by month {month:.0f}'}" for share, month in known]
    return ", ".join(texts) + ("" if len(known) == 3 else f"; fewer than {(10, 50, 90)[len(known)]} ever do")


@roi.command(
    epilog="\b\nExamples:\n  filmgate roi audit\n  filmgate roi audit claims.toml --html claims.html\n"
    "  filmgate roi audit --months 3-4 --volume 100-200 --cost 4000 --before 0.15-0.20 --after 0.02-0.04"
)
@reported
def audit(
    claims: Annotated[
        Path | None,
        typer.Argument(help="TOML with claims. Default: those of a published guide to Wan 2.2.", show_default=False),
    ] = None,
    *,
    months: Annotated[
        str | None, typer.Option("--months", metavar="N[-N]", help="A claimed break-even.", show_default=False)
    ] = None,
    volume: Annotated[
        str | None, typer.Option("--volume", metavar="N[-N]", help="Usable videos a month.", show_default=False)
    ] = None,
    cost: Annotated[
        str | None, typer.Option("--cost", metavar="N[-N]", help="What is paid first.", show_default=False)
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="N[-N]", help="Cost of a video today.", show_default=False)
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="N[-N]", help="Cost of a video afterwards.", show_default=False)
    ] = None,
    prices: reckoning.PriceFile = None,
    price: reckoning.OwnPrices = None,
    on: OnDay = None,
    html: reckoning.Html = None,
    as_json: AsJson = False,
) -> None:
    """Reckon stated claims again, and show each verdict with its arithmetic.

    Exit code 0 whatever the verdicts are.
    """
    from filmgate.cli.text import json_text

    known = reckoning.prices_of(reckoning.Told(prices=prices, own_prices=price or (), on=on))
    ranges = {"months": months, "volume": volume, "cost": cost, "before": before, "after": after}
    found = _audited(claims, ranges, known)
    data = audit_data(found, day(on))
    if html is not None:
        from filmgate.economics.report import audit_page

        reckoning.write_page(html, lambda: audit_page(found, data))
    print(json_text(data) if as_json else describe_audit(found, data))


def _audited(claims: Path | None, ranges: Mapping[str, str | None], prices: Any) -> Audit:
    """The claims of a file, or the one that is told by flags."""
    from filmgate.economics.audit import Audit, audit, break_even_claim
    from filmgate.spec.errors import InvalidRequest

    given = {name: text for name, text in ranges.items() if text is not None}
    if not given:
        return audit(prices, claims)
    if claims is not None:
        raise InvalidRequest("claims", f"were given together with {next(iter(given))}", allowed="a file, or one claim")
    missing = [name for name in ranges if name not in given]
    if missing:
        raise InvalidRequest(missing[0], "is missing", allowed="months, volume, cost, before and after together")
    finding = break_even_claim(*(range_of(text, name) for name, text in given.items()))
    return Audit("a claimed break-even", (finding,))


def audit_data(found: Audit, today: date) -> dict[str, Any]:
    """An audit as plain data."""
    from filmgate.economics.prices import warnings_of

    return {
        "version": 1,
        "title": found.title,
        "currency": "USD",
        "today": today.isoformat(),
        "warnings": warnings_of(found.prices, today),
        "findings": [finding_data(finding) for finding in found.findings],
    }


def finding_data(finding: Finding) -> dict[str, Any]:
    """A finding as plain data; what never happens is null."""
    reckoned = finding.reckoned
    return {
        "id": finding.id,
        "quote": finding.quote,
        "verdict": finding.verdict,
        "judged": finding.judged,
        "stated": None if finding.stated is None else list(finding.stated),
        "note": finding.note,
        "source": finding.source,
        "also": [_reckoned_data(one) for one in finding.also],
        **({} if reckoned is None else _reckoned_data(reckoned)),
    }


def _reckoned_data(one: Reckoned) -> dict[str, Any]:
    low, high = (end if abs(end) != float("inf") else None for end in (one.low, one.high))
    return {"says": one.says, "unit": one.unit, "low": low, "high": high, "text": one.text,
            "arithmetic": list(one.lines), "sources": list(one.sources)}  # fmt: skip


def describe_audit(found: Audit, data: Mapping[str, Any]) -> str:
    """Every claim with its verdict and its arithmetic, and the prices that are too old to trust."""
    from filmgate.economics.audit import range_text

    blocks = []
    for one in found.findings:
        lines = [f"{one.verdict.upper()}: {one.quote}"]
        if one.reckoned is None:
            lines.append(f"  judged: {one.note} ({one.source})")
        else:
            stated = "" if one.stated is None else f"stated {range_text(one.stated, one.reckoned.unit)}, "
            note = f"; {one.note}" if one.note and one.note != one.reckoned.text else ""
            lines.append(f"  {one.reckoned.says}: {stated}reckoned {one.reckoned.text}{note}")
            lines += [f"    {line}" for line in one.reckoned.lines]
            lines += [f"    {source}" for source in one.reckoned.sources]
        lines += [f"  {extra.says}: {extra.text}" for extra in one.also]
        blocks.append("\n".join(lines))
    return (
        f"Claims of {found.title!r}, reckoned again:\n\n"
        + "\n\n".join(blocks)
        + ("\n" + reckoning.describe_warnings(data) if data["warnings"] else "")
    )
