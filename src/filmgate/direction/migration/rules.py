"""What a text encoder cannot read, said in words: numbers, weights and negations, each with its loss declared.

The thresholds of light, lens and unit-less speed are conventions of the trade; those of speeds with a unit are our own
assumption about what looks slow or fast in a clip of five seconds. Every number that is said in words is *approximated*
in the ledger, with its value.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from filmgate.direction.migration.form import Amount, Unit
from filmgate.direction.migration.spelling import normal
from filmgate.direction.migration.vocabulary import SPEEDS, Language, Slot, Speed, vocabulary

STRONG, WEAK = 1.2, 0.8
"""Weights from which words are repeated, and up to which they are called subtle."""

_UNKNOWN_SCALE = (0.5, 0.9, 1.5, 3.0)
_RELATIVE = (0.2, 0.4, 0.6, 0.8)
_SPEED_LIMITS: dict[Unit, tuple[float, float, float, float]] = {
    "": _UNKNOWN_SCALE,
    "deg/s": (5.0, 15.0, 40.0, 90.0),
    "m/s": (0.2, 0.7, 1.5, 4.0),
    "deg/frame": (0.3, 1.0, 2.5, 6.0),
    "px/frame": (0.5, 2.0, 6.0, 15.0),
    "x/frame": (0.003, 0.01, 0.03, 0.08),
    "percent": (20.0, 40.0, 60.0, 80.0),
    "fraction": _RELATIVE,
}
"""By unit: below which value a move is very slow, slow, moderate and fast; above, very fast. Numbers without a unit are
taken as multiples of a normal speed."""
_NEGATION = re.compile(
    r"^(?:no(?!\s+(?:one|longer|matter|doubt|more|way|idea)\b)|without|avoid|free of|do not show|don['’]t show)"
    r"\s+(?:any\s+|a\s+|an\s+|the\s+)?((?:[^\W\d_]|-)+(?:\s+(?:[^\W\d_]|-)+){0,2})$",
    re.IGNORECASE,
)
"""A negation of a bare noun of up to three words, and nothing else."""
_CHINESE_NEGATION = re.compile(
    r"^(?:(?:没有|不要|避免|禁止|请勿)(?:出现|任何)?|无(?=人$|文字|水印|字幕|噪点|云$|风$|车))([^的地得\s]{1,6})$"
)
_CLAUSE = re.compile(r"\b(?:at|in|on|of|from|with|to|is|are|was|comes?|goes|word|end|ending)\b", re.IGNORECASE)
"""Words behind which a negation is of more than a noun, or a way of speaking ("without a word")."""
_TRAILING = re.compile(r"\s+(?:without|with no)\s+(?:any\s+|a\s+|an\s+)?([^\W\d_]+(?:\s+[^\W\d_]+)?)$", re.IGNORECASE)
_COUNTS = re.findall(r"\w+", "zero one two three four five six seven eight nine ten eleven twelve")
_CHINESE_COUNTS = "零一两三四五六七八九十"


@dataclass(frozen=True)
class Said:
    """What a number becomes: an entry of the vocabulary, or nothing where that goes without saying, and why."""

    reason: str
    slot: Slot | None = None
    term: str = ""
    speed: Speed | None = None


def say_speed(amount: Amount) -> Said | None:
    """A speed in words. None: the amount says nothing about speed (words that are no adverb, not a number)."""
    if amount.unit == "word":
        found = vocabulary().find_speed(amount.word)
        return None if found is None else Said("", speed=found)
    if not math.isfinite(amount.value):
        return None
    value, limits = abs(amount.value), _SPEED_LIMITS.get(amount.unit)
    if amount.unit == "x/frame":
        value = abs(amount.value - 1)
    if amount.full:
        value, limits = value / abs(amount.full), _RELATIVE
        scale = f"{amount_text(amount)} of {amount.full:g}"
    elif limits is None:
        return None
    else:
        scale = amount_text(amount) if amount.unit else f"{amount_text(amount)}, on an assumed scale where 1 is normal"
    speed = SPEEDS[sum(value >= limit for limit in limits)]
    unsaid = ", which goes without saying" if speed == "moderate" else ""
    return Said(f"number in words: {scale}{unsaid}", speed=speed)


def say_magnitude(amount: Amount, language: Language = "en") -> tuple[str, str]:
    """How far a move goes: the words, perhaps none, and the reason."""
    if amount.unit == "word":
        return amount.word, ""
    reason = f"number in words: {amount_text(amount)}"
    if not math.isfinite(amount.value):
        return "", f"{amount.value} is no number"
    value = abs(amount.value) / abs(amount.full) if amount.full else abs(amount.value)
    unit: Unit = "fraction" if amount.full else amount.unit
    small, large = {"deg": (15.0, 90.0), "m": (0.5, 3.0), "percent": (20.0, 60.0), "fraction": (0.2, 0.6)}.get(
        unit, (0.0, math.inf)
    )
    if value < small:
        return ("slightly", "略微")[language == "zh"], reason
    if unit == "deg" and value >= 360:
        return ("all the way around", "一整圈")[language == "zh"], reason
    if value > large:
        return ("a long way", "大幅")[language == "zh"], reason
    return "", f"{reason}; a usual extent goes without saying"


def say_azimuth(amount: Amount) -> Said:
    """Where a light stands around the subject, 0°: at the camera, 180°: opposite."""
    turned = abs(amount.value) % 360 if math.isfinite(amount.value) else 0.0
    degrees = min(turned, 360 - turned)
    term = "front" if degrees < 20 else "side" if degrees <= 110 else "edge" if degrees <= 160 else "back"
    return Said(f"number in words: {amount_text(amount)} from the camera", "light_angle", term)


def say_elevation(amount: Amount) -> Said:
    """How high a light stands, degrees above the horizon."""
    if amount.value > 60:
        return Said(f"number in words: {amount_text(amount)} above the horizon", "light_angle", "top")
    if amount.value < -15:
        return Said(f"number in words: {amount_text(amount)} below the horizon", "light_angle", "under")
    return Said(f"{amount_text(amount)}: an ordinary height goes without saying")


def say_kelvin(amount: Amount) -> Said:
    """A colour temperature."""
    if amount.value < 4000:
        return Said(f"number in words: {amount_text(amount)}", "tone", "warm")
    if amount.value > 5500:
        return Said(f"number in words: {amount_text(amount)}", "tone", "cool")
    return Said(f"{amount_text(amount)} is neutral, which goes without saying")


def say_ratio(amount: Amount) -> Said:
    """A ratio of key to fill light; 4 means 4:1."""
    if amount.value >= 4:
        return Said(f"number in words: {amount_text(amount)}", "contrast", "high")
    if amount.value <= 2:
        return Said(f"number in words: {amount_text(amount)}", "contrast", "low")
    return Said(f"{amount_text(amount)} is an ordinary contrast, which goes without saying")


def say_lens(amount: Amount) -> Said:
    """A focal length in millimetres, of the 35 mm format."""
    value = amount.value
    term = "fisheye" if value <= 16 else "wide_angle" if value <= 35 else "medium" if value < 85 else "long"
    return Said(f"number in words: {amount_text(amount)}", "lens", term)


def say_aperture(amount: Amount) -> Said:
    """An aperture."""
    if amount.value <= 2.8:
        return Said(f"number in words: {amount_text(amount)}", "focus", "shallow")
    if amount.value >= 8:
        return Said(f"number in words: {amount_text(amount)}", "focus", "deep")
    return Said(f"{amount_text(amount)} is an ordinary depth of field, which goes without saying")


def say_count(count: int, language: Language = "en") -> str:
    """A number of subjects as a word where language has a short one."""
    if language == "zh":
        return f"{_CHINESE_COUNTS[count] if 0 <= count <= 10 else count}个"
    return _COUNTS[count] if 0 <= count < len(_COUNTS) else str(count)


_STATED = re.compile(r"^(\d{1,4}|[a-z]+)\s+(\S.*)$|^([一两二三四五六七八九十])[个只条位匹辆名]?(.+)$", re.IGNORECASE)


def stated_count(name: str) -> tuple[int, str] | None:
    """The number that a subject's name begins with, and the name without it; None if it begins with none."""
    found = re.match(
        r"^(\d{1,4}|[a-z]+)\s+(\S.*)$|^([一两二三四五六七八九十])[个只条位匹辆名]?(.+)$", name.strip(), re.IGNORECASE
    )
    if found is None:
        return None
    word, rest = (found[1] or found[3]).lower(), found[2] or found[4]
    if word.isdecimal():
        return int(word), rest
    if found[3]:
        return "零一二三四五六七八九十".index(word.replace("两", "二")), rest
    return (_COUNTS.index(word), rest) if word in _COUNTS else None


