"""Camera presets by name: pose files of VideoX-Fun (``Pan_Left.txt``) and directions of DiffSynth (``LeftUp``).

All of VideoX-Fun's ``Pan_*`` files are travel and ``Zoom_*`` are dollies; only ``CW`` and ``ACW`` turn the camera
(aigc-apps/VideoX-Fun, asset/*.txt). DiffSynth's directions are travel as well, with 1/54 as the usual speed per frame
(modelscope/DiffSynth-Studio, diffsynth/models/wan_video_camera_controller.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.keys import plain
from filmgate.direction.migration.dialects.tree import Node, Scalar
from filmgate.direction.migration.form import Amount, CameraMove, Direction, Move, MoveKind, Parameter
from filmgate.direction.migration.spelling import normal

Entries = tuple[tuple[Excerpt, Node], ...]
_TRAVEL: dict[str, tuple[MoveKind, Direction]] = {
    "left": ("truck", "left"), "right": ("truck", "right"), "up": ("pedestal", "up"), "down": ("pedestal", "down"),
    "in": ("dolly", "in"), "out": ("dolly", "out"),
}  # fmt: skip
_TURNS: dict[str, tuple[MoveKind, Direction]] = {
    "cw": ("roll", "clockwise"), "clockwise": ("roll", "clockwise"), "acw": ("roll", "counterclockwise"),
    "anti clockwise": ("roll", "counterclockwise"), "anticlockwise": ("roll", "counterclockwise"),
}  # fmt: skip
_FILE = re.compile(
    r"(?<![\w])(?:[\w.~-]*[/\\])*(?:((?:Pan|Zoom)(?:[_ ](?:Left|Right|Up|Down|In|Out)){1,2})|(A?CW))\.txt\b",
    re.IGNORECASE,
)
_DIRECTION = re.compile(r"(?:left|right|up|down|in|out)", re.IGNORECASE)
_DIRECTION_KEYS = frozenset({"camera control direction", "camera direction preset"})
_SPEED_KEYS = frozenset({"camera control speed"})
_POSE_KEYS = frozenset({"camera pose", "camera pose preset", "pose preset"})
_FILE_KEYS = frozenset(
    {"control camera txt", "camera txt", "camera file", "pose file", "camera path", "camera txt path"}
)
USUAL_SPEED = 1 / 54
"""Travel per frame of the presets; twice that is taken for the end of the scale."""


def find_files(text: str) -> Iterator[re.Match[str]]:
    """Where preset files are named."""
    if ".txt" in text.lower():
        yield from _FILE.finditer(text)


def preset_moves(name: str) -> list[Move] | None:
    """The moves of a preset: ``Pan_Left_Up``, ``Zoom In``, ``ACW``, ``Static``."""
    plain = normal(name.replace("_", " "), singular=False)
    for turn, (kind, direction) in _TURNS.items():
        if turn in plain.split() or plain == turn or f"({turn})" in name.lower():
            return [Move(kind=kind, direction=direction)]
    if plain == "static":
        return [Move(kind="static")]
    head, *rest = plain.split() or [""]
    if head not in ("pan", "zoom") or not rest or any(word not in _TRAVEL for word in rest):
        return None
    return [Move(kind=_TRAVEL[word][0], direction=_TRAVEL[word][1]) for word in rest]


def direction_moves(name: str) -> list[Move] | None:
    """The moves of a direction of DiffSynth: ``Left``, ``RightUp``, ``In``."""
    parts = _DIRECTION.findall(name.strip())
    if not parts or "".join(parts).lower() != re.sub(r"[\s_+-]", "", name.strip()).lower():
        return None
    return [Move(kind=_TRAVEL[part.lower()][0], direction=_TRAVEL[part.lower()][1]) for part in parts]


def is_key(key: str) -> bool:
    """Whether a key belongs to DiffSynth's or VideoX-Fun's camera controls."""
    return plain(key) in _DIRECTION_KEYS | _SPEED_KEYS | _POSE_KEYS | _FILE_KEYS


def is_speed(key: str) -> bool:
    """Whether a key asks for DiffSynth's speed."""
    return plain(key) in _SPEED_KEYS


def read_file(place: Excerpt, draft: Draft) -> bool:
    """Read the name of a preset file into moves and a setting; whether it was one."""
    match = _FILE.fullmatch(place.words.strip())
    moves = preset_moves(match[1] or match[2]) if match else None
    if moves is None:
        return False
    draft.add_moves([CameraMove(move=place.leaf(move, "camera_files")) for move in moves])
    draft.add("parameters", place.leaf(Parameter(name="camera_file", value=place.words.strip()), "camera_files"))
    return True


def read_entries(entries: Entries, draft: Draft) -> Entries:
    """Read presets among named values; returns the others."""
    names = {plain(key.words): node for key, node in entries}
    if not (names.keys() & (_DIRECTION_KEYS | _POSE_KEYS | _FILE_KEYS)):
        return entries
    rest: list[tuple[Excerpt, Node]] = []
    speed: Scalar | None = None
    found: list[CameraMove] = []
    for key, node in entries:
        name = plain(key.words)
        text = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None
        moves = None
        if text is not None and name in _DIRECTION_KEYS:
            moves = direction_moves(text)
        elif text is not None and name in _POSE_KEYS:
            moves = preset_moves(text)
        elif text is not None and name in _FILE_KEYS and read_file(node.excerpt, draft):
            continue
        elif name in _SPEED_KEYS and isinstance(node, Scalar) and _speed(node) is not None:
            speed = node
            continue
        if moves is None:
            rest.append((key, node))
        else:
            found += [CameraMove(move=node.excerpt.leaf(move, "camera_files")) for move in moves]
    value = _speed(speed) if speed is not None else None
    if speed is not None and value is not None and value > 0:
        amount = Amount(value=value, full=2 * USUAL_SPEED)
        leaf = speed.excerpt.leaf(amount, "camera_files")
        found = [move.model_copy(update={"speed": leaf}) for move in found]
    draft.add_moves(found)
    return tuple(rest)


def _speed(node: Scalar) -> float | None:
    if isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    match = (
        re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*", node.value)
        if isinstance(node.value, str)
        else None
    )
    return float(match[1]) / float(match[2]) if match and float(match[2]) else None
