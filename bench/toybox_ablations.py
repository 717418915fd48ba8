"""What each choice buys the toy model: boundary, steps by solver, guidance of either expert, and other models beside.

    python bench/toybox_ablations.py [--studies boundary steps guidance models] [--prompts 200] [--rows FILE]
                                     [--models "one model, equal steps=DIR" ...]
    python bench/toybox_ablations.py --plot docs/images/toybox-ablations.png [--rows FILE]

A study changes one thing at a time and asks all of its variants the same held-out prompts with the same seeds, so that
every variant is compared with the defaults prompt by prompt. Every finished variant is a line of the rows' file; one
that is there already, by the same weights, reader and prompts, is not painted again, and a killed run goes on. Models
in ``--models`` are painted with the pair's settings (guidance by noise level included): a dense partner trained for as
many steps as the pair, or with as many parameters, or in the manner of 2.1. bench/toybox_ablations_table prints the
rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from claims import commit, processor, today
from filmgate.training.painting import Painter
from filmgate.training.truth import HELD_OUT_SEED, Interval, Question, question_scenes, questions, score
from toybox_bench import HERE, Bench
from toybox_claims import GOALS
from toybox_compare import means
from toybox_truth import add_model_options, fingerprint

ROWS = HERE.parent / "docs" / "toybox" / "ablations.jsonl"
ABLATION_SEED = HELD_OUT_SEED + 4
"""Questions of their own: no published number is chosen on its own test."""
DEFAULTS = "defaults"
STUDIES: dict[str, tuple[str, ...]] = {
    "boundary": tuple(f"boundary={b:g}" for b in (0.75, 0.8, 0.85, 0.875, 0.9, 0.95)),
    "steps": tuple(
        f"solver={solver},steps={steps}"
        for solver in ("unipc", "dpmpp_2m", "euler", "res_multistep")
        for steps in (4, 8, 12, 20, 30)
    ),
    "guidance": (
        *(f"high={g:g}" for g in (1, 2, 4, 6, 8)), *(f"low={g:g}" for g in (1, 2, 4, 6, 8)),
    ),
    "models": (),
}  # fmt: skip
"""Changes of each study; the defaults are asked in all of them."""
ATTRIBUTES = ("colour", "shape", "two_object_binding", "motion_direction", "camera", "count")


@dataclass(frozen=True)
class Variant:
    """Something to be painted: changed settings, or another model."""

    study: str
    name: str
    changes: str = ""
    model: Path | None = None


def variants(options: argparse.Namespace) -> Iterator[Variant]:
    """All that is asked for; the defaults first, since everything is compared with them."""
    yield Variant(DEFAULTS, DEFAULTS)
    for study in options.studies:
        for changes in STUDIES[study]:
            yield Variant(study, changes, changes)
        if study == "models":
            for entry in options.models:
                name, _, directory = entry.rpartition("=")
                yield Variant(study, name or Path(directory).name, model=Path(directory))


class Rows:
    """Finished variants, a JSON line each; a line that a killed run left half-written is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read_rows(path)
        if path.exists():
            whole = "".join(json.dumps(row) + "\n" for row in self.rows)
            if whole != path.read_text():
                part = path.with_suffix(path.suffix + ".part")
                part.write_text(whole)
                part.replace(path)

    def painted(self, key: Mapping[str, str]) -> dict[str, Any] | None:
        """What was painted and read so already, in whatever study."""
        return next((row for row in self.rows if row["key"] == key), None)

    def has(self, variant: Variant, key: Mapping[str, str]) -> bool:
        """Whether the variant is there."""
        named = (variant.study, variant.name)
        return any(row["key"] == key and (row["study"], row["variant"]) == named for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; none where there is no file."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def measure(bench: Bench, asked: list[Question], variant: Variant, painter: Painter) -> dict[str, Any]:
    """Paint and read one variant: answers by attribute as strings of 0 and 1."""
    settings = bench.settings.changed(variant.changes)
    scenes = question_scenes(len(asked), seed=ABLATION_SEED, world=bench.world)
    seen = bench.answers(painter, asked, settings, given=bench.told_beside(scenes))
    answers = {name: "".join(str(int(v)) for v in row) for name, row in score(seen.reading, asked).items()}
    return {"settings": str(settings), "prompts": len(asked), "answers": answers}


def run(options: argparse.Namespace) -> None:
    """Paint what is not there yet."""
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    bench, rows = Bench(options, device), Rows(options.rows)
    asked = questions(options.prompts, seed=ABLATION_SEED, world=bench.world)
    said = hashlib.sha256(json.dumps([(q.prompt, q.seed) for q in asked]).encode()).hexdigest()[:12]
    own, reader = fingerprint(Path(bench.painter.model.path)), fingerprint(options.readers)
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    others: dict[Path, Painter] = {}
    for variant in variants(options):
        painter, weights = bench.painter, own
        if variant.model is not None:
            painter = others.setdefault(variant.model, bench.open(variant.model))
            weights = fingerprint(Path(painter.model.path))
        settings = str(bench.settings.changed(variant.changes))
        key = {"weights": weights, "reader": reader, "questions": said, "settings": settings}
        if rows.has(variant, key):
            continue
        print(f"-- {variant.study}: {variant.name}", file=sys.stderr, flush=True)
        row = rows.painted(key)
        if row is None:
            where = {"hardware": hardware, "date": today(), "commit": commit(), "world": bench.world.name}
            row = {**measure(bench, asked, variant, painter), "key": key, **where}
        row = {**row, "study": variant.study, "variant": variant.name}
        rows.add(row)
        print(line(row), flush=True)


def answers_of(row: Mapping[str, Any]) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Right (1) or wrong (0) of every prompt, by attribute."""
    return {name: np.array(list(map(int, text)), dtype=np.float64) for name, text in row["answers"].items()}


def mean_of(row: Mapping[str, Any]) -> Interval:
    """Mean over the attributes with a goal, percent."""
    rows = answers_of(row)
    return means([(rows[n], rows[n]) for n, goal in GOALS.items() if goal and n in rows], lambda a, _: a)


def against_defaults(row: Mapping[str, Any], rows: list[dict[str, Any]]) -> Interval | None:
    """Difference of that mean from the newest defaults that were asked the same and read alike, points."""
    asked = [row["key"][name] for name in ("reader", "questions")]
    same = [r for r in rows if r["study"] == DEFAULTS and [r["key"]["reader"], r["key"]["questions"]] == asked]
    if not same:
        return None
    mine, base = answers_of(row), answers_of(same[-1])
    pairs = [(mine[n], base[n]) for n, goal in GOALS.items() if goal and n in mine and n in base]
    return means(pairs, lambda a, b: a - b)


def line(row: Mapping[str, Any]) -> str:
    """One row in words."""
    mean = mean_of(row)
    parts = [f"{name}={100 * values.mean():.1f}" for name, values in answers_of(row).items() if name in ATTRIBUTES]
    return (
        f"{row['study']}: {row['variant']:<32} {mean.mean:.1f} ({mean.low:.1f} to {mean.high:.1f})  {' '.join(parts)}"
    )


def plot(rows: list[dict[str, Any]], picture: Path) -> None:
    """A panel per study: mean over attributes with its interval, the defaults as a band."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    studies = [study for study in STUDIES if any(row["study"] == study for row in rows)]
    figure, axes = pyplot.subplots(
        1, len(studies), figsize=(4.2 * len(studies), 3.4), squeeze=False, layout="constrained"
    )
    base = next((mean_of(row) for row in reversed(rows) if row["study"] == DEFAULTS), None)
    for axis, study in zip(axes.flat, studies, strict=True):
        for label, found in lines_of(study, [row for row in rows if row["study"] == study]).items():
            middles = [interval.mean for _, interval in found]
            ends = [[i.mean - i.low for _, i in found], [i.high - i.mean for _, i in found]]
            line = "none" if study == "models" else "-"  # models have no order
            names = [textwrap.fill(name, 12) for name, _ in found]
            axis.errorbar(names, middles, yerr=ends, ls=line, marker="o", ms=3, capsize=2, label=label)
        if base is not None:
            axis.axhspan(base.low, base.high, alpha=0.15, color="grey", label="defaults, 95 %")
        axis.set(title=study, ylabel="mean of attributes with a goal, %")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def lines_of(study: str, rows: list[dict[str, Any]]) -> dict[str, list[tuple[str, Interval]]]:
    """What is drawn of a study: by line, the names on its axis with their means."""
    found: dict[str, list[tuple[str, Interval]]] = {}
    for row in rows:
        parts = dict(part.split("=") for part in row["variant"].split(",")) if study != "models" else {}
        match study:
            case "steps":
                label, name = parts["solver"], parts["steps"]
            case "boundary":
                label, name = study, parts["boundary"]
            case "guidance":
                [(label, name)] = parts.items()
            case _:
                label, name = "other models", row["variant"]
        found.setdefault(label, []).append((name, mean_of(row)))
    return found


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser, prompts=200)
    parser.add_argument("--studies", nargs="*", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--models", nargs="*", default=[], metavar="NAME=DIR", help="other models, for study models")
    parser.add_argument("--rows", type=Path, default=ROWS, help="JSON lines; what is there is kept")
    parser.add_argument("--plot", type=Path, help="draw the rows into this picture, and paint nothing")
    options = parser.parse_args()
    options.triples = None
    return options


def main() -> None:
    """Measure, or draw."""
    options = parse()
    if options.plot is not None:
        plot(read_rows(options.rows), options.plot)
    else:
        run(options)


if __name__ == "__main__":
    main()
