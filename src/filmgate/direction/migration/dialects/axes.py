"""Camera controls that are six numbers: Kling's, whose pan and tilt are the reverse of film's, and Runway's.

Kling (app.klingai.com/global/dev/document-api, camera_control, and the nodes of ComfyUI that call it): ``pan`` turns
the camera up and down, ``tilt`` left and right, ``zoom`` below zero narrows the view. Runway Gen-3 Alpha Turbo
(help.runwayml.com, "Creating with Camera Control on Gen-3 Alpha Turbo"): pan and tilt as in film, and ``zoom`` moves
the camera closer, which film calls a dolly. Runway does not say which way it rolls; positive is taken for clockwise.
"""

from __future__ import annotations

from typing import Literal

from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.keys import plain
from filmgate.direction.migration.dialects.tree import Mapping, Node, Scalar, is_number, text_of
from filmgate.direction.migration.form import Amount, CameraMove, Dialect, Direction, Move, MoveKind

Axis = Literal["horizontal", "vertical", "pan", "tilt", "roll", "zoom"]
Meaning = tuple[MoveKind, Direction, Direction]
"""Kind of move, direction of positive and of negative numbers."""

FULL = 10.0
"""Largest number of both scales."""
KLING: dict[Axis, Meaning] = {
    "horizontal": ("truck", "right", "left"),
    "vertical": ("pedestal", "up", "down"),
    "pan": ("tilt", "up", "down"),
    "tilt": ("pan", "right", "left"),
    "roll": ("roll", "clockwise", "counterclockwise"),
    "zoom": ("zoom", "out", "in"),
}
RUNWAY: dict[Axis, Meaning] = {
    "horizontal": ("truck", "right", "left"),
    "vertical": ("pedestal", "up", "down"),
    "pan": ("pan", "right", "left"),
    "tilt": ("tilt", "up", "down"),
    "roll": ("roll", "clockwise", "counterclockwise"),
    "zoom": ("dolly", "in", "out"),
}
KLING_TYPES: dict[str, tuple[tuple[MoveKind, Direction], ...]] = {
    "down_back": (("pedestal", "down"), ("dolly", "out")),
    "forward_up": (("dolly", "in"), ("tilt", "up")),
    "right_turn_forward": (("pan", "right"), ("dolly", "in")),
    "left_turn_forward": (("pan", "left"), ("dolly", "in")),
}
"""Moves that Kling combines under one name, in the words of its documentation."""
_AXES: dict[str, Axis] = {
    "horizontal": "horizontal", "horizontal movement": "horizontal", "vertical": "vertical",
    "vertical movement": "vertical", "pan": "pan", "tilt": "tilt", "roll": "roll", "zoom": "zoom",
    "horizontal pan": "pan", "vertical pan": "tilt",
}  # fmt: skip
_KLING_KEYS = frozenset(
    {"camera control", "config", "advanced camera control", "kling", "camera config", "kling camera"}
)
KLING_SETTINGS = frozenset({"cfg scale", "model name", "model", "mode", "callback url", "external task id"})
"""Settings of Kling's interface without a counterpart, of which only ``cfg_scale`` says something about the video."""
_STATIC = frozenset({"static", "static camera"})
_TYPE = frozenset({"type", "movement type", "camera control type"})
_VALUE = frozenset({"movement value", "value"})
_LONGEST_KEY = 32
UNSURE = 0.5
"""Six numbers without a sign of whose they are: pan and tilt may be the wrong way round."""


def axis_of(key: str) -> Axis | None:
    """The axis that a key names."""
    return _AXES.get(plain(key)) if len(key) <= _LONGEST_KEY else None


def axis_move(node: Scalar, axis: Axis, dialect: Dialect, *, confidence: float = 1.0) -> CameraMove | None:
    """The move of one axis; None at rest."""
    value = float(node.value) if isinstance(node.value, int | float) else 0.0
    if value == 0:
        return None
    kind, positive, negative = (KLING if dialect == "kling" else RUNWAY)[axis]
    move = Move(kind=kind, direction=positive if value > 0 else negative)
    full = FULL if abs(value) <= FULL else 100.0
    return CameraMove(
        move=node.excerpt.leaf(move, dialect, confidence=confidence),
        speed=node.excerpt.leaf(Amount(value=abs(value), full=full), dialect),
    )


