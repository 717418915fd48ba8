"""A reckoning as one HTML file that works offline: for whoever decides, the answer first and the assumptions with it.

No script, no font and no picture is fetched from anywhere; it prints on paper.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from filmgate.economics.audit import Audit, money_text, range_text
from filmgate.economics.crossing import volumes_text
from filmgate.economics.summary import title_of

Data = Mapping[str, Any]
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.7rem}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:1px solid #ccc}
table{border-collapse:collapse;width:100%;margin:.6rem 0;font-size:.9rem}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
th,td:not(.n){overflow-wrap:break-word}
.wide{font-size:.72rem}.wide td:first-child{white-space:nowrap;overflow-wrap:normal}
.wide th,.wide td{padding:.25rem .3rem}.wide td:not(.n):not(:first-child){overflow-wrap:anywhere}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.answer{background:#eef5fa;border-left:6px solid #0072B2;padding:.8rem 1.2rem;font-size:1.1rem}
.warn{background:#fdf3e1;border-left:6px solid #E69F00;padding:.4rem 1.2rem}
code{background:#f2f2f2;padding:0 .2rem}svg{max-width:100%;height:auto}
.verdict{font-weight:600;white-space:nowrap}
@media print{body{margin:0;max-width:none;font-size:11px}h2{break-after:avoid}svg,tr{break-inside:avoid}}
"""
_CAPTIONS = {
    "costs": "Cost of one usable video: of one more, with its part of machines, and with people's time.",
    "volume": "Cost of a usable video by volume. Machines come whole, hence the steps; dotted: the volume asked about.",
    "cash-flow": "Money saved less money paid, month by month.",
    "tornado": "What moves the net present value: one input at a time, low and high.",
    "chance": "How likely it is that the purchase has paid for itself by a month.",
    "heat-map": "Net present value by volume and by failures of the baseline.",
}
_SURE, _RARE = 0.99, 0.01
_WIDE = 6
_COMMON = (
    "Amounts are in {currency}. Reckoned on {today}. Volumes are usable videos; failures are paid for in every option."
)


def cost_page(data: Data, pictures: Mapping[str, str]) -> str:
    """The report of a cost."""
    alike = [option for option in data["options"] if option["unlike"] is None]
    cheapest = min(alike or data["options"], key=lambda option: option["amortised"])
    answer = (
        f"For {number(data['workload']['usable'])} usable videos a month, <b>{escape(cheapest['name'])}</b> "
        f"({escape(cheapest['title'])}) costs least: {_money(cheapest['amortised'], data)} a video with its part of "
        f"machines, {_money(cheapest['marginal'], data)} for one more."
    )
    body = [_answer(answer), _warnings(data), _options(data), *_figures(pictures), _assumptions(data), _prices(data)]
    return page("What a usable video costs", data, body)


def roi_page(data: Data, pictures: Mapping[str, str]) -> str:
    """The report of a comparison."""
    body = [
        _answer(roi_answer(data)),
        _warnings(data),
        _comparison(data),
        *_figures({name: svg for name, svg in pictures.items() if name in ("cash-flow", "chance", "tornado")}),
        _switches(data),
        _drivers(data),
        *_figures({name: svg for name, svg in pictures.items() if name not in ("cash-flow", "chance", "tornado")}),
        _options(data),
        _volumes(data),
        _cash_flow(data),
        _uncertain(data),
        _assumptions(data),
        _prices(data),
    ]
    return page(f"{data['candidate']} instead of {data['baseline']}: does it pay?", data, body)


def roi_answer(data: Data) -> str:
    """The answer in two sentences, as HTML."""
    found, chance = data["comparison"], data["simulation"]
    horizon = int(data["finance"]["horizon"])
    verdict = "pays" if found["npv"] > 0 else "does not pay"
    first, saved, npv = (_money(found[key], data) for key in ("upfront", "monthly_saving", "npv"))
    by_then = chance["chance_of_break_even_by_month"][str(horizon)]
    costs = {one["name"]: one["amortised"] for one in data["options"]}
    cheaper = ", ".join(f"{escape(name)} ({_money(costs[name], data)})" for name in data["cheaper"])
    return (
        f"Over {horizon} months <b>{escape(data['candidate'])}</b> instead of {escape(data['baseline'])} "
        f"<b>{verdict}</b>: {first} first, {saved} saved in the first month, break-even "
        f"{escape(found['break_even']['text'])}, net present value {npv}. With inputs as uncertain as stated below, "
        f"the chance of a positive net present value is {escape(chance_text(chance['chance_of_positive_npv']))}, and "
        f"that of a break-even within {horizon} months {escape(chance_text(by_then))}."
        + (f" {escape(data['another_model'])}" if data["another_model"] else "")
        + (f" Cheaper at this volume: {cheaper}; {escape(data['candidate'])} costs "
           f"{_money(costs[data['candidate']], data)} a video." if cheaper else "")
    )  # fmt: skip


