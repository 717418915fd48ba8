"""Camera moves in words."""

from __future__ import annotations

from filmgate.direction.migration import rules
from filmgate.direction.migration.form import CameraMove, Term
from filmgate.direction.migration.ledger import Fate
from filmgate.direction.migration.scribe import Phrase, Scribe
from filmgate.direction.migration.wording import chained

PARTS = ("move", "speed", "magnitude", "easing", "begin", "end")
"""Fields of a camera move."""


def say_move(scribe: Scribe, camera: CameraMove, path: str) -> None:
    """Say one move of the camera, with how fast, how far and how evenly."""
    place = f"{path}.move"
    decision = scribe.decision
    if any(f"{path}.{name}" in decision.lost for name in PARTS[1:]):
        _say_rival(scribe, camera, path)
        return
    if place in decision.lost:
        for name in PARTS:
            if (leaf := getattr(camera, name)) is not None:
                reason = f"contradicts {decision.lost[place]!r}, which was chosen"
                scribe.note(f"{path}.{name}", leaf, "conflict", reason=reason)
        return
    move = camera.move.value
    verb = scribe.vocabulary.write_move(move, scribe.language)
    found = scribe.vocabulary.find_move(camera.move.raw)
    how = found.how if found is not None and found.move == move else "synonym"
    fates: dict[str, Fate] = {"exact": "kept_exact", "synonym": "kept_synonym", "near": "approximated"}
    scribe.note(place, camera.move, fates[how], verb, "nearly the same" if how == "near" else "")
    adverb = _speed(scribe, camera, path, verb)
    far = _magnitude(scribe, camera, path)
    easing = _easing(scribe, camera, path)
    for name in ("begin", "end"):
        if (leaf := getattr(camera, name)) is not None:
            reason = f"{rules.amount_text(leaf.value)}: Wan 2.2 knows an order, no times"
            scribe.note(f"{path}.{name}", leaf, "approximated", verb, reason)
    if scribe.language == "zh":
        words = chained(easing, adverb, verb, far)
    else:
        words = " ".join(part for part in (adverb, verb, far, easing) if part)
    scribe.made.phrases.append(
        Phrase(
            "camera",
            words,
            tuple(f"{path}.{name}" for name in PARTS if getattr(camera, name) is not None),
            camera.move.span[0],
            then=any(f"{path}.{name}" in decision.then for name in PARTS),
            group=camera.group,
            when=camera.begin.value.value if camera.begin is not None else 0.0,
            raw=camera.move.raw,
        )
    )


def _say_rival(scribe: Scribe, camera: CameraMove, path: str) -> None:
    """A move that is said once more with what was chosen, so that only what lost is accounted for here."""
    verb = scribe.vocabulary.write_move(camera.move.value, scribe.language)
    for name in PARTS:
        place, leaf = f"{path}.{name}", getattr(camera, name)
        if leaf is not None and not scribe.lost(place, leaf):
            scribe.note(place, leaf, "approximated", verb, "said once, with what was chosen")


def _speed(scribe: Scribe, camera: CameraMove, path: str, verb: str) -> str:
    leaf = camera.speed
    if leaf is None:
        return ""
    if camera.move.value.kind in ("static", "handheld"):
        scribe.note(f"{path}.speed", leaf, "dropped", reason=f"{verb!r} has no speed")
        return ""
    said = rules.say_speed(leaf.value)
    if said is None:
        words = scribe.plain(leaf.value.word)
        if words:
            scribe.note(f"{path}.speed", leaf, "kept_exact", words)
        else:
            reason = f"{rules.amount_text(leaf.value)} is no speed that can be said in words"
            scribe.note(f"{path}.speed", leaf, "unsupported", reason=reason)
        return words
    words = scribe.vocabulary.write_speed(said.speed or "moderate", scribe.language)
    if said.reason:
        scribe.note(f"{path}.speed", leaf, "approximated", words, said.reason)
    elif not words:
        scribe.note(f"{path}.speed", leaf, "approximated", reason="a moderate speed goes without saying")
    else:
        exact = words == leaf.value.word.casefold()
        scribe.note(f"{path}.speed", leaf, "kept_exact" if exact else "kept_synonym", words)
    return words


def _magnitude(scribe: Scribe, camera: CameraMove, path: str) -> str:
    leaf = camera.magnitude
    if leaf is None:
        return ""
    words, reason = rules.say_magnitude(leaf.value, scribe.language)
    words = scribe.plain(words)
    if leaf.value.unit == "word":
        scribe.note(f"{path}.magnitude", leaf, "kept_exact" if words else "dropped", words, "" if words else "empty")
    else:
        scribe.note(f"{path}.magnitude", leaf, "approximated", words, reason)
    return words


def _easing(scribe: Scribe, camera: CameraMove, path: str) -> str:
    leaf = camera.easing
    if leaf is None:
        return ""
    if isinstance(leaf.value, Term):
        words = scribe.vocabulary.write_term("easing", leaf.value.name, scribe.language)
        fate, reason = scribe.fate_of_term("easing", leaf.value.name, leaf.raw)
        scribe.note(f"{path}.easing", leaf, fate, words, reason)
        return words
    words = scribe.plain(leaf.value)
    scribe.note(f"{path}.easing", leaf, "kept_exact" if words else "dropped", words, "" if words else "empty")
    return words
