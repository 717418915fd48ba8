"""Stated claims, reckoned again: each with its arithmetic and a verdict.

Claims are data (``claims.toml`` holds those of a published guide as the example). A claim that states numbers comes
with a formula; where its range meets the stated one decides:

    holds            every result is among the stated numbers, ten percent either way
    holds in part    some results are
    another quantity none is, but every result of something else, which is named, is among the stated numbers exactly
    does not hold    none is

Claims without arithmetic carry a judgement and its source, and are marked as judged.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from filmgate.economics.formula import Formula, Outcome, Range, number_text, parse
from filmgate.economics.prices import Price, PriceList, read_toml
from filmgate.economics.timings import devices_in, power_of, timed_rows
from filmgate.spec.errors import InvalidRequest, UnknownName

Verdict = Literal[
    "holds", "holds in part", "another quantity", "does not hold", "plausible", "no evidence", "contradiction",
    "no contradiction",
]  # fmt: skip
_JUDGEMENTS = ("holds", "holds in part", "does not hold", "plausible", "no evidence")
TOLERANCE = 0.10
"""Claims speak in round numbers."""
_TIMING = re.compile(r"(?P<model>[\w.-]+?)(?:\+(?P<setup>[\w.-]+))?@(?P<devices>[a-z0-9*-]+)/(?P<size>\w+)")


@dataclass(frozen=True)
class Reckoned:
    """A formula over ranges.

    Attributes:
        says: What is reckoned, in words.
        unit: Of the result.
        low, high: Its range; infinite: never.
        lines: The arithmetic at both ends, ready to be read.
        sources: Of the inputs that were looked up.
    """

    says: str
    unit: str
    low: float
    high: float
    lines: tuple[str, ...]
    sources: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The range with its unit: ``111 to 364 months``."""
        return range_text((self.low, self.high), self.unit)


@dataclass(frozen=True)
class Finding:
    """One claim with its verdict.

    Attributes:
        id: Short name.
        quote: The claim's own words.
        verdict: What became of it.
        reckoned: The arithmetic; None where the claim was judged.
        stated: The numbers of the claim, in the unit of the arithmetic.
        also: Further numbers.
        note: Of what else it is true, by how much it is off, or why it was judged so.
        source: Of a judgement.
    """

    id: str
    quote: str
    verdict: Verdict
    reckoned: Reckoned | None = None
    stated: Range | None = None
    also: tuple[Reckoned, ...] = ()
    note: str = ""
    source: str = ""

    @property
    def judged(self) -> bool:
        """Whether there was nothing to reckon."""
        return self.reckoned is None