def audit_page(found: Audit, data: Data) -> str:
    """The report of an audit: every claim in its own words, with its verdict and its arithmetic."""
    rows = []
    for one in found.findings:
        stated = "" if one.stated is None or one.reckoned is None else range_text(one.stated, one.reckoned.unit)
        lines = [] if one.reckoned is None else list(one.reckoned.lines)
        reckoned = "judged, not reckoned" if one.reckoned is None else one.reckoned.text
        why = [escape(one.note), *(f"<code>{escape(line)}</code>" for line in lines)]
        why += [f"{escape(extra.says)}: {escape(extra.text)}" for extra in one.also]
        why += [escape(source) for source in (one.reckoned.sources if one.reckoned else (one.source,))]
        cells = (escape(one.quote), stated, reckoned, f'<span class="verdict">{one.verdict}</span>')
        rows.append((*cells, "<br>".join(line for line in why if line)))
    verdicts = dict.fromkeys(one.verdict for one in found.findings)
    counted = ", ".join(f"{verdict}: {found.count(verdict)}" for verdict in verdicts)
    body = [
        _answer(f"{len(found.findings)} claims of <i>{escape(found.title)}</i>. {counted.capitalize()}."),
        _warnings(data),
        table(("claim", "stated", "reckoned", "verdict", "arithmetic and reasons"), rows, raw=True),
    ]
    return page(f"Claims of “{found.title}”", data, body)


