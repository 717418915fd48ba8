"""Subjects in words: how many, what they look like, what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from filmgate.direction.migration import rules
from filmgate.direction.migration.vocabulary import Language
from filmgate.direction.migration.wording import chained


class Named(NamedTuple):
    """A subject in words, and the words of its parts in it. ``exact``: the name is as its author wrote it."""

    words: str
    name: str
    number: str
    exact: bool


def name_subject(name: str, count: int | None, looks: Sequence[str], language: Language) -> Named:
    """A subject as one phrase: "two red balls", "an elderly man, yellow raincoat".

    Looks of one word stand before the name, longer ones behind it. A number that the name already begins with is not
    said twice.
    """
    chinese = language == "zh"
    stated = rules.stated_count(name) if count is not None else None
    if stated is not None and stated[0] == count:
        return Named(", ".join([name, *looks]), name, name[: len(name) - len(stated[1])].strip(), True)
    bare = stated[1] if stated is not None else name
    article, _, rest = bare.partition(" ")
    if chinese or not rest or article.lower() not in ("a", "an", "the"):
        article, rest = "", bare
    written = rest if count is None or chinese else rules.plural(rest, count)
    before = looks if chinese else [look for look in looks if " " not in look]
    behind = [] if chinese else [look for look in looks if " " in look]
    body = chained(*before, written) if chinese else " ".join((*before, written))
    number = rules.article_for(article, body) if count is None else rules.say_count(count, language)
    head = chained(number, body) if chinese else f"{number} {body}".strip()
    return Named(", ".join([head, *behind]), written, number, written == rest)
