"""Deforum: a schedule for each way that the camera can move, and prompts by frame.

Source: deforum-art/sd-webui-deforum, scripts/deforum_helpers/animation.py: in 2D mode the picture is moved, so that a
positive ``translation_x`` takes the camera to the left; in 3D mode the camera is, and it goes to the right. In each
mode the other mode's channels do nothing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

from filmgate.direction.migration.dialects.amounts import write_number
from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.schedules import Schedule, read_schedule
from filmgate.direction.migration.dialects.tree import Node, Scalar, text_of
from filmgate.direction.migration.form import (
    Amount,
    CameraMove,
    Direction,
    Form,
    Leaf,
    Move,
    MoveKind,
    Parameter,
    Term,
    Unit,
)

Mode = Literal["2D", "3D"]
Entries = tuple[tuple[Excerpt, Node], ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """What a schedule does in one mode: kind of move, direction above and below ``rest``."""

    kind: MoveKind
    above: Direction
    below: Direction
    unit: Unit
    rest: float = 0.0


CHANNELS: dict[Mode, dict[str, Channel]] = {
    "2D": {
        "translation_x": Channel("truck", "left", "right", "px/frame"),
        "translation_y": Channel("pedestal", "up", "down", "px/frame"),
        "angle": Channel("roll", "clockwise", "counterclockwise", "deg/frame"),
        "zoom": Channel("zoom", "in", "out", "x/frame", 1.0),
    },
    "3D": {
        "translation_x": Channel("truck", "right", "left", "px/frame"),
        "translation_y": Channel("pedestal", "up", "down", "px/frame"),
        "translation_z": Channel("dolly", "in", "out", "px/frame"),
        "rotation_3d_x": Channel("tilt", "up", "down", "deg/frame"),
        "rotation_3d_y": Channel("pan", "right", "left", "deg/frame"),
        "rotation_3d_z": Channel("roll", "clockwise", "counterclockwise", "deg/frame"),
    },
}
NAMES = frozenset(name for channels in CHANNELS.values() for name in channels)
_ONLY_3D = frozenset(CHANNELS["3D"]) - frozenset(CHANNELS["2D"])
_UNKNOWN_LENGTH = 120
"""Frames over which an expression is sampled where nothing says how long the clip is; Deforum's own default."""
_LONGEST = 2000
_MOST_RUNS = 4
_NOTHING = 1e-9
_CHANGE = 1.2


def is_channel(key: str, node: Node) -> bool:
    """Whether a named value is a schedule of the camera."""
    text = _text(node)
    return key.strip().lower() in NAMES and text is not None and read_schedule(text) is not None


def is_schedule(node: Node) -> bool:
    """Whether a value is a schedule of anything."""
    text = _text(node)
    return text is not None and read_schedule(text) is not None


def read_channels(entries: Entries, draft: Draft) -> Entries:
    """Read the camera's schedules among named values; returns the others."""
    channels = {key.words.strip().lower(): (key, node) for key, node in entries if is_channel(key.words, node)}
    if not channels:
        for key, node in entries:
            if key.words.strip().lower() == "animation_mode":
                _leave(key, node, draft, required=False)
        return tuple(entry for entry in entries if entry[0].words.strip().lower() != "animation_mode")
    mode = _mode(entries, channels)
    # Where no mode is named and channels of both move, none of them is known to do nothing.
    mixed = mode == "3D" and not any(key.words.strip().lower() == "animation_mode" for key, _ in entries)
    length = _length(entries)
    for name, (key, node) in channels.items():
        schedule = read_schedule(_text(node) or "")
        channel = CHANNELS[mode].get(name) or (CHANNELS["2D"].get(name) if mixed else None)
        if schedule is None:
            continue
        if channel is None:
            if schedule.constant != (1.0 if name == "zoom" else 0.0):
                _leave(key, node, draft)
        elif not _read_channel(schedule, channel, length, node, draft):
            _leave(key, node, draft)
    rest = []
    for key, node in entries:
        name = key.words.strip().lower()
        if name in channels or name == "animation_mode":
            continue
        if is_schedule(node):
            value = Parameter(name=name, value=_text(node) or "")
            draft.add("parameters", node.excerpt.leaf(value, "deforum"))
        else:
            rest.append((key, node))
    return tuple(rest)


def _text(node: Node) -> str | None:
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


def _leave(key: Excerpt, node: Node, draft: Draft, *, required: bool = True) -> None:
    place = Excerpt(key.whole, key.start, max(key.end, node.excerpt.end))
    draft.add("leftovers", place.leaf(f"{key.words}: {text_of(node)}", "deforum", required=required))


def _mode(entries: Entries, channels: dict[str, tuple[Excerpt, Node]]) -> Mode:
    said = next((_text(node) for key, node in entries if key.words.strip().lower() == "animation_mode"), None)
    if said in ("2D", "3D"):
        return "2D" if said == "2D" else "3D"
    moving = [
        name for name, (_, node) in channels.items() if (s := read_schedule(_text(node) or "")) and s.constant != 0
    ]
    return "3D" if _ONLY_3D.intersection(moving) else "2D"


