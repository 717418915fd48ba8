"""Forms in the dialects that are about the camera most of all."""

from __future__ import annotations

import json
from collections.abc import Mapping

from filmgate.direction.migration.dialects import axes, camera_files, deforum
from filmgate.direction.migration.dialects.amounts import write_number
from filmgate.direction.migration.form import Amount, Beat, CameraMove, Dialect, Form, Leaf, Move, MoveKind, Parameter

MINIMAX: tuple[tuple[MoveKind, str | None, str], ...] = (
    ("truck", "left", "Truck left"), ("truck", "right", "Truck right"), ("pan", "left", "Pan left"),
    ("pan", "right", "Pan right"), ("dolly", "in", "Push in"), ("dolly", "out", "Pull out"),
    ("pedestal", "up", "Pedestal up"), ("pedestal", "down", "Pedestal down"), ("tilt", "up", "Tilt up"),
    ("tilt", "down", "Tilt down"), ("zoom", "in", "Zoom in"), ("zoom", "out", "Zoom out"), ("shake", None, "Shake"),
    ("follow", None, "Tracking shot"), ("static", None, "Static shot"),
)  # fmt: skip
"""The fifteen commands of MiniMax's director models."""
_MINIMAX = {(kind, direction): words for kind, direction, words in MINIMAX}


def keep_minimax(form: Form) -> Form:
    """The moves that have a command, in their groups, and prose."""
    moves = [m for m in form.camera if (m.move.value.kind, m.move.value.direction) in _MINIMAX]
    groups = {group: index for index, group in enumerate(dict.fromkeys(move.group for move in moves))}
    camera = tuple(CameraMove(move=move.move, group=groups[move.group]) for move in moves)
    return Form(camera=camera, prose=form.prose)


def write_minimax(form: Form) -> str:
    """A bracket for each group, and the sentences behind them."""
    groups: dict[int, list[str]] = {}
    for move in form.camera:
        groups.setdefault(move.group, []).append(_MINIMAX[move.move.value.kind, move.move.value.direction])
    return " ".join([*(f"[{', '.join(group)}]" for group in groups.values()), *(leaf.value for leaf in form.prose)])


def _keep_axes(form: Form, dialect: Dialect) -> tuple[CameraMove, ...]:
    table = axes.KLING if dialect == "kling" else axes.RUNWAY
    found: dict[str, CameraMove] = {}
    for move in form.camera:
        axis, sign = _axis(move.move.value, table)
        speed = move.speed
        if not axis or axis in found or speed is None or speed.value.full != axes.FULL or not sign:
            continue
        found[axis] = CameraMove(move=move.move, speed=speed)
    return tuple(found[axis] for axis in table if axis in found)


def _axis(move: Move, table: Mapping[axes.Axis, axes.Meaning]) -> tuple[str, int]:
    for axis, (kind, positive, opposite) in table.items():
        if kind == move.kind and move.direction in (positive, opposite):
            return axis, 1 if move.direction == positive else -1
    return "", 0


def _axis_values(form: Form, dialect: Dialect) -> dict[str, float]:
    table = axes.KLING if dialect == "kling" else axes.RUNWAY
    values: dict[str, float] = dict.fromkeys(table, 0.0)
    for move in form.camera:
        axis, sign = _axis(move.move.value, table)
        assert move.speed is not None
        values[axis] = sign * move.speed.value.value
    return values


def keep_kling(form: Form) -> Form:
    """Moves on its six axes, prose, unwanted things, length and ratio."""
    parameters = tuple(leaf for leaf in form.parameters if leaf.value.name in ("seconds", "ratio"))
    return Form(camera=_keep_axes(form, "kling"), prose=form.prose, negatives=form.negatives, parameters=parameters)


def write_kling(form: Form) -> str:
    """A request of Kling's interface."""
    request: dict[str, object] = {"prompt": " ".join(leaf.value for leaf in form.prose)} if form.prose else {}
    if form.negatives:
        request["negative_prompt"] = ", ".join(leaf.value for leaf in form.negatives)
    names = {"seconds": "duration", "ratio": "aspect_ratio"}
    request |= {names[leaf.value.name]: str(leaf.value.value) for leaf in form.parameters}
    request["camera_control"] = {"type": "simple", "config": _axis_values(form, "kling")}
    return json.dumps(request, ensure_ascii=False)


def keep_runway(form: Form) -> Form:
    """Moves on its six axes, and prose."""
    return Form(camera=_keep_axes(form, "runway"), prose=form.prose)


def write_runway(form: Form) -> str:
    """The six sliders in front of the sentences."""
    values = _axis_values(form, "runway")
    sliders = ", ".join(f"{axis.capitalize()}: {write_number(value)}" for axis, value in values.items())
    return f"{sliders}. {' '.join(leaf.value for leaf in form.prose)}".strip()


