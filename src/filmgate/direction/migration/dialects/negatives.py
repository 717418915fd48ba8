"""Negative prompts that stand in the same text: ``Negative prompt: blurry, text``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from filmgate.direction.migration.dialects.draft import Draft
from filmgate.direction.migration.dialects.excerpt import Excerpt, sheltered, shelters
from filmgate.direction.migration.dialects.keys import meaning
from filmgate.direction.migration.dialects.phrases import LIST
from filmgate.direction.migration.dialects.weights import without_weights
from filmgate.direction.migration.form import Dialect, Leaf

_HEAD = re.compile(
    r"(?:^|(?<=[\n.。!！;；])|(?<=\s))[ \t*]*"
    r"(negative[ _-]?prompts?|neg[ _-]prompts?|负面提示词|反向提示词|负向提示词)[ \t*]*[:：=][ \t*]*"
    r"|(?:^|(?<=\n)|(?<=[.。!！;；])\s)[ \t*]*(negative|neg)[ \t*]*[:：][ \t*]*",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"[.;。；,，][ \t]*(?=([A-Za-z_\u4e00-\u9fff][\w\u4e00-\u9fff-]*(?: [A-Za-z][\w-]*){0,2})[ \t]*[:：=])"
)
_HINT = re.compile(r"neg|负|反向", re.IGNORECASE)
_STOP = re.compile(
    r"\n\s*\n|\n[ \t]*(?=[A-Za-z][\w ]{0,24}[ \t]*[:：=])",
)


def find_negatives(excerpt: Excerpt) -> Iterator[tuple[int, int, int]]:
    """Where negative prompts stand: beginning of the heading, beginning and end of the list."""
    words = excerpt.words
    if not _HINT.search(words):
        return
    closed = shelters(words)
    end = 0
    for match in _HEAD.finditer(words):
        heading = match.start(1) if match[1] else match.start(2)
        if match.start() < end or sheltered(closed, heading):
            continue
        stop = _STOP.search(words, match.end()) or _next_key(words, match.end())
        following = _HEAD.search(words, match.end())
        end = min(stop.start() if stop else len(words), following.start() if following else len(words))
        yield match.start(), match.end(), end


def _next_key(words: str, start: int) -> re.Match[str] | None:
    """Where another known key begins: ``negative: blur; subject: a cat``."""
    for match in _KEY.finditer(words, start):
        name = meaning(match[1], "", numeric=False)
        if name is not None and name not in ("negative", "comment"):
            return match
    return None


def read_negatives(excerpt: Excerpt, draft: Draft) -> None:
    """Each of a list of unwanted things."""
    for piece in excerpt.split(LIST):
        trimmed = piece.strip(".。\"'")
        if trimmed.words:
            draft.add("negatives", negative(trimmed, "negative_list"))


def negative(excerpt: Excerpt, dialect: Dialect) -> Leaf[str]:
    """What shall not be seen; a weight on it says nothing that a list could keep."""
    return excerpt.leaf(without_weights(excerpt.words).strip() or excerpt.words, dialect)
