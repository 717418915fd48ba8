"""Draws how near the parts of a forward pass are to what the GPU can do: docs/images/roofline.png, from newest claims.

    python bench/roofline.py [--output docs/images/roofline.png]

The roofs are those of the data sheet: 989 TFLOP/s in bf16 and 4.8 TB/s on an H200. Operations and bytes are counted
from the shapes, each input read once and each output written once; seconds are those of ``gpu.*.forward.profile.*``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np

from claims import newest, read
from filmgate.engine.models.config import DitConfig
from forward import CLAIMED, ROWS, row_of

mpl.use("Agg")
PEAK, BANDWIDTH = 989e12, 4.8e12
HERE = Path(__file__).parent
NORM_OPERATIONS = 20
"""Of a fused norm, per number."""


class Part(NamedTuple):
    """Operations and bytes of a kind of kernel in one pass."""

    operations: float
    bytes: float


def parts_of(config: DitConfig, tokens: int) -> dict[str, Part]:
    """What one pass for one text does, by kind of kernel; bf16, with the residual stream in fp32."""
    n, d, f, layers, rows = tokens, config.dim, config.ffn_dim, config.num_layers, config.text_len
    square, wide = 6 * (2 * n * d * d), 2 * (2 * n * d * f)
    moved = 6 * 2 * (2 * n * d + d * d) + 2 * 2 * (n * (d + f) + d * f)
    return {
        "attention": Part(layers * 4.0 * n * (n + rows) * d, layers * 2.0 * (6 * n * d + 2 * rows * d)),
        "products": Part(layers * float(square + wide), layers * float(moved)),
        "norms": Part(layers * NORM_OPERATIONS * 7.0 * n * d, layers * 52.0 * n * d),
    }


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "images" / "roofline.png")
    options = parser.parse_args()
    from matplotlib import pyplot

    found = {claim.id: claim.value for claim in newest(read())}
    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=110)
    intensity = np.logspace(-1, 5.2, 200)
    axes.loglog(intensity, np.minimum(PEAK, BANDWIDTH * intensity) / 1e12, color="black", lw=1.2)
    for marker, name in zip("osD", ROWS, strict=True):
        row = row_of(name, small=False)
        for colour, (kind, part) in zip(("C0", "C1", "C2"), parts_of(row.sizes.dit, row.tokens).items(), strict=True):
            seconds = found[f"{CLAIMED[name]}.profile.{kind}"] / 1000
            reached, at = part.operations / seconds, part.operations / part.bytes
            roof = min(PEAK, BANDWIDTH * at)
            axes.plot(at, reached / 1e12, marker, color=colour, ms=7)
            label = f"{name}, {kind}: {100 * reached / roof:.0f} % of its roof"
            axes.plot([], [], marker, color=colour, label=label)
    axes.set_xlabel("operations per byte")
    axes.set_ylabel("TFLOP/s")
    axes.set_title("One forward pass on an H200: 989 TFLOP/s (bf16), 4.8 TB/s")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(options.output)


if __name__ == "__main__":
    main()
