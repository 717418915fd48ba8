"""``filmgate generate``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from filmgate.cli.options import AsJson, Quiet, State, takes_request


@takes_request
def generate(
    request: Any,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The MP4 (of one frame also a PNG), or a directory. Default: named after the prompt."
        ),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            "--batch",
            metavar="FILE",
            help="Make a video of every line instead: prompts, or in a .jsonl objects with the fields of a request, or"
            " of a list of such in a .json.",
            show_default=False,
        ),
    ] = None,
    sheet: Annotated[bool, typer.Option("--sheet", help="Also write a contact sheet, a PNG beside the video.")] = False,
    preview_every: Annotated[
        int | None,
        typer.Option("--preview-every", metavar="K", help="Keep NAME.preview.png up to date every K steps; 0: never."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    state: State = None,
    resume: Annotated[
        bool,
        typer.Option("--resume/--no-resume", help="Go on with an unfinished run of the same plan, and keep this one."),
    ] = True,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the plan, write nothing.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a video from a prompt, or with --batch several.

    Run again after it was killed or cancelled, it goes on where it was.
    """
    from filmgate.app import Filmgate
    from filmgate.backends.launch import Launch
    from filmgate.cli.batch import generate_batch
    from filmgate.spec import InvalidRequest

    if preview_every is not None:
        request = request.model_copy(update={"preview_every": preview_every})
    launch = Launch.here()
    if batch is not None:
        if launch is not None:
            raise InvalidRequest("batch", "torchrun starts one video", allowed="--batch with --gpus, without torchrun")
        generate_batch(
            batch, request, output, sheet=sheet, overwrite=overwrite, state=state, resume=resume, dry_run=dry_run,
            as_json=as_json, quiet=quiet,
        )  # fmt: skip
        return
    if launch is not None and launch.rank:
        Filmgate().accompany(launch)
        return
    with nullcontext() if launch is None else Filmgate().leading(launch):
        _make(
            request if launch is None else launch.asked(request), output, sheet=sheet, overwrite=overwrite, state=state,
            resume=resume, dry_run=dry_run, as_json=as_json, quiet=quiet,
        )  # fmt: skip


def _make(
    request: Any,
    output: Path | None,
    *,
    sheet: bool,
    overwrite: bool,
    state: Path | None,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from filmgate.app import Filmgate
    from filmgate.cli.display import warn, watch
    from filmgate.cli.failure import resumable
    from filmgate.cli.output import choose_output, describe_take
    from filmgate.cli.text import describe_plan, json_text

    filmgate = Filmgate()
    if request.model is not None:
        filmgate.model(request.model)  # one that is not here is no matter of this device
    planned = filmgate.plan(request)
    one = planned.video.frames == 1
    suffix = ".png" if one and not sheet else ".mp4"
    begun = filmgate.unfinished(planned, state) if resume else None
    video = choose_output(output, request.prompt, overwrite=overwrite, suffix=suffix, begun=begun)
    # Every check happens here; nothing is done before the first event is asked for.
    events = filmgate.render(
        planned, video, sheet=video.with_suffix(".png") if sheet else None, overwrite=overwrite, state=state,
        resume=resume,
    )  # fmt: skip
    if dry_run:
        print(json_text(planned) if as_json else describe_plan(planned))
        return
    if not quiet:
        warn(planned.warnings)
    with resumable(lambda: resume and filmgate.unfinished(planned, state) is not None, state):
        take = watch(events, video.with_suffix(".preview.png"), quiet=quiet)
    if as_json:
        print(json_text({"directory": str(video.parent.resolve()), "take": take}))
    elif not quiet:
        print(describe_take(take, video.parent))
