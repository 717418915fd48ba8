"""How much of what prompts, pictures and paths say the toy models' clips show, beside what readers and VAE could reach.

    python bench/toybox_truth.py [--member toybox-i2v] [--model DIR] [--family DIR] [--dense DIR] [--json OUT]
                                 [--sheet PNG] [--sweep high=3,low=3 shift=8] [--only PART ...]

Held-out prompts are painted with the engine's own code and a fixed seed each, and read by a small network that never
saw a generated clip. Beside every number stands the reader's ceiling: the same questions scored on renders of the
scenes asked for, and on those renders after the VAE. A sweep is measured on other questions, so that nothing published
was chosen on its own test. Every part keeps its numbers as soon as it has them; one that fails does not stop the rest.
With at least 300 prompts and every part of the member measured, claims are written (see toybox_claims.py).

A member is looked for in ``--family`` (a folder of members, packed or not) and in the package; its questions are of the
world whose words it was exported with. Models that must have a picture are given the first frame of every question's
scene, and one that follows a camera its path; one that may have a picture is asked in words alone, and with a picture
in part ``known``. ``fewstep`` is toybox-t2v with the two LoRAs in ``--loras``. ``--dense``
takes any Wan directory with one transformer, painted with the pair's settings, guidance by noise level included, so
that only the weights differ. Two runs on the same questions are compared prompt by prompt by toybox_compare.py.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import toybox_pixels as pixels
import toybox_text as text
from claims import RESULTS, commit, processor, report, today, versions
from filmgate.engine.checkpoints.hashes import sha256_of
from filmgate.training.world.catalogue import add_world_option
from toybox_bench import HERE, MEMBERS, SETTINGS, Bench
from toybox_claims import publish
from toybox_record import Record

ENOUGH = 300
"""Prompts from which on claims are written."""
PARTS: dict[str, Callable[[Bench, Record], None]] = {
    "truth": text.truth, "sweep": text.sweep, "ceilings": text.ceilings, "vae": pixels.vae, "wall": text.wall,
    "paraphrases": text.paraphrases, "triples": text.triples, "dense": text.dense, "flow": pixels.flow,
    "warp": pixels.warp, "known": pixels.known_frames, "path": pixels.path, "identity": pixels.identity,
    "distance": pixels.distance,
}  # fmt: skip


def parts_of(bench: Bench) -> list[str]:
    """What can be asked of a model.

    Paraphrases, triples and losses are asked in words alone; characters, and triples that training left out, are in
    richer worlds only; the floor of a path alone is measured of any model that is asked for it by name.
    """
    asked = {
        "sweep": bool(bench.options.sweep), "dense": bench.dense is not None, "paraphrases": bench.text_alone,
        "triples": bench.text_alone and bench.world.rich, "flow": bench.text_alone, "known": bench.task != "t2v",
        "path": bench.task == "camera", "identity": bench.world.rich,
    }  # fmt: skip
    return [name for name in PARTS if asked.get(name, True)]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    parser.add_argument("--triples", choices=("seen", "held out"), help="colour, shape and motion of the first object")
    parser.add_argument("--sweep", nargs="*", default=[], metavar="CHANGES", help="settings to compare: high=6,shift=8")
    parser.add_argument("--sweep-prompts", type=int, default=200)
    parser.add_argument("--triple-prompts", type=int, default=200, help="of each kind, seen and held out")
    parser.add_argument("--flow", type=int, default=128, help="clips that the flow-matching loss is measured on")
    parser.add_argument("--warp", type=int, default=64, help="clips whose steadiness is measured, at most 64")
    parser.add_argument("--known", type=int, default=64, help="clips whose known frames are compared with the pictures")
    parser.add_argument("--paths", type=int, default=38, help="clips whose camera is measured: two of each move")
    parser.add_argument("--identity", type=int, default=300, help="prompts among which characters are looked for")
    parser.add_argument(
        "--only", nargs="*", choices=PARTS, metavar="PART", help=f"default: all that apply; {' '.join(PARTS)}"
    )
    parser.add_argument("--json", type=Path, help="where to keep all numbers, written as they come")
    parser.add_argument("--sheet", type=Path, help="PNG of the first prompts, their clips and what was read")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the claims")
    return parser.parse_args()


def add_model_options(parser: argparse.ArgumentParser, prompts: int = ENOUGH) -> None:
    """Which model, which reader, how many questions and how to paint."""
    parser.add_argument("--member", choices=MEMBERS, help="default: toybox-t2v")
    parser.add_argument("--family", type=Path, help="folder of members, such as runs/toybox/ship")
    parser.add_argument("--model", type=Path, help="model directory, instead of a member")
    parser.add_argument("--loras", type=Path, help="folder of the four-step LoRAs; default: fewstep beside the family")
    parser.add_argument("--dense", type=Path, help="directory of the dense partner")
    add_world_option(parser, None)
    parser.add_argument("--readers", type=Path, default=HERE / "readers" / "rich.planes")
    parser.add_argument("--cache", type=Path, default=HERE.parent / ".cache", help="where packed models are unpacked")
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the large layers")
    parser.add_argument("--compile", action="store_true", help="compile the transformers, on a CPU also the renderer")
    parser.add_argument("--prompts", type=int, default=prompts)
    parser.add_argument("--batch", type=int, help="prompts painted at once; default: 100 on a GPU, 4 on a CPU")
    for option in SETTINGS.values():
        kind = int if option == "steps" else float
        parser.add_argument(f"--{option.replace('_', '-')}", type=kind, help="default: the model's own")


def fingerprint(path: Path) -> str:
    """The beginning of a hash over a file, or over all weights of a directory."""
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    return hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()[:12]


def setup_of(options: argparse.Namespace, device: torch.device) -> dict[str, object]:
    """The options and where they are measured, as JSON values."""
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    setup = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    setup["world"] = options.world and options.world.name
    return {**setup, "hardware": hardware, "versions": versions(), "date": today(), "commit": commit()}


def questions_of(bench: Bench) -> str:
    """The beginning of a hash of prompts and seeds: runs with the same one may be paired."""
    said = json.dumps([(question.prompt, question.seed) for question in bench.asked])
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def main() -> int:
    """Measure; 1 if a part failed."""
    options = parse()
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    record = Record(options.json, setup_of(options, device))
    bench = Bench(options, device)
    shown = {"model": Path(bench.painter.model.path), "dense": options.dense, "reader": options.readers}
    record.put("setup.weights", {name: fingerprint(path) for name, path in shown.items() if path is not None})
    record.put("setup.member", options.member or bench.painter.model.id)
    record.put("setup.world", bench.world.name)
    record.put("setup.own_world", bench.own_world and bench.own_world.name)
    record.put("setup.settings", str(bench.settings))
    record.put("setup.questions", questions_of(bench))
    every = parts_of(bench)
    for name in options.only if options.only is not None else every:
        record.part(name, lambda name=name: PARTS[name](bench, record))  # type: ignore[misc]
    whole = options.only is None or set(options.only) >= set(every)
    if options.prompts >= ENOUGH and not record.numbers["errors"] and whole:
        report(publish(record.numbers, options.results))
    else:
        print(f"no claims are written: fewer than {ENOUGH} prompts, or a part is missing", file=sys.stderr)
    return int(bool(record.numbers["errors"]))


if __name__ == "__main__":
    sys.exit(main())
