"""Phrases to text, in the form of Wan 2.2's own prompts: short aesthetic terms, then sentences, then the camera.

The form is that of the official text-to-video examples (github.com/Wan-Video/Wan2.2, README and system_prompt.py):
"Edge lighting, medium close-up shot, daylight. A young girl ... The camera slowly pushes in." Same phrases, same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from filmgate.direction.migration.scribe import ENDS, Composition, Phrase
from filmgate.direction.migration.vocabulary import SLOTS, Language, vocabulary
from filmgate.direction.migration.wording import chained, first_lower, first_upper, joined, words_in

_PREPOSITIONS = frozenset(
    re.findall(
        r"\w+",
        "in on at inside outside under over near through along by within against across around behind beside between"
        " above below among amid amidst beneath before past beyond atop onto into from with during",
    )
)
_PLURALS = frozenset(re.findall(r"\w+", "two three four five six seven eight nine ten eleven twelve"))
_SENTENCE_WORDS = 6
"""From here on, or with a full stop inside, an author's words are a sentence of their own."""
_NAMES = ("Dutch",)


def render(made: Composition, language: Language = "en") -> str:
    """The prompt; empty if there are no phrases."""
    return " ".join(_sentences(made, language)) if language == "en" else "".join(_sentences(made, language))


def _sentences(made: Composition, language: Language) -> list[str]:
    stop, comma = ("。", "，") if language == "zh" else (".", ", ")
    tags = _tags([phrase for phrase in made.phrases if phrase.section in ("style", "tag")], language)
    content = _content(made.phrases, language)
    quoted = [phrase.words for phrase in made.phrases if phrase.section == "quoted"]
    found = [comma.join(tags)] if tags else []
    found += [*content, *quoted, *_camera(made.phrases, language)]
    sentences = [_ended(first_upper(sentence), stop) for sentence in dict.fromkeys(found) if sentence]
    return sentences + _timeline(made.beats, language)


def _ended(sentence: str, stop: str) -> str:
    return sentence if sentence.endswith(ENDS) else sentence.rstrip(" ,，") + stop


def _ordered(phrases: Iterable[Phrase]) -> list[Phrase]:
    """Emphasised phrases first, played-down ones last, the others in their order."""
    return sorted(phrases, key=lambda phrase: -_rank(phrase.weight))


def _rank(weight: float) -> int:
    return (weight >= 1.2) - (weight <= 0.8)


def _weighed(phrase: Phrase, words: str, language: Language) -> str:
    if _rank(phrase.weight) >= 0:
        return words
    return chained("细微的", words) if language == "zh" else f"subtle {first_lower(words)}"


def _tags(phrases: Sequence[Phrase], language: Language) -> list[str]:
    """The list of terms, each once; only the first begins with a capital letter."""
    written = _written()
    found: dict[str, str] = {}
    for phrase in _ordered(phrases):
        own = any(phrase.words.startswith(term) for term in written) and not phrase.words.startswith(_NAMES)
        words = phrase.words[:1].lower() + phrase.words[1:] if own else phrase.words
        words = _weighed(phrase, words, language)
        if phrase.then:
            words = f"然后{words}" if language == "zh" else f"then {words}"
        found.setdefault(words.casefold(), words)
    return list(found.values())


def _content(phrases: Sequence[Phrase], language: Language) -> list[str]:
    """Subjects, actions and scene as one sentence, then the author's other words."""
    ordered = _ordered(phrase for phrase in phrases if phrase.section in ("subject", "action", "scene", "prose"))
    by_section: dict[str, list[Phrase]] = {"subject": [], "action": [], "scene": [], "prose": []}
    for phrase in ordered:
        by_section[phrase.section].append(phrase)
    main = _main(by_section, language)
    prose = _prose(by_section["prose"], language)
    strong = [words for phrase in ordered for words in phrase.strong]
    repeated = _repeated(list(dict.fromkeys(strong)), language)
    early = any(_rank(phrase.weight) > 0 for phrase in by_section["prose"])
    return [*(prose + main if early else main + prose), *repeated]


def _repeated(strong: list[str], language: Language) -> list[str]:
    if not strong:
        return []
    if language == "zh":
        return ["尤其是" + "和".join(strong)]
    return ["above all, " + joined([first_lower(words) for words in strong])]


def _main(by_section: dict[str, list[Phrase]], language: Language) -> list[str]:
    subjects, actions, scenes = by_section["subject"], by_section["action"], by_section["scene"]
    clauses = _clauses(subjects, actions, language)
    sentence = ("，" if language == "zh" else ", ").join(clauses)
    for scene in scenes:
        words = _weighed(scene, scene.words, language)
        if not sentence:
            sentence = words
        elif language == "zh":
            sentence += f"，{words}"
        else:
            near = words.split(maxsplit=1)[0].lower() in _PREPOSITIONS
            sentence += f" {first_lower(words)}" if near else f", {first_lower(words)}"
    return [sentence] if sentence else []


