"""The shared vocabulary of parsers and renderer: words to terms and back, in English and Chinese.

The words are data, in ``vocabulary.toml`` beside this module. Looking words up forgives case, plural, British spelling,
``snake_case``, ``kebab-case`` and ``camelCase``, and, where the slot is known, one wrong letter in a word of five or
more.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, NamedTuple, get_args

from filmgate.direction.migration.form import DIRECTIONS, Direction, Move, MoveKind
from filmgate.direction.migration.spelling import Index, Word, is_chinese, normal, verb_forms, words_of

Language = Literal["en", "zh"]
Slot = Literal[
    "style", "time", "source", "quality", "light_angle", "contrast", "angle", "shot", "composition", "lens", "focus",
    "tone", "easing",
]  # fmt: skip
"""Slots with terms. ``source`` to ``contrast`` are of lights, ``easing`` of camera moves."""
How = Literal["exact", "synonym", "near"]
"""The words that are written; other words for the same; words for nearly the same."""
Speed = Literal["very_slow", "slow", "moderate", "fast", "very_fast"]

SLOTS: tuple[Slot, ...] = get_args(Slot)
SPEEDS: tuple[Speed, ...] = get_args(Speed)
_LONGEST_MOVE = 40
"""Words among which a move is looked for at the beginning of a text, fillers included."""
MENDED = 0.8
"""Confidence in a word with one wrong letter."""
_CAMERA_WORDS = ("摄像机", "摄影机", "相机", "镜头", "机位", "画面")


@dataclass(frozen=True)
class Match:
    """An entry of the vocabulary that words were found to mean."""

    slot: Slot
    name: str
    how: How
    confidence: float = 1.0


@dataclass(frozen=True)
class MoveMatch:
    """A camera move that words were found to mean; ``rest`` is what of the words has no part in it."""

    move: Move
    how: How
    speed: Speed | None = None
    confidence: float = 1.0
    rest: str = ""


class Entry(NamedTuple):
    """Words of one entry: first those that are written, then synonyms, then near words."""

    words: Mapping[Language, tuple[str, ...]]
    near: tuple[str, ...]
    official: bool

    @property
    def understood(self) -> tuple[str, ...]:
        """All words of both languages, those that are written first."""
        return (*self.words["en"], *self.words["zh"], *self.near)


class Vocabulary:
    """Words to terms, and terms to words. Made once, by :func:`vocabulary`."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.version: str = data["version"]
        self.terms = {slot: {name: _entry(item) for name, item in data["term"][slot].items()} for slot in SLOTS}
        self.moves = _moves(data["move"])
        self.speeds: dict[Speed, Entry] = {name: _entry(data["speed"][name]) for name in SPEEDS}
        self.keys: dict[str, tuple[str, ...]] = {name: tuple(words) for name, words in data["key"].items()}
        self.parameters: dict[str, tuple[str, ...]] = {name: tuple(words) for name, words in data["parameter"].items()}
        self.negations = tuple(data["negation"])
        self._trimmed: dict[str, frozenset[str]] = {
            slot: frozenset(normal(word) for word in words) for slot, words in data["words"]["trimmed"].items()
        }
        self._boosters = frozenset(normal(word) for word in data["words"]["boosters"])
        self.function_words = frozenset(normal(word) for word in data["words"]["function_words"])
        self.function_words |= frozenset(data["words"]["function_characters"])
        self._fillers = frozenset(data["words"]["move_fillers"])
        self._lemma = {form: verb for verb in data["words"]["move_verbs"] for form in verb_forms(verb)}
        self._mendable: Index[str] = Index((word, word) for word in data["words"]["mended"])
        self._need_a_slot = frozenset(data["words"]["need_a_slot"])
        self._slots = {slot: self._slot_index(slot) for slot in SLOTS}
        self._tags = self._tag_index()
        self._key_index = Index((word, name) for name, words in self.keys.items() for word in words)
        self._parameter_index = Index((word, name) for name, words in self.parameters.items() for word in words)
        self._speed_index = Index((word, name) for name, entry in self.speeds.items() for word in entry.understood)
        self._move_index: dict[tuple[str, ...], tuple[Move, How]] = {}
        self._chinese_moves: list[tuple[str, Move, How]] = []
        self._move_words: frozenset[str] = frozenset(
            word.text for entry in self.moves.values() for phrase in entry.understood for word in words_of(phrase)
        )
        self._index_moves()

    def find_term(self, slot: Slot, words: str) -> Match | None:
        """The entry of a slot that words mean, None if there is none."""
        found = self._slots[slot].find(words, trimmed=self._trimmed.get(slot, frozenset()))
        if found is None:
            return None
        (name, how), mended = found
        return Match(slot, name, how, MENDED if mended else 1.0)

    def find_tag(self, words: str) -> Match | None:
        """The entry that words mean where no slot is known; None also where they could mean several."""
        return self._tags.get(normal(words))

    def find_speed(self, words: str) -> Speed | None:
        """The name of a speed (``very_slow`` ... ``very_fast``) that words mean."""
        found = self._speed_index.find(words)
        return found[0] if found else None

    def find_key(self, words: str) -> str | None:
        """The canonical name of a key of structured text (``camera.move``); see ``[key]`` of the data."""
        found = self._key_index.find(words)
        return found[0] if found else None

    def find_parameter(self, words: str) -> str | None:
        """The name of a job setting, as in :data:`filmgate.direction.migration.form.PARAMETERS`."""
        found = self._parameter_index.find(words)
        return found[0] if found else None

    def is_booster(self, words: str) -> bool:
        """Whether words only ask for quality in general."""
        return normal(words) in self._boosters

    def find_move(self, words: str) -> MoveMatch | None:
        """The camera move that words begin with, with or without "the camera".

        "slow dolly-in", "the camera pans to the left across the valley" (rest: "across the valley"), 镜头缓慢左摇.
        """
        if is_chinese(words):
            return self._find_chinese_move(words)
        tokens = self._move_tokens(words)
        best: MoveMatch | None = None
        most = 0
        for stop in range(1, min(len(tokens), _LONGEST_MOVE) + 1):
            key, speed = self._key_of_move(tokens[:stop])
            if key in self._move_index and len(key) >= most:
                if len(key) == most and best is not None and (speed is None or best.speed is not None):
                    continue
                move, how = self._move_index[key]
                mended = any(token.mended for token in tokens[:stop])
                told = any(token.text not in self._fillers for token in tokens[stop:])
                rest = words[tokens[stop - 1].end :].strip(" ,.;") if told else ""
                best, most = MoveMatch(move, how, speed, MENDED if mended else 1.0, rest), len(key)
        return None if best is None or _goes_on(best.rest) else best

    def write_term(self, slot: Slot, name: str, language: Language = "en") -> str:
        """The words of a term as Wan is told them. KeyError: there is no such term."""
        return self.terms[slot][name].words[language][0]

    def write_move(self, move: Move, language: Language = "en") -> str:
        """The verb phrase of a move, to stand after "The camera" or 镜头."""
        return self.moves[move].words[language][0]

    def write_speed(self, speed: Speed, language: Language = "en") -> str:
        """The adverb of a speed; nothing for a moderate one."""
        return "" if speed == "moderate" else self.speeds[speed].words[language][0]

    def is_official(self, slot: Slot, name: str) -> bool:
        """Whether a term is in one of Wan's official lists."""
        return self.terms[slot][name].official

    def _slot_index(self, slot: Slot) -> Index[tuple[str, How]]:
        trimmed = self._trimmed.get(slot, frozenset())
        pairs = [(word, (name, how)) for name, entry in self.terms[slot].items() for word, how in _told(entry)]
        return Index(pairs, trimmed=trimmed)

    def _tag_index(self) -> dict[str, Match]:
        found: dict[str, dict[tuple[Slot, str], Match]] = {}
        for slot in SLOTS:
            if slot == "easing":
                continue
            for name, entry in self.terms[slot].items():
                for word, how in _told(entry):
                    if normal(word) not in self._need_a_slot:
                        found.setdefault(normal(word), {}).setdefault((slot, name), Match(slot, name, how))
        return {word: next(iter(matches.values())) for word, matches in found.items() if len(matches) == 1}

    def _index_moves(self) -> None:
        for move, entry in self.moves.items():
            for word, how in _told(entry):
                if is_chinese(word):
                    self._chinese_moves.append((word, move, how))
                else:
                    key, _ = self._key_of_move(self._move_tokens(word))
                    self._move_index.setdefault(key, (move, how))
        self._chinese_moves.sort(key=lambda item: -len(item[0]))

    def _move_tokens(self, words: str) -> list[Word]:
        tokens = []
        for token in words_of(words):
            lemma = self._lemma.get(token.text)
            mended = None if lemma or token.text in self._move_words else self._mendable.mend(token.text)
            tokens.append(replace(token, text=lemma or mended or token.text, mended=mended is not None))
        return tokens

    def _key_of_move(self, tokens: list[Word]) -> tuple[tuple[str, ...], Speed | None]:
        """Sorted words without fillers and adverbs of speed, and the speed."""
        texts = [token.text for token in tokens]
        speed: Speed | None = None
        kept: list[str] = []
        skip = 0
        for index, text in enumerate(texts):
            if skip:
                skip -= 1
                continue
            pair = self._speed_index.exact(" ".join(texts[index : index + 2])) if index + 1 < len(texts) else None
            single = self._speed_index.exact(text)
            if speed is None and (pair or single):
                speed, skip = pair or single, int(pair is not None)
                continue
            if text in ("to", "toward", "from") and _names_side(texts[index + 1 : index + 3]):
                continue
            if text == "side" or text in self._fillers:
                continue
            kept.append(_DIRECTION_FORMS.get(text, text))
        return tuple(sorted(kept)), speed

    def _find_chinese_move(self, words: str) -> MoveMatch | None:
        text = words.strip(" ,.;，。；、")
        speed: Speed | None = None
        spoken = [(word, name) for name, entry in self.speeds.items() for word in entry.words["zh"]]
        for word, name in sorted(spoken, key=lambda item: -len(item[0])):
            if word in text:
                text, speed = text.replace(word, "", 1), name
                break
        bare = text
        for word in _CAMERA_WORDS:
            bare = bare.removeprefix(word)
        for candidate in dict.fromkeys((text, bare, bare.removesuffix("镜头"), bare.removeprefix("地"))):
            for phrase, move, how in self._chinese_moves:
                if candidate.startswith(phrase):
                    return MoveMatch(move, how, speed, 1.0, candidate[len(phrase) :].strip(" ,，。()（）"))
        return None


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """The vocabulary that is shipped."""
    text = resources.files("filmgate.direction.migration").joinpath("vocabulary.toml").read_text(encoding="utf-8")
    return Vocabulary(tomllib.loads(text))


