"""The options that describe a wish, once, for every command that takes one."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from filmgate.spec import Request

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="Where unfinished runs are kept. Default: in the user's cache directory.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]


def _option(kind: type, name: str, help_text: str, *flags: str, metavar: str | None = None) -> inspect.Parameter:
    long = "--" + name.replace("_", "-")
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(None, long, *flags, help=help_text, metavar=metavar, show_default=False),
        annotation=kind | None,
    )


LORA = "FILE[:STRENGTH]"
PLACED_LORA = f"[both:|high:|low:]{LORA}"

REQUEST_OPTIONS = (
    _option(str, "model", "Model id (see `filmgate models`) or the path of its directory or files.", "-m"),
    _option(str, "image", "Picture that the video begins with.", "-i", metavar="FILE"),
    _option(str, "last_image", "Picture that the video ends with.", metavar="FILE"),
    _option(str, "video", "Video to paint over.", metavar="FILE"),
    _option(float, "strength", "How much of the video may change, above 0 to 1."),
    _option(str, "mask", "Where to paint: white in a picture or a video.", metavar="FILE"),
    _option(str, "keep", "What of the result the video is, the rest being painted: start, end or inside."),
    _option(list[str], "reference", "Picture of what shall appear; may be given several times.", metavar="FILE"),
    _option(float, "control_scale", "How strongly VACE is held to video, mask and references; 1 as trained."),
    _option(str, "camera", "Path of the camera, as RealEstate10K writes it.", metavar="FILE"),
    _option(str, "size", "Width and height in pixels, as 160x96, or an area, as 480p.", "-s", metavar="WxH"),
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
    _option(
        str,
        "guidance_method",
        "cfg, cfg_zero_star, apg, or nag (for models that were distilled to run without guidance).",
    ),
    _option(
        tuple[float, float], "guidance_interval", "Lowest and highest noise level with guidance.", metavar="LOW HIGH"
    ),
    _option(str, "solver", "unipc, dpmpp_2m, euler, res_multistep, euler_ancestral or lcm."),
    _option(
        str,
        "distilled",
        "Few-step preset: lightning, lightning-2, lightning-flf2v, hybrid, fastwan, turbowan-t2v or turbowan-i2v; none "
        "for a model that has one by default.",
    ),
    _option(
        list[str],
        "lora",
        "LoRA for every transformer, or for the expert named before it (both:, high: or low:); may be given several "
        "times.",
        metavar=PLACED_LORA,
    ),
    _option(list[str], "lora_high", "LoRA for the high-noise expert.", metavar=LORA),
    _option(list[str], "lora_low", "LoRA for the low-noise expert.", metavar=LORA),
    _option(int, "seed", "Seed of the noise. Without one it is 0: a bare command is repeatable."),
    _option(str, "negative", "What the video should not show; '' for nothing.", "-n"),
    _option(str, "precision", "Arithmetic of the transformer: fp32, bf16 or fp16."),
    _option(str, "device", "cpu, cuda, cuda:1 or mps."),
    _option(
        int, "gpus", "How many GPUs share the work; --device is the first. With --device cpu: processes, for tests."
    ),
    _option(
        str,
        "memory",
        "What is on the device at once: resident (all), one-expert (a network at a time), sharded (a part of it on "
        "each of several GPUs), streamed (a few blocks), or auto: what fits.",
    ),
    _option(
        str,
        "weights",
        "How large layers are kept on the device: as_computed, as_stored (fp8 and GGUF stay as they are), bf16, fp8, "
        "int8 or int4.",
    ),
    _option(str, "text_encoder", "Where the text encoder is: device (stays there), freed (after use) or cpu."),
    _option(int, "vae_tile", "Side in pixels of the tiles that the VAE works in; 0: whole frames."),
    _option(
        str,
        "profile",
        "What makes it fast: exact (the same result up to rounding), balanced (also skips work where a stored gate "
        "shows that videos differ little), fast (the same at wider limits), or plain (networks as they are written).",
    ),
    _option(
        str,
        "attention",
        "Attention of the transformers on a GPU: torch, cudnn, flash4 or fastest (tried at the shape).",
    ),
    _option(str, "vae_precision", "Arithmetic of the VAE: fp32 (as the originals), bf16 or fp16 (faster, less true)."),
)
"""Options of a request but its prompt. None always means the model's own default."""

