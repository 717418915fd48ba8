"""At which volumes one option is cheaper than another, machines coming whole.

The cost of a month is a line between the volumes at which another machine is needed: F + n·M + v·V, with n = V over the
capacity of a machine, rounded up. Steps make for several intervals: a card may be cheaper up to its capacity, dearer
where a second one is hardly used, and cheaper again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from filmgate.economics.costs import capacity_of, depreciation, month_costs
from filmgate.economics.options import Option, Scenario

MACHINES = 200
"""So many machines of each option are looked at."""
_NAMED = 3
"""Intervals that a text names."""
_WHOLE = 10
_SOME = 1e-3
"""Videos of a month that every machine can make."""


class Line(NamedTuple):
    """Monthly cost of an option: ``once`` whatever the volume, ``waiting`` for each machine, ``lost`` for each that had
    to be bought (those ``owned`` were there), ``video`` for each usable video."""

    once: float
    waiting: float
    lost: float
    video: float
    capacity: float
    owned: int

    def fixed(self, volume: float) -> float:
        """What does not grow up to this volume, and is paid from the first video on."""
        if math.isinf(self.capacity):
            return self.once
        machines = max(1, self.owned, math.ceil(volume / self.capacity - 1e-9))
        return self.once + machines * self.waiting + (machines - self.owned) * self.lost

    @property
    def step(self) -> float:
        """What another machine adds to a month."""
        return self.waiting + self.lost

    @property
    def far(self) -> float:
        """Cost of a video where there are very many."""
        return self.video + self.step / self.capacity


def line_of(scenario: Scenario, option: Option) -> Line:
    """An option as a line. Limits on machines and overflow are left out."""
    capacity, machine = capacity_of(option), option.machine
    nothing, waiting, working = (
        float(month_costs(option, np.array([volume]), np.array([1]), scenario.finance, machines=count).operating[0])
        for volume, count in ((0.0, 0.0), (0.0, 1.0), (_SOME, 1.0))
    )
    return Line(
        once=nothing,
        waiting=waiting - nothing,
        lost=0.0 if machine is None else float(depreciation(machine)) * (1.0 + scenario.finance.tax),
        video=(working - waiting) / _SOME,
        capacity=math.inf if capacity is None else float(capacity),
        owned=0 if machine is None else int(machine.owned),
    )


class Interval(NamedTuple):
    """Usable videos a month, above ``low`` and up to ``high``, which may be infinite."""

    low: float
    high: float


def cheaper_volumes(scenario: Scenario, first: Option, second: Option) -> tuple[Interval, ...]:
    """The volumes at which a month of ``first`` costs less than one of ``second``, in order; none: nowhere.

    Up to :data:`MACHINES` machines of each are looked at. The last interval has no upper end where the one that is
    cheaper there has to stay so, or did over more than half of what was looked at.
    """
    one, other = line_of(scenario, first), line_of(scenario, second)
    found: list[Interval] = []
    last = 0.0
    for start, end in _pieces(one, other):
        last = end
        part = _cheaper_within(one, other, start, end)
        if part is None:
            continue
        joined = bool(found) and found[-1].high == part.low == start
        if joined:
            part = Interval(found.pop().low, part.high)
        found.append(part)
    if found and found[-1].high == last < math.inf:
        settled = one.far < other.far and last * (other.far - one.far) > one.step + other.step + one.once
        if settled or found[-1].low < last / 2:
            found[-1] = Interval(found[-1].low, math.inf)
    return tuple(found)


def _cheaper_within(one: Line, other: Line, start: float, end: float) -> Interval | None:
    """Where ``one`` costs less, between two volumes within which neither needs another machine."""
    at = end if math.isfinite(end) else start + 1.0
    more = _apart(one.fixed(at), other.fixed(at))
    saved = _apart(other.video, one.video)
    if saved == 0:
        return Interval(start, end) if more < 0 else None
    crossing = more / saved
    low, high = (max(start, crossing), end) if saved > 0 else (start, min(end, crossing))
    return Interval(low, high) if low < high else None


def _apart(one: float, other: float) -> float:
    """``one`` less ``other``; 0 where only rounding tells them apart."""
    return 0.0 if math.isclose(one, other, rel_tol=1e-12) else one - other


def _pieces(one: Line, other: Line) -> Iterator[tuple[float, float]]:
    """Intervals of volume within which neither needs another machine."""
    ends = {line.capacity * count for line in (one, other) if math.isfinite(line.capacity)
            for count in range(1, MACHINES + 1)}  # fmt: skip
    limits = [line.capacity * MACHINES for line in (one, other) if math.isfinite(line.capacity)]
    ordered = [end for end in sorted(ends) if end <= min(limits)] if limits else [math.inf]
    start = 0.0
    for end in ordered:
        yield start, end
        start = end


def volume_matrix(
    scenario: Scenario, options: Sequence[Option] | None = None
) -> dict[str, dict[str, tuple[Interval, ...]]]:
    """:func:`cheaper_volumes` of every pair: where the row's option is cheaper than the column's."""
    chosen = scenario.options if options is None else options
    return {
        row.name: {column.name: cheaper_volumes(scenario, row, column) for column in chosen if column is not row}
        for row in chosen
    }


def volumes_text(intervals: Sequence[Sequence[float | None]]) -> str:
    """Intervals for people: ``always``, ``never``, ``up to 39``, ``2,331 to 3,318; from 6,994``; an upper end of None
    is infinite. Of many, the first two and the last are named."""
    named = [*intervals]
    if len(named) > _NAMED:
        named = [*named[: _NAMED - 1], named[-1]]
    texts = [_interval_text(low or 0.0, math.inf if high is None else high) for low, high in named]
    if len(intervals) > _NAMED:
        texts.insert(_NAMED - 1, f"{len(intervals) - _NAMED} more")
    return "; ".join(texts) or "never"


def _interval_text(low: float, high: float) -> str:
    if high == math.inf:
        return f"from {_volume(low)}" if low > 0 else "always"
    return f"{_volume(low)} to {_volume(high)}" if low > 0 else f"up to {_volume(high)}"


def _volume(volume: float) -> str:
    return f"{volume:,.0f}" if volume >= _WHOLE else f"{volume:.2g}"
