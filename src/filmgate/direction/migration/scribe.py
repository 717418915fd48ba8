"""What every part of a form needs: an entry in the ledger, and a phrase for the new prompt where it has words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from filmgate.direction.migration import rules
from filmgate.direction.migration.conflicts import Decision
from filmgate.direction.migration.form import Amount, Leaf, Parameter, Term
from filmgate.direction.migration.ledger import Entry, Fate
from filmgate.direction.migration.vocabulary import Language, Slot, vocabulary
from filmgate.direction.migration.wording import only_words, plain

Section = Literal["style", "tag", "subject", "scene", "action", "prose", "quoted", "camera"]
Profile = Literal["text_to_video", "image_to_video"]
ENDS = (".", "!", "?", "。", "！", "？", "…")
"""What ends a sentence."""
_SEPARATORS = " \t\n,.;:，。；：、-"
STATIC = "image to video: the picture shows it"
"""Why a part is left out beside a first picture."""


@dataclass(frozen=True)
class Phrase:
    """Words for one part or several: ``begins`` is where in the source they came from, ``weight`` the emphasis.

    ``whole`` is a sentence that its author ended, ``strong`` are words of it that are said once more. Of camera
    phrases, those of the same ``group`` that begin at the same time (``when``) happen together.
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
    whole: bool = False
    strong: tuple[str, ...] = ()


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


class Scribe:
    """Writes entries and phrases of single parts into a composition."""

    def __init__(self, language: Language, profile: Profile, decision: Decision, strict: bool) -> None:
        self.strict = strict
        self._take_syntax_out = only_words if strict else plain
        self.made = Composition()
        self.language: Language = language
        self.profile = profile
        self.decision = decision
        self.vocabulary = vocabulary()

    def plain(self, text: str) -> str:
        """An author's words as they may stand in a prompt; empty if there is no letter and no digit in them."""
        words = self._take_syntax_out(text)
        return words if any(character.isalnum() for character in words) else ""

    def note(self, path: str, leaf: Leaf[object], fate: Fate, after: str = "", reason: str = "") -> None:
        """Add an entry."""
        reason = reason or (f"read with a confidence of {leaf.confidence:g}" if leaf.confidence < 1 else "")
        self.made.entries.append(
            Entry(
                path=path, raw=leaf.raw, span=leaf.span, required=leaf.required, fate=fate, after=after, reason=reason
            )
        )  # fmt: skip

    def lost(self, path: str, leaf: Leaf[object]) -> bool:
        """Whether a part lost against another one; adds the entry if it did."""
        if path not in self.decision.lost:
            return False
        self.note(path, leaf, "conflict", reason=f"contradicts {self.decision.lost[path]!r}, which was chosen")
        return True

    def static(self, path: str, leaf: Leaf[object]) -> bool:
        """Leave out what a first picture shows already."""
        if self.profile == "text_to_video":
            return False
        self.note(path, leaf, "dropped", reason=STATIC)
        return True

    def say(self, section: Section, words: str, path: str, leaf: Leaf[object]) -> None:
        """Add a phrase for one part."""
        self.made.phrases.append(
            Phrase(
                section,
                words,
                (path,),
                leaf.span[0],
                then=path in self.decision.then,
                raw=leaf.raw,
                whole=isinstance(leaf.value, str) and leaf.value.rstrip().endswith(ENDS),
            )
        )

    def terms(self, section: Section, slot: Slot, parts: Sequence[Leaf[Term | Amount | str]], prefix: str) -> None:
        """Say every part of a slot."""
        for index, leaf in enumerate(parts):
            path = f"{prefix}{slot}[{index}]"
            if not self.lost(path, leaf) and not self.static(path, leaf):
                self.term(section, slot, leaf, path)

    def term(self, section: Section, slot: Slot, leaf: Leaf[Term | Amount | str], path: str) -> None:
        """Say a term, a number or an author's own words in a slot."""
        value = leaf.value
        if isinstance(value, Amount):
            self.number(section, leaf, value, path)
            return
        if isinstance(value, str):
            self.words_of(section, leaf, path)
            return
        words = self.vocabulary.write_term(slot, value.name, self.language)
        fate, reason = self.fate_of_term(slot, value.name, leaf.raw)
        self.note(path, leaf, fate, words, reason)
        self.say(section, words, path, leaf)

    def fate_of_term(self, slot: Slot, name: str, raw: str) -> tuple[Fate, str]:
        """Whether a text already was the words of a term, means the same, or nearly."""
        found = self.vocabulary.find_term(slot, raw)
        if found is not None and found.name == name and found.how == "near":
            return "approximated", f"{raw!r} is nearly the same"
        exact = self.vocabulary.write_term(slot, name, self.language).casefold() == raw.strip().casefold()
        return ("kept_exact" if exact else "kept_synonym"), ""

    def number(self, section: Section, leaf: Leaf[object], amount: Amount, path: str) -> None:
        """Say a focal length or an aperture."""
        said = rules.say_lens(amount) if amount.unit == "mm" else None
        if amount.unit == "f":
            said = rules.say_aperture(amount)
        if said is None:
            self.note(path, leaf, "unsupported", reason=f"{rules.amount_text(amount)} has no words here")
            return
        self.said(section, leaf, said, path)

    def said(self, section: Section, leaf: Leaf[object], said: rules.Said, path: str, suffix: str = "") -> None:
        """Say what a rule made of a number."""
        words = self.vocabulary.write_term(said.slot, said.term, self.language) + suffix if said.slot else ""
        self.note(path, leaf, "approximated", words, said.reason)
        if words:
            self.say(section, words, path, leaf)

    def words_of(self, section: Section, leaf: Leaf[object], path: str) -> None:
        """An author's own words."""
        words = self.plain(str(leaf.value))
        if not words:
            self.note(path, leaf, "dropped", reason="there are no words in it")
            return
        lost = lost_marks(str(leaf.value), words)
        self.note(path, leaf, "approximated" if lost else "kept_exact", words, f"without {lost}" if lost else "")
        self.say(section, words, path, leaf)


def lost_marks(before: str, after: str) -> str:
    """Marks that a text lost, beside separators at its ends and the underscores of snake_case."""
    gone = Counter(before.strip(_SEPARATORS)) - Counter(after)
    return " ".join(mark for mark in gone if not mark.isspace() and not mark.isalnum() and mark != "_")
