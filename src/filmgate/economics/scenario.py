"""From a few words to a whole reckoning: options by a short name, filled from dated prices, timings and assumptions.

An option is written ``KIND:MODEL[+SETUP][@DEVICE[xGPUS]][/SELLER]``:

    pod:wan2.1-t2v-14b@h100              one rented H100
    local:wan2.2-ti2v-5b@rtx4090         a card of one's own
    cluster:wan2.2-t2v-a14b@h100x8       a server of one's own; an attempt runs on all of its GPUs
    serverless:wan2.2-t2v-a14b@h100/modal
    hosted:wan2.2-i2v-a14b/fal           a priced endpoint
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from filmgate.economics.currencies import checked_currency
from filmgate.economics.options import (
    OWNED,
    Attempt,
    Finance,
    Kind,
    Machine,
    Option,
    Overhead,
    Quality,
    Scenario,
    Workload,
)
from filmgate.economics.prices import UNITS, Price, PriceList, read_toml
from filmgate.economics.prices import Kind as Sold
from filmgate.economics.quantities import read
from filmgate.economics.timings import devices_in, duration_of, frames_of, load_seconds, power_of
from filmgate.spec.errors import FilmgateError, InvalidRequest, UnknownName

_SPEC = re.compile(
    r"(?P<kind>[a-z]+):(?P<model>[\w.-]+)(?:\+(?P<setup>[\w.-]+))?"
    r"(?:@(?P<device>[\w -]+\*?))?(?:/(?P<seller>[\w. -]+))?"
)
_KINDS: tuple[Kind, ...] = ("local", "cluster", "pod", "serverless", "hosted")
_FORM = "KIND:MODEL[+SETUP][@DEVICE[xGPUS]][/SELLER], as pod:wan2.2-t2v-a14b@h100"

STANDARD: Mapping[str, str] = {
    "rented-2.1": "pod:wan2.1-t2v-14b@h100",
    "hosted-2.1": "hosted:wan2.1-t2v-14b/runpod",
    "rented-2.2": "pod:wan2.2-t2v-a14b@h100",
    "serverless-2.2": "serverless:wan2.2-t2v-a14b@h100",
    "hosted-2.2": "hosted:wan2.2-t2v-a14b/runpod",
    "fal-2.2": "hosted:wan2.2-i2v-a14b/fal",
    "hosted-5b": "hosted:wan2.2-ti2v-5b",
    "local-5b": "local:wan2.2-ti2v-5b@rtx4090",
    "cluster-2.2": "cluster:wan2.2-t2v-a14b@h100x8",
}
"""What is compared where nothing else is said: Wan 2.1 as it is used today, and the ways to Wan 2.2."""
BASELINE, CANDIDATE = "rented-2.1", "local-5b"

_GUIDE = "the guide 'WAN 2.2 vs WAN 2.1'"
_REVIEW: Sequence[tuple[str, float, str]] = (
    ("wan2.1", 0.67, f"{_GUIDE} says that 33 % fail; field reports name anything from 15 to 96 %: measure yours"),
    ("wan2.2-ti2v", 0.75, "assumed between Wan 2.1 and A14B, no public measurement: measure yours"),
    ("wan2.2", 0.80, "assumed, no public measurement: measure yours"),
)
_SECONDS = ".attempt.generate"
GIVEN = "given"
"""What seconds of the caller rest on."""
_OVERHEAD = 0.35
_CLUSTER_PUE, _CLUSTER_MONTHS, _CLUSTER_HOST_WATTS = 1.3, 60.0, 4600.0
_COLD_SHARE = 0.25
WHY: Mapping[str, str] = {
    "overhead.share": f"{_GUIDE}: 30 to 40 % on rented GPUs; a cloud guide of May 2026: 30 to 50 % (mercatus-ai.com)",
    "attempt.cold_share": "assumed: how often a serverless worker starts anew depends on how even the work comes",
    "machine.lifetime": f"24 months for a card, as {_GUIDE}; servers are written off in 5 to 6 years",
    "machine.residual": "assumed; published figures after 24 months go from 45 to 75 % and are weak",
    "machine.host_watts": "100 to 150 W beside a card; of a server with eight H100 what its 10.2 kW leave "
    "(servnetuk.com, data study of July 2026)",
    "machine.pue": "1 at home, 1.2 to 1.5 in data centres",
    "machine.availability": "assumed: one tenth for maintenance, queues and faults",
    "machine.gpu_watts": "the manufacturer's limit, or what takes measured",
    "finance.discount": "assumed",
    "workload.usable": "assumed: the middle of the guide's 100 to 200 a month",
}
"""Where the values come from that are neither prices nor timings, by the end of their paths."""


class Parts(NamedTuple):
    """An option as it is written."""

    kind: Kind
    model: str
    setup: str
    device: str
    gpus: int
    seller: str


class Assumption(NamedTuple):
    """A number that was neither given, nor priced, nor timed."""

    path: str
    value: float
    unit: str
    why: str


def parse(text: str) -> Parts:
    """An option in short form.

    Raises:
        InvalidRequest: that is none; says the form (UnknownName: of an unknown kind).
    """
    match = _SPEC.fullmatch(text)
    if match is None:
        raise InvalidRequest("option", f"{text!r} is not an option", allowed=_FORM)
    kind = next((known for known in _KINDS if known == match["kind"]), None)
    if kind is None:
        raise UnknownName("option", match["kind"], _KINDS, noun="kind of option")
    device, gpus = devices_in(match["device"] or "")
    if (kind == "hosted") == bool(device):
        said = "names a device that the seller chooses" if device else "names no device"
        raise InvalidRequest("option", f"{text!r} {said}", allowed=_FORM)
    return Parts(kind, match["model"], match["setup"] or "", device, int(gpus), match["seller"] or "")


def assumed_review(model: str) -> float:
    """The share of usable attempts that is assumed of a model where nobody said."""
    return next((value for start, value, _ in _REVIEW if model.startswith(start)), 1.0)


def option_of(
    name: str, text: str, prices: PriceList, workload: Workload, given: Mapping[str, float] | None = None
) -> Option:
    """A whole option from its short form.

    Args:
        name: What it is called.
        text: As :func:`parse` takes it.
        prices: To buy from.
        workload: For size and length of the videos.
        given: Numbers of the caller by their paths (``NAME.machine.price``): what they give need not be known. The rest
            of them is for :func:`with_numbers`.

    Raises:
        InvalidRequest: it cannot be priced or timed; says what is missing (UnknownName: a name is unknown).
    """
    parts = parse(text)
    if parts.device:
        from filmgate.direction.devices import profile_named

        profile_named(parts.device)
    frames_of(parts.model, workload.seconds)
    storage = prices.one("gb_month", subject="storage")
    model = f"{parts.model}+{parts.setup}" if parts.setup else parts.model
    review = assumed_review(parts.model)
    option = Option(
        name=name,
        kind=parts.kind,
        model=model,
        attempt=Attempt(generate=0),
        quality=Quality(review=review),
        overhead=Overhead(storage_price=prices.amount(storage)),
    )
    own = {path.removeprefix(f"{name}."): value for path, value in (given or {}).items() if path.startswith(f"{name}.")}
    if parts.kind == "hosted":
        return _hosted(option, parts, prices, workload, own)
    seconds, basis = own.get(_SECONDS[1:]), GIVEN
    if seconds is None:
        took = duration_of(
            parts.model, parts.device, parts.gpus, workload.resolution, workload.seconds, setup=parts.setup
        )
        seconds, basis = took.seconds, took.basis
    option = replace(
        option, device=parts.device, gpus=float(parts.gpus), basis=basis, attempt=Attempt(generate=seconds)
    )
    return _owned(option, parts, prices, own) if parts.kind in OWNED else _rented(option, parts, prices, workload, own)


def _hosted(option: Option, parts: Parts, prices: PriceList, workload: Workload, given: Mapping[str, float]) -> Option:
    if parts.setup:
        raise InvalidRequest("option", f"{option.model}: sellers do not say how they run it", allowed=parts.model)
    found = [
        *prices.matching("clip", subject=parts.model, resolution=workload.resolution, provider=parts.seller or None),
        *prices.matching("video_second", subject=parts.model, resolution=workload.resolution,
                         provider=parts.seller or None),
    ]  # fmt: skip
    if "price" in given:
        return replace(option, price=given["price"], basis=f"price {GIVEN}")
    if not found:
        _nobody_sells(option.name, parts, prices, workload)
    price = found[0]
    amount = prices.amount(price, price.clip_amount(frames_of(parts.model, workload.seconds)))
    return replace(option, price=amount, prices=(price.id,), basis=f"sold by {price.provider}")


def _nobody_sells(name: str, parts: Parts, prices: PriceList, workload: Workload) -> None:
    """Say who sells what instead, and how to give a price."""
    yours = _remedy(f"{name}.price", f"SELLER.{parts.model}.{workload.resolution}")
    kinds = [row for row in prices.rows if row.kind in ("clip", "video_second")]
    same = [f"{row.resolution} by {row.provider}" for row in kinds if row.subject == parts.model]
    if same:
        seller = f" by {parts.seller}" if parts.seller else ""
        raise InvalidRequest("option", f"there is no price of {parts.model} at {workload.resolution}{seller}",
                             allowed=f"{', '.join(same)}, or {yours}")  # fmt: skip
    known = ", ".join(sorted({row.subject for row in kinds}))
    raise InvalidRequest("option", f"nobody is known to host {parts.model}", allowed=f"{known}, or {yours}")


def _remedy(path: str, id: str) -> str:
    """What to type for a price that is not known."""
    return f"a price of yours: --set {path}=VALUE, --price {id}=VALUE, or a row in --prices FILE"


def _price(prices: PriceList, kind: Sold, path: str, id: str, **wanted: Any) -> Price:
    """The price of what an option needs.

    Raises:
        InvalidRequest: nobody sells that; says who sells what, and how to give a price.
    """
    found = prices.matching(kind, **wanted)
    if found:
        return found[0]
    seller = wanted.get("provider")
    of = f"{wanted['subject']}{f' by {seller}' if seller else ''}"
    wider = {name: value for name, value in wanted.items() if name not in ("provider" if seller else "subject",)}
    known = sorted({row.provider if seller else row.subject for row in prices.matching(kind, **wider)})
    raise InvalidRequest("price", f"no price per {UNITS[kind]} of {of} is known",
                         allowed=f"{', '.join(known)}{', or ' if known else ''}{_remedy(path, id)}")  # fmt: skip


def _rented(option: Option, parts: Parts, prices: PriceList, workload: Workload, given: Mapping[str, float]) -> Option:
    billing = "pod" if parts.kind == "pod" else "serverless"
    option = replace(option, overhead=replace(option.overhead, share=_OVERHEAD))
    if parts.kind == "serverless":
        cold = load_seconds(parts.model, parts.device, workload.resolution)
        option = replace(option, attempt=replace(option.attempt, cold=cold, cold_share=_COLD_SHARE))
    if "price" in given:
        return replace(option, price=given["price"])
    price = _price(prices, "gpu_hour", f"{option.name}.price", f"{parts.seller or 'SELLER'}.{billing}.{parts.device}",
                   subject=parts.device, billing=billing, provider=parts.seller or None)  # fmt: skip
    return replace(option, price=prices.amount(price), prices=(price.id,))


def _owned(option: Option, parts: Parts, prices: PriceList, given: Mapping[str, float]) -> Option:
    bought: list[Price] = []

    def paid(path: str, kind: Sold, subject: str, id: str) -> float:
        """What the caller gives, or else the price that is known."""
        if path in given:
            return given[path]
        bought.append(_price(prices, kind, f"{option.name}.{path}", id, subject=subject))
        return prices.amount(bought[-1])

    price = paid("machine.price", "hardware", parts.device, f"hardware.{parts.device}")
    several = next((row.gpus for row in prices.matching("hardware", subject=parts.device)), 1)
    if "machine.price" not in given and parts.gpus > several:  # so many cards in one: priced as machines of one each
        price *= parts.gpus / several
    watts = given.get("machine.gpu_watts")
    machine = Machine(
        price=price, gpus=float(max(several, parts.gpus)),
        gpu_watts=_power(option.name, parts.device) if watts is None else watts,
        kwh=paid("machine.kwh", "kwh", "electricity", "energy"),
    )  # fmt: skip
    if parts.kind == "cluster":
        machine = replace(
            machine, pue=_CLUSTER_PUE, lifetime=_CLUSTER_MONTHS, host_watts=_CLUSTER_HOST_WATTS, residual=0.0
        )
    return replace(option, machine=machine, prices=tuple(row.id for row in bought))


def _power(name: str, device: str) -> float:
    """Watts of a device.

    Raises:
        InvalidRequest: they are not known; says how to give them.
    """
    try:
        return power_of(device).watts
    except UnknownName as error:
        raise InvalidRequest("device", f"what {device} draws is not known",
                             allowed=f"watts of yours: --set {name}.machine.gpu_watts=VALUE") from error  # fmt: skip


def standard(
    prices: PriceList, workload: Workload, finance: Finance, given: Mapping[str, float] | None = None
) -> tuple[Scenario, list[str]]:
    """What is compared where nothing else is said, and a sentence for every option that had to be left out.

    Where the usual baseline or candidate is among those, the first that is left takes its place.

    Raises:
        InvalidRequest: fewer than two options can be reckoned.
    """
    options, left_out = [], []
    for name, text in STANDARD.items():
        try:
            options.append(option_of(name, text, prices, workload, given))
        except FilmgateError as error:
            left_out.append(f"{name} ({text}) is left out: {error}")
    names = [option.name for option in options]
    if len(names) < 2:
        raise InvalidRequest("option", f"nothing is left to compare; {left_out[0]}", allowed="options of your own")
    baseline = BASELINE if BASELINE in names else names[0]
    candidate = CANDIDATE if CANDIDATE in names else next(name for name in names if name != baseline)
    return Scenario(tuple(options), baseline, candidate, workload, finance), left_out


def build(
    options: Mapping[str, str],
    prices: PriceList,
    workload: Workload,
    finance: Finance,
    *,
    baseline: str | None = None,
    candidate: str | None = None,
    given: Mapping[str, float] | None = None,
) -> Scenario:
    """A scenario of options in short form; the first is the baseline and the last the candidate, unless said.

    Raises:
        InvalidRequest: as :func:`option_of` (UnknownName: baseline or candidate is none of them).
    """
    made = tuple(option_of(name, text, prices, workload, given) for name, text in options.items())
    return paired(Scenario(made, made[0].name, made[-1].name, workload, finance), baseline, candidate)


def paired(scenario: Scenario, baseline: str | None, candidate: str | None) -> Scenario:
    """The scenario with another baseline or candidate.

    Raises:
        UnknownName: there is no such option.
    """
    for name in (baseline, candidate):
        if name is not None:
            scenario.option(name)
    return replace(scenario, baseline=baseline or scenario.baseline, candidate=candidate or scenario.candidate)


def from_file(path: Path, prices: PriceList) -> Scenario:
    """A scenario from TOML: ``[workload]``, ``[finance]``, ``[[option]]`` with ``name``, ``use`` (the short form) and
    any of its numbers, ``baseline`` and ``candidate``.

    Raises:
        InvalidRequest: something in it is wrong; says where.
    """
    return from_table(read_toml(path, "scenario"), prices, str(path))


def from_table(table: Mapping[str, Any], prices: PriceList, where: str) -> Scenario:
    """:func:`from_file` of a table that is read already; ``where`` is its name in messages."""
    known = ("workload", "finance", "option", "baseline", "candidate", "uncertain", "correlated")
    for key in table:
        if key not in known:
            raise UnknownName("scenario", key, known, noun=f"part of a scenario (in {where})")
    workload = read(Workload, _table(table, "workload", where), "workload")
    finance = read(Finance, _table(table, "finance", where), "finance")
    prices = prices.reckoned_in(checked_currency(finance.currency, "finance.currency"))
    rows = table.get("option", [])
    if not isinstance(rows, list) or not rows:
        raise InvalidRequest("scenario", f"{where} has no option", allowed="[[option]] with name and use")
    options = tuple(_option_row(row, prices, workload, number, where) for number, row in enumerate(rows, 1))
    names = [option.name for option in options]
    if len(set(names)) < len(names):
        raise InvalidRequest("scenario", f"{where}: two options have the same name", allowed="each name once")
    scenario = Scenario(options, names[0], names[-1], workload, finance)
    return paired(scenario, table.get("baseline"), table.get("candidate"))


def given_paths(table: Mapping[str, Any]) -> list[str]:
    """Paths of the numbers that a scenario file gives itself."""
    found = [f"{part}.{name}" for part in ("workload", "finance") for name in table.get(part, {})]
    for row in table.get("option", []):
        found += [
            f"{row['name']}.{path}" for path in _leaves({k: v for k, v in row.items() if k not in ("name", "use")})
        ]
    return [path for path in found if path not in ("workload.resolution", "finance.staff", "finance.currency")]


def _number(table: Mapping[str, Any], path: str) -> float:
    """The number at a path of :func:`_leaves`."""
    found: Any = table
    for name in path.split("."):
        found = found[name]
    return float(found)


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}"


def _table(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise InvalidRequest("scenario", f"{where}: {key} is not a table", allowed=f"[{key}]")
    return value


def _option_row(row: Any, prices: PriceList, workload: Workload, number: int, where: str) -> Option:
    if not isinstance(row, Mapping) or not isinstance(row.get("name"), str) or not isinstance(row.get("use"), str):
        raise InvalidRequest(
            "scenario", f"{where}: option {number} lacks name or use", allowed=f'name, and use = "{_FORM}"'
        )
    name = row["name"]
    if not re.fullmatch(r"[\w.-]+", name) or name in ("workload", "finance"):
        raise InvalidRequest("scenario", f"{where}: {name!r} cannot be a name", allowed="letters, digits, -, _ and .")
    numbers = {f"{name}.{path}": _number(row, path) for path in _leaves(row)}
    base = option_of(name, row["use"], prices, workload, numbers)
    option = read(Option, {key: value for key, value in row.items() if key not in ("name", "use")}, name, base)
    if "generate" in row.get("attempt", {}):
        option = replace(option, basis=GIVEN)
    option.check()
    return option


def with_numbers(scenario: Scenario, numbers: Mapping[str, float]) -> Scenario:
    """The scenario with other numbers, each at its path.

    Raises:
        InvalidRequest: one is out of range, or contradicts another (UnknownName: there is no such path).
    """
    for path, value in numbers.items():
        scenario = _timed_by_caller(scenario.changed(path, value), path)
    for option in scenario.options:
        option.check()
    return scenario


def _timed_by_caller(scenario: Scenario, path: str) -> Scenario:
    """The scenario with what an option's seconds rest on put right, where they are those of the caller."""
    name = path.removesuffix(_SECONDS)
    options = (replace(one, basis=GIVEN) if one.name == name else one for one in scenario.options)
    return replace(scenario, options=tuple(options)) if name != path else scenario


def prices_used(scenario: Scenario, prices: PriceList) -> list[Price]:
    """The prices that went into the options, each once."""
    names = dict.fromkeys(name for option in scenario.options for name in option.prices)
    stored = any(option.overhead.stored_gb for option in scenario.options)
    return [*(prices.named(name) for name in names), *(prices.matching("gb_month")[:1] if stored else ())]


def assumptions(scenario: Scenario, given: Sequence[str] = ()) -> list[Assumption]:
    """Every number of the baseline and the other options that rests on nothing better than a guess, with its reason;
    ``given`` are paths that the caller set."""
    found = []
    for path, kind, value in scenario.quantities():
        if path in given or value is None:
            continue
        end = ".".join(path.rsplit(".", 2)[-2:])
        why = WHY.get(end)
        if end == "quality.review":
            model = scenario.option(path.removesuffix(".quality.review")).model
            why = next((reason for start, _, reason in _REVIEW if model.startswith(start)), "assumed: measure yours")
        if why is not None and (value or end != "overhead.share") and (value or end != "attempt.cold_share"):
            found.append(Assumption(path, float(value), kind.unit, why))
    return found