_PROMPT = inspect.Parameter(
    "prompt",
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    default=typer.Argument(None, help="What the video shows, in plain words.", show_default=False),
    annotation=str | None,
)
_FILE = inspect.Parameter(
    "request",
    inspect.Parameter.KEYWORD_ONLY,
    default=typer.Option(
        None, "--request", "-r", metavar="FILE", show_default=False,
        help="A request as JSON, as `filmgate import` prints it; - is standard input. What is given beside it counts"
        " first.",
    ),
    annotation=Path | None,
)  # fmt: skip


def takes_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command(request, ...)`` the prompt, every option of :data:`REQUEST_OPTIONS` and ``--request`` in place of
    ``request``.

    A command that has an option ``batch`` needs no prompt where that is given: the request's is empty then.
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "request"]
    names = ("prompt", *(option.name for option in REQUEST_OPTIONS))

    @functools.wraps(command)
    def wrapper(**options: Any) -> None:
        fields = {name: options.pop(name) for name in names}
        file = options.pop("request")
        _check_prompt(fields["prompt"], file, options.get("batch"), batches="batch" in options)
        request = (
            build_request(fields | {"prompt": fields["prompt"] or ""}) if file is None else _from_file(file, fields)
        )
        command(request=request, **options)

    parameters = [_PROMPT, _FILE, *REQUEST_OPTIONS, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own)]
    # typer reads a command's options from here
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _check_prompt(prompt: str | None, file: Path | None, batch: Path | None, *, batches: bool) -> None:
    """Raise InvalidRequest unless something says what the video shows, and no prompt goes unused."""
    from filmgate.spec import InvalidRequest

    allowed = "a prompt, --request FILE" + (", or --batch FILE" if batches else "")
    if prompt is None and file is None and batch is None:
        raise InvalidRequest("prompt", "there is none", allowed=allowed)
    if prompt is not None and batch is not None:
        raise InvalidRequest("prompt", "was given together with a batch", allowed=allowed)


def merge(
    base: Request, flags: Request, cleared: Mapping[str, Any] | None = None, *, said: Callable[[str], None]
) -> Request:
    """A request from a file with what was given beside it on the command line in its place.

    Args:
        base: From the file.
        flags: Only what was given counts; a size in either form replaces one in the other form.
        cleared: What was given and says nothing, by field.
        said: Is told, once for every field, what was replaced.
    """
    fields = {name: getattr(flags, name) for name in type(flags).model_fields if name in flags.model_fields_set}
    changes: dict[str, Any] = {name: value for name, value in fields.items() if value not in _UNSET}
    if "area" in changes:
        changes |= {"width": None, "height": None}
    elif "width" in changes or "height" in changes:
        changes |= {"area": None}
    changes |= cleared or {}
    for name, value in changes.items():
        before = getattr(base, name)
        if before != value and before not in _UNSET:
            said(f"{name}: {_shown(value)} in place of {_shown(before)}")
    return base.model_copy(update=changes)


_UNSET = (None, "", ())


def _shown(value: Any) -> str:
    if value in _UNSET:
        return "nothing"
    if isinstance(value, tuple):
        return ", ".join(getattr(item, "path", str(item)) for item in value)
    return str(value)


def _from_file(file: Path, fields: Mapping[str, Any]) -> Request:
    """The request of a file, and what was given beside it."""
    from filmgate.cli.interchange import read_request, read_text

    base = read_request(read_text(file))
    if base.model and Path(base.model).exists():
        base = base.model_copy(update={"model": str(Path(base.model).resolve())})
    flags = build_request({**fields, "prompt": fields["prompt"] or ""})
    cleared: dict[str, Any] = {"negative": ""} if fields["negative"] == "" else {}
    if fields["memory"] == AUTO:
        cleared["memory"] = None
    return merge(base, flags, cleared, said=lambda text: print(f"Note: {text}", file=sys.stderr))


