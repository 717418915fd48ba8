"""What is not known exactly: distributions of numbers of a scenario, and how they hang together.

A uniform number u in (0, 1) becomes a value through the inverse of the cumulative distribution, so that ordinary random
numbers, Sobol sequences and correlated draws all go the same way. scipy is imported where a special function is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from filmgate.economics.options import Option, Scenario
from filmgate.economics.prices import PriceList
from filmgate.economics.quantities import quantities
from filmgate.economics.timings import power_rows
from filmgate.spec.errors import FilmgateError, InvalidRequest, UnknownName

Shape = Literal["uniform", "triangular", "pert", "lognormal", "beta"]
Values = NDArray[np.float64]
_P90 = 1.2815515655446004
"""Standard deviations from the median to the 90th percentile of a normal distribution."""
_REVIEWS = (0.15, 0.96)
"""Shares of usable attempts that field reports name."""
_SITE = 0.015
"""Of a machine's price, what a month of looking after it may cost."""
_RESIDUAL = 0.75
"""Share of its price that a card may be worth after two years, by published figures."""
_FALL = 0.35
"""Share of a rent that may go in a year."""
_EXTRA = "pip install 'filmgate[economics]'"


@dataclass(frozen=True)
class Uncertain:
    """A number with its distribution.

    Attributes:
        path: Of the number in the scenario.
        shape: uniform and triangular between ``low`` and ``high``; pert likewise with more weight at ``mode``;
            lognormal with ``low`` and ``high`` as 10th and 90th percentile; beta of a share of which ``yes`` cases were
            counted and ``no`` were not (from a uniform prior).
        low, mode, high: As the shape needs them.
        yes, no: Counts.
        why: Where the range comes from.
    """

    path: str
    shape: Shape
    low: float = math.nan
    high: float = math.nan
    mode: float = math.nan
    yes: float = math.nan
    no: float = math.nan
    why: str = ""

    def check(self, scenario: Scenario) -> None:
        """Refuse what is no distribution of such a number.

        Raises:
            InvalidRequest: numbers are missing, in the wrong order or out of the quantity's bounds (UnknownName: there
                is no such quantity).
        """
        kind = scenario.kind(self.path)
        if kind.whole:
            raise InvalidRequest(self.path, "counts things and cannot be uncertain", allowed="another quantity")
        names = {"beta": ("yes", "no"), "lognormal": ("low", "high"), "uniform": ("low", "high")}
        wanted = names.get(self.shape, ("low", "mode", "high"))
        missing = [name for name in wanted if math.isnan(getattr(self, name))]
        if missing:
            raise InvalidRequest(self.path, f"a {self.shape} distribution lacks {', '.join(missing)}",
                                 allowed=", ".join(wanted))  # fmt: skip
        if self.shape == "beta":
            if kind.unit != "share" or min(self.yes, self.no) < 0:
                raise InvalidRequest(
                    self.path, "a beta distribution is one of counted shares", allowed="yes and no >= 0"
                )
            return
        ends = [getattr(self, name) for name in wanted]
        for end in ends:
            kind.check(self.path, end)
        if ends != sorted(ends) or ends[0] == ends[-1]:
            raise InvalidRequest(self.path, f"{ends} do not increase", allowed="low <= mode <= high, low < high")
        if self.shape == "lognormal" and (kind.high != math.inf or self.low <= 0):
            raise InvalidRequest(self.path, "lognormal has no upper end, and this quantity has one, or low is 0",
                                 allowed="triangular, pert or uniform")  # fmt: skip

    def ppf(self, u: Any) -> Values:
        """Values at the cumulative probabilities ``u`` in (0, 1)."""
        u = np.asarray(u, float)
        width = self.high - self.low
        match self.shape:
            case "uniform":
                return np.asarray(self.low + u * width)
            case "triangular":
                turn = (self.mode - self.low) / width
                rising = self.low + np.sqrt(u * width * (self.mode - self.low))
                falling = self.high - np.sqrt((1.0 - u) * width * (self.high - self.mode))
                return np.asarray(np.where(u < turn, rising, falling))
            case "pert":
                a = 1.0 + 4.0 * (self.mode - self.low) / width
                return np.asarray(self.low + width * special().betaincinv(a, 6.0 - a, u))
            case "lognormal":
                middle = (math.log(self.low) + math.log(self.high)) / 2
                spread = (math.log(self.high) - math.log(self.low)) / 2 / _P90
                return np.asarray(np.exp(middle + spread * special().ndtri(u)))
            case _:
                return np.asarray(special().betaincinv(self.yes + 1.0, self.no + 1.0, u))


