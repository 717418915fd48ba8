"""Draws how near the parts of a forward pass, and decoding, are to what the GPU can do, from newest claims.

    python bench/roofline.py [--output docs/images/roofline.png]

Operations, bytes and roofs are those of bench/floors.py; seconds are those of ``gpu.*.profile.*``.
What has no claim yet is not drawn. Passes in eight bits, and sparse ones, have the roof of e4m3 over what they compute in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np

from claims import newest, read
from floors import BANDWIDTH, PEAK, PEAK_8BIT, Part, convolutions_of, parts_of
from forward_claims import CLAIMED
from forward_measure import ROWS, latent_of, row_of
from forward_vae import PROFILED, VAES
from light_forward import product_rule

mpl.use("Agg")
HERE = Path(__file__).parent
KINDS = {"attention": "C0", "products": "C1", "norms": "C2", "convolution": "C3"}
MARKERS = dict(zip((*ROWS, *VAES), "osD^v", strict=True))


class Point(NamedTuple):
    """A kind of kernel: whose, how many operations per byte and per second, and the share of its roof."""

    name: str
    way: str
    kind: str
    intensity: float
    speed: float
    share: float


def counted() -> Iterator[tuple[str, str, str, Part]]:
    """Every part that has a floor: its model, the way of its pass, the stem of its claims, and the count by kind."""
    rule = product_rule(small=False)
    for name in ROWS:
        row = row_of(name, small=False)
        config, tokens, stem = row.sizes.dit, row.tokens, CLAIMED[name]
        ways = {
            "": parts_of(config, tokens),
            "8bit": parts_of(config, tokens, eight_bit=True, rule=replace(rule, choice=None)),
            "sparse": parts_of(config, tokens, eight_bit=True, rule=rule),
        }
        for way, parts in ways.items():
            for kind, part in parts.items():
                yield name, way, f"{stem}{way and '.'}{way}.profile.{kind}", part
    for name, video in VAES.items():
        row = row_of(video, small=False)
        part = convolutions_of(row.sizes.vae, latent_of(row), PROFILED)
        yield name, "", f"{CLAIMED[name]}.profile.convolution", part


def points(found: Mapping[str, float]) -> list[Point]:
    """What there are claims of, by their milliseconds."""
    made = []
    for name, way, claim, part in counted():
        if claim in found:
            taken = found[claim] / 1000
            kind = claim.rpartition(".")[2]
            speed = part.operations / taken
            made.append(Point(name, way, kind, part.operations / part.bytes, speed, part.floor / taken))
    return made


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
