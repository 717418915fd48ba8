"""Notations that stand inside sentences and tags and are taken out of them: commands in brackets, flags, file names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from filmgate.direction.migration.dialects import camera_files, phrases, weights
from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt, quotations, sheltered
from filmgate.direction.migration.dialects.negatives import negative
from filmgate.direction.migration.dialects.parameters import setting
from filmgate.direction.migration.dialects.tree import Scalar
from filmgate.direction.migration.form import Dialect, Emphasis, Leaf, Parameter
from filmgate.direction.migration.vocabulary import vocabulary

Stretch = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mark:
    """A notation, ``start`` to ``end`` of the words that were searched."""

    start: int
    end: int
    dialect: Dialect
    score: float


_BRACKET = re.compile(r"\[([^\[\]|/]{2,120})\]|【([^【】|]{2,60})】")
_FLAG = re.compile(r"(?:(?<=\s)|^)(?:--|—|–)([A-Za-z][\w-]*)(?:[ \t]*=[ \t]*|[ \t]+|$|(?=\n))")
_NEGATIVE_FLAGS = frozenset({"no", "neg", "negative", "negative_prompt", "negative-prompt", "n_prompt"})
_VALUE = re.compile(r"[^\s]+")
_WITHOUT_VALUE = frozenset(
    {"tile", "raw", "video", "loop", "hd", "draft", "fast", "turbo", "relax", "test", "testp", "creative"}
)
_WITH_VALUE = frozenset({
    "ar", "aspect", "s", "stylize", "c", "chaos", "q", "quality", "seed", "iw", "v", "version", "w", "weird", "style",
    "sref", "sw", "sv", "cref", "cw", "oref", "ow", "stop", "niji", "fps", "motion", "exp", "r", "repeat", "p",
    "profile",
})  # fmt: skip
_PARAMETERS = {"ar": "ratio", "aspect": "ratio", "seed": "seed", "fps": "fps"}
_SETTING = re.compile(
    r"(?:^|[,，;\n])[ \t]*(?P<all>(?P<value>\d+(?:\.\d+)?) ?(?P<unit>frames|fps|steps)"
    r"|(?P<size>\d{3,4} ?[x×*] ?\d{3,4})"
    r"|(?P<name>cfg|cfg scale|seed|steps|shift|fps|guidance|frames) (?P<number>\d+(?:\.\d+)?))"
    r"(?=[ \t]*(?:[,，;\n.]|$))",
    re.IGNORECASE,
)
_FEWEST_SETTINGS = 2
_MULTI = re.compile(r"::[ \t]*([+-]?(?:\d+(?:\.\d+)?|\.\d+))?(?=\s|,|$)")


def read_marks(
    excerpt: Excerpt, draft: Draft, wanted: Callable[[Dialect], bool]
) -> tuple[Excerpt, list[tuple[Excerpt, Mark]]]:
    """Read the notations of an excerpt whose dialects are wanted; returns what remains and where they stood."""
    found: list[tuple[Excerpt, Mark]] = []
    readers: dict[Dialect, Callable[[Excerpt, Draft], list[Mark]]] = {
        "key_value": _settings,
        "midjourney": _flags,
        "minimax": _commands,
        "camera_files": _files,
    }
    for dialect, reader in readers.items():
        flags = dialect == "midjourney" and wanted("negative_list")
        marks = reader(excerpt, draft) if wanted(dialect) or flags else []
        found += [(excerpt.part(mark.start, mark.end), mark) for mark in marks]
        excerpt = excerpt.without([_with_space(excerpt.words, mark) for mark in marks])
    if not wanted("weighted"):
        return excerpt, found
    excerpt, networks = weights.networks(excerpt, draft)
    return excerpt, [*found, *((place, Mark(0, 0, "weighted", 0.95)) for place in networks)]


def _with_space(words: str, mark: Mark) -> Stretch:
    """A stretch with a space beside it, so that no double one remains, nor one in front of punctuation."""
    start, end = mark.start, mark.end
    spaced = start == 0 or words[start - 1].isspace()
    if spaced and end < len(words) and words[end] in " \t":
        return start, end + 1
    if start and words[start - 1] in " \t" and (end == len(words) or words[end] in ",.;:!?，。；：！？"):
        return start - 1, end
    return start, end


def _commands(excerpt: Excerpt, draft: Draft) -> list[Mark]:
    """``[Pan left, Zoom in]``: camera commands in the manner of MiniMax; brackets follow one another in time."""
    found: list[Mark] = []
    for match in _BRACKET.finditer(excerpt.words):
        group = 1 if match[1] is not None else 2
        inner = excerpt.part(match.start(group), match.end(group))
        if ":" in inner.words:
            continue
        moves = phrases.moves(inner, "minimax")
        if moves is None:
            continue
        draft.add_moves(moves, afterwards=bool(found))
        found.append(Mark(match.start(), match.end(), "minimax", 0.95))
    return found


def _files(excerpt: Excerpt, draft: Draft) -> list[Mark]:
    """Pose files of VideoX-Fun."""
    return [
        Mark(match.start(), match.end(), "camera_files", 0.95)
        for match in camera_files.find_files(excerpt.words)
        if camera_files.read_file(excerpt.part(match.start(), match.end()), draft)
    ]


def _settings(excerpt: Excerpt, draft: Draft) -> list[Mark]:
    """``81 frames, 16 fps, 832x480, cfg 6``: settings without a sign between name and number, two or more of them."""
    marks: list[Mark] = []
    leaves: list[Leaf[Parameter]] = []
    for match in _SETTING.finditer(excerpt.words):
        name, number = match["name"] or match["unit"] or "size", match["number"] or match["value"] or match["size"]
        known = vocabulary().find_parameter(name)
        text = excerpt.part(match.start("all"), match.end("all"))
        value = setting(known, Scalar(text, number)) if known else None
        if value is not None:
            leaves.append(text.leaf(value, "key_value"))
            marks.append(Mark(match.start(), match.end("all"), "key_value", 0.7))
    if len(marks) < _FEWEST_SETTINGS:
        return []
    for leaf in leaves:
        draft.add("parameters", leaf)
    return marks


def _flags(excerpt: Excerpt, draft: Draft) -> list[Mark]:
    """``--ar 16:9``, ``--no x, y`` and other flags."""
    words = excerpt.words
    if "--" not in words and "—" not in words and "–" not in words:
        return []
    quoted = quotations(words)
    flags = [match for match in _FLAG.finditer(words) if _is_flag(match)]
    starts = [match for match in flags if not sheltered(quoted, match.end() - 1)]
    found: list[Mark] = []
    for index, match in enumerate(starts):
        limit = starts[index + 1].start() if index + 1 < len(starts) else len(words)
        line = words.find("\n", match.end(), limit)
        limit = line if line >= 0 else limit
        name = match[1].lower()
        if name == "prompt":
            found += _prompt_flag(words, match)
        elif name in _NEGATIVE_FLAGS:
            end = _read_negatives(excerpt.part(match.end(), limit), draft)
            found.append(Mark(match.start(), match.end() + end, "negative_list", 0.95))
        else:
            end = _read_flag(excerpt, match, limit, draft)
            found.append(Mark(match.start(), end, "midjourney", 0.9))
    return found


def _is_flag(match: re.Match[str]) -> bool:
    name = match[1].lower()
    if name == "prompt" or name in _NEGATIVE_FLAGS or name in _WITHOUT_VALUE or name in _WITH_VALUE:
        return True
    return match[0].lstrip().startswith("--") and vocabulary().find_parameter(name) is not None


def _prompt_flag(words: str, match: re.Match[str]) -> list[Mark]:
    """``--prompt "..."``: the flag and its quotation marks go, the words stay."""
    quote = words[match.end() : match.end() + 1]
    close = words.find(quote, match.end() + 1) if quote and quote in "\"'" else -1
    if close < 0:
        return [Mark(match.start(), match.end(), "midjourney", 0.9)]
    return [
        Mark(match.start(), match.end() + 1, "midjourney", 0.9),
        Mark(close, close + 1, "midjourney", 0.9),
    ]


def _read_negatives(excerpt: Excerpt, draft: Draft) -> int:
    for piece in excerpt.split(phrases.LIST):
        trimmed = piece.strip(".。\"'")
        if trimmed.words:
            draft.add("negatives", negative(trimmed, "negative_list"))
    return len(excerpt.words.rstrip())


def _read_flag(excerpt: Excerpt, match: re.Match[str], limit: int, draft: Draft) -> int:
    """Add a flag to the settings; returns where it ends."""
    name = match[1].lower()
    words = excerpt.words
    value = None if name in _WITHOUT_VALUE else _VALUE.match(words, match.end(), limit)
    if value is None:
        end = match.start() + len(match[0].rstrip())
        place = excerpt.part(match.start(), end)
        draft.add("parameters", place.leaf(Parameter(name=name, value=True), "midjourney"))
        return end
    end = value.end() - (1 if value[0][-1] in ",;" else 0)
    text = excerpt.part(value.start(), end)
    known = _PARAMETERS.get(name) or (None if name in _WITH_VALUE else vocabulary().find_parameter(name))
    parameter = setting(known, Scalar(text, text.words)) if known else None
    number = re.fullmatch(r"-?\d{1,12}", text.words)
    decimal = re.fullmatch(r"-?\d{0,12}\.\d{1,12}", text.words)
    plain: str | int | float = int(text.words) if number else float(text.words) if decimal else text.words
    place = excerpt.part(match.start(), end)
    draft.add("parameters", place.leaf(parameter or Parameter(name=name, value=plain), "midjourney"))
    return end


def multi_prompt(excerpt: Excerpt, draft: Draft) -> list[Excerpt] | None:
    """The parts of ``a red ball::2 a cube::1``, whose weights go to the emphasis; None if it is none."""
    words = excerpt.words
    marks = [match for match in _MULTI.finditer(words) if match.start() and not words[match.start() - 1].isspace()]
    if not marks:
        return None
    parts: list[Excerpt] = []
    begin = 0
    for match in marks:
        part = excerpt.part(begin, match.start()).strip(",")
        weight = float(match[1]) if match[1] else 1.0
        begin = match.end()
        if not part.words:
            continue
        parts.append(part)
        if weight != 1 and abs(weight) <= 100:
            emphasis = Emphasis(words=part.words, weight=weight)
            draft.add("emphasis", excerpt.part(match.start(), match.end()).leaf(emphasis, "midjourney"))
    last = excerpt.part(begin, len(words)).strip(",")
    return [*parts, last] if last.words else parts
