"""Job settings out of prompts into a request: frames of the form 4n+1, sizes that the model is used to, seeds, LoRAs.

What the request has no field for, or no value for, is reported with its reason; nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, get_args

from filmgate.direction.migration.form import Leaf, Parameter
from filmgate.direction.presets import PRESETS
from filmgate.spec.adapters import LoraChoice
from filmgate.spec.model import Preset, Solver

LARGEST_SEED = 2**63 - 1
_SAME_SHAPE = 0.05
"""Proportions count as the same within five percent: 832x480 is Wan's 16:9 of the smaller size."""
_SIZE = re.compile(r"^\s*(\d{2,5})\s*[x×*:,\s]\s*(\d{2,5})\s*(?:px)?\s*$", re.IGNORECASE)
_RATIO = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*[:/x]\s*(\d+(?:\.\d+)?)\s*$")
_LINES = re.compile(r"^\s*(\d{3,4})\s*p?\s*$", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_SOLVERS = {
    "uni_pc": "unipc", "unipc": "unipc", "unipc_bh2": "unipc", "uni_pc_bh2": "unipc", "dpm++": "dpmpp_2m",
    "dpmpp_2m": "dpmpp_2m", "dpm++ 2m": "dpmpp_2m", "euler_a": "euler_ancestral", "euler a": "euler_ancestral",
}  # fmt: skip


class Moved(NamedTuple):
    """One setting on its way: request fields that it sets, and how it differs from what was written, or why not."""

    fields: dict[str, Any]
    reason: str = ""


def settings_of(
    parameters: Iterable[tuple[str, Leaf[Parameter]]], variant: str
) -> tuple[dict[str, Any], dict[str, Moved]]:
    """Fields of a request, and by path what became of each parameter (no fields: it could not be moved).

    Sizes and lengths depend on one another (a length in seconds on the frame rate, a ratio on the area of a size), so
    those are settled last.
    """
    preset = PRESETS[variant]
    listed = list(parameters)
    moved: dict[str, Moved] = {}
    fields: dict[str, Any] = {}
    if sides := [(path, leaf.value) for path, leaf in listed if leaf.value.name in ("width", "height")]:
        move = _sides_of([parameter for _, parameter in sides], preset)
        moved |= dict.fromkeys((path for path, _ in sides), move)
        fields.update(move.fields)
    listed = [item for item in listed if item[0] not in moved]
    for path, leaf in sorted(listed, key=lambda item: item[1].value.name in ("seconds", "ratio")):
        parameter = leaf.value
        move = _MOVES.get(parameter.name, _unknown)(parameter, preset, fields)
        if "lora" in move.fields:
            move = Moved({"lora": (*fields.get("lora", ()), *move.fields["lora"])}, move.reason)
        if parameter.name == "camera_file" and "-camera-" not in variant:
            move = Moved({}, "paths of a camera need one of the camera models; in words the move is kept")
        fields.update(move.fields)
        moved[path] = move
    for path, move in moved.items():  # a size that a ratio changed afterwards
        if "width" in move.fields and move.fields["width"] != fields["width"]:
            size = {"width": fields["width"], "height": fields["height"]}
            moved[path] = Moved(size, "in the proportions that are given as well")
    return fields, _with_length(moved, fields, preset)


def _with_length(moved: dict[str, Moved], fields: dict[str, Any], preset: Preset) -> dict[str, Moved]:
    """Moves, with a warning where a clip becomes much longer than those that the model learned from."""
    if fields.get("frames", 0) <= 2 * preset.frames:
        return moved
    seen = f"the model was trained on {preset.frames} frames; repetition or drift is likely"
    return {
        path: Moved(move.fields, "; ".join(filter(None, (move.reason, seen)))) if "frames" in move.fields else move
        for path, move in moved.items()
    }


def nearest_frames(count: float) -> int:
    """The nearest number of frames of the form 4n+1, at least 1."""
    return max(4 * round((count - 1) / 4) + 1, 1)


def nearest_size(width: float, height: float, preset: Preset) -> tuple[int, int]:
    """The listed size (width, height) closest in proportions, then in area."""

    def distance(size: tuple[int, int]) -> tuple[float, float]:
        shape = abs(math.log((size[0] / size[1]) / (width / height)))
        return round(shape, 2) if shape > _SAME_SHAPE else 0.0, abs(math.log(size[0] * size[1] / (width * height)))

    return min(preset.sizes, key=distance)


def _number(parameter: Parameter) -> float | None:
    """A finite number of a parameter, also out of ``5s`` or ``24fps``."""
    value = parameter.value
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        found = _NUMBER.match(value.strip())
        value = float(found[0]) if found and len(found[0]) < 30 else math.nan
    return float(value) if math.isfinite(value) and abs(value) < 1e15 else None


def _whole(field: str, least: int, most: int) -> Callable[[Parameter, Preset, dict[str, Any]], Moved]:
    def move(parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
        value = parameter.value
        exact = value if isinstance(value, int) and not isinstance(value, bool) else None
        if exact is None and isinstance(value, str) and value.strip().isdecimal() and len(value.strip()) < 20:
            exact = int(value)
        if exact is None:
            number = _number(parameter)
            exact = None if number is None or number != int(number) else int(number)
        if field == "seed" and exact == -1:
            return Moved({}, "-1 asks for a seed at random; here it is 0 where none is named")
        if exact is None or not least <= exact <= most:
            return Moved({}, f"{value} is no whole number from {least} to {most}")
        return Moved({field: exact})

    return move


def _scale(*names: str) -> Callable[[Parameter, Preset, dict[str, Any]], Moved]:
    def move(parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
        number = _number(parameter)
        if number is None or number < 0:
            return Moved({}, f"{parameter.value} is no number of 0 or more")
        return Moved(dict.fromkeys(names, number))

    return move


def _frames(parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
    number = _number(parameter)
    if number is None or not 1 <= number <= 10_000:
        return Moved({}, f"{parameter.value} is no number of frames from 1 to 10000")
    frames = nearest_frames(number)
    return Moved({"frames": frames}, "" if frames == number else f"{parameter.value} frames made 4n+1")


def _seconds(parameter: Parameter, preset: Preset, fields: dict[str, Any]) -> Moved:
    number = _number(parameter)
    if number is None or not 0 < number <= 600:
        return Moved({}, f"{parameter.value} is no length in seconds above 0 and up to 600")
    if "frames" in fields:
        return Moved({}, f"the number of frames, {fields['frames']}, is given as well")
    fps = fields.get("fps", preset.fps)
    frames = nearest_frames(number * fps)
    return Moved({"frames": frames}, f"{number:g} s at {fps} frames per second, made 4n+1")


def _size(parameter: Parameter, preset: Preset, _fields: dict[str, Any]) -> Moved:
    text = str(parameter.value)
    if found := _SIZE.match(text):
        return _sides(float(found[1]), float(found[2]), preset)
    if found := _LINES.match(text):
        same = [size for size in preset.sizes if min(size) == int(found[1])]
        if same:
            return Moved({"width": same[0][0], "height": same[0][1]})
        lines = int(found[1])
        return _sides(lines * 16 / 9, lines, preset, text)
    if _RATIO.match(text):
        return _ratio(parameter, preset, {})
    return Moved({}, f"{text} is no size, such as 1280x720 or 720p")


def _sides_of(parameters: list[Parameter], preset: Preset) -> Moved:
    """Width and height together; one alone takes the listed size that has it, or the default's proportions."""
    asked = {parameter.name: _number(parameter) for parameter in parameters}
    if any(number is None for number in asked.values()):
        return Moved({}, f"{' and '.join(str(parameter.value) for parameter in parameters)}: no side in pixels")
    default = preset.sizes[0]
    width, height = asked.get("width"), asked.get("height")
    listed = [size for size in preset.sizes if size[0] == width or size[1] == height]
    if listed and (width is None or height is None):
        return Moved({"width": listed[0][0], "height": listed[0][1]})
    if width is None:
        width = (height or 0) * default[0] / default[1]
    if height is None:
        height = width * default[1] / default[0]
    return _sides(width, height, preset)


def _sides(width: float, height: float, preset: Preset, text: str = "") -> Moved:
    if min(width, height) < 16 or max(width, height) > 16_384:
        return Moved({}, f"{width:g}x{height:g} is no size of a video")
    size = nearest_size(width, height, preset)
    asked = text or f"{width:g}x{height:g}"
    exact = size == (width, height)
    return Moved({"width": size[0], "height": size[1]}, "" if exact else f"{asked} made the nearest size of the model")


def _ratio(parameter: Parameter, preset: Preset, fields: dict[str, Any]) -> Moved:
    found = _RATIO.match(str(parameter.value))
    if found is None or not float(found[2]) or not float(found[1]):
        return Moved({}, f"{parameter.value} is no ratio, such as 16:9")
    ratio = float(found[1]) / float(found[2])
    area = preset.sizes[0][0] * preset.sizes[0][1]
    if "width" in fields:
        # "720p" and "9:16" together: the area of the one in the proportions of the other.
        area = fields["width"] * fields["height"]
    width, height = nearest_size(math.sqrt(area * ratio), math.sqrt(area / ratio), preset)
    near = abs(math.log(width / height / ratio)) <= _SAME_SHAPE
    return Moved({"width": width, "height": height}, "" if near else f"{parameter.value} made the nearest listed ratio")


def _lora(parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
    name = str(parameter.value).strip()
    strength = 1.0 if parameter.strength is None else parameter.strength
    if not name or not math.isfinite(strength):
        return Moved({}, "a LoRA needs a name and a finite strength")
    return Moved({"lora": (LoraChoice(path=name, strength=strength),)})


def _solver(parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
    name = str(parameter.value).strip().lower()
    name = _SOLVERS.get(name, name)
    if name not in get_args(Solver):
        return Moved({}, f"there is no solver named {parameter.value}; there are {', '.join(get_args(Solver))}")
    return Moved({"solver": name}, "" if name == parameter.value else f"{parameter.value} by the name that it has here")


def _words(field: str) -> Callable[[Parameter, Preset, dict[str, Any]], Moved]:
    def move(parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
        text = str(parameter.value).strip()
        return Moved({field: text}) if text else Moved({}, "it is empty")

    return move


def _model(_parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
    return Moved({}, "the model is the one that is migrated to")


def _boundary(parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
    number = _number(parameter)
    if number is None or not 0 < number < 1:
        return Moved({}, f"{parameter.value} is no noise level between 0 and 1")
    return Moved({"boundary": number})


def _unknown(parameter: Parameter, _preset: Preset, _fields: dict[str, Any]) -> Moved:
    return Moved({}, f"Wan 2.2 has no setting like {parameter.name}")


_MOVES: dict[str, Callable[[Parameter, Preset, dict[str, Any]], Moved]] = {
    "seed": _whole("seed", 0, LARGEST_SEED),
    "steps": _whole("steps", 1, 1000),
    "fps": _whole("fps", 1, 240),
    "guidance": _scale("guidance_high", "guidance_low"),
    "guidance_high": _scale("guidance_high"),
    "guidance_low": _scale("guidance_low"),
    "shift": _scale("shift"),
    "frames": _frames,
    "seconds": _seconds,
    "size": _size,
    "ratio": _ratio,
    "lora": _lora,
    "solver": _solver,
    "boundary": _boundary,
    "image": _words("image"),
    "camera_file": _words("camera"),
    "model": _model,
}