def _clauses(subjects: list[Phrase], actions: list[Phrase], language: Language) -> list[str]:
    """Who does what. An action belongs to the subject that it follows in the source, where each stands by its own."""
    last = "和" if language == "zh" else " and "
    owners = [_owner(action, subjects) for action in actions]
    interleaved = len(subjects) > 1 and len(set(owners)) > 1
    if not interleaved:
        # Inside one sentence only the first word may keep its capital.
        names = [_weighed(subject, subject.words, language) for subject in subjects]
        names = names[:1] + [first_lower(name) for name in names[1:]]
        return _acting(joined(names, last), actions, language, several=len(subjects) > 1)
    clauses: list[str] = []
    for index, subject in enumerate(subjects):
        own = [action for action, owner in zip(actions, owners, strict=True) if owner == index]
        clauses += _acting(_weighed(subject, subject.words, language), own, language)
    return clauses[:1] + [first_lower(clause) for clause in clauses[1:]]


def _owner(action: Phrase, subjects: list[Phrase]) -> int:
    before = [index for index, subject in enumerate(subjects) if subject.begins <= action.begins]
    return max(before, key=lambda index: subjects[index].begins) if before else 0


def _acting(name: str, actions: list[Phrase], language: Language, *, several: bool = False) -> list[str]:
    done = [_weighed(action, action.words, language) for action in actions]
    if not name:
        return done
    if not done:
        return [name]
    if language == "zh":
        return [chained(name, done[0]), *done[1:]]
    first = done[0].split(maxsplit=1)[0].lower()
    several = several or name.split(maxsplit=1)[0].lower() in _PLURALS
    singular = first in ("is", "has") or (first.endswith("s") and not first.endswith("ss"))
    verb = first in ("are", "have") or first.endswith("ing") or (singular and not several)
    apart = " " if verb and ", " not in name else ", "
    return [f"{name}{apart}{first_lower(done[0])}", *map(first_lower, done[1:])]


def _prose(phrases: list[Phrase], language: Language) -> list[str]:
    """Sentences of their own, and shorter pieces joined by commas."""
    comma = "，" if language == "zh" else ", "
    sentences: list[str] = []
    pieces: list[str] = []
    for phrase in phrases:
        words = _weighed(phrase, phrase.words, language)
        short = words_in(words) < _SENTENCE_WORDS and not phrase.whole
        if short and not any(mark in words for mark in (". ", "! ", "? ", "。")):
            pieces.append(words)
            continue
        if pieces:
            sentences.append(comma.join(dict.fromkeys(pieces)))
            pieces = []
        sentences.append(words)
    return [*sentences, comma.join(dict.fromkeys(pieces))] if pieces else sentences


def _camera(phrases: Sequence[Phrase], language: Language) -> list[str]:
    """One sentence: what happens together is joined, what follows comes after "then"."""
    moves = [phrase for phrase in phrases if phrase.section == "camera"]
    if not moves:
        return []
    steps: dict[tuple[bool, float, int], list[str]] = {}
    for index, phrase in enumerate(moves):
        key = (phrase.then, phrase.when, phrase.group if not phrase.then else index)
        steps.setdefault(key, []).append(phrase.words)
    ordered = [list(dict.fromkeys(steps[key])) for key in sorted(steps)]
    if language == "zh":
        said = ["同时".join(words) if len(words) == 1 else "，同时".join(words) for words in ordered]
        return ["镜头" + "，然后".join(said)]
    said = [joined(words) + (" at the same time" if len(words) > 1 else "") for words in ordered]
    return ["The camera " + ", then ".join(said)]


def _timeline(beats: list[Composition], language: Language) -> list[str]:
    """Stretches of the clip in their order: first, then, finally."""
    told = [sentences for sentences in (_sentences(beat, language) for beat in beats) if sentences]
    if len(told) < 2:
        return [sentence for sentences in told for sentence in sentences]
    words = ("首先，", "然后，", "最后，") if language == "zh" else ("First, ", "Then, ", "Finally, ")
    found: list[str] = []
    for index, sentences in enumerate(told):
        lead = words[0] if index == 0 else words[2] if index == len(told) - 1 and index > 1 else words[1]
        opening = sentences[0]
        opening = opening if language == "zh" else _within(opening)
        found += [lead + opening, *sentences[1:]]
    return found


def _within(sentence: str) -> str:
    """A sentence after "First, ": what was given its capital by us loses it again."""
    lower = sentence[:1].lower() + sentence[1:]
    return lower if any(sentence.startswith(term) for term in _written()) else first_lower(sentence)


@lru_cache(maxsize=1)
def _written() -> tuple[str, ...]:
    """The vocabulary's own words for terms; only these lose their capital, an author's words may be names."""
    return tuple(vocabulary().write_term(slot, name) for slot in SLOTS for name in vocabulary().terms[slot])
