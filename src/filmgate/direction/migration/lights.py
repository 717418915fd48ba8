"""Lights in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from filmgate.direction.migration import rules
from filmgate.direction.migration.form import Amount, Leaf, Light, Term
from filmgate.direction.migration.ledger import Fate
from filmgate.direction.migration.scribe import Scribe
from filmgate.direction.migration.vocabulary import Slot

_SLOTS: dict[str, Slot] = {"source": "source", "quality": "quality", "angle": "light_angle", "contrast": "contrast"}
_UNNAMED = "the light is kept; that it is the {role} light has no word in Wan's vocabulary"


def say_light(scribe: Scribe, light: Light, path: str) -> None:
    """Say one light: its source, quality, contrast and angle as terms, numbers as terms, side and role with them."""
    side = light.side.value if light.side else None
    placed = ""
    if side is not None:
        placed = {"left": "来自左侧", "right": "来自右侧"}[side] if scribe.language == "zh" else f" from the {side}"
    named = 0
    for name, leaf in _parts(light):
        place = f"{path}.{name}"
        if scribe.lost(place, leaf) or scribe.static(place, leaf):
            continue
        before = len(scribe.made.phrases)
        _say_part(scribe, name, leaf, place, placed if name in ("angle", "azimuth") else "")
        named += len(scribe.made.phrases) - before
    if scribe.profile == "text_to_video":
        _say_side(scribe, light, path, placed, named)
        return
    for name, part in (("side", light.side), ("role", light.role)):
        if part is not None:
            scribe.static(f"{path}.{name}", part)


def _parts(light: Light) -> Iterator[tuple[str, Leaf[Term | Amount | str]]]:
    """In the order of the official form: source, quality, angle; role and side are said with them."""
    for name in ("source", "quality", "contrast", "angle", "azimuth", "elevation", "kelvin", "ratio", "words"):
        leaf = getattr(light, name)
        if leaf is not None:
            yield name, leaf


def _say_part(scribe: Scribe, name: str, leaf: Leaf[Term | Amount | str], path: str, placed: str) -> None:
    say = {
        "azimuth": rules.say_azimuth, "elevation": rules.say_elevation, "kelvin": rules.say_kelvin,
        "ratio": rules.say_ratio,
    }.get(name)  # fmt: skip
    if say is not None and isinstance(leaf.value, Amount):
        scribe.said("tag", leaf, say(leaf.value), path, placed)
        return
    scribe.term("tag", _SLOTS.get(name, "source"), leaf, path)
    if placed and scribe.made.phrases and scribe.made.phrases[-1].paths == (path,):
        last = scribe.made.phrases[-1]
        scribe.made.phrases[-1] = replace(last, words=last.words + placed)


def _say_side(scribe: Scribe, light: Light, path: str, placed: str, named: int) -> None:
    """Side and role, said with the angle of the light, or on their own where there is none."""
    if light.side is not None:
        alone = light.angle is None and light.azimuth is None
        role = f"{light.role.value} light" if light.role is not None else "light"
        words = placed.strip()
        if alone:
            words = f"{role}{placed}" if scribe.language == "en" else f"光线{placed}"
            scribe.say("tag", words, f"{path}.side", light.side)
        scribe.note(f"{path}.side", light.side, "kept_exact" if scribe.language == "en" else "kept_synonym", words)
    if light.role is not None:
        last = next(
            (phrase for phrase in reversed(scribe.made.phrases) if phrase.paths[0].startswith(f"{path}.")), None
        )
        role = light.role.value.replace("_", " ")
        if last is not None:
            scribe.note(f"{path}.role", light.role, "approximated", last.words, _UNNAMED.format(role=role))
        elif named == 0:
            words = f"{scribe.plain(role)} light" if scribe.plain(role) else ""
            fate: Fate = "kept_exact" if words else "dropped"
            scribe.note(f"{path}.role", light.role, fate, words, "" if words else "there are no words in it")
            if words:
                scribe.say("tag", words, f"{path}.role", light.role)
