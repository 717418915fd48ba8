"""A reckoning as plain data, which is printed as JSON, shown in a terminal and drawn into a report: one truth.

Amounts are in ``currency``; months count from 1, and what does not happen within the months looked at is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from filmgate.economics.cash_flow import HORIZONS, Comparison, compare
from filmgate.economics.costs import usable_cost
from filmgate.economics.crossing import volume_matrix
from filmgate.economics.monte_carlo import MONTHS, Simulation, drivers, simulate
from filmgate.economics.options import Option, Scenario
from filmgate.economics.prices import PriceList, warnings_of
from filmgate.economics.scenario import assumptions, prices_used
from filmgate.economics.sensitivity import heat_map, switches, tornado
from filmgate.economics.uncertainty import Correlated, Uncertain

VERSION = 1
_SMALLER = 0.9
"""Parameters of a model, over those of another, below which it is called smaller."""
_BUSY = 0.70
"""Above this share of the available time jobs wait for one another noticeably."""
_VOLUMES = (0.1, 0.25, 0.5, 1, 1.5, 2, 3)
_FAILURES = (0.1, 0.2, 0.33, 0.5, 0.67, 0.8)


@dataclass(frozen=True)
class Inputs:
    """What a reckoning starts from.

    Attributes:
        scenario: Options, workload, finance.
        prices: That were bought from.
        today: By which prices are old.
        given: Paths of numbers that the caller set.
        notes: Sentences about what was left out or could not be used.
    """

    scenario: Scenario
    prices: PriceList
    today: date
    given: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chance:
    """How to draw: what is uncertain, what moves together, how often, from which seed, and whether the variance shall
    be shared out (Sobol indices)."""

    uncertain: tuple[Uncertain, ...]
    correlated: tuple[Correlated, ...] = ()
    draws: int = 10_000
    seed: int = 0
    sobol: bool = False
    drivers: bool = False


def cost_data(inputs: Inputs) -> dict[str, Any]:
    """Cost of a usable video of every option, with the prices, the assumptions and the warnings that belong to it.

    Raises:
        InvalidRequest: an option cannot make the volume.
    """
    scenario = inputs.scenario
    used = prices_used(scenario, inputs.prices)
    options = [_option_data(scenario, option) for option in scenario.options]
    return {
        "version": VERSION,
        "currency": scenario.finance.currency,
        "today": inputs.today.isoformat(),
        "workload": asdict(scenario.workload),
        "finance": asdict(scenario.finance),
        "options": options,
        "prices": [
            {
                "id": row.id, "value": row.value, "low": row.low, "high": row.high, "unit": row.unit,
                "provider": row.provider, "region": row.region, "as_of": row.as_of.isoformat(),
                "undated": row.undated, "age_days": row.age(inputs.today), "stale": row.stale(inputs.today),
                "evidence": row.evidence, "source": row.source,
            }
            for row in used
        ],
        "assumptions": [one._asdict() for one in assumptions(scenario, inputs.given)],
        "given": {path: scenario.at(path) for path in inputs.given},
        "warnings": [*inputs.notes, *_unlike(scenario), *_busy(options), *warnings_of(used, inputs.today)],
    }  # fmt: skip


def _option_data(scenario: Scenario, option: Option) -> dict[str, Any]:
    cost = usable_cost(scenario, option)
    return {
        "name": option.name,
        "title": option.title,
        "kind": option.kind,
        "model": option.model,
        "device": option.device or None,
        "gpus": int(option.gpus) if option.device else None,
        "seconds_per_attempt": option.attempt.generate or None,
        "usable_rate": option.quality.usable,
        "marginal": cost.marginal,
        "amortised": cost.amortised,
        "loaded": cost.loaded,
        "parts": cost.parts,
        "monthly": cost.monthly,
        "attempts_per_usable": cost.attempts,
        "given_up": cost.given_up,
        "machines": cost.machines or None,
        "capacity_per_machine": cost.capacity,
        "utilisation": cost.utilisation,
        "basis": option.basis,
        "unlike": option.unlike or None,
        "prices": list(option.prices),
    }


def title_of(option: Mapping[str, Any]) -> str:
    """What an option is, and how its videos differ from those that are asked about."""
    return f"{option['title']}, {option['unlike']}" if option["unlike"] else str(option["title"])


def _unlike(scenario: Scenario) -> list[str]:
    return [
        f"{option.name} is {option.unlike}: it costs what other videos cost, and is not compared by price"
        for option in scenario.options
        if option.unlike
    ]


def _busy(options: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{one['name']} works {one['utilisation']:.0%} of the time that it can: jobs will wait for one another"
        for one in options
        if one["utilisation"] is not None and one["utilisation"] > _BUSY
    ]


def roi_data(inputs: Inputs, chance: Chance) -> tuple[dict[str, Any], Simulation]:
    """Everything of :func:`cost_data`, and the candidate against the baseline: break-even, present value, what it hangs
    on, and how sure it is.

    Raises:
        InvalidRequest: an option cannot make the volume, or the draws are impossible.
    """
    scenario = inputs.scenario
    found = compare(scenario)
    drawn = simulate(scenario, chance.uncertain, chance.correlated, draws=chance.draws, seed=chance.seed,
                     sobol=chance.sobol, months=sorted({*MONTHS, int(scenario.finance.horizon)}))  # fmt: skip
    paths = [one.path for one in chance.uncertain]
    costs = cost_data(inputs)
    own = next(one["amortised"] for one in costs["options"] if one["name"] == scenario.candidate)
    alike = [one for one in costs["options"] if one["unlike"] is None and one["amortised"] < own]
    cheaper = sorted(alike, key=lambda one: one["amortised"])
    volumes = sorted(scenario.workload.usable * factor for factor in _VOLUMES)
    data = {
        **costs,
        "baseline": scenario.baseline,
        "candidate": scenario.candidate,
        "cheaper": [one["name"] for one in cheaper],
        "another_model": _another_model(scenario),
        "warnings": [*_kept_on(scenario), *costs["warnings"]],
        "comparison": _comparison_data(found),
        "cheaper_volumes": _volumes_data(scenario),
        "switches": [one._asdict() for one in switches(scenario, paths)],
        "tornado": [{**bar._asdict(), "swing": bar.swing} for bar in tornado(scenario, chance.uncertain)],
        "drivers": drivers(scenario, chance.uncertain, seed=chance.seed) if chance.drivers else None,
        "heat_map": heat_map(scenario, volumes, _FAILURES)._asdict(),
        "simulation": _simulation_data(drawn),
        "uncertain": [_distribution(one) for one in chance.uncertain],
        "correlated": [asdict(one) for one in chance.correlated],
    }
    return data, drawn


def _kept_on(scenario: Scenario) -> Iterator[str]:
    """A sentence for each machine of the two that is older than its lifetime in a present value, and still there."""
    last = max(int(scenario.finance.horizon), *HORIZONS)
    for option in (scenario.option(scenario.baseline), scenario.option(scenario.candidate)):
        machine = option.machine
        if machine is not None and machine.lifetime < last and not machine.replace_every:
            yield (
                f"{option.name}: present values beyond {machine.lifetime:g} months keep the machine on, worth"
                f" {machine.residual:.0%} of its price; --set {option.name}.machine.replace_every={machine.lifetime:g}"
                " buys it anew"
            )


def _another_model(scenario: Scenario) -> str | None:
    """What money does not say: that the candidate's videos are those of another model, and how much smaller that is."""
    from filmgate.direction.architectures import describe_published

    before, after = scenario.option(scenario.baseline), scenario.option(scenario.candidate)
    if before.model == after.model:
        return None
    said = f"{before.model} gives way to {after.model}: another model, whose videos have to be compared first."
    old, new = (describe_published(one.model.partition("+")[0]).experts[0].parameters / 1e9 for one in (before, after))
    if new < _SMALLER * old:
        return f"{said} It is a smaller one, {new:.0f} in place of {old:.0f} billion parameters at work."
    return said


