"""Headers of safetensors files, read by hand and checked against the file, without torch.

A file is the header's length (8 bytes, little endian), the header (JSON: per tensor its dtype, shape and the first and
last byte in the buffer), then the buffer, which the tensors fill without gap or overlap (github.com/huggingface/
safetensors, "Format"). Nothing is allocated by what a file claims: the header is limited, the buffer is never read.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from filmgate.engine.checkpoints.records import (
    DTYPES,
    MAX_HEADER_BYTES,
    TensorRecord,
    WeightRecords,
    check_count,
    check_name,
    is_sizes,
    parse_json,
    weight_file_size,
)
from filmgate.spec.errors import DamagedFile

_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_FIELDS = ("dtype", "shape", "data_offsets")


def read_safetensors(path: Path) -> WeightRecords:
    """The tensors of a safetensors file.

    Raises:
        MissingFile: there is no such file.
        DamagedFile: it is truncated, or its header is too long, is not JSON, or contradicts itself or the file's size.
    """
    size = weight_file_size(path)
    text = _header(path, size)
    return parse_header(text, path, size - _LENGTH_BYTES - len(text))


def parse_header(text: bytes, path: Path, buffer_bytes: int) -> WeightRecords:
    """The tensors that a header describes, for a file with that many bytes after it.

    Raises:
        DamagedFile: the header contradicts itself or ``buffer_bytes``.
    """
    entries = parse_json(text, path, "header")
    metadata = entries.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise DamagedFile(path, "metadata is not text by name", key=_METADATA)
    check_count(path, len(entries))
    spans: list[tuple[int, int, str]] = []
    tensors: dict[str, TensorRecord] = {}
    start = _LENGTH_BYTES + len(text)
    for name, entry in entries.items():
        check_name(path, name)
        begin, end, tensors[name] = _tensor(path, name, entry, start)
        spans.append((begin, end, name))
    _check_spans(path, sorted(spans), buffer_bytes)
    return WeightRecords(source=path, files=(path,), tensors=tensors, metadata=metadata)


def _header(path: Path, size: int) -> bytes:
    if size < _LENGTH_BYTES:
        raise DamagedFile(
            path, "too short for a safetensors file", expected=f"at least {_LENGTH_BYTES} bytes", found=size
        )
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        room = size - _LENGTH_BYTES
        if length > MAX_HEADER_BYTES:
            raise DamagedFile(
                path,
                "not a safetensors file, or its header is too long",
                expected=f"a header of at most {MAX_HEADER_BYTES} bytes",
                found=length,
            )
        if length > room:
            raise DamagedFile(path, "truncated in its header", expected=f"{length} bytes of header", found=room)
        return file.read(length)


def _tensor(path: Path, name: str, entry: Any, start: int) -> tuple[int, int, TensorRecord]:
    """First and last byte in the buffer, and the record."""
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        found = sorted(map(str, entry)) if isinstance(entry, dict) else type(entry).__name__
        raise DamagedFile(
            path, "a tensor is not described", key=name, expected=", ".join(_FIELDS), found=str(found)[:80]
        )
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise DamagedFile(path, "unknown dtype", key=name, expected=", ".join(DTYPES), found=repr(entry["dtype"])[:80])
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not is_sizes(shape):
        raise DamagedFile(path, "not a shape", key=name, expected="non-negative integers", found=str(shape)[:80])
    if not is_sizes(offsets) or len(offsets) != 2:
        raise DamagedFile(path, "not offsets", key=name, expected="first and last byte", found=str(offsets)[:80])
    begin, end = offsets
    needed = math.prod(shape) * dtype.bytes
    if end - begin != needed:
        raise DamagedFile(
            path, "offsets do not fit the shape", key=name, expected=f"{needed} bytes", found=f"{end - begin} bytes"
        )
    return begin, end, TensorRecord(file=path, dtype=dtype, shape=tuple(shape), begin=start + begin)


def _check_spans(path: Path, spans: list[tuple[int, int, str]], buffer_bytes: int) -> None:
    """Tensors in the order of their bytes must follow one another, to the end of the file."""
    position = 0
    for begin, end, name in spans:
        if begin != position:
            what = "overlaps the tensor before it" if begin < position else "leaves a gap before it"
            raise DamagedFile(path, f"a tensor {what}", key=name, expected=f"byte {position}", found=f"byte {begin}")
        position = end
    if position > buffer_bytes:
        raise DamagedFile(
            path, "truncated in its tensors", key=spans[-1][2], expected=f"{position} bytes", found=buffer_bytes
        )
    if position < buffer_bytes:
        raise DamagedFile(path, "bytes after the last tensor", expected=f"{position} bytes", found=buffer_bytes)
