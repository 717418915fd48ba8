"""Two runs of toybox_truth.py on the same questions, prompt by prompt: 2.1-style against 2.2-style, four steps against
twenty, a LoRA against its base.

    python bench/toybox_compare.py FIRST.json SECOND.json [--names 2.2 2.1] [--results DIR]

Prints a Markdown table of both shares and of their difference, first less second, in points, with the 95 % bootstrap
interval over prompts. The same prompts and seeds were painted by both, so that what is hard about a prompt cancels.
``all`` is the mean over the attributes that have a goal, and ``kept`` the first's part of the second's ``all``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from claims import Measured, report, write
from filmgate.spec.errors import InvalidRequest
from filmgate.training.truth import DRAWS, Interval, interval, paired_difference
from toybox_claims import GOALS, KNOWN

Numbers = NDArray[np.float64]
FOUR_STEPS = {"all": -6.0, "kept": 85.0}
"""Points and percent of what twenty steps show that four are to keep."""
Answers = dict[str, Numbers]


class Compared(NamedTuple):
    """Shares of both in percent, and their difference in points (of ``kept``: a ratio in percent, and no shares)."""

    first: Interval
    second: Interval
    difference: Interval


def answers_of(numbers: Mapping[str, Any]) -> Answers:
    """Right (1) or wrong (0) of every prompt, by attribute."""
    rows = numbers["answers"]["truth-model"]
    return {name: np.array(list(map(int, text)), dtype=np.float64) for name, text in rows.items()}


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Compared]:
    """Every attribute that both runs have, then ``all`` and ``kept``.

    Raises:
        InvalidRequest: they were not asked the same.
    """
    asked = [numbers["setup"].get("questions") for numbers in (first, second)]
    if None in asked or asked[0] != asked[1]:
        raise InvalidRequest("runs", "their questions differ", allowed="runs with the same prompts, world and seeds")
    ours, theirs = answers_of(first), answers_of(second)
    names = [name for name in ours if name in theirs]
    result = {
        name: Compared(
            interval(ours[name]).scaled(100, 2),
            interval(theirs[name]).scaled(100, 2),
            paired_difference(ours[name], theirs[name]).scaled(100, 2),
        )
        for name in names
    }
    promised = [(ours[name], theirs[name]) for name in names if GOALS.get(name) is not None]
    if promised:
        first_mean, second_mean = means(promised, lambda a, _: a), means(promised, lambda _, b: b)
        result["all"] = Compared(first_mean, second_mean, means(promised, lambda a, b: a - b))
        kept = means(promised, ratio)
        result["kept"] = Compared(first_mean, second_mean, kept)
    return result


def means(pairs: Sequence[tuple[Numbers, Numbers]], of: Callable[[Numbers, Numbers], Numbers]) -> Interval:
    """Something of the means over attributes of both, times 100; prompts are resampled within every attribute, the same
    for both."""
    generator = np.random.default_rng(0)
    drawn, true = [], []
    for one, other in pairs:
        index = generator.integers(0, len(one), (DRAWS, len(one)))
        drawn.append((one[index].mean(1), other[index].mean(1)))
        true.append((one.mean(keepdims=True), other.mean(keepdims=True)))
    (first, second), middle = np.mean(drawn, axis=0), np.mean(true, axis=0)
    low, high = np.quantile(of(first, second), [0.025, 0.975])
    count = max(len(one) for one, _ in pairs)
    return Interval(float(of(*middle)[0]), float(low), float(high), count).scaled(100, 2)


def ratio(first: Numbers, second: Numbers) -> Numbers:
    """Part of the second that the first is; nothing is left of nothing."""
    return np.divide(first, second, out=np.zeros_like(first), where=second > 0)


def table(compared: Mapping[str, Compared], names: tuple[str, str]) -> str:
    """As Markdown."""
    rows = [
        f"| shown | {names[0]}, % | {names[1]}, % | difference, points | prompts |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, (first, second, difference) in compared.items():
        unit = " %" if name == "kept" else ""
        value = f"{difference.mean:.1f}{unit} ({difference.low:.1f} to {difference.high:.1f})"
        shares = ("", "") if name == "kept" else (f"{first.mean:.1f}", f"{second.mean:.1f}")
        rows.append(f"| {' | '.join([name.replace('_', ' '), *shares, value, str(difference.n)])} |")
    return "\n".join(rows)


def measured(compared: Mapping[str, Compared], names: tuple[str, str]) -> Iterator[Measured]:
    """The differences as claims."""
    first, second = (re.sub(r"[^a-z0-9]+", "_", name.lower()) for name in names)
    goals = FOUR_STEPS if (first, second) == ("fewstep", "toybox_t2v") else {}
    for name, (_, _, value) in compared.items():
        unit = "%" if name == "kept" else "points"
        claim = f"toybox.compared.{first}_minus_{second}.{name}"
        yield Measured(claim, value.mean, unit, goals.get(name))
        for end in ("low", "high"):
            yield Measured(f"{claim}.{end}", getattr(value, end), unit)


def main() -> None:
    """Compare; with ``--results``, claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--names", nargs=2, help="what to call them; default: the members")
    parser.add_argument("--results", type=Path, help="folder for claims; none are written without")
    options = parser.parse_args()
    first, second = (json.loads(path.read_text()) for path in (options.first, options.second))
    names = tuple(options.names or (numbers["setup"]["member"] for numbers in (first, second)))
    compared = compare(first, second)
    print(table(compared, names))
    if options.results:
        known = {name: first["setup"][name] for name in KNOWN if first["setup"][name] != "unknown"}
        name = f"toybox_compared_{'_'.join(re.sub(r'[^a-z0-9]+', '-', name.lower()) for name in names)}"
        hardware = first["setup"]["hardware"]
        report(write(name, measured(compared, names), hardware=hardware, folder=options.results, known=known))


if __name__ == "__main__":
    main()
