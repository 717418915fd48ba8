"""A comparison drawn many times: how likely a break-even is, and by when, where the inputs are not known exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filmgate.economics.cash_flow import break_even_months, net_present_value, savings
from filmgate.economics.costs import amortised_cost
from filmgate.economics.options import Scenario
from filmgate.economics.uncertainty import Correlated, Uncertain, draw
from filmgate.spec.errors import InvalidRequest

MONTHS = (4, 12, 24, 36)
"""By which a break-even is asked for."""
_MOST = 1_000_000
_PERCENTILES = (10, 50, 90)


@dataclass(frozen=True)
class Spread:
    """The 10th, 50th and 90th percentile. Months may be infinite: no break-even within the months looked at."""

    p10: float
    p50: float
    p90: float


@dataclass(frozen=True)
class Simulation:
    """What the draws gave.

    Attributes:
        draws, seed: How many, and of which sequence.
        npv: Net present value over the horizon.
        break_even: Month of the break-even.
        baseline, candidate: Amortised cost of a usable video.
        positive: Share of draws with a net present value above 0.
        by_month: Share of draws that have broken even by the end of a month.
        never: Share that does not within the months looked at.
        values: Net present values of all draws, [draws].
        months: Break-even months of all draws, [draws].
    """

    draws: int
    seed: int
    npv: Spread
    break_even: Spread
    baseline: Spread
    candidate: Spread
    positive: float
    by_month: dict[int, float]
    never: float
    values: NDArray[np.float64]
    months: NDArray[np.float64]


def simulate(
    scenario: Scenario,
    uncertain: Sequence[Uncertain],
    correlated: Sequence[Correlated] = (),
    *,
    draws: int = 10_000,
    seed: int = 0,
    sobol: bool = False,
    months: Sequence[int] = MONTHS,
) -> Simulation:
    """Draw the comparison; the same seed gives the same numbers.

    Raises:
        InvalidRequest: ``draws`` or ``seed`` is out of range, the correlations contradict each other, or a draw needs
            machines that there cannot be.
    """
    if not 1 <= draws <= _MOST:
        raise InvalidRequest("draws", f"{draws} is out of range", allowed=f"1 to {_MOST}")
    if seed < 0:
        raise InvalidRequest("seed", f"{seed} is out of range", allowed="0 or more", nearest="0")
    drawn = with_draws(scenario, draw(uncertain, correlated, draws, seed, sobol=sobol))
    values = present_values(drawn, draws)
    baseline, candidate = drawn.option(scenario.baseline), drawn.option(scenario.candidate)
    finance = scenario.finance
    far, _ = savings(drawn, baseline, candidate, int(max(finance.horizon, finance.search)))
    found = break_even_months(np.broadcast_to(far, (draws, far.shape[-1])))
    return Simulation(
        draws=draws,
        seed=seed,
        npv=_spread(values),
        break_even=_spread(found),
        baseline=_spread(amortised_cost(drawn, baseline)),
        candidate=_spread(amortised_cost(drawn, candidate)),
        positive=float((values > 0).mean()),
        by_month={month: float((found <= month).mean()) for month in months},
        never=float(np.isinf(found).mean()),
        values=values,
        months=found,
    )


def with_draws(scenario: Scenario, drawn: dict[str, NDArray[np.float64]]) -> Scenario:
    """The scenario with arrays of draws, [draws, 1], at paths."""
    for path, values in drawn.items():
        scenario = scenario.drawn(path, values)
    return scenario


def present_values(drawn: Scenario, draws: int) -> NDArray[np.float64]:
    """Net present value of every draw, [draws]."""
    baseline, candidate = drawn.option(drawn.baseline), drawn.option(drawn.candidate)
    net, remains = savings(drawn, baseline, candidate, int(drawn.finance.horizon))
    return np.broadcast_to(net_present_value(net, remains, drawn.finance.discount), (draws,))


def drivers(
    scenario: Scenario, uncertain: Sequence[Uncertain], *, points: int = 1024, seed: int = 0
) -> dict[str, float]:
    """Which inputs make the net present value uncertain: total Sobol indices by path, the largest first.

    A share near 1 means that nearly all of the variance goes away when this input is known. Draws are independent.
    """
    from filmgate.economics.uncertainty import special

    if len(uncertain) < 2:
        return dict.fromkeys((one.path for one in uncertain), 1.0)  # scipy wants two inputs at least
    special()
    from scipy.stats import sobol_indices

    def values(u: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = {one.path: row.reshape(-1, 1) for one, row in zip(uncertain, u, strict=True)}
        return present_values(with_draws(scenario, columns), u.shape[1]).reshape(1, -1).copy()

    distributions: Any = list(uncertain)  # all that is asked of them is ppf
    found = sobol_indices(func=values, n=points, dists=distributions, rng=np.random.default_rng(seed))
    totals = {one.path: float(share) for one, share in zip(uncertain, found.total_order.reshape(-1), strict=True)}
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def _spread(values: NDArray[np.float64]) -> Spread:
    """Percentiles; those of months are months that were drawn, since nothing lies between 40 and infinity."""
    method = "inverted_cdf" if np.isinf(values).any() else "linear"
    low, middle, high = (float(np.percentile(values, at, method=method)) for at in _PERCENTILES)  # type: ignore[call-overload]
    return Spread(low, middle, high)


def month_text(month: float) -> str:
    """A month of a spread in words."""
    return "not within the months looked at" if math.isinf(month) else f"{month:.0f}"
