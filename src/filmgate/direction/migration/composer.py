"""From parts to phrases: what each part of a form is called in the new prompt, and an entry in the ledger for each.

The rules are applied here, part by part; the order of phrases and sentences is the renderer's. Nothing is written that
no part asks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from filmgate.direction.migration import rules
from filmgate.direction.migration.conflicts import Decision
from filmgate.direction.migration.dialects.weights import kept_of_change
from filmgate.direction.migration.emphasis import say_weights
from filmgate.direction.migration.form import Beat, Form, Leaf, Subject, leaves
from filmgate.direction.migration.ledger import Fate
from filmgate.direction.migration.lights import say_light
from filmgate.direction.migration.moves import PARTS, say_move
from filmgate.direction.migration.scribe import ENDS, STATIC, Composition, Phrase, Profile, Scribe, Section, lost_marks
from filmgate.direction.migration.subjects import name_subject
from filmgate.direction.migration.vocabulary import Language

_SETTINGS = re.compile(r"(?:[^\W\d][\w ]{0,24}\s*[:=]\s*[-+]?\d+(?:\.\d+)?\s*\w{0,4}\s*[,;]?\s*)+")
"""Keys with numbers that no dialect knows: ``iso: 800, shutter: 180``."""


def compose(
    form: Form, language: Language, profile: Profile, decision: Decision, prefix: str = "", *, strict: bool = False
) -> Composition:
    """Phrases and entries of a form. Parameters are only collected; they are moved by ``settings``.

    ``strict`` takes everything but words and commas out of the author's words.
    """
    composer = _Composer(language, profile, decision, strict)
    composer.form(form, prefix)
    return composer.made


class _Composer(Scribe):
    def __init__(self, language: Language, profile: Profile, decision: Decision, strict: bool) -> None:
        super().__init__(language, profile, decision, strict)
        self._positive: list[tuple[str, str, Leaf[str]]] = []

    def form(self, form: Form, prefix: str) -> None:
        self.terms("style", "style", form.style, prefix)
        self.terms("tag", "time", form.time, prefix)
        for index, light in enumerate(form.lights):
            say_light(self, light, f"{prefix}lights[{index}]")
        self.terms("tag", "shot", form.shot, prefix)
        self.terms("tag", "angle", form.angle, prefix)
        self.terms("tag", "composition", form.composition, prefix)
        self.terms("tag", "lens", form.lens, prefix)
        self.terms("tag", "focus", form.focus, prefix)
        self.terms("tag", "tone", form.tone, prefix)
        for index, subject in enumerate(form.subjects):
            self._subject(subject, f"{prefix}subjects[{index}]")
        for index, leaf in enumerate(form.scene):
            self._free("scene", leaf, f"{prefix}scene[{index}]")
        for index, leaf in enumerate(form.actions):
            self._free("action", leaf, f"{prefix}actions[{index}]")
        for index, leaf in enumerate(form.prose):
            self._free("prose", leaf, f"{prefix}prose[{index}]")
        for words, path, leaf in self._positive:
            self.say("prose", words, path, leaf)
        for index, move in enumerate(form.camera):
            say_move(self, move, f"{prefix}camera[{index}]")
        for index, leaf in enumerate(form.quoted):
            self._quoted(leaf, f"{prefix}quoted[{index}]")
        self._rest(form, prefix)
        say_weights(self, [(f"{prefix}emphasis[{index}]", leaf) for index, leaf in enumerate(form.emphasis)])
        for index, beat in enumerate(form.timeline):
            self._beat(beat, f"{prefix}timeline[{index}]")

    def _free(self, section: Section, leaf: Leaf[str], path: str) -> None:
        """Scene, action or prose; short negations go to the negative prompt."""
        if section == "scene" and self.static(path, leaf):
            return
        if section == "prose" and _SETTINGS.fullmatch(leaf.value.strip()):
            self.note(path, leaf, "unsupported", reason="a setting that neither a prompt nor a request has")
            return
        rest, reason = self._without_negations(leaf, path, self.plain(leaf.value))
        if not reason:
            self.words_of(section, leaf, path)
        elif not rest:
            self.note(
                path, leaf, "moved_to_negative", self.made.unwanted[-1], f"a text encoder reads 'no' badly: {reason}"
            )
        else:
            self.note(path, leaf, "approximated", rest, reason)
            self.say(section, rest, path, leaf)

    def _without_negations(self, leaf: Leaf[str], path: str, text: str) -> tuple[str, str]:
        """Words without their short negations ("empty street, no people"), and what became of those; sentences that
        their author ended are left as they are."""
        if leaf.value.strip().endswith(ENDS) and len(text.split()) > 3:
            return text, ""
        kept, moved = [], []
        for piece in filter(None, (piece.strip() for piece in re.split("[,，;；]", text))):
            unwanted, rest = rules.negation_of(piece), ""
            if unwanted is None and (trailing := rules.trailing_negation(piece)) is not None:
                rest, unwanted = trailing
            if unwanted is None:
                kept.append(piece)
                continue
            kept += [rest] if rest else []
            moved.append(f"{unwanted!r} to the negative prompt{self._unwanted(leaf, path, unwanted)}")
        if not moved:
            return text, ""
        return ("，" if self.language == "zh" else ", ").join(kept), "; ".join(moved)

    def _unwanted(self, leaf: Leaf[str], path: str, unwanted: str) -> str:
        """Move something unwanted to the negative prompt, and say it positively where that is safe."""
        restated = rules.restate(unwanted, self.language) if self.profile == "text_to_video" else ""
        self.made.unwanted.append(unwanted)
        if restated:
            self.made.restated.append(restated)
            self._positive.append((restated, path, leaf))
        return f"; said positively: {restated}" if restated else ""

    def _subject(self, subject: Subject, path: str) -> None:
        parts = list(leaves(subject, path))
        name, lost = self._without_negations(subject.name, f"{path}.name", self.plain(subject.name.value))
        if self.profile == "image_to_video" or not name:
            reason = "the subject has no words" if self.profile == "text_to_video" else STATIC
            for place, leaf in parts:
                self.note(place, leaf, "dropped", reason=reason)
            return
        marks = lost_marks(subject.name.value, self.plain(subject.name.value))
        lost = "; ".join(filter(None, (lost, f"without {marks}" if marks else "")))
        looks = [look for leaf in subject.attributes if (look := self.plain(leaf.value))]
        named = name_subject(name, self._count(subject, path), looks, self.language)
        for place, leaf in parts:
            if leaf is subject.count:
                if not self.lost(place, leaf):
                    self.note(place, leaf, "kept_synonym", named.number)
            elif leaf is subject.name:
                fate: Fate = "approximated" if lost else "kept_exact" if named.exact else "kept_synonym"
                self.note(place, leaf, fate, named.name, lost)
            elif look := self.plain(str(leaf.value)):
                self.note(place, leaf, "kept_exact", look)
            else:
                self.note(place, leaf, "dropped", reason="there are no words in it")
        places = tuple(place for place, _ in parts)
        self.made.phrases.append(Phrase("subject", named.words, places, subject.name.span[0], raw=subject.name.raw))

    def _count(self, subject: Subject, path: str) -> int | None:
        """The count that is said; the one that lost against a number in the name is not."""
        return None if subject.count is None or f"{path}.count" in self.decision.lost else subject.count.value

    def _quoted(self, leaf: Leaf[str], path: str) -> None:
        if self.static(path, leaf):
            return
        words = " ".join(leaf.value.replace('"', "'").split())
        if not words:
            self.note(path, leaf, "dropped", reason="there are no words in it")
            return
        self.note(path, leaf, "kept_exact", words)
        written = f"画面中出现文字“{words}”" if self.language == "zh" else f'the text "{words}" is visible'
        self.say("quoted", written, path, leaf)

    def _rest(self, form: Form, prefix: str) -> None:
        for index, leaf in enumerate(form.negatives):
            path = f"{prefix}negatives[{index}]"
            words = " ".join(leaf.value.split()).strip(" ,")
            if words:
                self.made.negatives.append(words)
                self.note(path, leaf, "moved_to_negative", words)
            else:
                self.note(path, leaf, "dropped", reason="there are no words in it")
        for index, leaf in enumerate(form.audio):
            self.note(f"{prefix}audio[{index}]", leaf, "unsupported", reason="Wan 2.2 makes no sound")
        for index, leaf in enumerate(form.boosters):
            reason = "asks for quality in general; none of Wan's official prompts has such words"
            self.note(f"{prefix}boosters[{index}]", leaf, "dropped", reason=reason)
        for index, leaf in enumerate(form.leftovers):
            self._leftover(leaf, f"{prefix}leftovers[{index}]")
        self.made.parameters += [(f"{prefix}parameters[{i}]", leaf) for i, leaf in enumerate(form.parameters)]

    def _leftover(self, leaf: Leaf[str], path: str) -> None:
        """Words that no slot fits are carried along; what is no language is not."""
        words = " ".join(leaf.value.split()).strip(" ,.;，。；")
        language = (
            words and all(c.isalpha() or c in " ,.'’-!?，。、" for c in words) and any(c.isalpha() for c in words)
        )
        if not language:
            self.note(path, leaf, "unsupported", reason=_why_not(leaf))
            return
        self.words_of("prose", leaf, path)

    def _beat(self, beat: Beat, path: str) -> None:
        made = compose(beat.content, self.language, self.profile, self.decision, f"{path}.content.", strict=self.strict)
        self.made.entries += made.entries
        self.made.parameters += made.parameters
        self.made.negatives += made.negatives
        self.made.unwanted += made.unwanted
        self.made.restated += made.restated
        self.made.beats.append(replace(made, entries=[], parameters=[], negatives=[], unwanted=[], restated=[]))
        said = next((phrase.words for phrase in _all_phrases(made)), "")
        for name in ("begin", "end"):
            if (leaf := getattr(beat, name)) is not None:
                reason = f"{rules.amount_text(leaf.value)}: Wan 2.2 knows an order, no times"
                self.note(f"{path}.{name}", leaf, "approximated", said, reason)


def _why_not(leaf: Leaf[str]) -> str:
    """Why a leftover has no place in a prompt."""
    kept = kept_of_change(leaf.value)
    if kept is not None:
        return f"Wan reads one text for all sampling steps; {kept!r} was kept of what changes between them"
    field, colon, words = leaf.value.partition(": ")
    if colon and words == leaf.raw and field in PARTS:
        return f"there is no camera move without a {field} that it could belong to"
    return "no part of a prompt fits it, and it is no plain language"


def _all_phrases(made: Composition) -> Iterator[Phrase]:
    yield from made.phrases
    for beat in made.beats:
        yield from _all_phrases(beat)
