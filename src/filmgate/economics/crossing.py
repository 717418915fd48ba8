"""From which volume on one option is cheaper than another, machines coming whole.

The cost of a month is a line between the volumes at which another machine is needed: F + n·M + v·V, with n = V over the
capacity of a machine, rounded up.
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
    def far(self) -> float:
        """Cost of a video where there are very many."""
        return self.video + (self.waiting + self.lost) / self.capacity


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


def break_even_volume(scenario: Scenario, first: Option, second: Option) -> float | None:
    """From how many usable videos a month ``first`` is cheaper than ``second`` and stays so; 0: at any volume, None: at
    none."""
    one, other = line_of(scenario, first), line_of(scenario, second)
    if one.far > other.far or (one.far == other.far and one.once >= other.once):
        return None
    dear = 0.0
    for start, end in _pieces(one, other):
        more = one.fixed(end) - other.fixed(end)
        saved = other.video - one.video
        if math.isinf(end):
            return max(dear, more / saved if more > 0 else 0.0)
        if more > saved * end:
            dear = end
        elif more > saved * start:
            dear = max(dear, more / saved) if saved > 0 else start
    return dear


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


def volume_matrix(scenario: Scenario, options: Sequence[Option] | None = None) -> dict[str, dict[str, float | None]]:
    """:func:`break_even_volume` of every pair: from which volume on the row's option is cheaper than the column's."""
    chosen = scenario.options if options is None else options
    return {
        row.name: {column.name: break_even_volume(scenario, row, column) for column in chosen if column is not row}
        for row in chosen
    }