@dataclass(frozen=True)
class Audit:
    """All claims of a text, and the prices that went into them."""

    title: str
    findings: tuple[Finding, ...]
    prices: tuple[Price, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """How many claims came to a verdict."""
        return sum(finding.verdict == verdict for finding in self.findings)


def audit(prices: PriceList, path: Path | None = None) -> Audit:
    """Reckon the claims of a file, or of the guide that comes as the example.

    Raises:
        InvalidRequest: the file is wrong; says where (UnknownName: an input names something unknown).
    """
    if path is None:
        text = files("filmgate.economics").joinpath("claims.toml").read_text(encoding="utf-8")
        return audit_table(tomllib.loads(text), prices, "claims.toml")
    return audit_table(read_toml(path, "claims"), prices, str(path))


def audit_table(table: Mapping[str, Any], prices: PriceList, where: str) -> Audit:
    """:func:`audit` of a table that is read already."""
    for key in table:
        if key not in ("title", "claim", "contradiction"):
            raise UnknownName("claims", key, ("title", "claim", "contradiction"), noun=f"part (in {where})")
    claims, contradictions = table.get("claim", []), table.get("contradiction", [])
    if not isinstance(claims, list) or not isinstance(contradictions, list) or not (claims or contradictions):
        raise InvalidRequest("claims", f"{where} has no claim", allowed="[[claim]] or [[contradiction]]")
    findings = [_finding(row, prices, f"{where}, claim {number}") for number, row in enumerate(claims, 1)]
    findings += [
        _contradiction(row, prices, f"{where}, contradiction {number}") for number, row in enumerate(contradictions, 1)
    ]
    priced = dict.fromkeys(_prices_named(table))
    return Audit(str(table.get("title", where)), tuple(findings), tuple(prices.named(name) for name in priced))


def _prices_named(part: Any) -> Iterator[str]:
    """Ids of the prices that inputs name, however deep in a table of claims that was found to be right."""
    if isinstance(part, Mapping):
        inputs = part.get("inputs", {}).values()
        yield from (text.removeprefix("price:") for text in inputs if str(text).startswith("price:"))
    for inner in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        yield from _prices_named(inner)


def break_even_claim(months: Range, volume: Range, price: Range, before: Range, after: Range) -> Finding:
    """What a stated break-even is worth: months by its own inputs, and what its months would need.

    Args:
        months: That are claimed.
        volume: Usable videos a month.
        price: Paid at the start.
        before, after: Cost of a usable video today, and then.
    """
    ranges = {"price": price, "volume": volume, "before": before, "after": after, "months": months}
    main = _reckon(
        "months until the price is saved", "months", parse("payback(price, volume * (before - after))"), ranges
    )
    needed = _reckon("saving per video that the claim needs", "$", parse("price / (months * volume)"), ranges)
    volumes = _reckon("videos a month that the claim needs", "videos/month",
                      parse("payback(price, months * (before - after))"), ranges)  # fmt: skip
    verdict, note = judge(main, months, [])
    quote = f"pays for itself within {range_text(months, 'months')} at {range_text(volume, 'videos a month')}"
    return Finding("break-even", quote, verdict, main, months, (needed, volumes), note)


def judge(reckoned: Reckoned, stated: Range, instead: Sequence[Reckoned]) -> tuple[Verdict, str]:
    """The verdict on stated numbers, and a sentence that explains it."""
    if _within((reckoned.low, reckoned.high), stated):
        return "holds", ""
    if _meets((reckoned.low, reckoned.high), stated):
        both = max(reckoned.low, stated[0]), min(reckoned.high, stated[1])
        return "holds in part", f"both agree on {range_text(both, reckoned.unit)}" if both[0] <= both[
            1
        ] else "just about"
    for other in instead:
        if stated[0] <= other.low and other.high <= stated[1]:
            return "another quantity", f"true of {other.says}: {other.text}"
    near = [f"; nearer to {other.says}: {other.text}" for other in instead if _meets((other.low, other.high), stated)]
    return "does not hold", _off(reckoned, stated) + "".join(near)


def _with_parts(verdict: Verdict, note: str, parts: Sequence[tuple[Reckoned, Range]]) -> tuple[Verdict, str]:
    """The verdict on a claim of several parts: it holds if all do, in part if some do. The note names those that do
    not."""
    judged = [(part, judge(part, stated, [])[0]) for part, stated in parts]
    fails = [f"not of {part.says}: {part.text}" for part, found in judged if found == "does not hold"]
    if verdict == "holds" and any(found != "holds" for _, found in judged):
        return "holds in part", "; ".join([note, *fails] if note else fails)
    if verdict == "does not hold" and any(found != "does not hold" for _, found in judged):
        return "holds in part", "; ".join([note, *fails] if note else fails)
    return verdict, "; ".join([note, *fails] if note else fails)


def _off(reckoned: Reckoned, stated: Range) -> str:
    """By how much all results are beyond what was stated: from the nearest ends to the farthest."""
    if math.isinf(reckoned.low):
        return "it never happens"
    more = reckoned.low > stated[1]
    smaller, larger = (stated, (reckoned.low, reckoned.high)) if more else ((reckoned.low, reckoned.high), stated)
    way = f"{'more' if more else 'less'} than stated"
    if smaller[1] <= 0:
        return way
    if smaller[0] <= 0 or math.isinf(larger[1]):
        return f"at least {range_text((larger[0] / smaller[1],) * 2, 'times')} {way}"
    return f"{range_text((larger[0] / smaller[1], larger[1] / smaller[0]), 'times')} {way}"


def _within(inner: Range, outer: Range) -> bool:
    return outer[0] * (1 - TOLERANCE) <= inner[0] and inner[1] <= outer[1] * (1 + TOLERANCE)


def _meets(one: Range, other: Range) -> bool:
    return one[0] <= other[1] * (1 + TOLERANCE) and other[0] * (1 - TOLERANCE) <= one[1]


def _finding(row: Any, prices: PriceList, where: str) -> Finding:
    known = (
        "id",
        "quote",
        "says",
        "unit",
        "stated",
        "formula",
        "inputs",
        "instead",
        "also",
        "verdict",
        "note",
        "source",
    )
    row = _row(row, known, ("id", "quote"), where)
    if "verdict" in row:
        if row["verdict"] not in _JUDGEMENTS:
            raise UnknownName("claims", str(row["verdict"]), _JUDGEMENTS, noun=f"judgement (in {where})")
        if "source" not in row or "formula" in row:
            raise InvalidRequest(
                "claims", f"{where}: a judgement needs a source and no formula", allowed="source = ..."
            )
        return Finding(row["id"], row["quote"], row["verdict"], note=row.get("note", ""), source=row["source"])
    stated = _range(row.get("stated"), where, "stated")
    main = _reckoned(row, prices, where)
    instead = [_reckoned({"unit": main.unit, **other}, prices, where) for other in row.get("instead", [])]
    also = tuple(_reckoned(other, prices, where) for other in row.get("also", []))
    parts = [(found, _range(other["stated"], where, "stated"))
             for found, other in zip(also, row.get("also", []), strict=True) if "stated" in other]  # fmt: skip
    verdict, note = _with_parts(*judge(main, stated, instead), parts)
    return Finding(row["id"], row["quote"], verdict, main, stated, (*also, *instead), note, row.get("source", ""))


def _contradiction(row: Any, prices: PriceList, where: str) -> Finding:
    row = _row(row, ("id", "says", "unit", "formula", "inputs", "beyond"), ("id", "says", "beyond"), where)
    found = _reckoned(row, prices, where)
    limit = _range(row["beyond"], where, "beyond")[0]
    verdict: Verdict = "contradiction" if found.low > limit else "no contradiction"
    return Finding(row["id"], row["says"], verdict, found, None, note=found.text)


def _row(row: Any, known: Sequence[str], needed: Sequence[str], where: str) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise InvalidRequest("claims", f"{where} is not a table", allowed="[[claim]]")
    for key in row:
        if key not in known:
            raise UnknownName("claims", key, known, noun=f"field (in {where})")
    for key in needed:
        if key not in row:
            raise InvalidRequest("claims", f"{where} lacks {key}", allowed=", ".join(needed))
    return row


def _reckoned(row: Mapping[str, Any], prices: PriceList, where: str) -> Reckoned:
    if not isinstance(row.get("formula"), str) or not isinstance(row.get("inputs"), Mapping):
        raise InvalidRequest("claims", f"{where} has neither formula and inputs nor verdict and source",
                             allowed='formula = "a / b", inputs = { a = 1, b = [2, 3] }')  # fmt: skip
    formula, sources, ranges = parse(row["formula"]), [], {}
    for name in formula.names:
        if name not in row["inputs"]:
            raise UnknownName("claims", name, row["inputs"], noun=f"input (in {where})")
        ranges[name], source = _input(row["inputs"][name], prices, where, name)
        sources += [f"{name}: {source}"] if source else []
    return _reckon(str(row.get("says", "")), str(row.get("unit", "")), formula, ranges, tuple(sources))


def _reckon(
    says: str, unit: str, formula: Formula, ranges: Mapping[str, Range], sources: tuple[str, ...] = ()
) -> Reckoned:
    low, high = formula.span(ranges)
    ends: list[Outcome] = [low] if low.value == high.value else [low, high]
    lines = tuple(_line(formula, end, unit) for end in ends)
    return Reckoned(says, unit, low.value, high.value, lines, sources)


def _line(formula: Formula, end: Outcome, unit: str) -> str:
    """A result with the arithmetic that gave it, if there is any."""
    result = range_text((end.value, end.value), unit)
    return result if formula.text in formula.names else f"{formula.filled(end.names)} = {result}"


def _input(value: Any, prices: PriceList, where: str, name: str) -> tuple[Range, str]:
    """The range of an input, and where it was looked up."""
    if not isinstance(value, str):
        return _range(value, where, name), ""
    kind, _, what = value.partition(":")
    match kind:
        case "price":
            row = prices.named(what)
            low, high = row.span
            return (prices.amount(row, low), prices.amount(row, high)), f"{row.id}, {row.unit}, as of {row.as_of}"
        case "seconds" | "gpu_seconds":
            return _seconds(what, each=kind == "seconds"), value.partition(":")[2]
        case "watts":
            watts = power_of(what)
            return (watts.low or watts.watts, watts.high or watts.watts), watts.source
        case "parameters":
            from filmgate.direction.architectures import describe_published

            count = describe_published(what).experts[0].parameters / 1e9
            return (count, count), f"{what}, counted"
    raise UnknownName("claims", kind, ("price", "seconds", "gpu_seconds", "watts", "parameters"),
                      noun=f"kind of input (in {where}, {name})")  # fmt: skip


def _seconds(text: str, *, each: bool) -> Range:
    """The timings that a pattern names, from shortest to longest; ``each``: of the attempt, not of all its GPUs."""
    match = _TIMING.fullmatch(text)
    if match is None:
        raise InvalidRequest(
            "claims", f"{text!r} names no timing", allowed="MODEL[+SETUP]@DEVICE[xGPUS]/SIZE, * for any"
        )
    device, gpus = devices_in(match["devices"])
    found = [
        row.seconds * (1 if each else row.gpus)
        for row in timed_rows()
        if (row.model, row.setup, row.resolution) == (match["model"], match["setup"] or "", match["size"])
        and device in ("*", row.device)
        and gpus in ("*", str(row.gpus))
    ]
    if not found:
        known = {f"{row.model}{'+' if row.setup else ''}{row.setup}@{row.device}x{row.gpus}/{row.resolution}"
                 for row in timed_rows()}  # fmt: skip
        raise UnknownName("claims", text, known, noun="timing")
    return min(found), max(found)


def _range(value: Any, where: str, name: str) -> Range:
    """A number, or two, the smaller first."""
    ends = value if isinstance(value, list) else [value, value]
    numbers = [end for end in ends if isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end)]
    if len(ends) != 2 or len(numbers) != 2 or numbers[0] > numbers[1]:
        raise InvalidRequest(
            "claims", f"{where}: {name} = {value!r} is no number and no range", allowed="4000 or [100, 200]"
        )
    return float(numbers[0]), float(numbers[1])


