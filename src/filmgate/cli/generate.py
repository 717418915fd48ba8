"""``filmgate generate`` and ``filmgate plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from filmgate.cli.options import AsJson, Quiet, takes_request


@takes_request
def generate(
    request: Any,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The MP4 (of one frame also a PNG), or a directory. Default: named after the prompt."
        ),
    ] = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="Also write a contact sheet, a PNG beside the video.")] = False,
    preview_every: Annotated[
        int,
        typer.Option("--preview-every", metavar="K", help="Keep NAME.preview.png up to date every K steps; 0: never."),
    ] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, write nothing.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a video from a prompt."""
    from filmgate.app import Filmgate
    from filmgate.cli.display import warn, watch
    from filmgate.cli.output import choose_output, describe_take
    from filmgate.cli.text import describe_plan, json_text

    filmgate = Filmgate()
    planned = filmgate.plan(request.model_copy(update={"preview_every": preview_every}))
    one = planned.video.frames == 1
    video = choose_output(output, request.prompt, overwrite=overwrite, suffix=".png" if one and not sheet else ".mp4")
    # Every check happens here; nothing is done before the first event is asked for.
    events = filmgate.render(planned, video, sheet=video.with_suffix(".png") if sheet else None, overwrite=overwrite)
    if dry_run:
        print(json_text(planned) if as_json else describe_plan(planned))
        return
    if not quiet:
        warn(planned.warnings)
    take = watch(events, video.with_suffix(".preview.png"), quiet=quiet)
    if as_json:
        print(json_text({"directory": str(video.parent.resolve()), "take": take}))
    elif not quiet:
        print(describe_take(take, video.parent))


@takes_request
def plan(request: Any, as_json: AsJson = False) -> None:
    """Print what `generate` would do, without doing it."""
    from filmgate.app import Filmgate
    from filmgate.cli.text import describe_plan, json_text

    planned = Filmgate().plan(request)
    print(json_text(planned) if as_json else describe_plan(planned))