def keep_deforum(form: Form) -> Form:
    """One move for each channel of a mode, prompts by frame with what they do not want, and settings."""
    channels = deforum.CHANNELS["2D" if any(m.move.value.kind == "zoom" for m in form.camera) else "3D"]
    found: dict[str, CameraMove] = {}
    for move in form.camera:
        for name, channel in channels.items():
            fits = channel.kind == move.move.value.kind and move.move.value.direction in (channel.above, channel.below)
            if fits and move.speed is not None and move.speed.value.unit == channel.unit and name not in found:
                found[name] = CameraMove(
                    move=move.move, speed=move.speed, begin=_frames(move.begin), end=_frames(move.end)
                )
    beats = tuple(
        Beat(content=Form(prose=beat.content.prose, negatives=beat.content.negatives), begin=beat.begin)
        for beat in form.timeline
        if beat.begin is not None and beat.begin.value.unit == "frame"
    )
    names = ("seed", "steps", "fps", "width", "height", "guidance")
    parameters = tuple(leaf for leaf in form.parameters if leaf.value.name in names)
    camera = tuple(found[name] for name in channels if name in found)
    return Form(camera=camera, timeline=beats if len(beats) > 1 else (), parameters=parameters)


def _frames(moment: Leaf[Amount] | None) -> Leaf[Amount] | None:
    return moment if moment is not None and moment.value.unit == "frame" else None


def write_deforum(form: Form) -> str:
    """A settings file."""
    names = {"width": "W", "height": "H", "guidance": "cfg_scale"}
    made: dict[str, object] = {
        names.get(leaf.value.name, leaf.value.name): leaf.value.value for leaf in form.parameters
    }
    if form.camera:
        made |= deforum.write_channels(form)
    prompts = {}
    for beat in form.timeline:
        assert beat.begin is not None
        unwanted = ", ".join(leaf.value for leaf in beat.content.negatives)
        text = " ".join(leaf.value for leaf in beat.content.prose)
        prompts[write_number(beat.begin.value.value)] = f"{text} --neg {unwanted}" if unwanted else text
    if prompts:
        made["prompts"] = prompts
    return json.dumps(made, ensure_ascii=False, indent=4) if made else ""


def keep_camera_file(form: Form) -> Form:
    """Travel in one direction or two, or a roll, as a preset's file, and prose."""
    camera = tuple(CameraMove(move=move.move) for move in form.camera)
    name = _preset(camera)
    if name is None:
        return Form(prose=form.prose)
    parameter = Parameter(name="camera_file", value=f"asset/{name}.txt")
    return Form(camera=camera, prose=form.prose, parameters=(Leaf(value=parameter),))


_PRESETS = (
    "Pan_Left", "Pan_Right", "Pan_Up", "Pan_Down", "Pan_Left_Up", "Pan_Left_Down", "Pan_Right_Up", "Pan_Right_Down",
    "Zoom_In", "Zoom_Out", "CW", "ACW",
)  # fmt: skip
"""All pose files of VideoX-Fun."""


def _preset(camera: tuple[CameraMove, ...]) -> str | None:
    wanted = [move.move.value for move in camera]
    return next((name for name in _PRESETS if camera_files.preset_moves(name) == wanted), None)


def write_camera_file(form: Form) -> str:
    """The sentences and the file's name."""
    return " ".join([*(leaf.value for leaf in form.prose), *(str(leaf.value.value) for leaf in form.parameters)])


def keep_direction(form: Form) -> Form:
    """Travel in DiffSynth's directions at one speed, and prose."""
    found = [move for move in form.camera if move.move.value.kind in ("truck", "pedestal", "dolly")]
    names = [move.move.value.direction for move in found]
    again = camera_files.direction_moves("".join(str(name).capitalize() for name in names)) if names else None
    if again != [move.move.value for move in found]:
        return Form(prose=form.prose)
    full = 2 * camera_files.USUAL_SPEED
    speeds = [move.speed for move in found if move.speed is not None and move.speed.value.full == full]
    camera = tuple(CameraMove(move=move.move, speed=speeds[0] if speeds else None) for move in found)
    return Form(camera=camera, prose=form.prose)


def write_direction(form: Form) -> str:
    """Keyword arguments of DiffSynth's pipeline."""
    made = []
    if form.camera:
        names = "".join(str(move.move.value.direction).capitalize() for move in form.camera)
        made.append(f"camera_control_direction='{names}'")
        if form.camera[0].speed is not None:
            made.append(f"camera_control_speed={form.camera[0].speed.value.value!r}")
    if form.prose:
        made.append(f"prompt={json.dumps(' '.join(leaf.value for leaf in form.prose), ensure_ascii=False)}")
    return ", ".join(made)
