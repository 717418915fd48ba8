"""Curves of training runs as a picture, from the JSON lines that the trainers leave."""

from __future__ import annotations

import argparse
import json
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
}
"""What is drawn, where a run has it, and how the axis is called."""


def read_curve(path: Path) -> list[dict[str, Any]]:
    """The measurements of a run, without its closing line."""
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [line for line in lines if "step" in line]


def draw(paths: Sequence[Path], picture: Path) -> None:
    """One panel per run: its measurements against the clips (or steps) that it has seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(paths), figsize=(4.6 * len(paths), 3.2), squeeze=False, layout="constrained")
    for axis, path in zip(axes[0], paths, strict=True):
        curve = read_curve(path)
        clock = "seen" if "seen" in curve[0] else "step"
        for key, label in KEYS.items():
            if key in curve[0]:
                axis.plot([row[clock] for row in curve], [row[key] for row in curve], marker="o", ms=3, label=label)
        axis.set(title=path.stem, xlabel={"seen": "clips seen", "step": "steps"}[clock])
        axis.locator_params(axis="x", nbins=5)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Command line: ``python -m filmgate.training.curves runs/vae/vae.jsonl runs/base/base.jsonl --picture FILE``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args()
    draw(args.runs, args.picture)


if __name__ == "__main__":
    main()
