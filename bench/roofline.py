"""Draws how near the parts of a forward pass, and decoding, are to what the GPU can do, from newest claims.

    python bench/roofline.py [--output docs/images/roofline.png]

Operations, bytes and roofs are those of bench/floors.py, what was reached that of bench/reached.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from claims import newest, read
from floors import BANDWIDTH, PEAK, PEAK_8BIT
from forward_measure import ROWS
from forward_vae import VAES
from reached import points

mpl.use("Agg")
HERE = Path(__file__).parent
KINDS = {"attention": "C0", "products": "C1", "norms": "C2", "convolution": "C3"}
MARKERS = dict(zip((*ROWS, *VAES), "osD^v", strict=True))


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "images" / "roofline.png")
    options = parser.parse_args()
    from matplotlib import pyplot

    drawn = points({claim.id: claim.value for claim in newest(read())})
    figure, axes = pyplot.subplots(figsize=(8, 5), dpi=110)
    intensity = np.logspace(-1, 5.2, 200)
    roofs = [(PEAK, "-")] + [(PEAK_8BIT, ":")] * any(point.way for point in drawn)
    for roof, line in roofs:
        axes.loglog(intensity, np.minimum(roof, BANDWIDTH * intensity) / 1e12, line, color="black", lw=1.2)
    for point in drawn:
        marker, colour = MARKERS[point.name], KINDS[point.kind]
        face = colour if not point.way else "none"
        axes.plot(point.intensity, point.speed / 1e12, marker, color=colour, mfc=face, ms=7)
        label = f"{point.name}{point.way and ', '}{point.way}, {point.kind}: {100 * point.share:.0f} % of its roof"
        axes.plot([], [], marker, color=colour, mfc=face, label=label)
    axes.set_xlabel("operations per byte")
    axes.set_ylabel("TFLOP/s")
    axes.set_title("Forward passes and decoding on an H200: 989 TFLOP/s (bf16), 4.8 TB/s")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(options.output)


if __name__ == "__main__":
    main()
