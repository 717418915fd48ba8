"""The options that describe a wish, once, for every command that takes one."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from filmgate.spec import Request

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def _option(kind: type, name: str, help_text: str, *flags: str, metavar: str | None = None) -> inspect.Parameter:
    long = "--" + name.replace("_", "-")
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(None, long, *flags, help=help_text, metavar=metavar, show_default=False),
        annotation=kind | None,
    )


REQUEST_OPTIONS = (
    _option(str, "model", "Model id (see `filmgate models`) or the path of a Wan directory.", "-m"),
    _option(str, "size", "Width and height in pixels, as 160x96.", "-s", metavar="WxH"),
    _option(int, "width", "Width in pixels."),
    _option(int, "height", "Height in pixels."),
    _option(int, "frames", "Number of frames, 4n+1.", "-f"),
    _option(int, "fps", "Frames per second of the file."),
    _option(int, "steps", "Denoising steps."),
    _option(float, "shift", "Shift of the noise schedule: larger spends more steps on composition."),
    _option(float, "guidance", "Classifier-free guidance of both experts; 1 switches it off.", "-g"),
    _option(float, "guidance_high", "Guidance of the high-noise expert."),
    _option(float, "guidance_low", "Guidance of the low-noise expert."),
    _option(float, "boundary", "Noise level in (0, 1) at which the low-noise expert takes over."),
    _option(str, "solver", "unipc, dpmpp_2m or euler."),
    _option(int, "seed", "Seed of the noise. Without one it is 0: a bare command is repeatable."),
    _option(str, "negative", "What the video should not show; '' for nothing.", "-n"),
    _option(str, "precision", "Arithmetic of the transformer: fp32, bf16 or fp16."),
    _option(str, "device", "cpu, cuda, cuda:1 or mps."),
)
"""Options of a request but its prompt. None always means the model's own default."""

_PROMPT = inspect.Parameter(
    "prompt",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    default=typer.Argument(..., help="What the video shows, in plain words.", show_default=False),
    annotation=str,
)


def takes_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command(request, ...)`` the prompt and every option of :data:`REQUEST_OPTIONS` in place of ``request``."""
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "request"]
    names = ("prompt", *(option.name for option in REQUEST_OPTIONS))

    @functools.wraps(command)
    def wrapper(**options: Any) -> None:
        request = build_request({name: options.pop(name) for name in names})
        command(request=request, **options)

    parameters = [_PROMPT, *REQUEST_OPTIONS, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own)]
    # typer reads a command's options from here
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def build_request(options: Mapping[str, Any]) -> Request:
    """The request that the options describe.

    Raises:
        InvalidRequest: ``--size`` is not WxH or contradicts ``--width``/``--height``.
        UnknownName: no such solver or precision.
    """
    from typing import get_args

    from filmgate.spec import InvalidRequest, Precision, Request, Solver, UnknownName

    fields = dict(options)
    size, guidance = fields.pop("size", None), fields.pop("guidance", None)
    if size is not None:
        if fields.get("width") is not None or fields.get("height") is not None:
            raise InvalidRequest("size", "was given together with width or height", allowed="one of the two ways")
        fields["width"], fields["height"] = parse_size(size)
    for name in ("guidance_high", "guidance_low"):
        if fields.get(name) is None:
            fields[name] = guidance
    for name, kind in (("solver", Solver), ("precision", Precision)):
        if fields.get(name) is not None and fields[name] not in get_args(kind):
            raise UnknownName(name, fields[name], get_args(kind))
    if fields.get("model") and Path(fields["model"]).is_dir():
        fields["model"] = str(Path(fields["model"]).resolve())
    return Request(**fields)


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of ``160x96``."""
    from filmgate.spec import InvalidRequest

    match = re.fullmatch(r"(\d+)\s*[xX×*:]\s*(\d+)", text.strip())
    if match is None:
        raise InvalidRequest("size", f"{text!r} is not a size", allowed="WIDTHxHEIGHT in pixels, for example 160x96")
    return int(match[1]), int(match[2])
