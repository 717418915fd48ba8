"""How long a prompt is, in the model's own tokens where its tokenizer is at hand, else as an estimate that says so."""

from __future__ import annotations

import math
from pathlib import Path

from filmgate.direction.migration.wording import words_in
from filmgate.direction.prompts import CountTokens, cut_off
from filmgate.spec.shape import Frozen

TEXT_LEN = 512
"""Tokens that Wan reads of a prompt, end mark included (``text_len`` of the original configurations)."""
PER_WORD = 1.35
"""Tokens of a word of English prose with umT5's tokenizer, rounded up; a guard, not a count."""
MOST_WORDS = {"text_to_video": 200, "image_to_video": 100}
"""Longest prompts that Wan 2.2's own prompt expander writes."""


class Length(Frozen):
    """Words and tokens of a prompt. ``exact`` says whether the tokens were counted; ``cut`` is what would not be read.

    Without a tokenizer ``cut`` is empty whatever the length.
    """

    words: int
    tokens: int
    exact: bool
    cut: str = ""

    @property
    def too_long(self) -> bool:
        """Whether the model would not see the end, as far as is known."""
        return self.tokens > TEXT_LEN


def length_of(text: str, count: CountTokens | None = None) -> Length:
    """The length of a prompt; ``count`` counts tokens with the end mark."""
    words = words_in(text)
    if count is None:
        return Length(words=words, tokens=math.ceil(words * PER_WORD) + 1, exact=False)
    return Length(words=words, tokens=count(text), exact=True, cut=cut_off(text, TEXT_LEN, count))


def token_counter(path: Path) -> CountTokens:
    """A counter from a tokenizer file (tokenizer.json, spiece.model) or from the directory of a published Wan model.

    Raises:
        MissingFile: there is none.
        DamagedFile: it cannot be read.
    """
    from filmgate.engine.checkpoints.tokenizer import read_tokenizer
    from filmgate.spec.errors import MissingFile

    if path.is_dir():
        folders = ("google/umt5-xxl", "tokenizer", "")
        names = [f"{folder}/{name}".lstrip("/") for folder in folders for name in ("tokenizer.json", "spiece.model")]
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise MissingFile(path, "no tokenizer in it", expected=" or ".join(names[:2]))
        path = found
    return read_tokenizer(path, TEXT_LEN).count
