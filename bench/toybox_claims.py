"""From the numbers of toybox_truth.py to claims, also of a run on another machine.

    python bench/toybox_claims.py NUMBERS.json

A claim of a member is ``toybox.MEMBER.NAME`` (``t2v``, ``i2v``, ``ti2v``, ``2_1``, ``camera``, ``fewstep``;
``2_1_asked_rich`` of one that was asked in the words of another world than its own); what the shared VAE loses is
``toybox.vae_NAME``. Every number comes with the ends of its 95 % interval (``ID.low``, ``ID.high``) and, where a reader
found it, with the reader's ceilings on the same questions: on renders (``ID.ceiling_rendered``) and on renders after
the VAE (``ID.ceiling_coded``). The flow-matching loss comes by tenths of the noise levels too (``ID.decile_0``, the
lowest, to ``ID.decile_9``), and the versions name the weights by the beginnings of their hashes. Shares are in percent;
their differences in points, positive where the pair of experts is better, while the flow-matching loss is better where
it is lower.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from claims import RESULTS, Measured, report, write

GOALS = {
    "colour": 97.0, "shape": 92.0, "motion_direction": 90.0, "camera": 92.0, "two_object_binding": 80.0, "count": 85.0,
    "relation": 80.0, "light": 97.0, "tone": 97.0, "motion": None, "ground": None, "triple": None,
    "material": None, "size": None, "weather": None,
    "shot": None, "composition": None, "lens": None, "angle": None, "light_angle": None, "pace": None,
    "interaction": None, "hat": None,
}  # fmt: skip
"""What the second version is to show, percent; None: measured, nothing was promised."""
PARAPHRASES, DROP = 75.0, 10.0
"""Percent of the facts of free paraphrases; points that triples may lose that training never saw."""
VAE = {
    "psnr": ("dB", 33.0, True),
    "object_psnr": ("dB", 28.0, True),
    "frame_gap": ("dB", 2.0, False),
    "ssim": ("", None, True),
}
PIXELS = {
    "first_frame.psnr": ("dB", 28.0, True), "last_frame.psnr": ("dB", None, True),
    "path.painted.degrees": ("°", 0.8, False), "path.painted.units": ("world units", 0.10, False),
    "path.told.degrees": ("°", None, False), "path.told.units": ("world units", None, False),
    "path.rendered.degrees": ("°", None, False), "path.rendered.units": ("world units", None, False),
    "path.coded.degrees": ("°", None, False), "path.coded.units": ("world units", None, False),
    "path.psnr": ("dB", None, True), "distance.painted": ("", None, False), "distance.rendered": ("", None, False),
    "distance.coded": ("", None, False), "distance.frozen": ("", None, False), "distance.shuffled": ("", None, False),
    "distance.blurred": ("", None, False), "warp.ratio": ("x", None, False), "warp.painted": ("", None, False),
    "warp.coded": ("", None, False), "warp.rendered": ("", None, False),
    "warp.true_motion_rendered": ("", None, False), "warp.true_motion_coded": ("", None, False),
    "path.warp_ratio": ("x", None, False), "flicker.ratio": ("x", None, False),
    "seconds_per_clip.alone": ("s", None, False),
}  # fmt: skip
"""Numbers under their own names: unit, goal, whether more is better."""
KNOWN = ("versions", "date", "commit")


def short_name(numbers: Mapping[str, Any]) -> str:
    """Of the member that was measured, as its claims have it; asked in other words than its own, another."""
    setup = numbers["setup"]
    short = str(setup.get("member", "toybox-t2v")).removeprefix("toybox-").replace(".", "_")
    world, own = setup.get("world"), setup.get("own_world")
    return short if own in (None, world) else f"{short}_asked_{world}"


def measured(numbers: Mapping[str, Any]) -> Iterator[Measured]:
    """Every claim that the numbers support; parts that were not measured are left out."""
    who = f"toybox.{short_name(numbers)}"
    yield from _shown(numbers, who)
    for name, (unit, goal, higher) in PIXELS.items():
        yield from _interval(f"{who}.{name.replace('.', '_')}", _under(numbers, name), unit, goal, higher=higher)
    # One VAE is behind all members but one.
    own = who if short_name(numbers) == "ti2v" else "toybox"
    if short_name(numbers) in ("t2v", "ti2v"):
        for name, (unit, goal, higher) in VAE.items():
            yield from _interval(f"{own}.vae_{name}", _under(numbers, f"vae.{name}"), unit, goal, higher=higher)
    yield from _losses(numbers, who)
    for name, value in numbers.get("pair_minus_dense", {}).items():
        loss = name == "flow_loss"
        yield from _interval(f"toybox.pair_minus_dense.{name}", value, "" if loss else "points", None, higher=not loss)


def _shown(numbers: Mapping[str, Any], who: str) -> Iterator[Measured]:
    """What clips show of prompts, with the reader's ceilings."""
    truth, ceilings = numbers.get("truth", {}), numbers.get("ceilings", {})
    for name, goal in GOALS.items():
        yield from _interval(f"{who}.{name}", truth.get("model", {}).get(name), "%", goal)
        for kind in ("rendered", "coded"):
            ceiling = ceilings.get(kind, {}).get(name)
            if ceiling is not None:
                yield Measured(f"{who}.{name}.ceiling_{kind}", ceiling["mean"], "%")
        yield from _interval(f"toybox.dense.{name}", truth.get("dense", {}).get(name), "%", None)
    said = numbers.get("paraphrases", {})
    yield from _interval(f"{who}.paraphrases", said.get("facts"), "%", PARAPHRASES)
    yield from _interval(f"{who}.paraphrases_complete", said.get("complete"), "%", None)
    triples = numbers.get("triples", {})
    for kind in ("seen", "held_out"):
        yield from _interval(f"{who}.triples_{kind}", triples.get(kind, {}).get("triple"), "%", None)
    drop = triples.get("drop", {})
    yield from _interval(f"{who}.triples_drop", drop.get("triple"), "points", DROP, higher=False)
    for kind, rows in numbers.get("identity", {}).items():
        for name, value in rows.items():
            yield from _interval(f"{who}.identity_{kind}_{name}", value, "%", None)


def _losses(numbers: Mapping[str, Any], who: str) -> Iterator[Measured]:
    """Flow-matching losses of the model and of its dense partner."""
    flow = numbers.get("flow", {})
    for name, prefix in (("model", who), ("dense", "toybox.dense")):
        yield from _interval(f"{prefix}.flow_loss", flow.get(name), "", None, higher=False)
        for decile, value in enumerate(flow.get("deciles", {}).get(name, ())):
            yield Measured(f"{prefix}.flow_loss.decile_{decile}", value, "", None, higher_is_better=False)
    for decile, value in flow.get("difference", {}).items():
        yield from _interval(f"toybox.pair_minus_dense.flow_loss.decile_{decile}", value, "", None, higher=False)


def _under(numbers: Mapping[str, Any], name: str) -> Mapping[str, float] | None:
    """The value under a dotted name, if it was measured."""
    place: Any = numbers
    for folder in name.split("."):
        place = place.get(folder, {})
    return place or None


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
    who = short_name(numbers)
    name = "toybox_truth" if who == "t2v" else f"toybox_truth_{who}"
    return write(name, measured(numbers), hardware=setup["hardware"], folder=folder, known=known)


def main() -> None:
    """Publish a file of numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    report(publish(json.loads(options.numbers.read_text()), options.results))


if __name__ == "__main__":
    main()