@dataclass(frozen=True)
class Correlated:
    """Two uncertain numbers that tend to move together: ``rank`` is Spearman's correlation, -1 to 1."""

    first: str
    second: str
    rank: float


def special() -> Any:
    """scipy.special.

    Raises:
        FilmgateError: scipy is not installed.
    """
    try:
        from scipy import special as functions
    except ImportError as error:
        raise FilmgateError("this needs scipy, which is not installed", allowed=_EXTRA) from error
    return functions


def draw(
    uncertain: Sequence[Uncertain],
    correlated: Sequence[Correlated],
    draws: int,
    seed: int,
    *,
    sobol: bool = False,
) -> dict[str, Values]:
    """Draws of every uncertain number, [draws, 1] each; the same for the same seed.

    Args:
        uncertain: What to draw.
        correlated: What moves together: a Gaussian copula with these rank correlations.
        draws: How many, above 0.
        seed: Of numpy's PCG64, or of the scrambling of a Sobol sequence.
        sobol: Whether to draw from a Sobol sequence, which covers the space more evenly.

    Raises:
        InvalidRequest: the correlations contradict each other (UnknownName: are of a number that is not uncertain).
    """
    if sobol:
        special()
        from scipy.stats import qmc

        sequence = qmc.Sobol(len(uncertain), rng=np.random.default_rng(seed))
        u = sequence.random_base2(max(0, math.ceil(math.log2(draws))))[:draws]
        u = np.clip(u, 1e-12, 1.0 - 1e-12)
    else:
        u = np.random.default_rng(seed).random((draws, len(uncertain)))
    if correlated:
        u = special().ndtr(special().ndtri(u) @ _factor(uncertain, correlated).T)
    return {one.path: one.ppf(u[:, [column]]) for column, one in enumerate(uncertain)}


def _factor(uncertain: Sequence[Uncertain], correlated: Sequence[Correlated]) -> Values:
    """The Cholesky factor of the normal correlations that give the rank correlations."""
    paths = [one.path for one in uncertain]
    matrix = np.eye(len(paths))
    for one in correlated:
        for path in (one.first, one.second):
            if path not in paths:
                raise UnknownName("correlated", path, paths, noun="uncertain quantity")
        if not -1 < one.rank < 1 or one.first == one.second:
            raise InvalidRequest("correlated", f"{one.rank:g} between {one.first} and {one.second}",
                                 allowed="a rank correlation between -1 and 1 of two quantities")  # fmt: skip
        row, column = paths.index(one.first), paths.index(one.second)
        matrix[row, column] = matrix[column, row] = 2.0 * math.sin(math.pi * one.rank / 6.0)
    try:
        return np.asarray(np.linalg.cholesky(matrix), float)
    except np.linalg.LinAlgError as error:
        raise InvalidRequest("correlated", "the correlations contradict each other",
                             allowed="a positive definite matrix: weaker correlations") from error  # fmt: skip


def from_table(table: Mapping[str, Any], scenario: Scenario) -> tuple[list[Uncertain], list[Correlated]]:
    """``[[uncertain]]`` and ``[[correlated]]`` of a scenario file; both may be missing.

    Raises:
        InvalidRequest: one is wrong; says which.
    """
    uncertain = []
    for row in _rows(table, "uncertain", ("path", "shape")):
        if row["shape"] not in get_args(Shape):
            raise UnknownName("uncertain", str(row["shape"]), get_args(Shape), noun="shape")
        uncertain.append(Uncertain(**_typed(row, Uncertain, "uncertain")))
        uncertain[-1].check(scenario)
    paths = [one.path for one in uncertain]
    if len(set(paths)) < len(paths):
        raise InvalidRequest("uncertain", "the same path comes twice", allowed="each path once")
    rows = _rows(table, "correlated", ("first", "second", "rank"))
    correlated = [Correlated(**_typed(row, Correlated, "correlated")) for row in rows]
    if correlated:
        _factor(uncertain, correlated)
    return uncertain, correlated


