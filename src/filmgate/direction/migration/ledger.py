"""What became of every part of a prompt, and whether all of it is still there and nothing was added.

The entries are what the composer says of itself; :func:`audit` believes none of them: it looks the words up in the
finished text, in the negative prompt and in the request, and traces every word of the text back to a part of the form.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

from filmgate.direction.migration.form import Form, leaves
from filmgate.direction.migration.spelling import words_of
from filmgate.spec.shape import Frozen

Fate = Literal[
    "kept_exact", "kept_synonym", "approximated", "moved_to_request", "moved_to_negative", "unsupported", "dropped",
    "conflict",
]  # fmt: skip
"""The author's words; other words for the same; nearly the same, with the loss in the reason; a setting of the request;
an entry of the negative prompt; something Wan 2.2 cannot do; left out on purpose; contradicted by another part."""

COVERED: tuple[Fate, ...] = ("kept_exact", "kept_synonym", "approximated", "moved_to_request", "moved_to_negative")
CRITICAL = re.compile(
    r"(?:^|\.)(?:subjects\[\d+\]\.(?:name|count)|quoted\[\d+\]|camera\[\d+\]\.move|negatives\[\d+\])$"
)
"""Parts that must come through whole: who, how many, text in the picture, where the camera goes, what is unwanted."""

_GLUE = frozenset(
    re.findall(
        r"\w+",
        "a an the and then first finally at same time camera in on of with to from is are text visible above all subtle"
        " light",
    )
)
"""What the renderer itself writes between the parts."""
_CHINESE_GLUE = "和镜头首先然后最后同时并画面中出现文字尤其是细微的来自左侧右侧主光，。、“”的先再地"


class Entry(Frozen):
    """One part: its path in the form, its text and place in the source, what became of it, as which words, and why."""

    path: str
    raw: str
    span: tuple[int, int]
    required: bool
    fate: Fate
    after: str = ""
    reason: str = ""

    @property
    def critical(self) -> bool:
        """Whether anything but whole would be a silent error."""
        return CRITICAL.search(self.path) is not None


class Ledger(Frozen):
    """All entries in the order of the source, what was added, and what the audit objects to.

    ``invented`` are words of the text that no part of the prompt and no labelled addition accounts for; ``faults`` are
    claims of entries that the audit found untrue. Both are empty unless something is wrong with this program or with a
    language model.
    """

    entries: tuple[Entry, ...] = ()
    invented: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    words: int = 0
    """Content words of the text."""

    @property
    def coverage(self) -> float:
        """Share of the required parts that are kept, approximated or moved, 0 ... 1."""
        required = [entry for entry in self.entries if entry.required]
        covered = sum(entry.fate in COVERED for entry in required)
        return covered / len(required) if required else 1.0

    @property
    def precision(self) -> float:
        """Share of the text's content words that come from the prompt or from a labelled addition, 0 ... 1."""
        return 1.0 - len(self.invented) / self.words if self.words else 1.0

    @property
    def passed(self) -> bool:
        """Whether nothing is missing without a reason, nothing was invented and every entry is true."""
        explained = all(entry.fate in COVERED or entry.reason for entry in self.entries if entry.required)
        return explained and not self.invented and not self.faults

    def of(self, *fates: Fate) -> tuple[Entry, ...]:
        """Entries of these fates."""
        return tuple(entry for entry in self.entries if entry.fate in fates)


def audit(
    form: Form, entries: Iterable[Entry], text: str, negative: str, request: Mapping[str, Any], added: Iterable[str]
) -> Ledger:
    """Check entries against what was made.

    Args:
        form: What the prompt said.
        entries: What is claimed to have become of it.
        text, negative: The new prompts.
        request: The settings moved out of the prompt.
        added: Words that were added on purpose and labelled (defaults that the caller allowed).
    """
    given = list(entries)
    faults = [*_missing(form, given), *_untrue(given, text, negative, request)]
    # Punctuation and order aside, whatever stands in the text must stand in a part or in its wording.
    sources = [entry.after for entry in given if entry.fate in COVERED[:3]]
    sources += [leaf.raw for _, leaf in leaves(form)] + list(added)
    sources += [leaf.value for _, leaf in leaves(form) if isinstance(leaf.value, str)]
    # Capitals at the beginning of a sentence make camelCase where the author had none: case is folded first.
    cased = dict.fromkeys(same for source in sources for same in (source, source.casefold()))
    known = {word for source in cased for word in content_words(source)}
    content = [word for word in content_words(text.casefold()) if word not in _GLUE and word not in _CHINESE_GLUE]
    invented = tuple(dict.fromkeys(word for word in content if word not in known))
    ordered = sorted(given, key=lambda entry: (entry.span, entry.path))
    return Ledger(entries=tuple(ordered), invented=invented, faults=tuple(faults), words=len(content))


def content_words(text: str) -> list[str]:
    """Words of a text for comparison; of Chinese, single characters."""
    found: list[str] = []
    for word in words_of(unicodedata.normalize("NFKC", text)):
        pieces = re.findall(r"[\u3400-\u9fff]|[^\u3400-\u9fff]+", word.text)
        found += [bare for piece in pieces if (bare := piece.strip("'’&"))]
    return found


def contains(text: str, words: str) -> bool:
    """Whether words stand in a text, case and white space aside."""
    return _folded(words) in _folded(text)


@lru_cache(maxsize=64)  # the same text is searched for every part
def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _missing(form: Form, entries: list[Entry]) -> list[str]:
    told = {entry.path for entry in entries}
    known = dict(leaves(form))
    lost = [
        f"{path}: {leaf.raw or leaf.value} is not accounted for" for path, leaf in known.items() if path not in told
    ]
    return lost + [f"{entry.path}: there is no such part" for entry in entries if entry.path not in known]


def _untrue(entries: list[Entry], text: str, negative: str, request: Mapping[str, Any]) -> list[str]:
    faults = []
    for entry in entries:
        if entry.fate in ("kept_exact", "kept_synonym", "approximated"):
            if entry.after and not contains(text, entry.after):
                faults.append(f"{entry.path}: {entry.after!r} is not in the text")
            elif not entry.after and (entry.fate != "approximated" or not entry.reason):
                faults.append(f"{entry.path}: nothing in the text speaks of it")
        elif entry.fate == "moved_to_negative" and not contains(negative, entry.after):
            faults.append(f"{entry.path}: {entry.after!r} is not in the negative prompt")
        elif entry.fate == "moved_to_request" and entry.after.partition(" ")[0] not in request:
            faults.append(f"{entry.path}: {entry.after!r} is not in the request")
        elif entry.fate in ("unsupported", "dropped", "conflict") and not entry.reason:
            faults.append(f"{entry.path}: no reason is given")
    return faults
