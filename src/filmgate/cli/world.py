"""``filmgate world``: the rendered world that the toy models are trained on."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from filmgate.cli.failure import reported
from filmgate.cli.options import AsJson

RENDERER = "filmgate.training.world.ground_truth"
"""Renders clips. By name, because the world is painted with torch, which the command line must not load."""

world = typer.Typer(
    name="world", no_args_is_help=True, rich_markup_mode=None, help="The rendered toy world and its ground truth."
)


def render(
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="The same seed gives the same clips.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="How many clips.")] = 1,
    name: Annotated[
        str,
        typer.Option(
            "--world",
            help="rich: what the shipped models were trained on, with characters, lamps, lenses and captions in Wan "
            "2.2's terms of film. unadorned: rich with captions without those terms. unspoken: rich with captions that "
            "rarely say how the camera moves. first: simple shapes, what the first Toybox knew.",
        ),
    ] = "rich",
    look: Annotated[
        int | None,
        typer.Option(
            "--look", min=0, max=2**32 - 1, help="A robot or doll of this look in every clip; not in the first world."
        ),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Directory; made if it is not there.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Render clips of the toy world, each with its caption and its ground truth.

    Per clip: NAME.mp4, NAME.json (caption, labels, camera poses), NAME.npz (object numbers and distances per pixel) and
    NAME.txt (the camera's path, for generate --camera).
    """
    from filmgate.cli.text import json_text
    from filmgate.media.publish import writable

    painter = import_module(RENDERER)
    rendered = painter.render_clips(seed, count, world=painter.catalogue(name), character=look)
    clips = []
    with writable(output):
        output.mkdir(parents=True, exist_ok=True)
    for index, clip in enumerate(rendered):
        stem = output / f"world-{seed}-{index:04d}"
        with writable(stem):
            files = _write(clip, stem, painter.write_truth)
        clips.append({"caption": clip.caption, "files": [str(file) for file in files]})
        if not as_json:
            print(f"{files[0]}  {clip.caption}")
    if as_json:
        print(json_text(clips))


def _write(clip: Any, stem: Path, write_truth: Callable[[Any, Path], list[Path]]) -> list[Path]:
    """Publish the files of a clip: video, text, arrays. None of them appears before all are complete."""
    from filmgate.media.write import write_video

    with tempfile.TemporaryDirectory(dir=stem.parent, prefix=f".{stem.name}-", suffix=".part") as folder:
        draft = Path(folder) / stem.name
        video = draft.with_suffix(".mp4")
        write_video(video, clip.frames, fps=clip.fps)
        return [file.replace(stem.parent / file.name) for file in (video, *write_truth(clip, draft))]


world.command(
    epilog="\b\nExamples:\n  filmgate world render --seed 3 --count 1 --output clips\n"
    "  filmgate world render --world rich --look 7 --count 8 --output somebody"
)(reported(render))
