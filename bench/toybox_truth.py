"""How much of what prompts say the toy model's clips show, beside what its readers and its VAE could reach at best.

    python bench/toybox_truth.py [--model DIR] [--dense DIR] [--json OUT] [--sheet PNG] [--sweep high=3,low=3 shift=8]

Held-out prompts are painted with the engine's own code and a fixed seed each, and read by a small network that never
saw a generated clip. Beside every number stands the reader's ceiling: the same questions scored on renders of the
scenes asked for, and on those renders after the VAE. A sweep is measured on other questions, so that nothing published
was chosen on its own test. Every part keeps its numbers as soon as it has them; one that fails does not stop the rest.
With at least 300 prompts and every part measured, claims are written (see toybox_claims.py).

``--dense`` takes any Wan directory with one transformer (``training.export --dense FILE`` writes one). It is painted
with the pair's settings, guidance by noise level included, so that only the weights differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import filmgate
from claims import RESULTS, commit, processor, report, today, versions
from filmgate.engine.checkpoints.hashes import sha256_of
from filmgate.engine.checkpoints.packed import materialise
from filmgate.training.autoencoder import use_channels_last
from filmgate.training.fidelity import Fidelity, fidelity
from filmgate.training.flow import flow_losses
from filmgate.training.painting import Painter, Settings
from filmgate.training.paraphrases import facts_found, read_paraphrases
from filmgate.training.readers import Reading, WorldReader, load_reader
from filmgate.training.samples import captioned_sheet
from filmgate.training.truth import (
    TUNING_SEED,
    Interval,
    Question,
    bootstrap,
    in_words,
    interval,
    paired_difference,
    paired_ratio,
    question_scenes,
    questions,
    score,
)
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import FIRST, add_world_option
from filmgate.training.world.render import Renderer
from toybox_claims import GOALS, publish

HERE = Path(__file__).parent
Rows = dict[str, NDArray[np.float64]]
SHOWN = 16
"""Clips on the contact sheet."""
SSIM_CLIPS, SSIM_STRIDE = 64, 4
"""Structural similarity is measured on every fourth frame of so many clips: it is slow, and steady."""


class Record:
    """Numbers as they come, kept in a JSON file that is complete after every one of them."""

    def __init__(self, path: Path | None, setup: dict[str, Any]) -> None:
        self.path = path
        self.numbers: dict[str, Any] = {"setup": setup, "seconds": {}, "errors": {}}
        self.save()

    def put(self, name: str, value: Any) -> None:
        """Keep a value under a dotted name."""
        *folders, last = name.split(".")
        place = self.numbers
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = value
        self.save()

    def table(self, name: str, label: str, rows: Rows) -> None:
        """Keep and print a table of shares in percent."""
        values = {key: interval(row).scaled(100, 2) for key, row in rows.items()}
        self.put(name, {key: value._asdict() for key, value in values.items()})
        print(f"{label:<44}" + " ".join(f"{key[:9]}={value.mean:.1f}" for key, value in values.items()), flush=True)

    def number(self, name: str, value: Interval) -> None:
        """Keep and print one number."""
        if not value.n:
            raise ValueError(f"{name}: there was nothing to measure")
        value = value.scaled(1, 5)
        self.put(name, value._asdict())
        print(f"{name:<44}{value.mean:.4g} ({value.low:.4g} ... {value.high:.4g}), n={value.n}", flush=True)

    def save(self) -> None:
        """Write the file anew, by rename."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(self.path.suffix + ".part")
        part.write_text(json.dumps(self.numbers, indent=1) + "\n")
        part.replace(self.path)

    def part(self, name: str, measure: Callable[[], None]) -> None:
        """Run one part; its failure is a result too."""
        began = time.monotonic()
        print(f"-- {name}", flush=True)
        try:
            measure()
        except Exception:
            self.put(f"errors.{name}", traceback.format_exc())
            traceback.print_exc()
        self.put(f"seconds.{name}", round(time.monotonic() - began, 1))


def joined(readings: Sequence[Reading]) -> Reading:
    """One reading of all clips."""
    parts = ({n: torch.cat([r[i][n] for r in readings]) for n in readings[0][i]} for i in range(2))
    return Reading(*parts)


class Seen(NamedTuple):
    """What came of painting: the reading of all clips, and the first clips, uint8 [B, 3, F, H, W] on the CPU."""

    reading: Reading
    clips: Tensor


class Mirror(NamedTuple):
    """The scenes of all questions as rendered and as the VAE returns them: readings, fidelity, latents [N, C, T, h, w],
    and the first clips before and after, uint8 on the CPU."""

    rendered: Reading
    coded: Reading
    fidelity: Fidelity
    latents: Tensor
    before: Tensor
    after: Tensor