def article_for(article: str, words: str) -> str:
    """``a`` or ``an`` as the words after it want it; other articles as they are."""
    if article.lower() not in ("a", "an"):
        return article
    fitting = "an" if words[:1].lower() in "aeiou" else "a"
    return fitting.capitalize() if article[0].isupper() else fitting


def plural(noun: str, count: int) -> str:
    """An English noun phrase for a count other than one; words that already are plural stay."""
    head, _, last = noun.rpartition(" ")
    irregular = {
        "person": "people", "man": "men", "woman": "women", "child": "children", "foot": "feet", "mouse": "mice",
        "tooth": "teeth", "goose": "geese", "sheep": "sheep", "fish": "fish", "deer": "deer", "die": "dice",
    }  # fmt: skip
    lower = last.lower()
    if count == 1 or not lower.isascii() or not lower.isalpha() or lower.endswith("s") or lower in irregular.values():
        return noun
    ending = irregular.get(lower)
    if ending is None:
        if lower.endswith(("x", "z", "ch", "sh")):
            ending = last + "es"
        elif lower.endswith("y") and lower[-2:-1] not in "aeiou":
            ending = last[:-1] + "ies"
        else:
            ending = last + "s"
    return f"{head} {ending}".strip()


def negation_of(words: str) -> str | None:
    """What a short negation ("no people", 没有人) does not want; None if the words are none, or say more than that.

    没有人的海滩 is a beach, "without a word" a way of speaking, "no man's land" a name.
    """
    text = words.strip(" ,.;，。；")
    found = _CHINESE_NEGATION.match(text) or _NEGATION.match(text)
    return None if found is None or _CLAUSE.search(found[1]) else found[1].strip()


def trailing_negation(words: str) -> tuple[str, str] | None:
    """The rest and the unwanted of words that end in a negation with a safe antonym ("a street without people")."""
    found = _TRAILING.search(words)
    return (words[: found.start()], found[1]) if found and restate(found[1]) else None


def restate(unwanted: str, language: Language = "en") -> str:
    """The positive wording of not having something; empty where no safe antonym exists."""
    wanted = normal(unwanted)
    for item in vocabulary().negations:
        if wanted in {normal(word) for word in item["of"]}:
            return str(item[language])
    return ""


def amount_text(amount: Amount) -> str:
    """An amount as people write it: ``2.5``, ``45°``, ``4:1``, ``f/2.8``."""
    number = f"{amount.value:g}"
    shown: dict[Unit, str] = {
        "": number, "word": amount.word, "deg": f"{number}°", "deg/s": f"{number}°/s", "deg/frame": f"{number}°/frame",
        "f": f"f/{number}", "kelvin": f"{number} K", "ratio": f"{number}:1", "percent": f"{number} %",
        "x/frame": f"×{number} per frame", "frame": f"frame {number}", "fraction": f"{number} of the whole",
    }  # fmt: skip
    return shown.get(amount.unit, f"{number} {amount.unit}")
