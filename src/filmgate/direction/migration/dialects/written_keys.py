"""Forms as lists of keys and values."""

from __future__ import annotations

from collections.abc import Callable

from filmgate.direction.migration.dialects.amounts import write_amount, write_number
from filmgate.direction.migration.dialects.plain import LIGHT_FIELDS, TERM_LISTS, amount_or_words, value_text, words_of
from filmgate.direction.migration.dialects.written_objects import keep_object
from filmgate.direction.migration.form import CameraMove, Form, Light, Move, Subject
from filmgate.direction.migration.vocabulary import vocabulary


def keep_keys(form: Form) -> Form:
    """Everything but the timeline, emphasis and the order of moves."""
    kept = keep_object(form)
    camera = tuple(move.model_copy(update={"group": 0}) for move in kept.camera)
    return kept.model_copy(update={"camera": camera, "timeline": (), "emphasis": ()})


def pairs(form: Form) -> list[tuple[str, str]]:
    """A form as keys and values, numbers and names in the manner of settings."""
    made = [pair for subject in form.subjects for pair in _subject_pairs(subject)]
    for key, slot in (("scene", "scene"), ("action", "actions"), ("title", "quoted"), ("audio", "audio")):
        made += [(key, leaf.value) for leaf in getattr(form, slot)]
    made += [pair for move in form.camera for pair in _move_pairs(move)]
    made += [("lighting", light_phrase(light)) for light in form.lights]
    for key, slot_name in TERM_LISTS.items():
        made += [(key, words_of(leaf.value, slot_name)) for leaf in getattr(form, key)]
    made += [("lens", amount_or_words(leaf, "lens")) for leaf in form.lens]
    made += [("focus", amount_or_words(leaf, "focus")) for leaf in form.focus]
    for key, leaves in (("negative_prompt", form.negatives), ("quality", form.boosters)):
        if leaves:
            made.append((key, ", ".join(leaf.value for leaf in leaves)))
    for leaf in form.parameters:
        strength = f":{write_number(leaf.value.strength)}" if leaf.value.strength is not None else ""
        made.append((leaf.value.name, f"{value_text(leaf.value)}{strength}"))
    return made + [("prompt", leaf.value) for leaf in form.prose]


def _subject_pairs(subject: Subject) -> list[tuple[str, str]]:
    made = [("subject", subject.name.value)]
    if subject.count is not None:
        made.append(("count", str(subject.count.value)))
    if subject.attributes:
        made.append(("attributes", ", ".join(leaf.value for leaf in subject.attributes)))
    return made


def _move_pairs(move: CameraMove) -> list[tuple[str, str]]:
    made = [("camera_movement", _snake_move(move.move.value))]
    for key, leaf in (("speed", move.speed), ("magnitude", move.magnitude)):
        if leaf is not None:
            made.append((key, write_amount(leaf.value)))
    if move.easing is not None:
        made.append(("easing", words_of(move.easing.value, "easing")))
    for key, leaf in (("start_time", move.begin), ("end_time", move.end)):
        if leaf is not None:
            made.append((key, write_amount(leaf.value)))
    return made


def _snake_move(move: Move) -> str:
    return vocabulary().write_move(move).replace(" ", "_")


def light_phrase(light: Light) -> str:
    """A light in one phrase: ``key light soft lighting azimuth 45deg``."""
    if light.words is not None:
        return light.words.value
    said: list[str] = []
    if light.role is not None:
        said.append(f"{light.role.value} light")
    for name, slot in LIGHT_FIELDS.items():
        leaf = getattr(light, name)
        if leaf is not None and slot is not None:
            said.append(words_of(leaf.value, slot))
    if light.side is not None:
        said.append(f"from the {light.side.value}")
    for name in ("azimuth", "elevation", "ratio"):
        leaf = getattr(light, name)
        if leaf is not None:
            said.append(f"{name} {write_amount(leaf.value)}")
    if light.kelvin is not None:
        said.append(write_amount(light.kelvin.value))
    return " ".join(said)


def write_pairs(separator: str, joint: str) -> Callable[[Form], str]:
    """A writer that puts a separator between key and value, and a joint between pairs."""
    return lambda form: joint.join(f"{key}{separator}{value}" for key, value in pairs(form))
