"""Pictures of a reckoning, drawn with matplotlib from its plain data: as SVG for a report, or as PNG files.

Colours are those of Okabe and Ito, which people with any kind of colour vision can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from filmgate.economics.costs import usable_cost
from filmgate.economics.formula import number_text
from filmgate.economics.monte_carlo import Simulation
from filmgate.economics.options import Scenario
from filmgate.spec.errors import FilmgateError

Data = Mapping[str, Any]
_BLUE, _ORANGE, _GREEN, _RED, _GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
_COLOURS = (_BLUE, _ORANGE, _GREEN, _RED, "#CC79A7", "#56B4E9", "#F0E442", "#000000", _GREY)
_POINTS = 200
_UNSAID = dict.fromkeys(("Date", "Creator", "Format", "Type"))
"""Metadata that would differ from day to day, or name addresses."""
_EXTRA = "pip install 'filmgate[economics]'"


def cost_pictures(data: Data, scenario: Scenario) -> dict[str, Callable[[], Any]]:
    """Makers of the figures of a cost, by name."""
    return {"costs": lambda: _costs(data), "volume": lambda: _volume(data, scenario)}


def roi_pictures(data: Data, scenario: Scenario, drawn: Simulation) -> dict[str, Callable[[], Any]]:
    """Makers of the figures of a comparison, by name, those of the cost first."""
    return {
        **cost_pictures(data, scenario),
        "cash-flow": lambda: _cash_flow(data),
        "tornado": lambda: _tornado(data),
        "chance": lambda: _chance(data, drawn),
        "heat-map": lambda: _heat_map(data),
    }


def as_svg(makers: Mapping[str, Callable[[], Any]]) -> dict[str, str]:
    """Every figure as an SVG element, the same for the same data."""
    return {name: _saved(make(), "svg").decode() for name, make in makers.items()}


def write_png(makers: Mapping[str, Callable[[], Any]], folder: Path) -> list[Path]:
    """Every figure as a PNG file in ``folder``, which is made; returns where they are.

    Raises:
        OutputError: the folder cannot be written.
    """
    from filmgate.media.publish import writable, write_bytes

    paths = []
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, make in makers.items():
        paths.append(folder / f"{name}.png")
        write_bytes(paths[-1], _saved(make(), "png"))
    return paths


def _saved(figure: Any, kind: str) -> bytes:
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "filmgate", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, dpi=120, metadata=_UNSAID if kind == "svg" else None)
    data = buffer.getvalue()
    return data[data.index(b"<svg") :] if kind == "svg" else data


def _figure(width: float = 7.2, height: float = 3.6) -> tuple[Any, Any]:
    """A figure without pyplot, which would keep it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise FilmgateError("pictures need matplotlib, which is not installed", allowed=_EXTRA) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    return figure, axes


def _costs(data: Data) -> Any:
    """Marginal, amortised and fully loaded cost of a usable video, an option a line, on a logarithmic axis: a cluster
    and an endpoint lie two powers of ten apart."""
    options = data["options"]
    figure, axes = _figure(height=1.2 + 0.36 * len(options))
    series = (("loaded", "with people", _ORANGE, "D", 60), ("amortised", "with machines", _BLUE, "s", 34),
              ("marginal", "one more", _GREEN, "o", 14))  # fmt: skip
    for row, option in enumerate(options):
        values = [max(option[key], 1e-4) for key, *_ in series]
        axes.plot(values, [row] * 3, color=_GREY, lw=1, zorder=1)
    for key, label, colour, marker, size in series:
        costs = [max(option[key], 1e-4) for option in options]
        axes.scatter(costs, range(len(options)), color=colour, marker=marker, s=size, zorder=2, label=label)
    axes.set_yticks(range(len(options)), [option["name"] for option in options])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(f"{data['currency']} per usable video (logarithmic)")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _volume(data: Data, scenario: Scenario) -> Any:
    """Cost of a usable video by volume, machines coming whole."""
    figure, axes = _figure(height=4.0)
    usable = scenario.workload.usable
    volumes = np.geomspace(usable / 20, usable * 50, _POINTS)
    for number, option in enumerate(scenario.options):
        costs = []
        for volume in volumes:
            try:
                costs.append(usable_cost(scenario, option, float(volume)).amortised)
            except FilmgateError:
                costs.append(float("nan"))  # more than its machines can make
        style = "-" if number < len(_COLOURS) else "--"
        axes.plot(volumes, costs, style, color=_COLOURS[number % len(_COLOURS)], label=option.name, lw=1.6)
    axes.axvline(usable, color=_GREY, lw=1, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="usable videos a month",
             ylabel=f"{data['currency']} per usable video")  # fmt: skip
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return figure


