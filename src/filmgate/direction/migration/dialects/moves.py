"""Camera moves that objects describe by kind, direction, speed and so on."""

from __future__ import annotations

from collections.abc import Mapping

from filmgate.direction.migration.dialects import phrases
from filmgate.direction.migration.dialects.excerpt import Excerpt
from filmgate.direction.migration.dialects.moments import moment
from filmgate.direction.migration.dialects.tree import Node, Scalar
from filmgate.direction.migration.form import DIRECTIONS, CameraMove, Dialect, Direction, Leaf, Move

PARTS = frozenset(f"camera.{part}" for part in ("move", "direction", "speed", "magnitude", "begin", "end", "easing"))
"""Canonical names of what :func:`move_of_parts` reads."""

_DIRECTIONS: dict[str, Direction] = {
    "left": "left", "right": "right", "up": "up", "down": "down", "in": "in", "out": "out", "forward": "in",
    "forwards": "in", "backward": "out", "backwards": "out", "back": "out", "clockwise": "clockwise",
    "cw": "clockwise", "counterclockwise": "counterclockwise", "counter-clockwise": "counterclockwise",
    "anticlockwise": "counterclockwise", "ccw": "counterclockwise", "左": "left", "右": "right", "上": "up",
    "下": "down", "前": "in", "后": "out", "顺时针": "clockwise", "逆时针": "counterclockwise",
}  # fmt: skip


def move_of_parts(parts: Mapping[str | None, Node], dialect: Dialect) -> CameraMove | None:
    """The move whose named parts are single values; None if one of them makes no sense."""
    kind, direction = parts.get("camera.move"), parts.get("camera.direction")
    if not isinstance(kind, Scalar) or not isinstance(kind.value, str):
        return None
    found = phrases.moves(kind.excerpt, dialect)
    if found is None or len(found) > 1:
        return None
    move = found[0]
    if isinstance(direction, Scalar):
        turned = in_direction(move.move.value, direction.excerpt)
        if turned is None:
            return None
        move = move.model_copy(update={"move": move.move.model_copy(update={"value": turned})})
    fields: dict[str, Leaf[object]] = {}
    for field in ("speed", "magnitude", "begin", "end"):
        node = parts.get(f"camera.{field}")
        if isinstance(node, Scalar) and node.value not in (None, ""):
            timed = field in ("begin", "end")
            amount = moment(node.excerpt.words) if timed else phrases.speed(node.excerpt, dialect).value
            if amount is None:
                return None
            fields[field] = node.excerpt.leaf(amount, dialect)
    easing = parts.get("camera.easing")
    if isinstance(easing, Scalar) and easing.value not in (None, ""):
        fields["easing"] = phrases.term_or_words("easing", easing.excerpt, dialect)
    return move.model_copy(update=fields)


def in_direction(move: Move, direction: Excerpt) -> Move | None:
    """A move in the direction that words give it; None if they give it none that it can have."""
    plain = _DIRECTIONS.get(direction.words.strip().lower())
    if plain is not None:
        return move.model_copy(update={"direction": plain}) if plain in DIRECTIONS[move.kind] else None
    found = phrases.moves(Excerpt.of(f"{move.kind.replace('_', ' ')} {direction.words}"), "natural")
    if found is None or len(found) > 1 or found[0].move.value.kind != move.kind:
        return None
    return found[0].move.value
