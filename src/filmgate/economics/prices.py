"""Prices as dated rows: what is sold, by whom, where, for how much, who says so, and as of when.

The rows lie in ``prices.toml`` beside this file. A file of the caller in the same form replaces rows of the same id and
adds others; single values can be replaced too. Nothing here knows which day it is: whoever asks how old a price is says
so. Amounts are in the row's own currency; :meth:`PriceList.amount` gives them in that of the reckoning.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from filmgate.economics.currencies import checked_currency
from filmgate.spec.errors import InvalidRequest, UnknownName

Kind = Literal["gpu_hour", "video_second", "clip", "hardware", "kwh", "gb_month"]
Billing = Literal["pod", "serverless"]
Evidence = Literal["official", "measured", "vendor", "weak", "own"]
UNITS: Mapping[Kind, str] = {
    "gpu_hour": "GPU-hour",
    "video_second": "second of video",
    "clip": "clip",
    "hardware": "machine",
    "kwh": "kWh",
    "gb_month": "GB-month",
}
"""What one of a kind is called."""
STALE_DAYS = 90
"""A price older than this is warned of."""
_NEW = "SELLER.pod.DEVICE, SELLER.serverless.DEVICE, hardware.DEVICE, SELLER.MODEL.SIZE, or a row in --prices FILE"
"""How a price is added that is not there."""
OWN = "given by you"
"""Source of a value that the caller replaced."""


@dataclass(frozen=True)
class Price:
    """One offer.

    Attributes:
        id: Stable name, by which it is replaced and cited.
        kind: What is sold; fixes the unit (:data:`UNITS`).
        subject: A device profile (``h100``), a published model (``wan2.2-ti2v-5b``), ``electricity`` or ``storage``.
        provider: Who sells, or who was asked.
        value: Amount in ``currency`` per unit, above 0.
        region: Where it is sold.
        as_of: When it was so.
        source: Who says so: an address, or a title.
        evidence: official (the seller's own page), measured, vendor (a guide that sells something), weak, or own (given
            by the caller).
        low, high: What else was found for the same thing; None: nothing else.
        currency: ISO 4217.
        billing: For a GPU-hour: ``pod`` (rented hours) or ``serverless`` (busy seconds).
        resolution: For videos: ``480p``, ``720p``, ...
        rate: Frames that the seller counts as one second of video.
        gpus: GPUs in a machine.
        undated: The source carries no date; ``as_of`` is the latest that it can be.
    """

    id: str
    kind: Kind
    subject: str
    provider: str
    value: float
    region: str
    as_of: date
    source: str
    evidence: Evidence = "vendor"
    low: float | None = None
    high: float | None = None
    currency: str = "USD"
    billing: Billing | None = None
    resolution: str | None = None
    rate: float | None = None
    gpus: int = 1
    undated: bool = False

    @property
    def unit(self) -> str:
        """What ``value`` is for, as ``USD per GPU-hour``."""
        return f"{self.currency} per {UNITS[self.kind]}"

    @property
    def span(self) -> tuple[float, float]:
        """What was found, lowest and highest."""
        return (self.value if self.low is None else self.low, self.value if self.high is None else self.high)

    def age(self, today: date) -> int:
        """Days since it was so."""
        return (today - self.as_of).days

    def stale(self, today: date) -> bool:
        """Whether it is older than :data:`STALE_DAYS`. What the caller gave is as new as the caller says."""
        return self.age(today) > STALE_DAYS

    def clip_amount(self, frames: int) -> float:
        """Amount for one clip of ``frames`` frames; what is priced by the clip costs the same at any length.

        Raises:
            InvalidRequest: it is not a price of videos.
        """
        if self.kind == "clip":
            return self.value
        if self.kind == "video_second" and self.rate is not None:
            return self.value * frames / self.rate
        raise InvalidRequest(
            "price", f"{self.id} is per {UNITS[self.kind]}", allowed="a price per clip or video second"
        )


@dataclass(frozen=True)
class PriceList:
    """Prices by id, in the order of the file, and exchange rates.

    Attributes:
        rows: Of the prices.
        exchange: What one unit of another currency is worth in ``currency``.
        currency: That all amounts are reckoned in.
    """

    rows: tuple[Price, ...]
    exchange: Mapping[str, float]
    currency: str = "USD"

    def named(self, name: str) -> Price:
        """The price with an id.

        Raises:
            UnknownName: there is none.
        """
        for row in self.rows:
            if row.id == name:
                return row
        raise UnknownName("price", name, [row.id for row in self.rows])

    def matching(
        self,
        kind: Kind,
        *,
        subject: str | None = None,
        billing: Billing | None = None,
        resolution: str | None = None,
        provider: str | None = None,
    ) -> tuple[Price, ...]:
        """Prices of a kind by what is given; ``provider`` may be the beginning of a name or of an id."""
        found = (row for row in self.rows if row.kind == kind)
        return tuple(
            row
            for row in found
            if (subject is None or row.subject == subject)
            and (billing is None or row.billing == billing)
            and (resolution is None or row.resolution == resolution)
            and (provider is None or _from(row, provider))
        )

    def one(
        self,
        kind: Kind,
        *,
        subject: str,
        billing: Billing | None = None,
        resolution: str | None = None,
        provider: str | None = None,
    ) -> Price:
        """The first of :meth:`matching`: files list the one to reckon with first.

        Raises:
            UnknownName: nobody sells that; names those that are sold.
        """
        found = self.matching(kind, subject=subject, billing=billing, resolution=resolution, provider=provider)
        if found:
            return found[0]
        known = {row.subject for row in self.matching(kind, billing=billing, provider=provider)}
        if subject in known:
            sizes = {row.resolution or "" for row in self.matching(kind, subject=subject, provider=provider)}
            raise UnknownName("resolution", resolution or "", sizes, noun=f"price of {subject} at")
        raise UnknownName("price", subject, known, noun=f"price per {UNITS[kind]} of something")

    def amount(self, price: Price, value: float | None = None) -> float:
        """``value`` (default: the price's own) in the currency of the reckoning.

        Raises:
            InvalidRequest: the exchange rate is not known.
        """
        own = price.value if value is None else value
        if price.currency == self.currency:
            return own
        if price.currency not in self.exchange:
            raise InvalidRequest(
                "exchange", f"{price.id} is in {price.currency}, and its rate is not given",
                allowed=f"--exchange {price.currency}=WORTH, what one {price.currency} is worth in {self.currency}",
            )  # fmt: skip
        return own * self.exchange[price.currency]

    def with_rows(self, rows: Iterable[Price]) -> PriceList:
        """The same with other rows; those of the same id are replaced where they stand."""
        new = {row.id: row for row in rows}
        kept = tuple(new.pop(row.id, row) for row in self.rows)
        return replace(self, rows=(*kept, *new.values()))

    def with_value(self, name: str, value: float, today: date) -> PriceList:
        """The same with one value replaced, or added where its id says of what, known as of ``today`` and without a
        range. What is added comes first.

        Raises:
            InvalidRequest: there is no price of this id, and it does not say of what it is one; or the value is not
                above 0.
        """
        _above_zero(name, value)
        if any(row.id == name for row in self.rows):
            own = replace(self.named(name), value=value, low=None, high=None, as_of=today, source=OWN, evidence="own",
                          undated=False)  # fmt: skip
            return self.with_rows([own])
        added = _told_by(name, value, today, self.currency)
        if added is None:
            near = UnknownName("price", name, [row.id for row in self.rows]).nearest
            raise InvalidRequest("price", f"there is no price named {name!r}",
                                 allowed=f"ids that --list-prices shows, {_NEW}", nearest=near)  # fmt: skip
        return replace(self, rows=(added, *self.rows))

    def reckoned_in(self, currency: str) -> PriceList:
        """The same for a reckoning in another currency; rates are then worth in that one.

        Raises:
            InvalidRequest: a rate of that very currency is given.
        """
        if currency in self.exchange:
            raise InvalidRequest("exchange", f"{currency} is what is reckoned in, and worth 1",
                                 allowed="rates of other currencies")  # fmt: skip
        return replace(self, currency=currency)

    def with_exchange(self, rates: Mapping[str, float]) -> PriceList:
        """The same with exchange rates added.

        Raises:
            InvalidRequest: a rate is not above 0, or of no currency.
        """
        for currency, rate in rates.items():
            checked_currency(currency, "exchange")
            _above_zero(f"exchange.{currency}", rate)
        return replace(self, exchange={**self.exchange, **rates})


@cache
def shipped() -> PriceList:
    """The prices that come with Filmgate."""
    text = files("filmgate.economics").joinpath("prices.toml").read_text(encoding="utf-8")
    return PriceList(rows_of(tomllib.loads(text), "prices.toml"), {})


def load(path: Path | None = None) -> PriceList:
    """The shipped prices, with those of a file over them.

    Args:
        path: TOML in the form of ``prices.toml``: ``[[price]]`` tables, and ``[exchange]`` with what one unit of
            another currency is worth; None: no file.

    Raises:
        InvalidRequest: the file is not there, is no TOML, or a row is wrong; says which.
    """
    if path is None:
        return shipped()
    table = read_toml(path, "prices")
    rates = table.get("exchange", {})
    if not isinstance(rates, dict) or not all(isinstance(rate, int | float) for rate in rates.values()):
        raise InvalidRequest("prices", f"{path}: exchange holds no rates", allowed="[exchange] with EUR = 1.1")
    return shipped().with_rows(rows_of(table, str(path))).with_exchange({k: float(v) for k, v in rates.items()})


def read_toml(path: Path, field: str) -> dict[str, Any]:
    """A TOML file of the caller.

    Raises:
        InvalidRequest: it cannot be read, or is no TOML. ``field`` is the option that named it.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(field, f"{path} cannot be read: {error.strerror}", allowed="a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(field, f"{path} is no TOML: {error}", allowed="a TOML file") from error


def rows_of(table: Mapping[str, Any], where: str) -> tuple[Price, ...]:
    """The ``[[price]]`` rows of a table.

    Raises:
        InvalidRequest: a row lacks a field, has one of the wrong kind, or comes twice.
    """
    rows = table.get("price", [])
    if not isinstance(rows, list):
        raise InvalidRequest("prices", f"{where}: price is not a list of tables", allowed="[[price]]")
    prices = tuple(_row(row, f"{where}, price {number}") for number, row in enumerate(rows, 1))
    ids = [price.id for price in prices]
    twice = next((name for name in ids if ids.count(name) > 1), None)
    if twice is not None:
        raise InvalidRequest("prices", f"{where}: {twice} comes twice", allowed="each id once")
    return prices


_TEXTS = ("id", "kind", "subject", "provider", "region", "source")
_NUMBERS = ("value", "low", "high", "rate", "gpus")
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": get_args(Kind), "evidence": get_args(Evidence), "billing": get_args(Billing),
}  # fmt: skip


def _row(row: Any, where: str) -> Price:
    if not isinstance(row, dict):
        raise InvalidRequest("prices", f"{where} is not a table", allowed="[[price]]")
    for key in row:
        if key not in Price.__dataclass_fields__:
            raise UnknownName("prices", key, Price.__dataclass_fields__, noun=f"field (in {where})")
    for key in (*_TEXTS, "value", "as_of"):
        if key not in row:
            raise InvalidRequest("prices", f"{where} lacks {key}", allowed=", ".join((*_TEXTS, "value", "as_of")))
    for key, values in _CHOICES.items():
        if key in row and row[key] not in values:
            raise UnknownName("prices", str(row[key]), values, noun=f"{key} (in {where})")
    for key in _NUMBERS:
        if key in row:
            _above_zero(f"{where}, {key}", row[key])
    checked_currency(row.get("currency", "USD"), f"{where}, currency")
    if not isinstance(row["as_of"], date):
        raise InvalidRequest("prices", f"{where}: as_of is no date", allowed="as_of = 2026-05-31")
    return _checked(Price(**row), where)


def _checked(price: Price, where: str) -> Price:
    """A price whose fields agree with each other."""
    if not price.span[0] <= price.value <= price.span[1]:
        said = f"{price.value} is outside of {price.low} to {price.high}"
        raise InvalidRequest("prices", f"{where}: {said}", allowed="low <= value <= high")
    if price.kind == "video_second" and price.rate is None:
        raise InvalidRequest("prices", f"{where} lacks rate", allowed="frames that count as one second, as rate = 16")
    if price.kind == "gpu_hour" and price.billing is None:
        raise InvalidRequest("prices", f"{where} lacks billing", allowed=" or ".join(get_args(Billing)))
    return price


def _told_by(name: str, value: float, today: date, currency: str) -> Price | None:
    """A price by an id of the form of ours: of an hour of a device, of a machine, or of a clip; None: it has none."""
    from filmgate.direction.devices import PROFILES
    from filmgate.direction.presets import PRESETS

    seller, _, rest = name.partition(".")
    kind, _, subject = rest.partition(".")
    model, _, size = rest.rpartition(".")
    devices = {profile.name for profile in PROFILES}
    said: dict[str, Any]
    if kind in get_args(Billing) and subject in devices:
        said = {"kind": "gpu_hour", "subject": subject, "billing": kind}
    elif seller == "hardware" and rest in devices:
        said = {"kind": "hardware", "subject": rest}
    elif model in PRESETS and re.fullmatch(r"\d{3,4}p", size):
        said = {"kind": "clip", "subject": model, "resolution": size}
    else:
        return None
    return Price(name, provider=seller, value=value, region="not told", as_of=today, source=OWN, evidence="own",
                 currency=currency, **said)  # fmt: skip


def _above_zero(where: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise InvalidRequest("prices", f"{where}: {value!r} is no price", allowed="a number above 0")


def _from(row: Price, provider: str) -> bool:
    return row.id.startswith(f"{provider.lower()}.") or row.provider.lower().startswith(provider.lower())


def warnings_of(prices: Iterable[Price], today: date) -> list[str]:
    """One sentence for every price that is too old to trust, the oldest first."""
    old = sorted({row.id: row for row in prices if row.stale(today)}.values(), key=lambda row: (row.as_of, row.id))
    return [
        f"{row.id} is {row.age(today)} days old{' or more' if row.undated else ''} ({row.as_of}): check {row.source}"
        for row in old
    ]
