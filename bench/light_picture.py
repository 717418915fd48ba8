"""Draws what attention loses by the share of blocks that it reads: docs/images/block-choice.png, from newest claims.

python bench/light_picture.py [--output docs/images/block-choice.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

from claims import newest, read

mpl.use("Agg")
HERE = Path(__file__).parent
BUDGETS = (12.5, 25.0, 50.0)
LINES = {
    "chance": ("at random", "0.6", ":"), "place": ("nearest in space and time", "tab:brown", "--"),
    "means": ("mean queries and keys", "tab:blue", "-"), "truth": ("those that really weigh most", "black", "--"),
}  # fmt: skip
PLACES = {"toybox.blocks": "Toybox, 63 blocks of 16 tokens", "structured.blocks": "made up, 256 blocks of 128 tokens"}


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "images" / "block-choice.png")
    options = parser.parse_args()
    from matplotlib import pyplot

    found = {claim.id: claim.value for claim in newest(read())}
    figure, panels = pyplot.subplots(1, 2, figsize=(9.5, 4), dpi=110, sharey=True)
    for axes, (place, title) in zip(panels, PLACES.items(), strict=True):
        for way, (label, colour, style) in LINES.items():
            heights = [found[f"{place}.{way}.{budget:g}.error"] for budget in BUDGETS]
            axes.plot(BUDGETS, heights, style, color=colour, marker="o", ms=3.5, label=label)
        for way in ("means", "truth"):
            heights = [found[f"{place}.{way}.{budget:g}.error_with_summary"] for budget in BUDGETS]
            label, style = ("the others as their means", "-") if way == "means" else ("_", "--")
            axes.plot(BUDGETS, heights, style, color="tab:red", marker="s", ms=3.5, label=label)
        axes.set_title(title, fontsize=10)
        axes.set_xscale("log")
        axes.set_xticks(BUDGETS, [f"{budget:g} %" for budget in BUDGETS])
        axes.minorticks_off()
        axes.set_xlabel("blocks that are read")
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("relative L2 error of attention")
    panels[0].set_ylim(bottom=0)
    panels[0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output)


if __name__ == "__main__":
    main()
