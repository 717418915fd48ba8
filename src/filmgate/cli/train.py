"""``filmgate train``: fine-tuning a LoRA, and the programs that Toybox is trained with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from filmgate.cli.failure import reported
from filmgate.cli.options import AsJson, Quiet

if TYPE_CHECKING:
    from filmgate.training.lora.recipe import Stepped, TrainingEvent

TRAINER, JOB = "filmgate.training.lora.trainer", "filmgate.training.lora.job"
"""By name, because training needs torch, which the command line must not load."""
STAGES = {
    "vae": "filmgate.training.autoencoder",
    "text": "filmgate.training.text_encoder",
    "diffusion": "filmgate.training.diffusion",
    "readers": "filmgate.training.read_training",
    "family": "filmgate.training.family",
}
"""Programs that train a part of Toybox from nothing, and the one that calls them in their order."""
HELP = ("-h", "--help")
_SECONDS_BETWEEN_LINES = 5.0

train = typer.Typer(name="train", no_args_is_help=True, rich_markup_mode=None, help="Training.")


def lora(
    clips: Annotated[
        Path, typer.Argument(help="Folder of clips and pictures with their captions.", show_default=False)
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Model id or the path of its directory or files. Default: Toybox.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Directory for the LoRA, its curves, samples and state.")
    ] = Path("lora"),
    name: Annotated[
        str | None, typer.Option("--name", help="Of the LoRA's files. Default: that of the folder.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="A Python file with a recipe.", show_default=False),
    ] = None,
    rank: Annotated[int | None, typer.Option("--rank", help="Rank of the factors. Default: 16.")] = None,
    alpha: Annotated[float | None, typer.Option("--alpha", help="Scale times rank. Default: the rank.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="Layers to change: attention, self_attention, cross_attention, ffn, all, or a pattern as"
            " 'blocks.[0-3].*.q'; may be given several times. Default: attention and ffn.",
            show_default=False,
        ),
    ] = None,
    expert: Annotated[
        str | None, typer.Option("--expert", help="Of a pair: both, high_noise or low_noise. Default: both.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of each expert. Default: 500.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Clips of a step. Default: 2.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Highest learning rate. Default: 0.0002.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of everything that is drawn. Default: 0.")] = None,
    dialect: Annotated[
        str | None, typer.Option("--dialect", help="Names in the file: comfyui, diffusers or kohya. Default: comfyui.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other field of the recipe, as warm_up=50; may be given several times.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1 or mps.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            metavar="DIR",
            help="For encoded clips. Default: the user's cache directory.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with an unfinished run in the output directory.")
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, say what would be trained, write nothing.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a LoRA on a folder of clips.

    Captions are texts beside the clips (clip.txt for clip.mp4), or a metadata.jsonl, metadata.csv or captions.json in
    the folder. Clips are read at the model's speed, scaled and cut to its size. Run again after it was killed or
    cancelled, it goes on where it was. Several GPUs: torchrun --nproc-per-node 2 -m filmgate train lora ...
    """
    from filmgate.app import Filmgate
    from filmgate.app.places import default_cache
    from filmgate.cli.text import columns, json_text
    from filmgate.training.lora.recipe import LoraRecipe, parse_changes, read_recipe

    options = {
        "rank": rank, "alpha": alpha, "targets": tuple(target) if target else None, "expert": expert, "steps": steps,
        "batch": batch, "rate": rate, "seed": seed, "dialect": dialect,
    }  # fmt: skip
    given = {key: value for key, value in options.items() if value is not None}
    recipe = (LoraRecipe() if config is None else read_recipe(config)).changed(given | parse_changes(changes or ()))
    jobs, trainer = import_module(JOB), import_module(TRAINER)
    ranks = trainer.Ranks.join()
    job = jobs.prepare(
        clips, Filmgate().model(model), recipe, output=output, name=name or clips.resolve().name,
        cache=cache or default_cache(), device=str(ranks.device()) if ranks.count > 1 else device,
    )  # fmt: skip
    if dry_run:
        print(json_text(jobs.facts_of(job)) if as_json else columns(jobs.describe_job(job)))
        return
    quiet = quiet or not ranks.first
    if not quiet:
        for warning in jobs.warnings_of(job):
            print(f"Warning: {warning}", file=sys.stderr)
    files = watch(trainer.train(job, resume=resume, ranks=ranks), quiet=quiet)
    ranks.leave()
    if as_json and ranks.first:
        print(json_text({"directory": str(job.output), "files": [str(file) for file in files]}))
    elif not quiet:
        print(
            columns(
                [*(("LoRA", str(file)) for file in files), ("Manifest", str(job.output / f"{job.name}.training.json"))]
            )
        )