def _cash_flow(data: Data) -> Any:
    """What has been saved less what was paid, month by month."""
    figure, axes = _figure()
    table = data["comparison"]["table"]
    axes.axhline(0, color="black", lw=0.8)
    axes.plot(table["month"], table["cumulative"], color=_BLUE, marker="o", ms=3, label="saved, less paid")
    axes.plot(table["month"], table["discounted"], color=_ORANGE, ls="--", label="later money valued less")
    month = data["comparison"]["break_even"]["month"]
    if month and month <= table["month"][-1]:
        axes.axvline(month, color=_GREEN, lw=1)
        axes.annotate(f"month {month}", (month, 0), xytext=(-4, 6), textcoords="offset points", ha="right",
                      color=_GREEN)  # fmt: skip
    axes.set(xlabel="month", ylabel=data["currency"], title=f"{data['candidate']} instead of {data['baseline']}")
    axes.legend(frameon=False)
    return figure


def _tornado(data: Data) -> Any:
    """Net present value with one input at its 10th or 90th percentile at a time."""
    bars = data["tornado"][:10]
    figure, axes = _figure(height=1.2 + 0.36 * max(1, len(bars)))
    now = data["comparison"]["npv"]
    for row, bar in enumerate(bars):
        axes.barh(
            row, bar["npv_low"] - now, left=now, color=_BLUE, height=0.6, label=None if row else "input low (p10)"
        )
        axes.barh(row, bar["npv_high"] - now, left=now, color=_ORANGE, height=0.6,
                  label=None if row else "input high (p90)")  # fmt: skip
    axes.set_yticks(
        range(len(bars)),
        [f"{bar['path']}\n{number_text(bar['low'])} to {number_text(bar['high'])}" for bar in bars],
        fontsize=7,
    )
    axes.invert_yaxis()
    axes.axvline(0, color="black", lw=0.8)
    axes.axvline(now, color=_GREY, lw=0.8, ls=":")
    axes.set_xlabel(f"net present value, {data['currency']}")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _chance(data: Data, drawn: Simulation) -> Any:
    """How likely it is that the money is back by a month."""
    figure, axes = _figure()
    months = np.arange(0, int(data["finance"]["search"]) + 1)
    found = np.sort(drawn.months)
    axes.step(months, np.searchsorted(found, months, side="right") / found.size, where="post", color=_BLUE)
    axes.axvline(data["finance"]["horizon"], color=_GREY, lw=1, ls=":", label="horizon")
    axes.set(xlabel="month", ylabel="chance that it has paid for itself", ylim=(-0.02, 1.02))
    axes.legend(frameon=False)
    return figure


def _heat_map(data: Data) -> Any:
    """Net present value by volume and failures of the baseline."""
    figure, axes = _figure(height=3.4)
    cells = data["heat_map"]
    values = np.array(cells["npv"])
    limit = max(float(np.abs(values).max()), 1.0)
    axes.grid(False)
    axes.imshow(values, cmap="PuOr_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(cells["volumes"])), [f"{volume:.0f}" for volume in cells["volumes"]])
    axes.set_yticks(range(len(cells["failures"])), [f"{failure:.0%}" for failure in cells["failures"]])
    for (row, column), value in np.ndenumerate(values):
        dark = abs(value) > 0.6 * limit
        axes.text(
            column, row, f"{value:,.0f}", ha="center", va="center", fontsize=7, color="white" if dark else "black"
        )
    axes.set(xlabel="usable videos a month", ylabel="failures of the baseline",
             title=f"net present value, {data['currency']}")  # fmt: skip
    return figure
