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
    from filmgate.direction.gating import Forecast
    from filmgate.spec import Calibration, Gate

Model = Annotated[
    str | None,
    typer.Argument(
        help="Model id or the path of its directory or files. Default: the shipped one that paints from words.",
        show_default=False,
    ),
]
Prompts = Annotated[int, typer.Option("--prompts", help="How many of the fixed prompts are walked through.", min=1)]
SETTING = (
    "size", "frames", "steps", "shift", "guidance", "guidance_high", "guidance_low", "boundary", "guidance_interval",
    "solver", "distilled", "precision", "device",
)  # fmt: skip
"""Options of ``generate`` that a measurement is of: whatever a plan asks for beside a gate can be measured."""


def _takes_setting(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command(request, given, ...)`` a model and the options of :data:`SETTING` in place of these two: a
    request, and what was given."""
    own = [
        p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name not in ("request", "given")
    ]
    model = inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Model)

    @functools.wraps(command)
    def wrapper(**options: Any) -> None:
        from filmgate.cli.options import build_request

        fields = {name: options.pop(name) for name in ("model", *SETTING)}
        command(request=build_request({"prompt": "", **fields}), given=fields, **options)

    parameters = [model, *(option for option in REQUEST_OPTIONS if option.name in SETTING), *own]
    # typer reads a command's options from here
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


@_takes_setting
def calibrate(
    request: Any,
    given: dict[str, Any],
    *,
    prompts: Prompts = 4,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure how a model's work changes from step to step, which MagCache needs.

    The result counts for the same weights, task, schedule, guidance, precision and class of resolution, for videos as
    long as these to half as long, and lies in the user's cache directory.
    What was killed goes on with the next prompt when the same command is given again.
    """
    from filmgate.app import Filmgate
    from filmgate.cli.text import json_text
    from filmgate.spec import Calibration

    studio = Filmgate()
    found = _watched(studio.calibrate(request, prompts=prompts), quiet=quiet)
    [calibration] = [item for item in found if isinstance(item, Calibration)]
    if as_json:
        print(json_text(calibration))
    elif not quiet:
        print(describe_calibration(calibration))
        print(f"Stored: {studio.place_of(calibration)}")
        print(f"For: weights {calibration.scope.weights[:16]}, schedule {calibration.scope.grid[:16]}")
        print(f"Next: {_command('gate', given)}")


@_takes_setting
def gate(
    request: Any,
    given: dict[str, Any],
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many passes it takes and about how long, and stop.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Measure what of a model's work may be skipped, and remember the verdicts.

    What passes is on in plans that ask for the profile, of the same weights, task, schedule, guidance, precision and
    class of resolution, and of videos as long as these to half as long. What was
    killed goes on where it was when the same command is given again.

    Exit code 0: something passed. 1: nothing did.
    """
    from filmgate.app import Filmgate
    from filmgate.cli.text import json_text
    from filmgate.spec import Gate

    studio, asked = Filmgate(), checked_profile(profile)
    if dry_run:
        forecast = studio.gate_forecast(request, asked, prompts=prompts, readers=readers, clips=clips)
        print(json_text(forecast._asdict()) if as_json else describe_forecast(forecast))
        return
    found = _watched(studio.gate(request, asked, prompts=prompts, readers=readers, clips=clips), quiet=quiet)
    gates = [item for item in found if isinstance(item, Gate)]
    if as_json:
        print(json_text(gates))
    elif not quiet:
        print(describe_gates(gates))
        for folder in dict.fromkeys(studio.place_of(one).parent for one in gates):
            print(f"Stored: {folder}, each under the name of its gate")
        if any(one.passed for one in gates):
            print(f"Next: {_command('generate', given, prompt='a prompt', profile=profile)}")
        elif profile == "balanced":
            print(f"Next, at wider limits: {_command('gate', given, profile='fast')}")
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


def describe_calibration(calibration: Calibration) -> str:
    """What was measured, step by step."""
    prompts = f"{calibration.prompts} prompt{'' if calibration.prompts == 1 else 's'}"
    lines = [
        "Magnitude of what a model's blocks add in a step, as a multiple of that in the step before (1: no change; the",
        f"first step of an expert has none before it). Means over all tokens of {prompts}:",
    ]
    for row in calibration.ratios:
        ratios = " ".join(f"{ratio:.3f}" for ratio in row.ratios)
        lines.append(f"{row.expert.replace('_', '-')}, {row.branch}, from step {row.first + 1}: {ratios}")
    return "\n".join(lines)


def describe_forecast(forecast: Forecast) -> str:
    """What a gate takes, and what it leaves out."""
    from filmgate.app.trials import forecast_text

    return "\n".join([forecast_text(forecast), *(f"not tried: {text}" for text in forecast.left_out)])


def describe_gates(gates: list[Gate]) -> str:
    """Every recipe with its gate and verdict."""
    from filmgate.cli.text import columns
    from filmgate.direction.acceleration import recipe_text

    if not gates:
        return "No recipe was tried."
    rows = [("Recipe", "gate", "saves", "verdict")]
    for one in sorted(gates, key=lambda one: (not one.passed, -one.saved)):
        verdict = "passed" if one.passed else "failed"
        rows.append((recipe_text(one.recipe), one.id, f"{one.saved:.0%}", f"{verdict}: {one.reason}"))
    return columns(rows)


def _command(name: str, given: dict[str, Any], *, prompt: str | None = None, profile: str | None = None) -> str:
    """The command that goes on with what was measured, ready to be typed.

    Args:
        name: Of the command.
        given: The model and the options that were given.
        prompt: What to make, if that is the command's argument and the model an option.
        profile: Whose recipes.
    """
    import shlex

    words, model = ["filmgate", name], given["model"]
    if prompt is not None:
        words += [prompt, *(["--model", model] if model else [])]
    elif model:
        words.append(model)
    for option, value in {**given, "model": None, "profile": profile}.items():
        values = value if isinstance(value, tuple | list) else (value,)
        words += [] if value is None else [f"--{option.replace('_', '-')}", *map(str, values)]
    return shlex.join(words)


def _watched(items: Generator[Any, None, None], *, quiet: bool) -> list[Any]:
    """Everything but progress, which is shown."""
    from filmgate.cli.display import display
    from filmgate.spec import Progress

    found = []
    try:
        with display(quiet=quiet) as show:
            for item in items:
                if isinstance(item, Progress):
                    show(item)
                else:
                    found.append(item)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("What was measured is kept: the same command goes on from there.") from None
    return found
