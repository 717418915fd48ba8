"""What the answer hangs on: one input at a time, where the answer turns, and two inputs together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from filmgate.economics.costs import amortised_cost
from filmgate.economics.monte_carlo import present_values
from filmgate.economics.options import Scenario
from filmgate.economics.uncertainty import Uncertain
from filmgate.spec.errors import FilmgateError

_GRID, _HALVINGS = 400, 60
_FAR = 100.0
"""A quantity without an upper end is followed to so many times its value."""


class Bar(NamedTuple):
    """One input at its 10th and 90th percentile, all others as they are: net present value, and amortised cost of a
    usable video of the candidate."""

    path: str
    low: float
    high: float
    npv_low: float
    npv_high: float
    cost_low: float
    cost_high: float

    @property
    def swing(self) -> float:
        """How far the net present value moves."""
        return abs(self.npv_high - self.npv_low)


class Switch(NamedTuple):
    """A value of an input at which the net present value changes its sign; ``pays``: on which side it is positive."""

    path: str
    value: float
    now: float
    unit: str
    pays: str


class HeatMap(NamedTuple):
    """Net present value by volume (columns) and failure rate of the baseline (rows)."""

    volumes: list[float]
    failures: list[float]
    npv: list[list[float]]


def tornado(scenario: Scenario, uncertain: Sequence[Uncertain]) -> list[Bar]:
    """Every uncertain input by itself, the one that moves the net present value most first."""
    bars = []
    for one in uncertain:
        values = one.ppf(np.array([[0.1], [0.9]]))
        drawn = scenario.drawn(one.path, values)
        npv = present_values(drawn, 2)
        cost = np.broadcast_to(amortised_cost(drawn, drawn.option(drawn.candidate)), (2,))
        bars.append(Bar(one.path, *map(float, values[:, 0]), *map(float, npv), *map(float, cost)))
    return sorted(bars, key=lambda bar: (-bar.swing, bar.path))


def switches(scenario: Scenario, paths: Sequence[str]) -> list[Switch]:
    """Where the answer turns, for every path whose net present value changes its sign within the quantity's bounds; the
    one nearest to its present value first."""
    found = [switch for path in paths for switch in _switches(scenario, path)]
    return sorted(found, key=lambda one: _distance(one.now, one.value))


def _switches(scenario: Scenario, path: str) -> Iterator[Switch]:
    kind, now = scenario.kind(path), float(scenario.at(path))
    grid = _grid(kind.low, kind.high, now)
    try:
        npv = present_values(scenario.drawn(path, grid.reshape(-1, 1)), grid.size)
    except FilmgateError:
        return  # a volume that the machines cannot make
    for left in np.flatnonzero(np.sign(npv[:-1]) * np.sign(npv[1:]) < 0):
        low, high = float(grid[left]), float(grid[left + 1])
        rising = bool(npv[left + 1] > 0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            above = bool(present_values(scenario.drawn(path, np.array([[middle]])), 1)[0] > 0)
            low, high = (low, middle) if above == rising else (middle, high)
        yield Switch(path, (low + high) / 2, now, kind.unit, "above" if rising else "below")


def _grid(low: float, high: float, now: float) -> NDArray[np.float64]:
    """Values of a quantity within its bounds, evenly spaced or, without an upper end, by equal ratios."""
    if math.isfinite(high):
        width = high - low
        return np.linspace(low + 1e-6 * width, high - 1e-9 * width, _GRID)
    first = max(low, 0.0) + (abs(now) or 1.0) / _FAR
    return np.geomspace(first, (abs(now) or 1.0) * _FAR, _GRID)


def _distance(now: float, value: float) -> float:
    return abs(math.log(value / now)) if now > 0 and value > 0 else math.inf


def heat_map(scenario: Scenario, volumes: Sequence[float], failures: Sequence[float]) -> HeatMap:
    """Net present value for every volume and every failure rate of the baseline, the candidate's being as it is."""
    rate, volume = np.meshgrid(1.0 - np.array(failures), np.array(volumes), indexing="ij")
    drawn = scenario.drawn("workload.usable", volume.reshape(-1, 1))
    drawn = drawn.drawn(f"{scenario.baseline}.quality.review", rate.reshape(-1, 1))
    drawn = drawn.drawn(f"{scenario.baseline}.quality.technical", np.ones((rate.size, 1)))
    npv = present_values(drawn, rate.size).reshape(rate.shape)
    return HeatMap(list(map(float, volumes)), list(map(float, failures)), [[float(v) for v in row] for row in npv])
