"""SentencePiece models as tokenizers, for files that come without a tokenizer.json. Without torch or sentencepiece.

ComfyUI's text encoders carry ``spiece.model`` as a tensor, and the original repositories have it as a file. It is a
message in protocol buffers (github.com/google/sentencepiece, src/sentencepiece_model.proto), of which a few fields are
read: pieces with their scores, the table of normalised characters, and how spaces are treated. Only unigram models are
read; umT5's is one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from filmgate.spec.errors import DamagedFile

MAX_BYTES = 64 << 20
SPACE = "▁"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_UNIGRAM = 1
_UNKNOWN_PIECE, _CONTROL_PIECE = 2, 3
Value = int | bytes


@dataclass(frozen=True)
class SentencePiece:
    """What of a model is used.

    Attributes:
        pieces: Text and log probability, by id.
        control: Marks, such as that of the end; written out in a text they stand for themselves.
        unknown: Id of the piece for what no other covers.
        bytes_for_unknown: Unknown characters become the pieces of their bytes.
        characters: Table of normalised characters, compiled.
        spaces: Whether a space is put in front of a text, and several become one.
    """

    pieces: tuple[tuple[str, float], ...]
    control: tuple[str, ...]
    unknown: int
    bytes_for_unknown: bool
    characters: bytes
    spaces: tuple[bool, bool]


def parse_sentencepiece(data: bytes, source: Path) -> SentencePiece:
    """A model from its bytes.

    Raises:
        DamagedFile: it is not a SentencePiece model, or not a unigram one.
    """
    if len(data) > MAX_BYTES:
        raise DamagedFile(source, "too large for a tokenizer", expected=f"at most {MAX_BYTES} bytes", found=len(data))
    pieces: list[tuple[str, float]] = []
    kinds: list[int] = []
    trainer: dict[int, Value] = {}
    normalizer: dict[int, Value] = {}
    try:
        for number, value in _fields(data):
            if number == _PIECES:
                text, score, kind = _piece(value)
                pieces.append((text, score))
                kinds.append(kind)
            elif number == _TRAINER:
                trainer = dict(_fields(_as_bytes(value)))
            elif number == _NORMALIZER:
                normalizer = dict(_fields(_as_bytes(value)))
        if not pieces or kinds.count(_UNKNOWN_PIECE) != 1:
            raise ValueError(f"{len(pieces)} pieces, {kinds.count(_UNKNOWN_PIECE)} of them for what is unknown")
        if trainer.get(3, _UNIGRAM) != _UNIGRAM:
            raise ValueError("not a unigram model")
        return SentencePiece(
            tuple(pieces),
            tuple(text for (text, _), kind in zip(pieces, kinds, strict=True) if kind == _CONTROL_PIECE),
            kinds.index(_UNKNOWN_PIECE),
            bool(trainer.get(35, 0)),
            _as_bytes(normalizer.get(2, b"")),
            (bool(normalizer.get(3, 1)), bool(normalizer.get(4, 1))),
        )
    except (ValueError, IndexError, struct.error) as error:
        raise DamagedFile(
            source, "not a SentencePiece model", expected="spiece.model", found=f"{type(error).__name__}: {error}"[:120]
        ) from error


def build_tokenizer(model: SentencePiece) -> Tokenizer:
    """The same as a tokenizer: text to the same ids, without an end mark."""
    vocabulary = list(model.pieces)
    tokenizer = Tokenizer(models.Unigram(vocabulary, model.unknown, model.bytes_for_unknown))
    steps: list[normalizers.Normalizer] = []
    if model.characters:
        steps.append(normalizers.Precompiled(model.characters))
    prefix, single = model.spaces
    if single:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
        SPACE, prepend_scheme="always" if prefix else "never", split=False
    )
    tokenizer.add_special_tokens(list(model.control))
    return tokenizer


def _piece(value: Value) -> tuple[str, float, int]:
    """Text, score and kind of a piece."""
    fields = dict(_fields(_as_bytes(value)))
    score = fields.get(2, b"\0\0\0\0")
    kind = fields.get(3, 1)
    if not isinstance(kind, int):
        raise ValueError("a kind that is not a number")
    return _as_bytes(fields.get(1, b"")).decode("utf-8"), float(struct.unpack("<f", _as_bytes(score))[0]), kind


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of every field of a message: a number, or the bytes of what is longer."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"a field of unknown kind {kind}")
        if position + length > len(data):
            raise ValueError("ends in the middle of a field")
        yield key >> 3, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of variable length, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number without an end")


def _as_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where bytes belong")
    return value
