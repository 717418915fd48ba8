"""From parts to phrases: what each part of a form is called in the new prompt, and an entry in the ledger for each.

The rules are applied here, part by part; the order of phrases and sentences is the renderer's. Nothing is written that
no part asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from filmgate.direction.migration import rules
from filmgate.direction.migration.conflicts import Decision
from filmgate.direction.migration.form import (
    Amount,
    Beat,
    CameraMove,
    Emphasis,
    Form,
    Leaf,
    Light,
    Parameter,
    Subject,
    Term,
    leaves,
)
from filmgate.direction.migration.ledger import Entry, Fate
from filmgate.direction.migration.vocabulary import Language, Slot, vocabulary
from filmgate.direction.migration.wording import only_words, plain

Section = Literal["style", "tag", "subject", "scene", "action", "prose", "quoted", "camera"]
Profile = Literal["text_to_video", "image_to_video"]
_LIGHT_SLOTS: dict[str, Slot] = {
    "source": "source", "quality": "quality", "angle": "light_angle", "contrast": "contrast",
}  # fmt: skip
_STATIC = "image to video: the picture shows it"
_UNNAMED = "the light is kept; that it is the {role} light has no word in Wan's vocabulary"


@dataclass(frozen=True)
class Phrase:
    """Words for one part or several: ``begins`` is where in the source they came from, ``weight`` the emphasis.

    Of camera phrases, those of the same ``group`` that begin at the same time (``when``) happen together.
    """

    section: Section
    words: str
    paths: tuple[str, ...] = ()
    begins: int = 0
    weight: float = 1.0
    then: bool = False
    group: int = 0
    when: float = 0.0
    raw: str = ""


@dataclass
class Composition:
    """Phrases of one form, and the compositions of the stretches of its timeline."""

    phrases: list[Phrase] = field(default_factory=list)
    beats: list[Composition] = field(default_factory=list)
    negatives: list[str] = field(default_factory=list)
    """What the author put into a negative prompt."""
    unwanted: list[str] = field(default_factory=list)
    """What negations and weights of zero in the prompt itself do not want."""
    restated: list[str] = field(default_factory=list)
    """Positive wordings of negations, which stand in the text."""
    entries: list[Entry] = field(default_factory=list)
    parameters: list[tuple[str, Leaf[Parameter]]] = field(default_factory=list)


def compose(
    form: Form, language: Language, profile: Profile, decision: Decision, prefix: str = "", *, strict: bool = False
) -> Composition:
    """Phrases and entries of a form. Parameters are only collected; they are moved by ``settings``.

    ``strict`` takes everything but words and commas out of the author's words.
    """
    composer = _Composer(language, profile, decision, strict)
    composer.form(form, prefix)
    return composer.made


class _Composer:
    def __init__(self, language: Language, profile: Profile, decision: Decision, strict: bool) -> None:
        self._strict = strict
        self._plain = only_words if strict else plain
        self.made = Composition()
        self.language: Language = language
        self._profile = profile
        self._decision = decision
        self._words = vocabulary()

    def form(self, form: Form, prefix: str) -> None:
        self._terms("style", "style", form.style, prefix)
        self._terms("tag", "time", form.time, prefix)
        for index, light in enumerate(form.lights):
            self._light(light, f"{prefix}lights[{index}]")
        self._terms("tag", "shot", form.shot, prefix)
        self._terms("tag", "angle", form.angle, prefix)
        self._terms("tag", "composition", form.composition, prefix)
        self._terms("tag", "lens", form.lens, prefix)
        self._terms("tag", "focus", form.focus, prefix)
        self._terms("tag", "tone", form.tone, prefix)
        for index, subject in enumerate(form.subjects):
            self._subject(subject, f"{prefix}subjects[{index}]")
        for index, leaf in enumerate(form.scene):
            self._free("scene", leaf, f"{prefix}scene[{index}]")
        for index, leaf in enumerate(form.actions):
            self._free("action", leaf, f"{prefix}actions[{index}]")
        for index, leaf in enumerate(form.prose):
            self._free("prose", leaf, f"{prefix}prose[{index}]")
        for index, move in enumerate(form.camera):
            self._move(move, f"{prefix}camera[{index}]")
        for index, leaf in enumerate(form.quoted):
            self._quoted(leaf, f"{prefix}quoted[{index}]")
        self._rest(form, prefix)
        for index, weight in enumerate(form.emphasis):
            self._emphasis(weight, f"{prefix}emphasis[{index}]")
        for index, beat in enumerate(form.timeline):
            self._beat(beat, f"{prefix}timeline[{index}]")

    # ------------------------------------------------------------------------------------------------ entries, phrases

    def _note(self, path: str, leaf: Leaf[object], fate: Fate, after: str = "", reason: str = "") -> None:
        reason = reason or ("a wrong letter was mended" if leaf.confidence < 1 and fate != "dropped" else "")
        self.made.entries.append(
            Entry(
                path=path, raw=leaf.raw, span=leaf.span, required=leaf.required, fate=fate, after=after, reason=reason
            )
        )  # fmt: skip

    def _lost(self, path: str, leaf: Leaf[object]) -> bool:
        if path not in self._decision.lost:
            return False
        self._note(path, leaf, "conflict", reason=f"contradicts {self._decision.lost[path]!r}, which was chosen")
        return True

    def _static(self, path: str, leaf: Leaf[object]) -> bool:
        """Leave out what a first picture shows already."""
        if self._profile == "text_to_video":
            return False
        self._note(path, leaf, "dropped", reason=_STATIC)
        return True

    def _say(self, section: Section, words: str, path: str, leaf: Leaf[object]) -> None:
        self.made.phrases.append(
            Phrase(section, words, (path,), leaf.span[0], then=path in self._decision.then, raw=leaf.raw)
        )

    # ---------------------------------------------------------------------------------------------------- single slots

    def _terms(self, section: Section, slot: Slot, parts: Sequence[Leaf[Term | Amount | str]], prefix: str) -> None:
        for index, leaf in enumerate(parts):
            path = f"{prefix}{slot}[{index}]"
            if not self._lost(path, leaf) and not self._static(path, leaf):
                self._term(section, slot, leaf, path)

    def _term(self, section: Section, slot: Slot, leaf: Leaf[Term | Amount | str], path: str) -> None:
        value = leaf.value
        if isinstance(value, Amount):
            self._number(section, leaf, value, path)
            return
        if isinstance(value, str):
            self._words_of(section, leaf, path)
            return
        words = self._words.write_term(slot, value.name, self.language)
        fate, reason = self._fate_of_term(slot, value.name, leaf.raw)
        self._note(path, leaf, fate, words, reason)
        self._say(section, words, path, leaf)

    def _fate_of_term(self, slot: Slot, name: str, raw: str) -> tuple[Fate, str]:
        found = self._words.find_term(slot, raw)
        if found is not None and found.name == name and found.how == "near":
            return "approximated", f"{raw!r} is nearly the same"
        exact = self._words.write_term(slot, name, self.language).casefold() == raw.strip().casefold()
        return ("kept_exact" if exact else "kept_synonym"), ""

    def _number(self, section: Section, leaf: Leaf[object], amount: Amount, path: str) -> None:
        said = rules.say_lens(amount) if amount.unit == "mm" else None
        if amount.unit == "f":
            said = rules.say_aperture(amount)
        if said is None:
            self._note(path, leaf, "unsupported", reason=f"{rules.amount_text(amount)} has no words here")
            return
        self._said(section, leaf, said, path)

    def _said(self, section: Section, leaf: Leaf[object], said: rules.Said, path: str, suffix: str = "") -> None:
        words = self._words.write_term(said.slot, said.term, self.language) + suffix if said.slot else ""
        self._note(path, leaf, "approximated", words, said.reason)
        if words:
            self._say(section, words, path, leaf)

    def _words_of(self, section: Section, leaf: Leaf[object], path: str) -> None:
        """An author's own words."""
        words = self._plain(str(leaf.value))
        if not any(character.isalnum() for character in words):
            self._note(path, leaf, "dropped", reason="there are no words in it")
            return
        self._note(path, leaf, "kept_exact", words)
        self._say(section, words, path, leaf)

    def _free(self, section: Section, leaf: Leaf[str], path: str) -> None:
        """Scene, action or prose; a short negation goes to the negative prompt."""
        unwanted = rules.negation_of(self._plain(leaf.value))
        if unwanted is not None:
            self._unwanted(leaf, path, unwanted)
        elif section != "scene" or not self._static(path, leaf):
            self._words_of(section, leaf, path)

    def _unwanted(self, leaf: Leaf[str], path: str, unwanted: str) -> None:
        restated = rules.restate(unwanted, self.language) if self._profile == "text_to_video" else ""
        said = f"; said positively: {restated}" if restated else ""
        self.made.unwanted.append(unwanted)
        self._note(path, leaf, "moved_to_negative", unwanted, f"a text encoder reads 'no' badly{said}")
        if restated:
            self.made.restated.append(restated)
            self._say("prose", restated, path, leaf)

    def _subject(self, subject: Subject, path: str) -> None:
        parts = list(leaves(subject, path))
        if self._profile == "image_to_video":
            for place, leaf in parts:
                self._note(place, leaf, "dropped", reason=_STATIC)
            return
        count = subject.count.value if subject.count else None
        name = self._plain(subject.name.value)
        if not name:
            for place, leaf in parts:
                self._note(place, leaf, "dropped", reason="the subject has no words")
            return
        article, _, bare = name.partition(" ")
        if self.language == "zh" or not bare or article.lower() not in ("a", "an", "the"):
            article, bare = "", name
        written = bare if count is None or self.language == "zh" else rules.plural(bare, count)
        number = article if count is None else rules.say_count(count, self.language)
        looks = [self._plain(leaf.value) for leaf in subject.attributes]
        apart = "" if self.language == "zh" else " "
        words = apart.join(word for word in (number, *looks, written) if word)
        for place, leaf in parts:
            if leaf is subject.count:
                self._note(place, leaf, "kept_synonym", number)
            elif leaf is subject.name:
                self._note(place, leaf, "kept_exact" if written == bare else "kept_synonym", written)
            elif look := self._plain(str(leaf.value)):
                self._note(place, leaf, "kept_exact", look)
            else:
                self._note(place, leaf, "dropped", reason="there are no words in it")
        self.made.phrases.append(
            Phrase("subject", words, tuple(place for place, _ in parts), subject.name.span[0], raw=subject.name.raw)
        )

    def _quoted(self, leaf: Leaf[str], path: str) -> None:
        if self._static(path, leaf):
            return
        words = " ".join(leaf.value.replace('"', "'").split())
        if not words:
            self._note(path, leaf, "dropped", reason="there are no words in it")
            return
        self._note(path, leaf, "kept_exact", words)
        written = f"画面中出现文字“{words}”" if self.language == "zh" else f'the text "{words}" is visible'
        self._say("quoted", written, path, leaf)

    # ----------------------------------------------------------------------------------------------------------- light

    def _light(self, light: Light, path: str) -> None:
        side = light.side.value if light.side else None
        placed = ""
        if side is not None:
            placed = {"left": "来自左侧", "right": "来自右侧"}[side] if self.language == "zh" else f" from the {side}"
        named = 0
        for name, leaf in self._parts_of(light):
            place = f"{path}.{name}"
            if self._lost(place, leaf) or self._static(place, leaf):
                continue
            before = len(self.made.phrases)
            self._light_part(name, leaf, place, placed if name in ("angle", "azimuth") else "")
            named += len(self.made.phrases) - before
        if self._profile == "text_to_video":
            self._light_side(light, path, placed, named)
            return
        for name, part in (("side", light.side), ("role", light.role)):
            if part is not None:
                self._static(f"{path}.{name}", part)

    def _parts_of(self, light: Light) -> Iterator[tuple[str, Leaf[Term | Amount | str]]]:
        """In the order of the official form: source, quality, angle; role and side are said with them."""
        for name in ("source", "quality", "contrast", "angle", "azimuth", "elevation", "kelvin", "ratio", "words"):
            leaf = getattr(light, name)
            if leaf is not None:
                yield name, leaf

    def _light_part(self, name: str, leaf: Leaf[Term | Amount | str], path: str, placed: str) -> None:
        say = {
            "azimuth": rules.say_azimuth, "elevation": rules.say_elevation, "kelvin": rules.say_kelvin,
            "ratio": rules.say_ratio,
        }.get(name)  # fmt: skip
        if say is not None and isinstance(leaf.value, Amount):
            self._said("tag", leaf, say(leaf.value), path, placed)
            return
        self._term("tag", _LIGHT_SLOTS.get(name, "source"), leaf, path)
        if placed and self.made.phrases and self.made.phrases[-1].paths == (path,):
            last = self.made.phrases[-1]
            self.made.phrases[-1] = replace(last, words=last.words + placed)

    def _light_side(self, light: Light, path: str, placed: str, named: int) -> None:
        """Side and role, said with the angle of the light, or on their own where there is none."""
        if light.side is not None:
            alone = light.angle is None and light.azimuth is None
            role = f"{light.role.value} light" if light.role is not None else "light"
            words = placed.strip()
            if alone:
                words = f"{role}{placed}" if self.language == "en" else f"光线{placed}"
                self._say("tag", words, f"{path}.side", light.side)
            self._note(f"{path}.side", light.side, "kept_exact" if self.language == "en" else "kept_synonym", words)
        if light.role is not None:
            last = next((phrase for phrase in reversed(self.made.phrases) if phrase.paths[0].startswith(path)), None)
            role = light.role.value.replace("_", " ")
            if last is not None:
                self._note(f"{path}.role", light.role, "approximated", last.words, _UNNAMED.format(role=role))
            elif named == 0:
                words = f"{self._plain(role)} light" if self._plain(role) else ""
                fate: Fate = "kept_exact" if words else "dropped"
                self._note(f"{path}.role", light.role, fate, words, "" if words else "there are no words in it")
                if words:
                    self._say("tag", words, f"{path}.role", light.role)

    # ---------------------------------------------------------------------------------------------------------- camera

    def _move(self, camera: CameraMove, path: str) -> None:
        place = f"{path}.move"
        if place in self._decision.lost:
            for name in ("move", "speed", "magnitude", "easing", "begin", "end"):
                if (leaf := getattr(camera, name)) is not None:
                    reason = f"contradicts {self._decision.lost[place]!r}, which was chosen"
                    self._note(f"{path}.{name}", leaf, "conflict", reason=reason)
            return
        move = camera.move.value
        verb = self._words.write_move(move, self.language)
        found = self._words.find_move(camera.move.raw)
        how = found.how if found is not None and found.move == move else "synonym"
        fates: dict[str, Fate] = {"exact": "kept_exact", "synonym": "kept_synonym", "near": "approximated"}
        self._note(place, camera.move, fates[how], verb, "nearly the same" if how == "near" else "")
        adverb = self._speed(camera, path, verb)
        far = self._magnitude(camera, path)
        easing = self._easing(camera, path)
        for name in ("begin", "end"):
            if (leaf := getattr(camera, name)) is not None:
                reason = f"{rules.amount_text(leaf.value)}: Wan 2.2 knows an order, no times"
                self._note(f"{path}.{name}", leaf, "approximated", verb, reason)
        if self.language == "zh":
            words = f"{easing}{adverb}{verb}{far}"
        else:
            words = " ".join(part for part in (adverb, verb, far, easing) if part)
        self.made.phrases.append(
            Phrase(
                "camera",
                words,
                tuple(f"{path}.{name}" for name, leaf in _parts(camera) if leaf is not None),
                camera.move.span[0],
                then=place in self._decision.then,
                group=camera.group,
                when=camera.begin.value.value if camera.begin is not None else 0.0,
                raw=camera.move.raw,
            )
        )

    def _speed(self, camera: CameraMove, path: str, verb: str) -> str:
        leaf = camera.speed
        if leaf is None:
            return ""
        if camera.move.value.kind in ("static", "handheld"):
            self._note(f"{path}.speed", leaf, "dropped", reason=f"{verb!r} has no speed")
            return ""
        said = rules.say_speed(leaf.value)
        if said is None:
            words = self._plain(leaf.value.word)
            if words:
                self._note(f"{path}.speed", leaf, "kept_exact", words)
            else:
                reason = f"{rules.amount_text(leaf.value)} is no speed that can be said in words"
                self._note(f"{path}.speed", leaf, "unsupported", reason=reason)
            return words
        words = self._words.write_speed(said.speed or "moderate", self.language)
        if said.reason:
            self._note(f"{path}.speed", leaf, "approximated", words, said.reason)
        elif not words:
            self._note(f"{path}.speed", leaf, "approximated", reason="a moderate speed goes without saying")
        else:
            exact = words == leaf.value.word.casefold()
            self._note(f"{path}.speed", leaf, "kept_exact" if exact else "kept_synonym", words)
        return words

    def _magnitude(self, camera: CameraMove, path: str) -> str:
        leaf = camera.magnitude
        if leaf is None:
            return ""
        words, reason = rules.say_magnitude(leaf.value, self.language)
        words = self._plain(words)
        if leaf.value.unit == "word":
            self._note(f"{path}.magnitude", leaf, "kept_exact" if words else "dropped", words, "" if words else "empty")
        else:
            self._note(f"{path}.magnitude", leaf, "approximated", words, reason)
        return words

    def _easing(self, camera: CameraMove, path: str) -> str:
        leaf = camera.easing
        if leaf is None:
            return ""
        if isinstance(leaf.value, Term):
            words = self._words.write_term("easing", leaf.value.name, self.language)
            fate, reason = self._fate_of_term("easing", leaf.value.name, leaf.raw)
            self._note(f"{path}.easing", leaf, fate, words, reason)
            return words
        words = self._plain(leaf.value)
        self._note(f"{path}.easing", leaf, "kept_exact" if words else "dropped", words, "" if words else "empty")
        return words

    # ------------------------------------------------------------------------------------------------ the other slots

    def _rest(self, form: Form, prefix: str) -> None:
        for index, leaf in enumerate(form.negatives):
            path = f"{prefix}negatives[{index}]"
            words = " ".join(leaf.value.split()).strip(" ,")
            if words:
                self.made.negatives.append(words)
                self._note(path, leaf, "moved_to_negative", words)
            else:
                self._note(path, leaf, "dropped", reason="there are no words in it")
        for index, leaf in enumerate(form.audio):
            self._note(f"{prefix}audio[{index}]", leaf, "unsupported", reason="Wan 2.2 makes no sound")
        for index, leaf in enumerate(form.boosters):
            reason = "asks for quality in general, which Wan 2.2's text encoder was given no use for"
            self._note(f"{prefix}boosters[{index}]", leaf, "dropped", reason=reason)
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
            self._note(path, leaf, "unsupported", reason="no part of a prompt fits it, and it is no plain language")
            return
        self._words_of("prose", leaf, path)

    def _emphasis(self, leaf: Leaf[Emphasis], path: str) -> None:
        weight, wanted = leaf.value.weight, self._plain(leaf.value.words).casefold()
        index = next(
            (i for i, phrase in enumerate(self.made.phrases)
             if wanted and (wanted in phrase.words.casefold() or wanted in self._plain(phrase.raw).casefold())),
            None,
        )  # fmt: skip
        if index is None:
            self._note(path, leaf, "unsupported", reason=f"weight {weight:g} on words that are not in the prompt")
        elif weight <= 0:
            self._banish(index, leaf, path, weight)
        elif rules.WEAK < weight < rules.STRONG:
            words = self.made.phrases[index].words
            self._note(path, leaf, "approximated", words, f"weight {weight:g} is too close to 1 to be said")
        else:
            phrase = self.made.phrases[index]
            self.made.phrases[index] = replace(phrase, weight=weight)
            how = "named first and once more" if weight > 1 else "named late, as subtle"
            self._note(path, leaf, "approximated", phrase.words, f"weight {weight:g}: {how}")

    def _banish(self, index: int, leaf: Leaf[object], path: str, weight: float) -> None:
        """Words with a weight of zero or less are unwanted: out of the text, into the negative prompt."""
        phrase = self.made.phrases.pop(index)
        self.made.unwanted.append(phrase.words)
        reason = f"its weight is {weight:g}"
        self.made.entries = [
            entry.model_copy(update={"fate": "moved_to_negative", "after": phrase.words, "reason": reason})
            if entry.path in phrase.paths and entry.fate != "moved_to_negative"
            else entry
            for entry in self.made.entries
        ]
        self._note(path, leaf, "moved_to_negative", phrase.words, f"weight {weight:g}: unwanted")

    def _beat(self, beat: Beat, path: str) -> None:
        made = compose(
            beat.content, self.language, self._profile, self._decision, f"{path}.content.", strict=self._strict
        )
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
                self._note(f"{path}.{name}", leaf, "approximated", said, reason)


def _parts(camera: CameraMove) -> Iterator[tuple[str, Leaf[object] | None]]:
    for name in ("move", "speed", "magnitude", "easing", "begin", "end"):
        yield name, getattr(camera, name)


def _all_phrases(made: Composition) -> Iterator[Phrase]:
    yield from made.phrases
    for beat in made.beats:
        yield from _all_phrases(beat)