class Bench:
    """The models, the reader and the questions that all parts share."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self.options, self.device = options, device
        self.batch = options.batch or (100 if device.type == "cuda" else 4)
        self.pair = self.open(shipped(options.cache) if options.model is None else options.model)
        self.dense = None if options.dense is None else self.open(options.dense)
        changes = {name: getattr(options, option) for name, option in SETTINGS.items()}
        self.settings = self.pair.settings.changed(
            ",".join(f"{name}={value}" for name, value in changes.items() if value is not None)
        )
        video = self.pair.video
        self.format = ClipFormat(video.frames, video.height, video.width)
        self.reader: WorldReader = load_reader(options.readers, self.format).to(device)
        self.asked = questions(options.prompts, world=options.world, triples=options.triples)

    def open(self, directory: Path) -> Painter:
        """A model, ready to paint."""
        half, compiled = self.options.precision == "bf16", self.options.compile
        painter = Painter(directory, self.device, half=half, compiled=compiled)
        if self.device.type == "cuda":
            use_channels_last(painter.vae)
        return painter

    def read(self, rgb: Tensor) -> Reading:
        """Answers on the CPU."""
        reading = self.reader.read(rgb.to(self.device), batch=32 if self.device.type == "cuda" else 4)
        return Reading(*({name: answer.cpu() for name, answer in part.items()} for part in reading))

    def see(
        self, painter: Painter, prompts: Sequence[str], seeds: Sequence[int], settings: Settings, keep: int = 0
    ) -> Seen:
        """Paint prompts, batch by batch, read all clips and keep the first."""
        readings, clips = [], []
        for start in range(0, len(prompts), self.batch):
            part = slice(start, start + self.batch)
            rgb = painter.decode(painter.paint(prompts[part], seeds[part], settings))
            readings.append(self.read(rgb))
            clips.append(rgb[: max(0, keep - start)].cpu())
            if len(prompts) > self.batch:
                print(f"   {min(start + self.batch, len(prompts))} of {len(prompts)}", file=sys.stderr, flush=True)
        return Seen(joined(readings), torch.cat(clips))

    def answers(self, painter: Painter, asked: Sequence[Question], settings: Settings, keep: int = 0) -> Seen:
        """Paint questions."""
        return self.see(painter, [q.prompt for q in asked], [q.seed for q in asked], settings, keep)

    @cached_property
    def painted(self) -> Seen:
        """All questions, painted by the model."""
        return self.answers(self.pair, self.asked, self.settings, max(SHOWN, self.options.warp))

    @cached_property
    def painted_by_dense(self) -> Seen:
        """All questions, painted by the dense partner."""
        assert self.dense is not None
        return self.answers(self.dense, self.asked, self.settings, SHOWN)

    @cached_property
    def mirror(self) -> Mirror:
        """See :class:`Mirror`."""
        keep = max(SSIM_CLIPS, self.options.warp)
        readings: list[list[Reading]] = [[], []]
        gathered: list[list[Tensor]] = [[], [], []]
        quality = []
        for start, (rgb, covered) in enumerate(self.renders()):
            latents = self.pair.encode(rgb)
            after = self.pair.decode(latents)
            quality.append(fidelity(rgb, after, covered))
            readings[0].append(self.read(rgb))
            readings[1].append(self.read(after))
            kept = max(0, keep - start * RENDERED)
            for list_, part in zip(gathered, (latents, rgb[:kept], after[:kept]), strict=True):
                list_.append(part.cpu())
        rendered, coded = map(joined, readings)
        return Mirror(rendered, coded, Fidelity.joined(quality), *map(torch.cat, gathered))

    def renders(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Clips of the questions' scenes, uint8 [B, 3, F, H, W], and where their objects are."""
        renderer = Renderer(self.format, compile_shader=self.options.compile and self.device.type == "cpu")
        options = self.options
        scenes = question_scenes(len(self.asked), world=options.world, triples=options.triples).to(self.device)
        for index in torch.arange(len(self.asked), device=self.device).split(RENDERED):
            clip = renderer(scenes.select(index))
            yield clip.rgb, clip.number > 0


RENDERED = 10
"""Clips that are rendered at once."""
SETTINGS = {"high": "guidance_high", "low": "guidance_low", "shift": "shift", "boundary": "boundary", "steps": "steps"}


def truth(bench: Bench, record: Record) -> None:
    """All questions, scored."""
    seen = bench.painted
    draw_sheet(bench.options.sheet, "", seen, [q.prompt for q in bench.asked])
    record.table("truth.pair", "painted", score(seen.reading, bench.asked))


