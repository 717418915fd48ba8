"""A model's tokenizer: prompts to token ids, and what of a prompt is too long. Without torch.

Text is cleaned first, as in the original code: ftfy's repairs, HTML entities unescaped twice, white space collapsed.
Of ftfy (github.com/rspeer/python-ftfy) everything is done here that changes text which was decoded correctly; guessing
what text was before it was decoded wrongly is not.
"""

from __future__ import annotations

import html
import re
import unicodedata
from pathlib import Path

from tokenizers import Tokenizer

from filmgate.engine.checkpoints.layout import TOKENIZER
from filmgate.engine.checkpoints.locations import find_layout
from filmgate.engine.checkpoints.records import file_size
from filmgate.engine.checkpoints.sentencepiece import MAX_BYTES, SentencePiece, build_tokenizer, parse_sentencepiece
from filmgate.engine.checkpoints.single_files import EMBEDDED_TOKENIZER
from filmgate.engine.checkpoints.weights import INDEX, SUFFIXES, read_weights
from filmgate.spec.errors import CheckpointError, DamagedFile
from filmgate.spec.model import ModelDescription

END = "</s>"
_QUOTES = str.maketrans({**dict.fromkeys("‘’ʼ‚‛", "'"), **dict.fromkeys("“”„‟", '"')})
_WIDE = re.compile("[\u3000\uff01-\uff5e\uff61-\uffdc\uffe0-\uffee]+")
_LIGATURES = re.compile("[ĲĳŉǱǲǳǄ-ǌﬀ-ﬆ]")
_CONTROL = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]")


class Tokeniser:
    """Prompts to ids. ``tokeniser(text)`` is what the text encoder gets.

    Args:
        tokenizer: Of the model.
        text_len: Longest text in tokens, end mark included.
        end: Id of the end mark.
    """

    def __init__(self, tokenizer: Tokenizer, text_len: int, end: int) -> None:
        self.text_len = text_len
        self._tokenizer = tokenizer
        self._end = end

    def __call__(self, text: str) -> tuple[int, ...]:
        """Ids of a text: cleaned, cut to the model's text length, and ended."""
        ids, _ = self._encode(clean(text))
        return (*ids[: self.text_len - 1], self._end)

    def count(self, text: str) -> int:
        """Tokens of a text before it is cut, end mark included."""
        return len(self._encode(clean(text))[0]) + 1

    def cut(self, text: str) -> str:
        """The end of a text that the model does not see, cleaned; empty if it fits."""
        cleaned = clean(text)
        ids, starts = self._encode(cleaned)
        return cleaned[starts[self.text_len - 1] :] if len(ids) >= self.text_len else ""

    def _encode(self, cleaned: str) -> tuple[list[int], list[int]]:
        """Ids without an end mark, and where in the text each begins."""
        encoding = self._tokenizer.encode(cleaned, add_special_tokens=False)
        return list(encoding.ids), [start for start, _ in encoding.offsets]


def load_tokenizer(description: ModelDescription) -> Tokeniser:
    """The tokenizer of a model.

    Raises:
        MissingFile: its file is not there.
        DamagedFile: it cannot be read, or has no end mark.
    """
    path = Path(description.path)
    usual = path / TOKENIZER
    return read_tokenizer(usual if usual.is_file() else find_layout(path).tokenizer, description.dit.text_len)


def read_tokenizer(path: Path, text_len: int) -> Tokeniser:
    """See :func:`load_tokenizer`; ``path`` is a tokenizer.json, a SentencePiece model, or a text encoder with one."""
    file_size(path)
    try:
        tokenizer = Tokenizer.from_file(str(path)) if path.suffix == ".json" else build_tokenizer(_sentencepiece(path))
    except CheckpointError:
        raise
    except Exception as error:  # the library has no class of its own
        raise DamagedFile(path, "not a tokenizer", expected="tokenizer.json", found=str(error)[:80]) from error
    end = tokenizer.token_to_id(END)
    if end is None:
        raise DamagedFile(path, "a tokenizer without an end mark", key=END, expected="an id", found="none")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Tokeniser(tokenizer, text_len, end)


def _sentencepiece(path: Path) -> SentencePiece:
    size = file_size(path)
    if path.suffix not in SUFFIXES and not path.name.endswith(INDEX):
        if size > MAX_BYTES:
            raise DamagedFile(path, "too large for a tokenizer", expected=f"at most {MAX_BYTES} bytes", found=size)
        return parse_sentencepiece(path.read_bytes(), path)
    tensors = read_weights(path).tensors
    record = next((tensors[name] for name in tensors if name.endswith(EMBEDDED_TOKENIZER)), None)
    if record is None or record.begin is None or record.bytes > MAX_BYTES:
        raise DamagedFile(path, "no tokenizer in it", key=EMBEDDED_TOKENIZER, expected="the bytes of spiece.model")
    with record.file.open("rb") as file:
        file.seek(record.begin)
        return parse_sentencepiece(file.read(record.bytes), path)


def clean(text: str) -> str:
    """A prompt as the text encoder was trained to see prompts."""
    if "<" not in text:  # what has tags may well mean its entities
        text = html.unescape(text)
    for pattern in (_LIGATURES, _WIDE):
        text = pattern.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    text = text.translate(_QUOTES).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = unicodedata.normalize("NFC", _CONTROL.sub("", text))
    return " ".join(html.unescape(html.unescape(text)).split())
