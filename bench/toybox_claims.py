"""From the numbers of toybox_truth.py to claims, also of a run on another machine.

    python bench/toybox_claims.py NUMBERS.json

Every number comes with the ends of its 95 % interval (``ID.low``, ``ID.high``) and, where a reader found it, with the
reader's ceilings on the same questions: on renders (``ID.ceiling_rendered``) and on renders after the VAE
(``ID.ceiling_coded``). The flow-matching loss comes by tenths of the noise levels too (``ID.decile_0``, the lowest, to
``ID.decile_9``), and the versions name the weights by the beginnings of their hashes. Shares are in percent; their
differences in points, positive where the pair of experts is better, while the flow-matching loss is better where it is
lower.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from claims import RESULTS, Measured, report, write

GOALS = {
    "colour": 90.0, "shape": 80.0, "motion_direction": 75.0, "camera": 75.0, "two_object_binding": 55.0, "count": None,
    "relation": None, "light": None, "motion": None, "ground": None,
}  # fmt: skip
"""Gates of the first version; None: measured, nothing was promised."""
VAE = {
    "psnr": ("dB", 32.0, True),
    "object_psnr": ("dB", 28.0, True),
    "frame_gap": ("dB", 2.0, False),
    "ssim": ("", None, True),
}
KNOWN = ("versions", "date", "commit")


def measured(numbers: Mapping[str, Any]) -> Iterator[Measured]:
    """Every claim that the numbers support; parts that were not measured are left out."""
    truth, ceilings = numbers.get("truth", {}), numbers.get("ceilings", {})
    for name, goal in GOALS.items():
        yield from _interval(f"toybox.t2v.{name}", truth.get("pair", {}).get(name), "%", goal)
        for kind in ("rendered", "coded"):
            ceiling = ceilings.get(kind, {}).get(name)
            if ceiling is not None:
                yield Measured(f"toybox.t2v.{name}.ceiling_{kind}", ceiling["mean"], "%")
        yield from _interval(f"toybox.dense.{name}", truth.get("dense", {}).get(name), "%", None)
    said = numbers.get("paraphrases", {})
    yield from _interval("toybox.t2v.paraphrases", said.get("facts"), "%", None)
    yield from _interval("toybox.t2v.paraphrases_complete", said.get("complete"), "%", None)
    for name, (unit, goal, higher) in VAE.items():
        yield from _interval(f"toybox.vae_{name}", numbers.get("vae", {}).get(name), unit, goal, higher=higher)
    warp, flow = numbers.get("warp", {}), numbers.get("flow", {})
    yield from _interval("toybox.t2v.warp_ratio", warp.get("ratio"), "x", None, higher=False)
    yield from _interval("toybox.t2v.warp_error", warp.get("painted"), "", None, higher=False)
    yield from _interval("toybox.t2v.warp_error.ceiling_coded", warp.get("coded"), "", None, higher=False)
    for who, name in (("pair", "t2v"), ("dense", "dense")):
        yield from _interval(f"toybox.{name}.flow_loss", flow.get(who), "", None, higher=False)
        for decile, value in enumerate(flow.get("deciles", {}).get(who, ())):
            yield Measured(f"toybox.{name}.flow_loss.decile_{decile}", value, "", None, higher_is_better=False)
    for decile, value in flow.get("difference", {}).items():
        yield from _interval(f"toybox.pair_minus_dense.flow_loss.decile_{decile}", value, "", None, higher=False)
    for name, value in numbers.get("pair_minus_dense", {}).items():
        loss = name == "flow_loss"
        yield from _interval(f"toybox.pair_minus_dense.{name}", value, "" if loss else "points", None, higher=not loss)


def _interval(
    name: str, value: Mapping[str, float] | None, unit: str, goal: float | None, *, higher: bool = True
) -> Iterator[Measured]:
    if value is None:
        return
    yield Measured(name, value["mean"], unit, goal, higher)
    for end in ("low", "high"):
        yield Measured(f"{name}.{end}", value[end], unit, None, higher)


def publish(numbers: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Write the claims, with hardware, versions, date and commit of the run that found the numbers."""
    setup = numbers["setup"]
    known = {name: setup[name] for name in KNOWN if setup[name] != "unknown"}
    known["versions"] = {**known.get("versions", {}), **setup.get("weights", {})}
    return write("toybox_truth", measured(numbers), hardware=setup["hardware"], folder=folder, known=known)


def main() -> None:
    """Publish a file of numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    report(publish(json.loads(options.numbers.read_text()), options.results))


if __name__ == "__main__":
    main()