_DIRECTION_FORMS = {
    "leftward": "left", "rightward": "right", "upward": "up", "downward": "down", "inward": "in", "outward": "out",
}  # fmt: skip


def _goes_on(rest: str) -> bool:
    """Whether a second direction follows ("pan left and right"): one move alone would be half of it."""
    words = [_DIRECTION_FORMS.get(word.text, word.text) for word in words_of(rest)[:2]]
    return len(words) == 2 and words[0] in ("and", "or", "then") and words[1] in get_args(Direction)


def _names_side(texts: list[str]) -> bool:
    return any(text in ("left", "right") for text in texts)


def _entry(item: Mapping[str, Any]) -> Entry:
    words: dict[Language, tuple[str, ...]] = {"en": tuple(item["en"]), "zh": tuple(item["zh"])}
    return Entry(words, tuple(item.get("near", ())), item.get("official", True))


def _told(entry: Entry) -> Iterable[tuple[str, How]]:
    for words in entry.words.values():
        yield words[0], "exact"
        yield from ((word, "synonym") for word in words[1:])
    yield from ((word, "near") for word in entry.near)


def _moves(data: Mapping[str, Any]) -> dict[Move, Entry]:
    """Moves in the order of the form's kinds; every direction that a kind may have must be there."""
    moves: dict[Move, Entry] = {}
    kinds: tuple[MoveKind, ...] = get_args(MoveKind)
    for kind in kinds:
        directions: tuple[Direction | None, ...] = (None, *DIRECTIONS[kind])
        for direction in directions:
            moves[Move(kind=kind, direction=direction)] = _entry(data[kind][direction or "none"])
    return moves
