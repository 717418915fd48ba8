"""``filmgate calibrate`` and ``filmgate gate``: what of a model's work may be skipped."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filmgate.cli.options import AsJson, Quiet

if TYPE_CHECKING:
    from filmgate.direction.gating import Forecast
    from filmgate.spec import Calibration, Gate, Request

Model = Annotated[
    str | None,
    typer.Argument(
        help="Model id or the path of its directory or files. Default: the first shipped one.", show_default=False
    ),
]
Size = Annotated[str | None, typer.Option("--size", "-s", metavar="WxH", help="As for `generate`.", show_default=False)]
Frames = Annotated[int | None, typer.Option("--frames", "-f", help="As for `generate`.", show_default=False)]
Steps = Annotated[int | None, typer.Option("--steps", help="As for `generate`.", show_default=False)]
Shift = Annotated[float | None, typer.Option("--shift", help="As for `generate`.", show_default=False)]
Solver = Annotated[str | None, typer.Option("--solver", help="As for `generate`.", show_default=False)]
Device = Annotated[str | None, typer.Option("--device", help="As for `generate`.", show_default=False)]
Prompts = Annotated[int, typer.Option("--prompts", help="How many of the fixed prompts are walked through.", min=1)]


def calibrate(
    model: Model = None,
    *,
    size: Size = None,
    frames: Frames = None,
    steps: Steps = None,
    shift: Shift = None,
    solver: Solver = None,
    device: Device = None,
    prompts: Prompts = 4,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Measure how a model's work changes from step to step, which MagCache needs.

    The result counts for the same weights, schedule and class of resolution, and lies in the user's cache directory.
    What was killed goes on with the next prompt when the same command is given again.
    """
    from filmgate.app import Filmgate
    from filmgate.cli.text import json_text
    from filmgate.spec import Calibration

    options = {"size": size, "frames": frames, "steps": steps, "shift": shift, "solver": solver, "device": device}
    studio = Filmgate()
    found = _watched(studio.calibrate(_request(model, **options), prompts=prompts), quiet=quiet)
    [calibration] = [item for item in found if isinstance(item, Calibration)]
    if as_json:
        print(json_text(calibration))
    elif not quiet:
        print(describe_calibration(calibration))
        print(f"Stored: {studio.place_of(calibration)}")
        print(f"For: weights {calibration.scope.weights[:16]}, schedule {calibration.scope.grid[:16]}")
        print(f"Next: {_command('gate', model, options)}")


def gate(
    model: Model = None,
    *,
    profile: Annotated[str, typer.Option("--profile", help="Whose recipes and limits: balanced or fast.")] = "balanced",
    size: Size = None,
    frames: Frames = None,
    steps: Steps = None,
    shift: Shift = None,
    solver: Solver = None,
    device: Device = None,
    prompts: Prompts = 4,
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

    What passes is on in plans of the same weights, schedule and class of resolution that ask for the profile. What was
    killed goes on where it was when the same command is given again.

    Exit code 0: something passed. 1: nothing did.
    """
    from filmgate.app import Filmgate
    from filmgate.cli.text import json_text
    from filmgate.spec import Gate

    options = {"size": size, "frames": frames, "steps": steps, "shift": shift, "solver": solver, "device": device}
    studio, request, asked = Filmgate(), _request(model, **options), checked_profile(profile)
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
            print(f"Next: {_command('generate', model, options, prompt='a prompt', profile=profile)}")
        elif profile == "balanced":
            print(f"Next, at wider limits: {_command('gate', model, {**options, 'profile': 'fast'})}")
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


def _command(
    name: str, model: str | None, options: dict[str, Any], *, prompt: str | None = None, profile: str | None = None
) -> str:
    """The command that goes on with what was measured, ready to be typed."""
    import shlex

    words = ["filmgate", name]
    if prompt is not None:
        words += [prompt, *(["--model", model] if model else [])]
    elif model:
        words.append(model)
    for option, value in {**options, "profile": options.get("profile", profile)}.items():
        words += [] if value is None else [f"--{option}", str(value)]
    return shlex.join(words)


def _request(model: str | None, **options: Any) -> Request:
    from filmgate.cli.options import build_request

    return build_request({"prompt": "", "model": model, **options})


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