def page(title: str, data: Data, body: Iterable[str]) -> str:
    """A whole document."""
    common = _COMMON.format(currency=data["currency"], today=data["today"])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1><p>{common}</p>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (), raw: bool = False) -> str:
    """A table; cells of the columns ``numbers`` are aligned to the right, ``raw`` cells are HTML already.

    Many columns are written small, so that they fit on paper.
    """

    def cell(tag: str, column: int, text: str) -> str:
        kind = ' class="n"' if column in numbers else ""
        return f"<{tag}{kind}>{text if raw and tag == 'td' else escape(text)}</{tag}>"

    lines = ["".join(cell("th", column, text) for column, text in enumerate(head))] if head else []
    lines += ["".join(cell("td", column, text) for column, text in enumerate(row)) for row in rows]
    kind = ' class="wide"' if len(head) > _WIDE else ""
    return f"<table{kind}>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def number(value: float) -> str:
    """A number for people."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def chance_text(share: float) -> str:
    """A share of draws: none is as good as certain because no draw said otherwise."""
    if share > _SURE:
        return ">99%"
    return "<1%" if share < _RARE else f"{share:.0%}"


def _money(amount: float, data: Data) -> str:
    sign = "$" if data["currency"] == "USD" else f"{data['currency']} "
    return f"-{sign}{money_text(-amount)}" if amount < 0 else f"{sign}{money_text(amount)}"


def _answer(text: str) -> str:
    return f'<p class="answer">{text}</p>'


def _warnings(data: Data) -> str:
    """How many warnings there are, and behind that, to be opened, which."""
    count = len(data["warnings"])
    if not count:
        return ""
    items = "".join(f"<li>{escape(one)}</li>" for one in data["warnings"])
    said = f"{count} warning{'s' if count > 1 else ''}: what the numbers rest on may be out of date or incomplete"
    return f'<details class="warn"><summary>{said}</summary><ul>{items}</ul></details>'


def _figures(pictures: Mapping[str, str]) -> list[str]:
    return [f"<figure>{svg}<figcaption>{_CAPTIONS[name]}</figcaption></figure>" for name, svg in pictures.items()]


def _options(data: Data) -> str:
    head = (
        "option",
        "what",
        "one more",
        "with machines",
        "with people",
        "attempts",
        "machines",
        "busy",
        "each makes",
        "seconds or price from",
    )
    rows = [
        (
            one["name"], title_of(one), _money(one["marginal"], data), _money(one["amortised"], data),
            _money(one["loaded"], data), f"{one['attempts_per_usable']:.2f}", str(one["machines"] or "-"),
            "-" if one["utilisation"] is None else f"{one['utilisation']:.0%}",
            "-" if one["capacity_per_machine"] is None else f"{one['capacity_per_machine']:,.0f}", one["basis"],
        )
        for one in data["options"]
    ]  # fmt: skip
    return "<h2>Options</h2>" + table(head, rows, numbers=(2, 3, 4, 5, 6, 7, 8))


def _comparison(data: Data) -> str:
    found, drawn = data["comparison"], data["simulation"]
    months, npv = drawn["break_even_month"], drawn["npv"]
    rows = [
        ("paid before the first month", _money(found["upfront"], data)),
        ("saved in the first month", _money(found["monthly_saving"], data)),
        ("break-even", found["break_even"]["text"]),
        ("break-even with later money valued less", found["discounted_break_even"]["text"]),
        (f"net present value over {data['finance']['horizon']:.0f} months", _money(found["npv"], data)),
        *((f"net present value over {months} months", _money(value, data))
          for months, value in found["npv_by_horizon"].items() if months != f"{data['finance']['horizon']:.0f}"),
        ("internal rate of return per year", _percent(found["irr"])),
        ("return on what was invested, without what machines are worth", _percent(found["roi"])),
        ("break-even month, 10 / 50 / 90 of 100 draws", " / ".join(_month(month) for month in months.values())),
        ("net present value, 10 / 50 / 90 of 100 draws", " / ".join(_money(value, data) for value in npv.values())),
        *((f"chance of a break-even by month {month}", chance_text(share))
          for month, share in drawn["chance_of_break_even_by_month"].items()),
        ("draws, seed", f"{drawn['draws']:,}, {drawn['seed']}"),
    ]  # fmt: skip
    return "<h2>The comparison</h2>" + table((), rows, numbers=(1,))


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.0%}"


def _month(month: float | None) -> str:
    return "none" if month is None else f"{month:.0f}"


def _switches(data: Data) -> str:
    if not data["switches"]:
        return "<h2>Where the answer turns</h2><p>Nowhere within the bounds of the inputs.</p>"
    rows = [
        (one["path"], number(one["now"]), f"{one['pays']} {number(one['value'])} {one['unit']}")
        for one in data["switches"]
    ]
    return "<h2>Where the answer turns</h2>" + table(("input", "now", "pays"), rows, numbers=(1,))


def _drivers(data: Data) -> str:
    if not data["drivers"]:
        return ""
    rows = [(path, f"{share:.0%}") for path, share in data["drivers"].items() if share >= 0.005]
    return "<h2>What makes it uncertain</h2>" + table(("input", "share of the variance"), rows, numbers=(1,))


def _volumes(data: Data) -> str:
    names = [one["name"] for one in data["options"]]
    rows = [(row, *(volumes_text(data["cheaper_volumes"][row][column]) if row != column else "" for column in names))
            for row in names]  # fmt: skip
    return (
        "<h2>At how many usable videos a month a row is cheaper than a column</h2>"
        + table(("", *names), rows, numbers=range(1, len(names) + 1))
        + "<p>Machines come whole: where another one is needed and hardly used, an option is dearer for a while.</p>"
    )


def _cash_flow(data: Data) -> str:
    flows = data["comparison"]["table"]
    head = ("month", "volume", data["baseline"], data["candidate"], "invested", "net", "cumulative")
    keys = ("baseline", "candidate", "invested", "net", "cumulative")
    rows = [
        (f"{month:.0f}", f"{flows['volume'][place]:,.0f}", *(_money(flows[key][place], data) for key in keys))
        for place, month in enumerate(flows["month"])
    ]
    return "<h2>Cash flow</h2>" + table(head, rows, numbers=range(7))


def _uncertain(data: Data) -> str:
    head, ends = ("input", "shape", "low", "most likely", "high", "why"), ("low", "mode", "high")
    rows = [
        (one["path"], one["shape"], *(number(one[key]) if key in one else "" for key in ends), one["why"])
        for one in data["uncertain"]
    ]
    return "<h2>What was taken to be uncertain</h2>" + table(head, rows, numbers=(2, 3, 4))


def _assumptions(data: Data) -> str:
    rows = [(one["path"], number(one["value"]), one["unit"], one["why"]) for one in data["assumptions"]]
    given = [(path, number(value), "", "given by you") for path, value in data["given"].items()]
    if not rows and not given:
        return ""
    return "<h2>Assumptions</h2>" + table(("input", "value", "unit", "from"), [*given, *rows], numbers=(1,))


def _prices(data: Data) -> str:
    rows = [
        (one["id"], number(one["value"]), one["unit"], one["region"],
         f"{one['as_of']}{' or before' if one['undated'] else ''}", one["evidence"], one["source"])
        for one in data["prices"]
    ]  # fmt: skip
    head = ("price", "value", "unit", "region", "as of", "evidence", "source")
    return "<h2>Prices</h2>" + table(head, rows, numbers=(1,))
