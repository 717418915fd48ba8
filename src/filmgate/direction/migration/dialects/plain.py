"""Forms as tags and sentences, which prose is read from again: the part that most dialects' writers share."""

from __future__ import annotations

from filmgate.direction.migration.dialects.amounts import write_amount, write_number
from filmgate.direction.migration.form import Amount, CameraMove, Form, Leaf, Light, Parameter, Term
from filmgate.direction.migration.vocabulary import Slot, vocabulary

_TAG_SLOTS: tuple[Slot, ...] = ("style", "time", "angle", "shot", "composition", "lens", "focus", "tone")
_LIGHT_SLOTS: dict[str, Slot] = {
    "source": "source", "quality": "quality", "angle": "light_angle", "contrast": "contrast",
}  # fmt: skip


TERM_LISTS: dict[str, Slot] = {
    "style": "style", "time": "time", "angle": "angle", "shot": "shot", "composition": "composition", "tone": "tone",
}  # fmt: skip
LIGHT_FIELDS: dict[str, Slot | None] = {
    "role": None, "source": "source", "quality": "quality", "angle": "light_angle", "contrast": "contrast",
    "side": None, "azimuth": None, "elevation": None, "kelvin": None, "ratio": None, "words": None,
}  # fmt: skip


def words_of(value: object, slot: Slot) -> str:
    """A term's words, or the author's own."""
    if isinstance(value, Term):
        return vocabulary().write_term(slot, value.name)
    return value if isinstance(value, str) else ""


def keep_plain(form: Form) -> Form:
    """What of a form tags and sentences can say: terms, lights of one term, moves with words of speed, and prose."""
    kept = {slot: tuple(leaf for leaf in getattr(form, slot) if isinstance(leaf.value, Term)) for slot in _TAG_SLOTS}
    return Form(
        **kept,
        lights=tuple(light for light in form.lights if light_term(light) is not None),
        camera=tuple(plain_move(move) for move in form.camera),
        prose=form.prose,
    )


def plain_move(move: CameraMove) -> CameraMove:
    """A move with what a sentence says of it."""
    speed = move.speed if move.speed is not None and move.speed.value.unit == "word" else None
    easing = move.easing if move.easing is not None and isinstance(move.easing.value, Term) else None
    return CameraMove(move=move.move, speed=speed, easing=easing, group=move.group)


def light_term(light: Light) -> tuple[Slot, Term] | None:
    """Slot and term of a light of which nothing else is known."""
    said = {name: leaf for name in type(light).model_fields if (leaf := getattr(light, name)) is not None}
    if len(said) != 1:
        return None
    name, leaf = next(iter(said.items()))
    return (_LIGHT_SLOTS[name], leaf.value) if name in _LIGHT_SLOTS and isinstance(leaf.value, Term) else None


def tags(form: Form) -> list[str]:
    """The terms of a form."""
    found = [words_of(leaf.value, slot) for slot in _TAG_SLOTS for leaf in getattr(form, slot)]
    for light in form.lights:
        term = light_term(light)
        if term is not None:
            found.append(vocabulary().write_term(term[0], term[1].name))
    return [tag for tag in found if tag]


def move_phrase(move: CameraMove) -> str:
    """A verb phrase: ``slowly pans to the left with a gentle stop``."""
    said = [vocabulary().write_move(move.move.value)]
    if move.speed is not None and move.speed.value.unit == "word":
        behind = " " in move.speed.value.word and move.easing is None
        said.insert(len(said) if behind else 0, move.speed.value.word)
    if move.easing is not None:
        said.append(words_of(move.easing.value, "easing"))
    return " ".join(said)


def camera_sentence(moves: tuple[CameraMove, ...]) -> str:
    """``The camera pans left and tilts up, then zooms in.``"""
    groups: dict[int, list[str]] = {}
    for move in moves:
        groups.setdefault(move.group, []).append(move_phrase(move))
    return f"The camera {', then '.join(' and '.join(group) for group in groups.values())}." if groups else ""


def write_plain(form: Form) -> str:
    """Tags, then the camera's sentence, then the prose."""
    terms = tags(form)
    parts = [", ".join(terms) + "." if terms else "", camera_sentence(form.camera)]
    parts += [leaf.value for leaf in form.prose]
    return " ".join(part for part in parts if part)


def amount_or_words(leaf: Leaf[object], slot: Slot) -> str:
    """A quantity, a term's words or the author's."""
    return write_amount(leaf.value) if isinstance(leaf.value, Amount) else words_of(leaf.value, slot)


def value_text(parameter: Parameter) -> str:
    """The value of a setting as it is typed."""
    value = parameter.value
    return write_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