def range_text(ends: Range, unit: str) -> str:
    """A range for people: ``111 to 364 months``, ``$0.155 to 0.251``."""
    if math.isinf(ends[0]):
        return "never"
    money = unit == "$"
    low, high = (money_text(end) if money else number_text(end) for end in ends)
    both = low if low == high else f"{low} to {high}"
    return f"${both}" if money else f"{both} {unit}".strip()


def money_text(amount: float) -> str:
    """An amount with two decimals, or three or four where it is small; without its currency."""
    if math.isinf(amount):
        return "never"
    size = abs(amount)
    return f"{amount:,.{2 if size >= 1 or size == 0 else 3 if size >= 0.01 else 4}f}"


def markdown(found: Audit) -> str:
    """All claims as a Markdown table: words, verdict, arithmetic or reason."""
    lines = ["| claim | stated | reckoned | verdict | |", "| --- | --- | --- | --- | --- |"]
    for one in found.findings:
        stated = "" if one.stated is None or one.reckoned is None else range_text(one.stated, one.reckoned.unit)
        if one.reckoned is None:
            reckoned, why = "judged", f"{one.note} ({one.source})"
        else:
            reckoned = f"{one.reckoned.text}"
            why = "; ".join(f"`{line}`" for line in one.reckoned.lines)
            why = f"{one.note}. {why}" if one.note and one.verdict != "contradiction" else why
        cells = (one.quote, stated, reckoned, f"**{one.verdict}**", why)
        lines.append("| " + " | ".join(cell.replace("|", "·") for cell in cells) + " |")
    return "\n".join(lines)