def _length(entries: Entries) -> int | None:
    for key, node in entries:
        if key.words.strip().lower() in ("max_frames", "frames", "num_frames") and isinstance(node, Scalar):
            try:
                return max(1, min(int(str(node.value)), _LONGEST))
            except ValueError:
                return None
    return None


def _read_channel(schedule: Schedule, channel: Channel, length: int | None, node: Node, draft: Draft) -> bool:
    """Add the moves of one channel; False if its expressions cannot be calculated."""
    if schedule.constant is not None:
        values: tuple[float, ...] | None = (schedule.constant,)
    else:
        last = schedule.frames[-1] + 1
        moving = last == 1 or any(character.isalpha() for character in schedule.text[-1])
        values = schedule.values(min(length or (_UNKNOWN_LENGTH if moving else last), _LONGEST))
    if values is None:
        return False
    found = _runs([value - channel.rest for value in values])
    if len(found) > _MOST_RUNS:
        largest = max(abs(value - channel.rest) for value in values)
        speed = channel.rest + largest if channel.rest else largest
        move = node.excerpt.leaf(Move(kind=channel.kind), "deforum", confidence=0.5)
        words = node.excerpt.leaf("back and forth", "deforum", confidence=0.5)
        amount = node.excerpt.leaf(Amount(value=speed, unit=channel.unit), "deforum", confidence=0.5)
        draft.add_moves([CameraMove(move=move, speed=amount, easing=words)])
        return True
    for first, last in found:
        draft.add_moves([_move(values, first, last, channel, node)])
    return True


def _runs(offsets: list[float]) -> list[tuple[int, int]]:
    """Stretches (first and last index) in which numbers keep one sign and are not zero."""
    found: list[tuple[int, int]] = []
    for index, offset in enumerate(offsets):
        if abs(offset) < _NOTHING:
            continue
        if found and found[-1][1] == index - 1 and (offsets[index - 1] > 0) == (offset > 0):
            found[-1] = (found[-1][0], index)
        else:
            found.append((index, index))
    return found


def _move(values: tuple[float, ...], first: int, last: int, channel: Channel, node: Node) -> CameraMove:
    stretch = values[first : last + 1]
    offsets = [abs(value - channel.rest) for value in stretch]
    steady = max(offsets) - min(offsets) < _NOTHING
    value = stretch[0] if steady else round(sum(stretch) / len(stretch), 6)
    direction = channel.above if stretch[0] > channel.rest else channel.below
    amount = Amount(value=value if channel.rest else abs(value), unit=channel.unit)
    frame = node.excerpt
    return CameraMove(
        move=frame.leaf(Move(kind=channel.kind, direction=direction), "deforum"),
        speed=frame.leaf(amount, "deforum", confidence=1.0 if steady else 0.9),
        easing=None if steady else _easing(offsets, frame),
        begin=frame.leaf(Amount(value=first, unit="frame"), "deforum") if first else None,
        end=frame.leaf(Amount(value=last + 1, unit="frame"), "deforum") if last + 1 < len(values) else None,
    )


def _easing(offsets: list[float], place: Excerpt) -> Leaf[Term | str] | None:
    pairs = list(itertools.pairwise(offsets))
    if offsets[-1] > _CHANGE * offsets[0] and all(after >= before for before, after in pairs):
        return place.leaf(Term(name="in"), "deforum", confidence=0.7)
    if offsets[0] > _CHANGE * offsets[-1] and all(after <= before for before, after in pairs):
        return place.leaf(Term(name="out"), "deforum", confidence=0.7)
    return None


def write_channels(form: Form) -> dict[str, str]:
    """Schedules of a form's camera moves, with the mode that they need."""
    mode: Mode = "2D" if any(move.move.value.kind == "zoom" for move in form.camera) else "3D"
    written: dict[str, str] = {"animation_mode": mode}
    for move in form.camera:
        for name, channel in CHANNELS[mode].items():
            wanted = move.move.value
            if channel.kind == wanted.kind and wanted.direction in (channel.above, channel.below) and move.speed:
                value = move.speed.value.value
                if not channel.rest and wanted.direction == channel.below:
                    value = -value
                written[name] = _keyframes(value, channel.rest, move)
    return written


def _keyframes(value: float, rest: float, move: CameraMove) -> str:
    begin = int(move.begin.value.value) if move.begin else 0
    frames: dict[int, float] = {}
    if begin > 0:
        frames = {0: rest, begin - 1: rest}
    frames[begin] = value
    if move.end is not None:
        end = int(move.end.value.value)
        frames[end - 1] = value
        frames[end] = rest
    return ", ".join(f"{frame}:({write_number(number)})" for frame, number in sorted(frames.items()))
