"""The command line of the original code's ``generate.py``. It is split and parsed, never executed.

Source: Wan-Video/Wan2.1 and Wan-Video/Wan2.2. ``--size`` is width*height, an area where a picture sets the proportions.
``--sample_guide_scale`` is one scale for both experts; left out, it is the configuration's pair, which lists (low,
high). There is no option for the negative prompt, for the boundary or for the frames per second: they are the model's.
"""

from __future__ import annotations

import argparse
import re
import shlex
from typing import Any, NoReturn

from filmgate.direction.interchange.report import Exported, Imported, Ledger
from filmgate.direction.interchange.settings import drop_unspoken, note_model, note_path, settings_of, weights_of
from filmgate.direction.interchange.values import LARGEST, causal_frames, number, seed_of
from filmgate.direction.presets import PRESETS, shift_at
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.request import Request

TASKS = {
    "t2v-1.3B": "wan2.1-t2v-1.3b",
    "t2v-14B": "wan2.1-t2v-14b",
    "t2i-14B": "wan2.1-t2i-14b",
    "i2v-14B": "wan2.1-i2v-14b",
    "flf2v-14B": "wan2.1-flf2v-14b",
    "vace-1.3B": "wan2.1-vace-1.3b",
    "vace-14B": "wan2.1-vace-14b",
    "t2v-A14B": "wan2.2-t2v-a14b",
    "i2v-A14B": "wan2.2-i2v-a14b",
    "ti2v-5B": "wan2.2-ti2v-5b",
}
"""The tasks that a request can express, and the models behind them."""
SOLVERS = {"unipc": "unipc", "dpm++": "dpmpp_2m"}
_INPUTS = {
    "image": "image",
    "first_frame": "image",
    "last_frame": "last_image",
    "src_video": "video",
    "src_mask": "mask",
}
_ELSEWHERE = (
    "offload_model", "ulysses_size", "ring_size", "save_file", "prompt_extend_method", "prompt_extend_model",
    "prompt_extend_target_lang", "audio", "pose_video", "src_root_path", "refert_num", "num_clip", "infer_frames",
    "tts_prompt_audio", "tts_prompt_text", "tts_text",
)  # fmt: skip
_SWITCHES = (
    "t5_fsdp", "t5_cpu", "dit_fsdp", "use_prompt_extend", "convert_model_dtype", "replace_flag",
    "use_relighting_lora", "start_from_ref", "enable_tts",
)  # fmt: skip
_CONTINUED = re.compile(r"""('[^']*'|"(?:\\.|[^"\\])*"|\\[^\n])|\\\n""", re.DOTALL)
"""What is quoted, or else a line that goes on in the next one."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidRequest("command line", message, allowed="the options of generate.py")


def _parser() -> _Parser:
    parser = _Parser(prog="generate.py", add_help=False)
    for name in ("task", "size", "ckpt_dir", "prompt", "sample_solver", "src_ref_images", *_INPUTS, *_ELSEWHERE):
        parser.add_argument(f"--{name}")
    for name in ("frame_num", "sample_steps", "base_seed"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("sample_shift", "sample_guide_scale"):
        parser.add_argument(f"--{name}", type=float)
    for name in _SWITCHES:
        parser.add_argument(f"--{name}", action="store_true", default=None)
    return parser


def import_official(text: str) -> Imported:
    """The request of a command line, the model's defaults written out.

    Raises:
        InvalidRequest: it is not one (UnknownName: no such task or solver).
    """
    if len(text) > LARGEST:
        raise InvalidRequest("command line", f"it has {len(text)} characters", allowed=f"at most {LARGEST}")
    try:
        arguments = shlex.split(_CONTINUED.sub(lambda found: found[1] or " ", text))
    except ValueError as error:
        raise InvalidRequest("command line", f"it cannot be split: {error}", allowed="closed quotes") from None
    script = next((i for i, word in enumerate(arguments) if word.endswith("generate.py")), None)
    if script is None:
        raise InvalidRequest("command line", "generate.py is not in it", allowed="python generate.py --task ...")
    ledger = Ledger()
    launcher = " ".join(arguments[:script])
    if launcher not in ("", "python", "python3"):
        ledger.dropped("launcher", launcher, "how processes are started does not change the video")
    return _read(vars(_parser().parse_args(arguments[script + 1 :])), ledger)


def _read(given: dict[str, Any], ledger: Ledger) -> Imported:
    task = given["task"] or "t2v-14B"
    if task not in TASKS:
        raise UnknownName("task", task, TASKS)
    if not given["prompt"]:
        raise InvalidRequest("--prompt", "it is missing; generate.py would take its own example", allowed="a prompt")
    solver = given["sample_solver"] or "unipc"
    if solver not in SOLVERS:
        raise UnknownName("sample_solver", solver, SOLVERS)
    variant, preset = TASKS[task], PRESETS[TASKS[task]]
    files = {ours: given[theirs] for theirs, ours in _INPUTS.items() if given[theirs] is not None}
    width, height = _size(given["size"] or "1280*720")
    by_area = "image" in files and "vace" not in task
    frames = causal_frames("--frame_num", given["frame_num"] or preset.frames, ledger)
    scale = given["sample_guide_scale"]
    shift = given["sample_shift"]
    model = _model(given["ckpt_dir"], task, width * height, ledger)
    for field, value in (("prompt", given["prompt"]), *files.items()):
        ledger.kept(field, value)
    ledger.note("size", "translated", given["size"], width * height if by_area else f"{width}x{height}")
    if scale is None:
        pair = f"({preset.guidance_low:g}, {preset.guidance_high:g})"
        named = f"high {preset.guidance_high:g}, low {preset.guidance_low:g}"
        ledger.note("guidance", "translated", pair, named, "the pair in its configuration is (low, high)")
    for name in (*_ELSEWHERE, *_SWITCHES):
        if given[name] is not None:
            changes = name in ("use_prompt_extend", "audio", "pose_video", "enable_tts")
            reason = "has no counterpart, and changes the video" if changes else "is not part of a request"
            ledger.dropped(name, given[name], reason)
    references = tuple(given["src_ref_images"].split(",")) if given["src_ref_images"] else ()
    request = Request(
        prompt=given["prompt"], negative=preset.negative, model=model, frames=frames, fps=preset.fps,
        width=None if by_area else width, height=None if by_area else height, area=width * height if by_area else None,
        steps=given["sample_steps"] or preset.steps,
        shift=shift_at(variant, preset, (width, height)) if shift is None else number("--sample_shift", shift),
        solver="unipc" if solver == "unipc" else "dpmpp_2m",
        guidance_high=preset.guidance_high if scale is None else number("--sample_guide_scale", scale),
        guidance_low=preset.guidance_low if scale is None else scale,
        boundary=preset.boundary, seed=seed_of("--base_seed", given["base_seed"], ledger), references=references,
        **files,
    )  # fmt: skip
    for name in ("negative", "fps", "steps", "shift", "solver", "boundary"):
        ledger.kept(name, getattr(request, name))
    return Imported(dialect="official", request=request, entries=ledger.entries, variant=variant)


def _model(directory: str | None, task: str, area: int, ledger: Ledger) -> str | None:
    """The directory of weights, or the published model that the task is for."""
    if directory is not None:
        ledger.kept("model", directory)
        return directory
    reason = "--ckpt_dir is absent: the published model of the task" + (" and the size" if task == "i2v-14B" else "")
    return note_model(weights_of(TASKS[task], area), ledger, f"--task {task}", reason, sure=task != "i2v-14B")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})\*(\d{1,5})", text)
    if match is None:
        raise InvalidRequest("--size", f"{text!r:.80} is not a size", allowed="WIDTH*HEIGHT, for example 1280*720")
    return int(match[1]), int(match[2])


def export_official(request: Request, variant: str | None) -> Exported:
    """A request as a command line; what that cannot say is in the report.

    Raises:
        InvalidRequest: no task of generate.py is like the model.
    """
    settings, ledger = settings_of(request, variant), Ledger()
    task = next((task for task, name in TASKS.items() if settings.variant.startswith(name)), None)
    if task is None:
        raise InvalidRequest(
            "variant", f"generate.py has no task for {settings.variant}", allowed=", ".join(TASKS.values())
        )
    preset = PRESETS[TASKS[task]]
    words = ["python", "generate.py", "--task", task, "--size", f"{settings.width}*{settings.height}"]
    words += ["--ckpt_dir", request.model] if request.model and request.model not in PRESETS else []
    note_path(request.model, "--ckpt_dir, which is left out,", ledger)
    words += ["--frame_num", str(settings.frames), "--sample_steps", str(settings.steps)]
    words += ["--sample_shift", repr(settings.shift)]
    words += _solver(settings.solver, ledger)
    pair = (settings.guidance_high, settings.guidance_low)
    if pair[0] == pair[1]:
        words += ["--sample_guide_scale", repr(pair[0])]
    elif pair != (preset.guidance_high, preset.guidance_low):
        ledger.dropped("guidance", pair, "generate.py takes one scale for both experts; its own pair is used")
    for field in ("negative", "fps", "boundary"):
        if getattr(settings, field) != getattr(preset, field):
            ledger.dropped(field, getattr(settings, field), "generate.py has no option for it")
    words += ["--base_seed", str(settings.seed), "--prompt", request.prompt]
    ledger.note("seed", "approximated", settings.seed, settings.seed, "the same number, other noise")
    first = "first_frame" if "flf2v" in task else "image"
    names = {"image": first, "last_image": "last_frame", "video": "src_video", "mask": "src_mask"}
    can = {"flf2v": ("image", "last_image"), "vace": ("video", "mask"), "i2v": ("image",), "ti2v": ("image",)}
    allowed = can.get(task.split("-")[0], ())
    for field, name in names.items():
        if getattr(request, field) is not None and field in allowed:
            words += [f"--{name}", getattr(request, field)]
        elif getattr(request, field) is not None:
            ledger.dropped(field, getattr(request, field), f"the task {task} does not take it")
    if request.references and "vace" in task:
        words += ["--src_ref_images", ",".join(request.references)]
    elif request.references:
        ledger.dropped("references", request.references, f"the task {task} does not take them")
    drop_unspoken(request, ledger, ("area",))
    if request.image is not None and request.width is not None and "vace" not in task:
        size = f"{request.width}x{request.height}"
        ledger.note("size", "approximated", size, reason="with a picture, --size is an area only")
    return Exported(dialect="official", text=shlex.join(_bound(words)), entries=ledger.entries)


def _bound(words: list[str]) -> list[str]:
    """The options after the program as --name=value where the value looks like an option itself."""
    pairs = zip(words[2::2], words[3::2], strict=True)
    return words[:2] + [
        word for name, value in pairs for word in ([f"{name}={value}"] if value.startswith("-") else [name, value])
    ]


def _solver(solver: str, ledger: Ledger) -> list[str]:
    theirs = next((name for name, ours in SOLVERS.items() if ours == solver), None)
    if theirs is None:
        ledger.dropped("solver", solver, "generate.py has unipc and dpm++; its default, unipc, is used")
        return []
    return ["--sample_solver", theirs]
