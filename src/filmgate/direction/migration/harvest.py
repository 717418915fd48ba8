"""Technical pieces that stand in an author's prose as words of their own: "..., 85mm lens, f/1.4, 24fps, 5 seconds".

Readers of dialects leave them in the prose that they found around them; a text encoder cannot read their numbers. Only
whole pieces between commas count: "a 5 seconds walk" is prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from filmgate.direction.migration.form import Amount, Form, Leaf, Light, Parameter
from filmgate.direction.migration.vocabulary import vocabulary

_NUMBER = r"(\d{1,6}(?:\.\d{1,3})?)"
_PIECE = re.compile("[^,，;；]+")
_END = " \t\n.。"

Part = tuple[str, Any]
"""A slot of the form, and the value of a leaf of it."""


def _setting(name: str) -> Callable[[re.Match[str]], Part]:
    return lambda found: ("parameters", Parameter(name=name, value="x".join(found.groups())))


_TECHNICAL: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Part]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), made)
    for pattern, made in (
        (rf"{_NUMBER}\s*mm(?:\s+lens)?", lambda found: ("lens", Amount(value=float(found[1]), unit="mm"))),
        (rf"f\s*/?\s*{_NUMBER}", lambda found: ("focus", Amount(value=float(found[1]), unit="f"))),
        (r"(\d{4,5})\s*k(?:elvin)?", lambda found: ("lights", Amount(value=float(found[1]), unit="kelvin"))),
        (rf"{_NUMBER}\s*fps", _setting("fps")),
        (rf"{_NUMBER}\s*(?:s|secs?|seconds?)(?:\s+(?:long|clip|video))?", _setting("seconds")),
        (r"(\d{1,4})\s*(?:sampling\s+|inference\s+)?steps", _setting("steps")),
        (r"seed\s*[:=]?\s*(\d{1,19})", _setting("seed")),
        (r"(\d{3,4})\s*[x×*]\s*(\d{3,4})", _setting("size")),
        (r"((?:360|480|540|580|704|720|1080)p)", _setting("size")),
    )
)  # fmt: skip


def harvest(form: Form) -> Form:
    """A form in which technical pieces of the prose stand in the slots that are theirs."""
    prose: list[Leaf[str]] = []
    found: dict[str, list[Any]] = {}
    for leaf in form.prose:
        kept = []
        for piece in _pieces(leaf):
            part = _part(piece.value)
            if part is None:
                kept.append(piece)
                continue
            slot, value = part
            technical: Leaf[Any] = Leaf(**{**dict(piece), "value": value, "raw": piece.raw.strip(_END)})
            found.setdefault(slot, []).append(Light(kelvin=technical) if slot == "lights" else technical)
        prose += [leaf] if not found or len(kept) == len(list(_pieces(leaf))) else _rejoined(leaf, kept)
    if not found:
        return form
    update: dict[str, Any] = {slot: (*getattr(form, slot), *parts) for slot, parts in found.items()}
    return form.model_copy(update={**update, "prose": tuple(prose)})


def _pieces(leaf: Leaf[str]) -> Iterator[Leaf[str]]:
    """Parts of a leaf between commas, each with its place where the leaf is the text itself."""
    for match in _PIECE.finditer(leaf.value):
        if not match[0].strip():
            continue
        at = leaf.span[0] + match.start()
        span = (at, at + len(match[0])) if leaf.raw == leaf.value else leaf.span
        yield leaf.model_copy(update={"value": match[0].strip(), "raw": match[0].strip(), "span": span})


def _part(words: str) -> Part | None:
    text = words.strip(_END)
    if vocabulary().is_booster(text):
        return None
    for pattern, made in _TECHNICAL:
        if (found := pattern.fullmatch(text)) is not None:
            return made(found)
    return None


def _rejoined(leaf: Leaf[str], kept: list[Leaf[str]]) -> list[Leaf[str]]:
    """What is left of a leaf's prose as one leaf, nothing if nothing is left."""
    words = ", ".join(piece.value for piece in kept).strip()
    if not words:
        return []
    ended = leaf.value.rstrip()[-1:] in ".。" and words[-1] not in ".。"
    return [leaf.model_copy(update={"value": words + (leaf.value.rstrip()[-1] if ended else "")})]