def _volumes_data(scenario: Scenario) -> dict[str, dict[str, list[list[float | None]]]]:
    """Where the row is cheaper than the column: pairs of volumes, the upper null where there is no end."""
    return {
        row: {column: [[low, _finite(high)] for low, high in found] for column, found in columns.items()}
        for row, columns in volume_matrix(scenario).items()
    }


def _comparison_data(found: Comparison) -> dict[str, Any]:
    return {
        "upfront": found.upfront,
        "monthly_saving": found.monthly_saving,
        "payback_months": found.payback,
        "break_even": {**asdict(found.break_even), "text": str(found.break_even)},
        "discounted_break_even": {**asdict(found.discounted), "text": str(found.discounted)},
        "npv": found.npv,
        "npv_by_horizon": {str(months): npv for months, npv in found.npv_by_horizon.items()},
        "irr": found.irr,
        "roi": found.roi,
        "table": found.table,
    }


def _simulation_data(drawn: Simulation) -> dict[str, Any]:
    def spread(values: Any) -> dict[str, float | None]:
        return {name: _finite(value) for name, value in asdict(values).items()}

    return {
        "draws": drawn.draws,
        "seed": drawn.seed,
        "npv": spread(drawn.npv),
        "break_even_month": spread(drawn.break_even),
        "baseline_amortised": spread(drawn.baseline),
        "candidate_amortised": spread(drawn.candidate),
        "chance_of_positive_npv": drawn.positive,
        "chance_of_break_even_by_month": {str(month): share for month, share in drawn.by_month.items()},
        "chance_of_none_within_search": drawn.never,
    }


def _distribution(one: Uncertain) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if not (isinstance(value, float) and math.isnan(value))}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