def sweep(bench: Bench, record: Record) -> None:
    """Other settings on other questions, one line each, and the best of them as fields of a preset.

    The best has the highest mean over the attributes that have a gate.
    """
    asked = questions(bench.options.sweep_prompts, seed=TUNING_SEED, world=bench.options.world)
    tried = {}
    for number, changes in enumerate(("", *bench.options.sweep)):
        settings = bench.settings.changed(changes)
        record.put(f"sweep.{number}.settings", str(settings))
        seen = bench.answers(bench.pair, asked, settings)
        rows = score(seen.reading, asked)
        record.table(f"sweep.{number}.truth", str(settings), rows)
        tried[settings] = float(np.mean([rows[name].mean() for name, goal in GOALS.items() if goal and name in rows]))
        record.put(f"sweep.{number}.mean", round(100 * tried[settings], 2))
    best = max(tried, key=lambda settings: tried[settings])
    record.put("preset", {"guidance_high": best.guidance.high, "guidance_low": best.guidance.low, "shift": best.shift,
                          "boundary": best.boundary, "steps": best.steps})  # fmt: skip
    print(f"best: {best}", flush=True)


def ceilings(bench: Bench, record: Record) -> None:
    """The same questions on renders of their scenes, and on what the VAE makes of those."""
    for name in ("rendered", "coded"):
        record.table(f"ceilings.{name}", f"ceiling: {name}", score(getattr(bench.mirror, name), bench.asked))


def paraphrases(bench: Bench, record: Record) -> None:
    """Prompts outside the grammar: the share of their stated facts that the clips show, and whether all are shown."""
    asked = read_paraphrases(HERE / "paraphrases.jsonl")
    seen = bench.see(bench.pair, [p.prompt for p in asked], [p.seed for p in asked], bench.settings, len(asked))
    draw_sheet(bench.options.sheet, "-paraphrases", seen, [p.prompt for p in asked], len(asked))
    found = [facts_found(seen.reading, clip, p) for clip, p in enumerate(asked)]
    rows = {"facts": [np.mean(list(facts.values())) for facts in found], "complete": [all(f.values()) for f in found]}
    for name in sorted({name for facts in found for name in facts}):
        rows[f"only {name}"] = [facts[name] for facts in found if name in facts]
    record.table("paraphrases", "paraphrases", {k: np.array(v, dtype=np.float64) for k, v in rows.items()})


def vae(bench: Bench, record: Record) -> None:
    """What the VAE loses on renders of the questions' scenes."""
    quality = bench.mirror.fidelity
    record.number("vae.psnr", interval(quality.clips))
    record.number("vae.object_psnr", interval(quality.objects))
    record.number("vae.frame_gap", bootstrap(quality.frame_gap, len(quality.frames)))
    record.put("vae.psnr_by_frame", [round(x, 2) for x in quality.frames.mean(0).tolist()])
    record.number("vae.ssim", interval(np.array(list(likeness(bench.mirror.before, bench.mirror.after)))))


def likeness(before: Tensor, after: Tensor) -> Iterator[float]:
    """Mean structural similarity of each clip."""
    from filmgate.evaluation.metrics import ssim

    for pair in zip(before[:SSIM_CLIPS], after[:SSIM_CLIPS], strict=True):
        first, second = (clip[:, ::SSIM_STRIDE].permute(1, 2, 3, 0).numpy() for clip in pair)
        yield float(np.mean([ssim(x, y) for x, y in zip(first, second, strict=True)]))


def flow(bench: Bench, record: Record) -> None:
    """Flow-matching loss on the questions' scenes, of the model and of its dense partner."""
    count = min(bench.options.flow, len(bench.asked))
    prompts = [q.prompt for q in bench.asked[:count]]
    losses = {}
    for name, painter in (("pair", bench.pair), ("dense", bench.dense)):
        if painter is not None:
            losses[name] = flow_losses(
                painter, bench.mirror.latents[:count], prompts, bench.settings.boundary, batch=bench.batch
            )
            record.number(f"flow.{name}", interval(losses[name].mean(0)))
            record.put(f"flow.deciles.{name}", [round(x, 5) for x in losses[name].mean(1).tolist()])
    if "dense" in losses:
        record.number("pair_minus_dense.flow_loss", paired_difference(losses["pair"].mean(0), losses["dense"].mean(0)))
        for decile, (pair, dense) in enumerate(zip(losses["pair"], losses["dense"], strict=True)):
            record.number(f"flow.difference.{decile}", paired_difference(pair, dense))


def warp(bench: Bench, record: Record) -> None:
    """Unsteadiness after motion compensation: of painted clips, and of the VAE's clips of the same questions."""
    errors = {"painted": warp_errors(bench.painted.clips[: bench.options.warp])}
    errors["coded"] = warp_errors(bench.mirror.after[: bench.options.warp])
    measured = np.isfinite(errors["painted"]) & np.isfinite(errors["coded"])
    first, second = errors["painted"][measured], errors["coded"][measured]
    record.number("warp.painted", interval(first))
    record.number("warp.coded", interval(second))
    record.number("warp.ratio", paired_ratio(first, second))