def _rows(table: Mapping[str, Any], key: str, needed: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    rows = table.get(key, [])
    if not isinstance(rows, list):
        raise InvalidRequest(key, "is not a list of tables", allowed=f"[[{key}]]")
    for row in rows:
        if not isinstance(row, Mapping) or any(name not in row for name in needed):
            raise InvalidRequest(key, f"{row!r} lacks {' or '.join(needed)}", allowed=", ".join(needed))
        yield row


def _typed(row: Mapping[str, Any], kind: type, where: str) -> dict[str, Any]:
    fields = kind.__dataclass_fields__  # type: ignore[attr-defined]
    for name, value in row.items():
        if name not in fields:
            raise UnknownName(where, name, fields, noun="field")
        text = fields[name].type in ("str", "Shape")
        if isinstance(value, bool) or not isinstance(value, str if text else int | float):
            raise InvalidRequest(where, f"{name} = {value!r} is not a {'text' if text else 'number'}")
    return dict(row)


def usual(scenario: Scenario, prices: PriceList) -> list[Uncertain]:
    """What is uncertain where nobody said: prices as far apart as they were found, and rates, seconds, volume and worth
    by assumed ranges, of the two options that are compared."""
    found = [_triangular("workload.usable", scenario.workload.usable, 0.5, 1.5, "assumed: half either way")]
    for option in dict.fromkeys((scenario.option(scenario.baseline), scenario.option(scenario.candidate))):
        found += _usual(option, prices)
    return found


def _usual(option: Option, prices: PriceList) -> Iterator[Uncertain]:
    spans = {row.kind: (row.span[0] / row.value, row.span[1] / row.value, row.id)
             for row in (prices.named(name) for name in option.prices) if row.span[0] < row.span[1]}  # fmt: skip
    paid = next((kind for kind in ("gpu_hour", "clip", "video_second") if kind in spans), None)
    worth = 0.0 if option.machine is None else option.machine.residual
    ranges = {
        "price": spans[paid] if paid else (0.8, 1.2, ""),
        "machine.price": spans.get("hardware", (0.8, 1.2, "")),
        "machine.kwh": spans.get("kwh", (0.7, 1.3, "")),
        "machine.gpu_watts": _watts(option.device),
        "attempt.generate": (0.4, 1.3, ""),  # other kernels and caches, another host
        "overhead.share": (0.85, 1.45, ""),
        "machine.residual": (0.0, max(1.0, _RESIDUAL / worth) if worth else 1.0, ""),
    }
    values = {path: value for path, _, value in quantities(option)}
    review, (low, high) = option.quality.review, _REVIEWS
    yield Uncertain(f"{option.name}.quality.review", "triangular", low=min(low, review), mode=review,
                    high=max(high, review), why="field reports go from 15 to 96 %: measure yours")  # fmt: skip
    if option.kind != "hosted" and option.machine is None and option.price_fall == 0:
        yield Uncertain(f"{option.name}.price_fall", "triangular", low=0, mode=0, high=_FALL,
                        why="assumed: rents may fall while a machine of one's own is kept")  # fmt: skip
    if option.machine is not None and option.machine.price > 0:
        most = option.machine.site + _SITE * option.machine.price
        yield Uncertain(f"{option.name}.machine.site", "triangular", low=option.machine.site, mode=option.machine.site,
                        high=most, why="assumed: nobody's machine looks after itself")  # fmt: skip
    for path, (low, high, source) in ranges.items():
        if values.get(path):
            why = f"as found ({source})" if source else "assumed"
            yield _triangular(f"{option.name}.{path}", values[path], low, high, why)


def _watts(device: str) -> tuple[float, float, str]:
    row = next((row for row in power_rows() if row.device == device and row.low is not None), None)
    if row is None or row.low is None or row.high is None:
        return (0.7, 1.1, "")
    return (row.low / row.watts, row.high / row.watts, f"power of {device}")


def _triangular(path: str, value: float, low: float, high: float, why: str) -> Uncertain:
    return Uncertain(path, "triangular", low=value * low, mode=value, high=value * high, why=why)
