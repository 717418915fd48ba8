"""Does migrating prompts help? The same scenes asked for in technical notation and as migrated, painted and read.

    python bench/migration_truth.py [--device cuda] [--limit 60] [--steps 20] [--json OUT] [--sheet PNG]

Sixty technical-style prompts (bench/migration_prompts.py) are painted by Toybox as they are and as
``filmgate.direction.migration`` rewrites them, with the same seed, settings and negative prompt, and read by the truth
readers of bench/toybox_truth.py. Differences are paired by prompt, with 95 % bootstrap intervals over prompts. Beside
them stand the world's own captions of the same scenes: what a prompt in the words that Toybox was trained on reaches.

Toybox knows 1,000-odd words and no other tool's notation, so this says how much notation costs a small model that never
saw it; it says nothing about umT5-xxl, which saw the web. Claims ``migration.*`` are written with 60 prompts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from claims import RESULTS, Measured, commit, processor, report, today, versions, write
from filmgate.direction.migration.migrate import Migration, migrate
from filmgate.direction.prompts import unknown_words
from filmgate.training.truth import Interval, Question, interval, paired_difference, score
from filmgate.training.world.captions import Captioner
from filmgate.training.world.catalogue import FIRST
from migration_prompts import technical_questions
from toybox_bench import HERE, Bench, draw_sheet
from toybox_record import Record

PROMPTS = 60
ARMS = ("original", "migrated", "captions")
Rows = dict[str, NDArray[np.float64]]


def arms(asked: Sequence[Question], migrations: Sequence[Migration]) -> dict[str, list[str]]:
    """Prompts of each arm, of the same scenes in the same order."""
    writer = Captioner(0, plain=True)
    return {
        "original": [question.prompt for question in asked],
        "migrated": [made.text for made in migrations],
        "captions": [writer(question.facts) for question in asked],
    }


def overall(rows: Rows, count: int) -> NDArray[np.float64]:
    """Share of stated facts shown per prompt, over the attributes that every prompt states."""
    return np.mean([row for row in rows.values() if len(row) == count], axis=0)


def measure(options: argparse.Namespace, record: Record) -> None:
    """Paint, read and compare."""
    bench = Bench(options, torch.device(options.device))
    record.put("setup.settings", str(bench.settings))
    asked = technical_questions(options.limit)
    migrations = [migrate(question.prompt) for question in asked]
    record.put("migration", {
        "coverage": float(np.mean([made.ledger.coverage for made in migrations])),
        "passed": sum(made.passed for made in migrations),
        "prompts": [{"original": made.source, "migrated": made.text} for made in migrations],
    })  # fmt: skip
    found: dict[str, Rows] = {}
    for name, prompts in arms(asked, migrations).items():
        seen = bench.see(bench.painter, prompts, [q.seed for q in asked], bench.settings, 16)
        draw_sheet(options.sheet, f"-{name}", seen, prompts)
        rows = score(seen.reading, asked)
        found[name] = {"overall": overall(rows, len(asked)), **rows}
        record.table(f"truth.{name}", name, found[name])
        if (vocabulary := bench.painter.model.vocabulary) is not None:
            unknown = np.array([len(unknown_words(prompt, vocabulary)) for prompt in prompts], dtype=np.float64)
            record.number(f"unknown_words.{name}", interval(unknown))
    for name, row in found["migrated"].items():
        difference = paired_difference(row, found["original"][name]).scaled(100, 2)
        record.number(f"migrated_minus_original.{name}", difference)


def measured(numbers: Mapping[str, Any]) -> Iterator[Measured]:
    """Claims of a run: shares in percent, differences in points, each with the ends of its interval."""
    for arm in ARMS:
        for name, value in numbers["truth"][arm].items():
            yield from _with_ends(f"migration.{arm}.{name}", value, "%", higher=True)
    for arm, value in numbers.get("unknown_words", {}).items():
        yield from _with_ends(f"migration.{arm}.unknown_words", value, "words", higher=False)
    for name, value in numbers["migrated_minus_original"].items():
        yield from _with_ends(f"migration.migrated_minus_original.{name}", value, "points", higher=True)
    yield Measured("migration.coverage", round(100 * numbers["migration"]["coverage"], 2), "%")


def _with_ends(name: str, value: Mapping[str, float], unit: str, *, higher: bool) -> Iterator[Measured]:
    known = Interval(**value)  # type: ignore[arg-type]
    yield Measured(name, known.mean, unit, None, higher)
    yield Measured(f"{name}.low", known.low, unit, None, higher)
    yield Measured(f"{name}.high", known.high, unit, None, higher)


def parse() -> argparse.Namespace:
    """The command line; what :class:`toybox_bench.Bench` needs besides is filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped one")
    parser.add_argument("--readers", type=Path, default=HERE / "readers" / "rich.planes")
    parser.add_argument(
        "--cache", type=Path, default=HERE.parent / ".cache", help="where the shipped model is unpacked"
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the large layers")
    parser.add_argument("--limit", type=int, default=PROMPTS, help="prompts per arm")
    parser.add_argument("--steps", type=int, help="default: the model's own")
    parser.add_argument("--batch", type=int, help="prompts painted at once; default: 100 on a GPU, 4 on a CPU")
    parser.add_argument("--json", type=Path, help="where to keep all numbers, written as they come")
    parser.add_argument("--sheet", type=Path, help="PNG of the first prompts of each arm, and what was read")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the claims")
    options = parser.parse_args()
    others = {"dense": None, "compile": False, "prompts": 1, "guidance_high": None, "guidance_low": None, "shift": None,
              "boundary": None, "world": FIRST, "triples": None, "member": None, "family": None}  # fmt: skip
    return argparse.Namespace(**others, **vars(options))


def main() -> int:
    """Measure and, with all prompts, publish; 1 if something failed."""
    options = parse()
    device = torch.device(options.device)
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    setup = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    setup["world"] = options.world.name
    facts = {"hardware": hardware, "versions": versions(), "date": today(), "commit": commit()}
    record = Record(options.json, {**setup, **facts})
    record.part("migration", lambda: measure(options, record))
    if record.numbers["errors"]:
        return 1
    if options.limit < PROMPTS:
        print(f"no claims are written: fewer than {PROMPTS} prompts", file=sys.stderr)
        return 0
    report(write("migration_truth", measured(record.numbers), hardware=hardware, folder=options.results))
    print(json.dumps(record.numbers["migrated_minus_original"]["overall"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
