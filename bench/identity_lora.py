"""Whether a LoRA of a few clips of one thing makes a model paint that thing: trained, measured and painted, against the
base.

    python bench/identity_lora.py CLIPS --unseen FOLDER [--look SEED --readers FILE | --judge MODULE:FUNCTION]

CLIPS shows the thing (eight clips are enough), ``--unseen`` shows it in other scenes: their captions are prompts, and
the loss is measured on them. With ``--look`` the thing is the character of ``filmgate world render --look SEED``, and a
reader of the rich world says who is in a clip; how many renders of that character it recognises, and how many of
others it takes for it, stands beside. Any other judge gets clips uint8 [B, 3, F, H, W] and says of each whether it
shows the thing; it never sees what was trained on. Without one there are losses and a contact sheet.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from claims import Measured, report, write
from filmgate.app import Filmgate
from filmgate.app.places import default_cache
from filmgate.cli.train import watch
from filmgate.engine.checkpoints.lora import read_lora
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.checkpoints.wan import load_dit
from filmgate.engine.runtime.lora import apply_lora
from filmgate.media.read import read_video
from filmgate.spec import LoraChoice, Request
from filmgate.training.identity import scenes_with, shows, strangers
from filmgate.training.lora.encoding import Origins, Shelf
from filmgate.training.lora.job import Job, prepare
from filmgate.training.lora.objective import fixed_losses
from filmgate.training.lora.recipe import LoraRecipe, parse_changes, read_recipe
from filmgate.training.lora.samples import MOMENTS
from filmgate.training.lora.trainer import LEVELS, train
from filmgate.training.readers import WorldReader, load_reader
from filmgate.training.samples import captioned_sheet
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.characters import Look, look
from filmgate.training.world.render import Renderer

GOAL = 85.0
"""Percent of clips that the judge must recognise."""
RENDERS, STRANGERS_SEED = 40, 70_001
"""Clips that show how reliable the reader is: of the character, and as many of others."""
FIELD = {"high_noise": "lora_high", "low_noise": "lora_low", "dense": "lora"}
Judge = Callable[[Tensor], Sequence[bool]]


def losses(job: Job, unseen: Job) -> dict[str, tuple[float, float]]:
    """Loss at fixed noise on unseen clips by expert: of the base, and with the LoRA."""
    origins = Origins.of(unseen.parts, unseen.cache)
    shelf = Shelf(
        unseen.cache / "training", unseen.model, origins, job.device, job.precision, pictured=unseen.pictured,
        cache=unseen.cache,
    )  # fmt: skip
    for _ in shelf.encode(unseen.cuts, [cut.clip.captions[0] for cut in unseen.cuts]):
        pass
    examples = [shelf.example(cut, cut.clip.captions[0]) for cut in unseen.cuts]
    found = {}
    for expert in job.experts:
        levels = [job.levels(expert).level((i + 0.5) / LEVELS) for i in range(LEVELS)]
        network = load_dit(job.model, expert, device=job.device, precision=job.precision)
        base = sum(fixed_losses(network, examples, levels, job.device)) / LEVELS
        lora = read_lora(job.file_of(expert))
        apply_lora(network, load_deltas(lora, lora.changes, 1.0), keep=False)
        found[expert] = base, sum(fixed_losses(network, examples, levels, job.device)) / LEVELS
    return found


def painted(job: Job, prompts: Sequence[str], seeds: int, *, adapted: bool) -> Tensor:
    """Clips of the product, uint8 [B, 3, F, H, W], seeds within prompts."""
    filmgate, clips = Filmgate(), []
    chosen = {FIELD[name]: (LoraChoice(path=str(job.file_of(name))),) for name in job.experts} if adapted else {}
    for number, prompt in enumerate(prompts):
        for seed in range(seeds):
            path = job.output / "painted" / f"{'lora' if adapted else 'base'}-{number}-{seed}.mp4"
            path.parent.mkdir(exist_ok=True)
            request = Request(prompt=prompt, seed=seed, model=job.model.path, distilled="none", **chosen)
            for _ in filmgate.render(filmgate.plan(request), path, overwrite=True):
                pass
            clips.append(torch.from_numpy(read_video(path).frames).permute(3, 0, 1, 2))
    return torch.stack(clips)


def judge_of(name: str) -> Judge:
    """The function called ``MODULE:FUNCTION``."""
    module, _, function = name.partition(":")
    judge: Judge = getattr(import_module(module), function)
    return judge


def judge_by_look(reader: WorldReader, wanted: Look) -> Judge:
    """Whether a reader sees that character."""
    return lambda clips: shows(reader.read(clips, batch=8), wanted)


def reliability(judge: Judge, wanted: Look, clip: ClipFormat) -> dict[str, float]:
    """Percent of renders that the judge recognises: of the character in new scenes, and of others (which it should
    not)."""
    renderer, found = Renderer(clip), {}
    for name, looks in (("renders", [wanted] * RENDERS), ("strangers", strangers(wanted, RENDERS, STRANGERS_SEED))):
        scenes = scenes_with(looks, STRANGERS_SEED)
        said = [seen for i in range(RENDERS) for seen in judge(renderer(scenes.select(torch.tensor([i]))).rgb)]
        found[name] = 100 * sum(map(bool, said)) / RENDERS
    return found


def main() -> None:
    """Train, measure and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--unseen", type=Path, required=True)
    parser.add_argument("--model", help="default: Toybox")
    parser.add_argument("--config", type=Path, help="a recipe")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--judge", metavar="MODULE:FUNCTION")
    parser.add_argument("--look", type=int, metavar="SEED", help="the character of the clips, for the reader to judge")
    parser.add_argument("--readers", type=Path, help="a reader of the rich world, for --look")
    parser.add_argument("--seeds", type=int, default=2, help="clips of each caption")
    parser.add_argument("--output", type=Path, default=Path("runs/identity"))
    parser.add_argument("--device")
    options = parser.parse_args()
    if (options.look is None) != (options.readers is None):
        parser.error("--look and --readers go together")
    recipe = LoraRecipe(rank=8, steps=150, rate=1e-3) if options.config is None else read_recipe(options.config)
    recipe = recipe.changed(parse_changes(options.set))
    model, cache = Filmgate().model(options.model), default_cache()
    common = {"cache": cache, "device": options.device, "name": "identity"}
    job = prepare(options.clips, model, recipe, output=options.output, **common)
    unseen = prepare(options.unseen, model, recipe, output=options.output, **common)
    began = time.monotonic()
    watch(train(job), quiet=False)
    measured = [Measured("identity_lora.seconds", round(time.monotonic() - began, 1), "s", None, False)]
    for expert, (base, adapted) in losses(job, unseen).items():
        measured.append(Measured(f"identity_lora.loss_base.{expert}", round(base, 4), "", None, False))
        measured.append(Measured(f"identity_lora.loss.{expert}", round(adapted, 4), "", round(base, 4), False))
    prompts = [cut.clip.captions[0] for cut in unseen.cuts]
    before, after = (painted(job, prompts, options.seeds, adapted=adapted) for adapted in (False, True))
    labels = [f"{who}: {prompt}" for prompt in prompts for who in ("base", "LoRA")]
    rows = [row for pair in zip(before[:: options.seeds], after[:: options.seeds], strict=True) for row in pair]
    captioned_sheet(torch.stack(rows), labels, options.output / "identity.png", MOMENTS)
    judge = judge_of(options.judge) if options.judge else None
    if options.look is not None:
        form = ClipFormat(*before.shape[2:])
        wanted = look(options.look)
        judge = judge_by_look(load_reader(options.readers, form), wanted)
        for name, share in reliability(judge, wanted, form).items():
            measured.append(Measured(f"identity_lora.recognised.{name}", round(share, 1), "%", None, name == "renders"))
    if judge is not None:
        for name, clips, goal in (("base", before, None), ("lora", after, GOAL)):
            share = 100 * sum(map(bool, judge(clips))) / len(clips)
            measured.append(Measured(f"identity_lora.recognised.{name}", round(share, 1), "%", goal))
    gpu = torch.cuda.get_device_name(job.device) if job.device.type == "cuda" else None
    report(write("identity_lora", measured, hardware=gpu, folder=options.output))


if __name__ == "__main__":
    main()
