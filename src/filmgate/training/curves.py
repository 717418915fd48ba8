"""Curves of training runs as a picture, from the JSON lines that the trainers leave."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KEYS = {
    "psnr": "PSNR, dB",
    "object_psnr": "PSNR on objects, dB",
    "accuracy": "share of facts read",
    "validation": "flow-matching loss on unseen clips",
    "colour": "reader: colour",
    "motion": "reader: motion",
    "fixed_noise": "loss at fixed noise, with the LoRA",
    "base": "the same by the base",
}
"""What is drawn, where a run has it, and how the axis is called."""


def read_curve(path: Path) -> list[dict[str, Any]]:
    """The measurements of a run, without its closing line."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [line for line in lines if "step" in line]


_COLUMNS = 4
_HIGHEST = ("high_noise", "camera_high")
"""Runs of which only the loss of the highest tenth of the noise levels is of interest: they paint no others."""


def _lines(name: str, curve: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """What is drawn of a run, by label."""
    if name in _HIGHEST and "deciles" in curve[0]:
        return {"flow-matching loss, noise levels from 0.9": [row["deciles"][-1] for row in curve]}
    return {label: [row[key] for row in curve] for key, label in KEYS.items() if key in curve[0]}


def draw(paths: Sequence[Path], picture: Path) -> None:
    """One panel per run: its measurements against the clips (or steps) that it has seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = min(_COLUMNS, len(paths))
    rows = -(-len(paths) // columns)
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.6 * columns, 2.8 * rows), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(paths) :]:
        axis.remove()
    for axis, path in zip(axes.flat, paths, strict=False):
        curve = read_curve(path)
        clock = "seen" if "seen" in curve[0] else "step"
        for label, values in _lines(path.stem, curve).items():
            axis.plot(*_in_sittings([row[clock] for row in curve], values), marker="o", ms=3, label=label)
        axis.set(title=path.stem, xlabel={"seen": "clips seen", "step": "steps"}[clock])
        axis.locator_params(axis="x", nbins=5)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def _in_sittings(clock: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Both axes of a curve.

    A sitting counts from 0 again, on other unseen clips: it stands behind the one before it, and no line leads there.
    """
    x: list[float] = []
    y: list[float] = []
    before = 0.0
    for index, (now, value) in enumerate(zip(clock, values, strict=True)):
        if index and now < clock[index - 1]:
            before += clock[index - 1]
            x.append(before)
            y.append(math.nan)
        x.append(before + now)
        y.append(value)
    return x, y


def main() -> None:
    """Command line: ``python -m filmgate.training.curves runs/vae/vae.jsonl runs/base/base.jsonl --picture FILE``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args()
    draw(args.runs, args.picture)


if __name__ == "__main__":
    main()