AUTO = "auto"
"""The memory mode of who does not choose one."""


def build_request(options: Mapping[str, Any]) -> Request:
    """The request that the options describe.

    Raises:
        InvalidRequest: ``--size`` is not WxH or contradicts ``--width``/``--height``.
        UnknownName: no such solver or precision.
    """
    from typing import get_args

    from filmgate.cli.lora import parse_lora, split_expert
    from filmgate.spec import (
        AttentionKernel,
        GuidanceMethod,
        InvalidRequest,
        Keep,
        MemoryMode,
        Precision,
        Request,
        Solver,
        SpeedProfile,
        TextEncoderPlace,
        UnknownName,
        WeightFormat,
    )

    fields = dict(options)
    size, guidance = fields.pop("size", None), fields.pop("guidance", None)
    if size is not None:
        if fields.get("width") is not None or fields.get("height") is not None:
            raise InvalidRequest("size", "was given together with width or height", allowed="one of the two ways")
        fields |= parse_size(size)
    fields["references"] = tuple(fields.pop("reference", None) or ())
    for name in ("guidance_high", "guidance_low"):
        if fields.get(name) is None:
            fields[name] = guidance
    placed = [split_expert(text) for text in fields.pop("lora", None) or ()]
    placed += [(name, text) for name in ("lora_high", "lora_low") for text in fields.pop(name, None) or ()]
    for name in ("lora", "lora_high", "lora_low"):
        fields[name] = tuple(parse_lora(name, text) for place, text in placed if place == name)
    modes = (AUTO, *(mode.replace("_", "-") for mode in get_args(MemoryMode)))
    if fields.get("memory") is not None:
        fields["memory"] = None if fields["memory"] == AUTO else fields["memory"].replace("-", "_")
    choices = (
        ("solver", Solver), ("precision", Precision), ("guidance_method", GuidanceMethod), ("keep", Keep),
        ("memory", MemoryMode), ("weights", WeightFormat), ("text_encoder", TextEncoderPlace),
        ("profile", SpeedProfile), ("attention", AttentionKernel), ("vae_precision", Precision),
    )  # fmt: skip
    for name, kind in choices:
        if fields.get(name) is not None and fields[name] not in get_args(kind):
            allowed = modes if name == "memory" else get_args(kind)
            raise UnknownName(name, options[name], allowed, noun=NOUNS.get(name, name.replace("_", " ")))
    if fields.get("model") and Path(fields["model"]).exists():
        fields["model"] = str(Path(fields["model"]).resolve())
    return Request(**fields)


NOUNS = {
    "keep": "place of a video", "memory": "memory mode", "weights": "format of weights",
    "text_encoder": "place of the text encoder", "attention": "attention kernel", "vae_precision": "precision",
}  # fmt: skip
"""What the values of an option are called, where its name is not the word for one of them."""
AREAS = {"480p": 832 * 480, "704p": 1280 * 704, "720p": 1280 * 720}
"""Areas by the names that Wan's models have for them; a picture's proportions are filled into one."""


def parse_size(text: str) -> dict[str, int]:
    """``width`` and ``height`` of ``160x96``, or ``area`` of ``480p``."""
    from filmgate.spec import InvalidRequest

    match = re.fullmatch(r"(\d+)\s*[xX×*:]\s*(\d+)", text.strip())
    if match is not None:
        return {"width": int(match[1]), "height": int(match[2])}
    if text.strip().lower() in AREAS:
        return {"area": AREAS[text.strip().lower()]}
    raise InvalidRequest(
        "size", f"{text!r} is not a size",
        allowed=f"WIDTHxHEIGHT in pixels, for example 160x96, or {', '.join(AREAS)}",
    )  # fmt: skip