def read_control(key: Excerpt, node: Mapping, draft: Draft, dialect: Dialect) -> bool:
    """Read an object if it is such a control; whether it was. ``dialect``: that of the text, if it was told."""
    entries = {plain(name.words): (name, value) for name, value in node.entries}
    kind = next((entries[name][1] for name in _TYPE if name in entries), None)
    named = plain(key.words)
    if isinstance(kind, Scalar):
        told = kind.value == "simple" or kind.value in KLING_TYPES
        if told or (named in _KLING_KEYS and any(name in entries for name in _VALUE)):
            _read_kling(entries, kind, draft)
            return True
    if "config" in entries and isinstance(entries["config"][1], Mapping):
        return read_control(entries["config"][0], entries["config"][1], draft, dialect)
    known = all(name in _AXES or name in _STATIC for name in entries)
    numeric = [name for name, (_, value) in entries.items() if name in _AXES and is_number(value)]
    static = next((entries[name][1] for name in _STATIC if name in entries), None)
    still = isinstance(static, Scalar) and static.value is True
    if not known or not (numeric or still) or len(numeric) + (static is not None) < len(entries):
        return False
    if dialect == "kling" or (named in _KLING_KEYS and dialect != "runway"):
        _add(entries, "kling", draft, 1.0)
    else:
        sure = dialect == "runway" or static is not None or "runway" in named
        _add(entries, "runway", draft, 1.0 if sure else UNSURE)
    if still and isinstance(static, Scalar):
        draft.add_moves([CameraMove(move=static.excerpt.leaf(Move(kind="static"), "runway"))])
    return True


def read_axes(
    entries: tuple[tuple[Excerpt, Node], ...], draft: Draft, dialect: Dialect
) -> tuple[tuple[Excerpt, Node], ...]:
    """Read axes that stand among other named values in the manner of Runway; returns the others."""
    if dialect not in ("runway", "kling"):
        return entries
    rest: list[tuple[Excerpt, Node]] = []
    for key, node in entries:
        axis = axis_of(key.words)
        if axis is not None and isinstance(node, Scalar) and is_number(node):
            move = axis_move(node, axis, dialect)
            if move is not None:
                draft.add_moves([move])
        elif plain(key.words) in _STATIC and isinstance(node, Scalar) and node.value is True:
            draft.add_moves([CameraMove(move=node.excerpt.leaf(Move(kind="static"), dialect))])
        else:
            rest.append((key, node))
    return tuple(rest)


def _read_kling(entries: dict[str, tuple[Excerpt, Node]], kind: Scalar, draft: Draft) -> None:
    config = entries.get("config")
    if isinstance(kind.value, str) and kind.value in KLING_TYPES:
        for movement, direction in KLING_TYPES[kind.value]:
            leaf = kind.excerpt.leaf(Move(kind=movement, direction=direction), "kling")
            draft.add_moves([CameraMove(move=leaf)])
        _leave(entries, _TYPE, draft)
    elif config is not None and isinstance(config[1], Mapping):
        inner = {plain(name.words): (name, value) for name, value in config[1].entries}
        _add(inner, "kling", draft, 1.0)
        _leave(inner, frozenset(_AXES), draft)
        _leave(entries, _TYPE | {"config"}, draft)
    elif (axis := axis_of(str(kind.value))) is not None:
        value = next((entries[name][1] for name in _VALUE if name in entries), None)
        if isinstance(value, Scalar) and (move := axis_move(value, axis, "kling")):
            draft.add_moves([move])
        _leave(entries, _TYPE | _VALUE, draft)
    else:
        _add(entries, "kling", draft, 1.0)
        _leave(entries, _TYPE | frozenset(_AXES), draft)


def _leave(entries: dict[str, tuple[Excerpt, Node]], read: frozenset[str], draft: Draft) -> None:
    """What of a control was not read is left over."""
    for name, (key, value) in entries.items():
        empty = isinstance(value, Scalar) and (value.value in (None, "") or (is_number(value) and value.value == 0))
        if name not in read and not empty:
            place = Excerpt(key.whole, key.start, max(key.end, value.excerpt.end))
            draft.add("leftovers", place.leaf(f"{key.words}: {text_of(value)}", "kling"))


def _add(entries: dict[str, tuple[Excerpt, Node]], dialect: Dialect, draft: Draft, confidence: float) -> None:
    """The moves of all axes; numbers at rest say nothing."""
    for name, (_, value) in entries.items():
        axis = _AXES.get(name)
        if axis is None or not isinstance(value, Scalar):
            continue
        sure = confidence if axis in ("pan", "tilt", "zoom") else 1.0
        if is_number(value) and (move := axis_move(value, axis, dialect, confidence=sure)):
            draft.add_moves([move])