def watch(events: Iterable[TrainingEvent], *, quiet: bool) -> list[Path]:
    """Show what a trainer says, on standard error; returns the files that were written."""
    from filmgate.training.lora.recipe import Written

    show = None if quiet else Progress()
    files = []
    for event in events:
        if show is not None:
            show(event)
        if isinstance(event, Written):
            files.append(event.path)
    return files


class Progress:
    """A line every few seconds; on a terminal the same line again and again."""

    def __init__(self) -> None:
        self._printed = 0.0
        self._open = False

    def __call__(self, event: TrainingEvent) -> None:
        from filmgate.training.lora.recipe import Encoded, Judged, Noted, Stepped

        match event:
            case Encoded():
                last = event.done == event.total
                self._passing(f"Encoding clips and captions: {event.done}/{event.total}", keep=last)
            case Stepped():
                self._passing(_stepped(event), keep=event.step == event.steps)
            case Judged():
                sheet = "" if event.sheet is None else f", {event.sheet}"
                change = f", {event.loss / event.base - 1:+.1%} against the base" if event.step else " by the base"
                self._line(f"Step {event.step}: loss {event.loss:.4f} at fixed noise{change}{sheet}")
            case Noted():
                self._line(f"Note: {event.text}")

    def _passing(self, text: str, *, keep: bool) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if not keep and now - self._printed < (0.1 if terminal else _SECONDS_BETWEEN_LINES):
            return
        self._printed = now
        if terminal and not keep:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            self._open = True
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        clear = "\r\033[K" if self._open else ""
        self._open = False
        print(f"{clear}{text}", file=sys.stderr, flush=True)


def _stepped(event: Stepped) -> str:
    from filmgate.cli.text import duration_text

    who = "" if event.expert == "dense" else f"{event.expert.replace('_noise', '-noise')} expert, "
    left = f", {duration_text(event.eta)} left" if event.eta else ""
    return (
        f"Training: {who}{event.step}/{event.steps}, loss {event.loss:.4f}, {duration_text(event.seconds)}/step{left}"
    )


def toybox(
    context: typer.Context,
    stage: Annotated[
        str | None,
        typer.Argument(help="vae, text, diffusion, readers or family; its options follow, --help lists them."),
    ] = None,
) -> None:
    """Train a part of Toybox from nothing, on the rendered world.

    Every stage is a program with options of its own; family is all of them, as much as fits into a number of seconds.
    On several GPUs: torchrun -m filmgate train toybox diffusion ...
    """
    from filmgate.spec import UnknownName

    if stage is None or stage in HELP:  # a stage's own help is for the stage to print
        typer.echo(context.get_help())
        return
    if stage not in STAGES:
        raise UnknownName("stage", stage, STAGES)
    program: Callable[[], None] = import_module(STAGES[stage]).main
    sys.argv = [f"filmgate train toybox {stage}", *context.args]
    program()


train.command(
    epilog="\b\nExamples:\n  filmgate train lora clips --dry-run\n"
    "  filmgate train lora clips --rank 8 --steps 800 --rate 0.001 -o hero\n"
    "  filmgate train lora clips --model ~/Wan2.2-T2V-A14B --expert low_noise --set sample_every=200\n"
    "  filmgate train lora clips --config recipe.py --dialect diffusers"
)(reported(lora))
train.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    epilog="\b\nExamples:\n  filmgate train toybox diffusion --name base --seconds 500 --vae vae.safetensors"
    " --text text.safetensors --output runs/base",
)(reported(toybox))