def warp_errors(clips: Tensor) -> NDArray[np.float64]:
    """Warp error of every clip; not a number where nothing could be compensated."""
    from filmgate.evaluation.temporal import steadiness

    frames = [clip.permute(1, 2, 3, 0).contiguous().numpy() for clip in clips]
    with ThreadPoolExecutor() as pool:
        return np.array([result.warp_error for result in pool.map(steadiness, frames)], dtype=np.float64)


def dense(bench: Bench, record: Record) -> None:
    """The dense partner on the same questions and seeds, and how far the pair is from it."""
    seen = bench.painted_by_dense
    draw_sheet(bench.options.sheet, "-dense", seen, [q.prompt for q in bench.asked])
    others, ours = score(seen.reading, bench.asked), score(bench.painted.reading, bench.asked)
    record.table("truth.dense", "painted by the dense partner", others)
    for name, row in ours.items():
        difference = paired_difference(row, others[name]).scaled(100, 2)
        record.number(f"pair_minus_dense.{name}", difference)


def draw_sheet(path: Path | None, suffix: str, seen: Seen, prompts: Sequence[str], count: int = SHOWN) -> None:
    """Contact sheet of the first prompts, with what the reader saw."""
    if path is None:
        return
    clips = seen.clips[:count]
    captions = [f"{prompt}\n    read: {in_words(seen.reading, i)}" for i, prompt in enumerate(prompts[: len(clips)])]
    captioned_sheet(clips, captions, path.with_stem(path.stem + suffix))


def shipped(cache: Path) -> Path:
    """The model that comes with the package, unpacked."""
    return materialise(Path(filmgate.__file__).parent / "toybox" / "toybox-t2v", cache)


PARTS: dict[str, Callable[[Bench, Record], None]] = {
    "truth": truth, "sweep": sweep, "ceilings": ceilings, "vae": vae, "paraphrases": paraphrases, "dense": dense,
    "flow": flow, "warp": warp,
}  # fmt: skip


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model directory; default: the shipped one")
    parser.add_argument("--dense", type=Path, help="directory of the dense partner")
    add_world_option(parser, FIRST)
    parser.add_argument("--triples", choices=("seen", "held out"), help="colour, shape and motion of the first object")
    parser.add_argument("--readers", type=Path, default=HERE / "readers" / "reader.planes")
    parser.add_argument(
        "--cache", type=Path, default=HERE.parent / ".cache", help="where the shipped model is unpacked"
    )
    parser.add_argument("--device", help="default: cuda if there is one, else cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the large layers")
    parser.add_argument("--compile", action="store_true", help="compile the transformers, on a CPU also the renderer")
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--batch", type=int, help="prompts painted at once; default: 100 on a GPU, 4 on a CPU")
    for option in SETTINGS.values():
        kind = int if option == "steps" else float
        parser.add_argument(f"--{option.replace('_', '-')}", type=kind, help="default: the model's own")
    parser.add_argument("--sweep", nargs="*", default=[], metavar="CHANGES", help="settings to compare: high=6,shift=8")
    parser.add_argument("--sweep-prompts", type=int, default=200)
    parser.add_argument("--flow", type=int, default=128, help="clips that the flow-matching loss is measured on")
    parser.add_argument("--warp", type=int, default=64, help="clips whose steadiness is measured")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS), metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--json", type=Path, help="where to keep all numbers, written as they come")
    parser.add_argument("--sheet", type=Path, help="PNG of the first prompts, their clips and what was read")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the claims")
    return parser.parse_args()


def fingerprint(path: Path) -> str:
    """The beginning of a hash over a file, or over all weights of a directory."""
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    return hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()[:12]


def main() -> int:
    """Measure; 1 if a part failed."""
    options = parse()
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    setup = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    setup["world"] = options.world.name
    facts = {"hardware": hardware, "versions": versions(), "date": today(), "commit": commit()}
    shown = {"model": options.model, "dense": options.dense, "reader": options.readers}
    facts["weights"] = {name: fingerprint(path) for name, path in shown.items() if path is not None}
    record = Record(options.json, {**setup, **facts})
    bench = Bench(options, device)
    record.put("setup.settings", str(bench.settings))
    for name in options.only:
        if (name != "sweep" or options.sweep) and (name != "dense" or bench.dense is not None):
            record.part(name, lambda name=name: PARTS[name](bench, record))  # type: ignore[misc]
    if options.prompts >= 300 and not record.numbers["errors"] and set(options.only) == set(PARTS):
        report(publish(record.numbers, options.results))
    else:
        print("no claims are written: fewer than 300 prompts, or a part is missing", file=sys.stderr)
    return int(bool(record.numbers["errors"]))


if __name__ == "__main__":
    sys.exit(main())
