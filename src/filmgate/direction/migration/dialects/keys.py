"""What the keys of structured text mean, alone and inside the object that they stand in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from filmgate.direction.migration.spelling import normal
from filmgate.direction.migration.vocabulary import vocabulary

Context = Literal["", "camera", "light", "subject", "beat"]

_INSIDE: dict[Context, dict[str, str]] = {
    "": {},
    "camera": {
        "运动": "camera.move", "类型": "camera.move", "动作": "camera.move",
        "type": "camera.move", "name": "camera.move", "kind": "camera.move", "style": "camera.move",
        "action": "camera.move", "description": "camera.move", "amount": "camera.magnitude",
        "strength": "camera.magnitude", "degree": "camera.magnitude", "duration": "camera.end",
        "position": "angle", "height": "angle", "size": "shot", "distance": "camera.magnitude",
        "movement": "camera.move", "sequence": "camera.sequence", "start time": "camera.begin",
        "end time": "camera.end", "time": "camera.begin",
    },
    "light": {
        "type": "light.source", "name": "light.role", "kind": "light.source", "position": "light.side",
        "direction": "light.angle", "angle": "light.azimuth", "height": "light.elevation", "mood": "light.words",
        "color": "light.kelvin", "description": "light.words", "style": "light.words", "setup": "light.words",
        "words": "light.words", "side": "light.side", "quality": "light.quality", "time": "time", "key": "light.key",
        "fill": "light.fill", "rim": "light.rim", "back": "light.back", "hair": "light.hair",
        "key light": "light.key", "fill light": "light.fill", "rim light": "light.rim", "back light": "light.back",
        "backlight": "light.back", "main": "light.key", "main light": "light.key",
    },
    "subject": {
        "description": "subject.name", "type": "subject.name", "identity": "subject.name", "what": "subject.name",
        "pose": "action", "doing": "action", "movement": "action", "motion": "action", "position": "subject.attributes",
        "emotion": "subject.attributes", "expression": "subject.attributes", "age": "subject.attributes",
        "wearing": "subject.attributes", "style": "subject.attributes", "size": "subject.attributes",
    },
    "beat": {
        "start": "beat.begin", "begin": "beat.begin", "from": "beat.begin", "at": "beat.begin", "time": "beat.begin",
        "timestamp": "beat.begin", "end": "beat.end", "to": "beat.end", "until": "beat.end", "duration": "beat.length",
        "visual": "prompt", "shot": "shot", "motion": "camera.move",
    },
}  # fmt: skip
"""Keys that mean something else inside an object of this kind."""
_AMONG_ALL = {
    "光影": "light", "打光": "light",
    "emphasis": "emphasis", "weight": "emphasis", "visual": "prompt", "booster": "quality", "prose": "prompt",
    "camera sequence": "camera.sequence", "video prompt": "prompt", "scene description": "scene",
    "weather": "scene", "prop": "prompt", "color temp": "light.kelvin", "cct": "light.kelvin", "camera height": "angle",
    "pan speed": "camera.speed", "tilt speed": "camera.speed", "zoom speed": "camera.speed",
    "dolly speed": "camera.speed", "orbit speed": "camera.speed", "camera move speed": "camera.speed",
    "key light": "light.key", "fill light": "light.fill", "rim light": "light.rim", "back light": "light.back",
    "backlight": "light.back",
}  # fmt: skip
_CAMERA = re.compile(r"(?:camera|cam|镜头|摄像机|运镜)\s*", re.IGNORECASE)
_OF_CAMERA = frozenset({"camera.direction", "camera.magnitude", "camera.easing", "camera.begin", "camera.end"})


@lru_cache(maxsize=4096)
def plain(key: str) -> str:
    """A key as it is compared with others: lower case, words apart."""
    return normal(key[:80], singular=False)


def meaning(key: str, context: Context, *, numeric: bool) -> str | None:
    """The canonical name of a key, ``parameter.<name>`` for settings of the job; None if it is not known.

    ``numeric``: its value is a number, so that ``frames`` is a setting and ``frame`` a shot size.
    """
    return _meaning(key.strip()[:80], context, numeric)


@lru_cache(maxsize=4096)
def _meaning(key: str, context: Context, numeric: bool) -> str | None:
    words = normal(key)
    if "." in key:
        first, _, rest = key.partition(".")
        inner = context_of(_meaning(first, context, numeric))
        if inner and rest:
            return _meaning(rest, inner, numeric)
    special = _INSIDE[context].get(words) or _named_after(context, words) or _AMONG_ALL.get(words)
    if special is not None or not words:
        return special
    name, parameter = vocabulary().find_key(key), vocabulary().find_parameter(key)
    if parameter is not None and (numeric or name is None):
        return f"parameter.{parameter}"
    return name


def _named_after(context: Context, words: str) -> str | None:
    """The meaning of ``speed`` as ``camera speed``, where that is one."""
    found = vocabulary().find_key(f"{context} {words}") if context in ("camera", "light") else None
    return found if found is not None and found.startswith(context + ".") else None


@lru_cache(maxsize=4096)
def is_misspelt(key: str) -> bool:
    """Whether a key is only known because a wrong letter was mended."""
    return normal(key) not in _known() and normal(key.rpartition(".")[2]) not in _known()


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    words = vocabulary()
    listed = [phrase for phrases in (*words.keys.values(), *words.parameters.values()) for phrase in phrases]
    inside = [phrase for table in _INSIDE.values() for phrase in table]
    return frozenset(normal(phrase) for phrase in (*listed, *inside, *_AMONG_ALL))


def context_of(name: str | None) -> Context:
    """The kind of object that stands under a canonical name."""
    if name is None:
        return ""
    if name == "camera" or name.startswith("camera."):
        return "camera"
    if name == "light" or name.startswith("light."):
        return "light"
    if name == "subject" or name.startswith("subject."):
        return "subject"
    return "beat" if name == "timeline" else ""


def needs_a_move(name: str) -> bool:
    """Whether a field says something about a camera move that stands elsewhere."""
    return name in _OF_CAMERA or name == "camera.speed"


def mentions_camera(key: str) -> bool:
    """Whether a key speaks of the camera itself, and not of any motion."""
    return _CAMERA.match(key) is not None
