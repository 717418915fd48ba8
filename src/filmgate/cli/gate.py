"""``filmgate calibrate`` and ``filmgate gate``: what of a model's work may be skipped."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filmgate.cli.options import REQUEST_OPTIONS, AsJson, Quiet

if TYPE_CHECKING:
    from filmgate.spec import Gate

Model = Annotated[
    str | None,
    typer.Argument(
        help="Model id or the path of its directory or files. Default: the first shipped one.", show_default=False
    ),
]
Prompts = Annotated[int, typer.Option("--prompts", help="How many of the fixed prompts are walked through.", min=1)]
SETTING = (
    "size", "frames", "steps", "shift", "guidance", "guidance_high", "guidance_low", "boundary", "guidance_interval",
    "solver", "distilled", "precision", "device",
)  # fmt: skip
"""Options of ``generate`` that a measurement is of: whatever a plan asks for beside a gate can be measured."""


def _takes_setting(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command(request, ...)`` a model and the options of :data:`SETTING` in place of ``request``."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "request"]
    model = inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Model)

    @functools.wraps(command)
    def wrapper(**options: Any) -> None:
        from filmgate.cli.options import build_request

        fields = {name: options.pop(name) for name in ("model", *SETTING)}
        command(request=build_request({"prompt": "", **fields}), **options)

    parameters = [model, *(option for option in REQUEST_OPTIONS if option.name in SETTING), *own]
    # typer reads a command's options from here
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


@_takes_setting
def calibrate(
    request: Any,
    *,
    prompts: Prompts = 4,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure how a model's work changes from step to step, which MagCache needs.

    The result counts for the same weights, task, schedule, guidance, precision and class of resolution, for videos as
    long as these to half as long, and lies in the user's cache directory.
    """
    from filmgate.app import Filmgate
    from filmgate.cli.text import json_text
    from filmgate.spec import Calibration

    found = _watched(Filmgate().calibrate(request, prompts=prompts), quiet=quiet)
    [calibration] = [item for item in found if isinstance(item, Calibration)]
    if as_json:
        print(json_text(calibration))
    elif not quiet:
        for row in calibration.ratios:
            ratios = " ".join(f"{ratio:.3f}" for ratio in row.ratios)
            print(f"{row.expert.replace('_', '-')}, {row.branch}, from step {row.first + 1}: {ratios}")


@_takes_setting
def gate(
    request: Any,
    *,
    profile: Annotated[str, typer.Option("--profile", help="Whose recipes and limits: balanced or fast.")] = "balanced",
    prompts: Annotated[
        int,
        typer.Option(
            "--prompts", help="How many of the fixed prompts are walked through; fewer than 8 switch nothing on.", min=1
        ),
    ] = 8,
    readers: Annotated[
        Path | None,
        typer.Option(
            "--readers", metavar="FILE", help="For models of the toy world: a reader, to compare what videos show.",
            show_default=False,
        ),
    ] = None,
    clips: Annotated[int, typer.Option("--clips", help="How many videos are compared with --readers.", min=1)] = 60,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Measure what of a model's work may be skipped, and remember the verdicts.

    What passes is on in plans that ask for the profile, of the same weights, task, schedule, guidance, precision and
    class of resolution, and of videos as long as these to half as long.

    Exit code 0: something passed. 1: nothing did.
    """
    from filmgate.app import Filmgate
    from filmgate.cli.text import json_text
    from filmgate.spec import Gate

    found = _watched(
        Filmgate().gate(request, checked_profile(profile), prompts=prompts, readers=readers, clips=clips), quiet=quiet
    )
    gates = [item for item in found if isinstance(item, Gate)]
    if as_json:
        print(json_text(gates))
    elif not quiet:
        print(describe_gates(gates))
    if not any(one.passed for one in gates):
        raise typer.Exit(1)


def checked_profile(name: str) -> Any:
    """A profile that skips work.

    Raises:
        UnknownName: it is none.
    """
    from filmgate.spec import UnknownName

    if name not in ("balanced", "fast"):
        raise UnknownName("profile", name, ("balanced", "fast"))
    return name


def describe_gates(gates: list[Gate]) -> str:
    """Every recipe with its verdict."""
    from filmgate.cli.text import columns
    from filmgate.direction.acceleration import recipe_text

    rows = [("Recipe", "saves", "verdict")]
    for one in sorted(gates, key=lambda one: (not one.passed, -one.saved)):
        verdict = "passed" if one.passed else "failed"
        rows.append((recipe_text(one.recipe), f"{one.saved:.0%}", f"{verdict}: {one.reason}"))
    return columns(rows)


def _watched(items: Generator[Any, None, None], *, quiet: bool) -> list[Any]:
    """Everything but progress, which is shown."""
    from filmgate.cli.display import display
    from filmgate.spec import Progress

    found = []
    with display(quiet=quiet) as show:
        for item in items:
            if isinstance(item, Progress):
                show(item)
            else:
                found.append(item)
    return found
