"""What a weight file says of its tensors before any of them is read. Does not need torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filmgate.spec.errors import DamagedFile, MissingFile

MAX_HEADER_BYTES = 100_000_000
"""Largest header, index or pickle that is read at all; the limit of the safetensors format."""

_MAX_AXES = 64
"""As many as torch itself can have."""

DtypeClass = Literal["float", "integer", "boolean"]


@dataclass(frozen=True)
class Dtype:
    """A number format, by the name that safetensors gives it: bytes per element, kind of numbers, torch's name."""

    name: str
    bytes: int
    kind: DtypeClass
    torch: str


DTYPES: Mapping[str, Dtype] = {
    dtype.name: dtype
    for dtype in (
        Dtype("F64", 8, "float", "float64"),
        Dtype("F32", 4, "float", "float32"),
        Dtype("F16", 2, "float", "float16"),
        Dtype("BF16", 2, "float", "bfloat16"),
        Dtype("F8_E4M3", 1, "float", "float8_e4m3fn"),
        Dtype("F8_E5M2", 1, "float", "float8_e5m2"),
        Dtype("I64", 8, "integer", "int64"),
        Dtype("I32", 4, "integer", "int32"),
        Dtype("I16", 2, "integer", "int16"),
        Dtype("I8", 1, "integer", "int8"),
        Dtype("U64", 8, "integer", "uint64"),
        Dtype("U32", 4, "integer", "uint32"),
        Dtype("U16", 2, "integer", "uint16"),
        Dtype("U8", 1, "integer", "uint8"),
        Dtype("BOOL", 1, "boolean", "bool"),
    )
}


@dataclass(frozen=True)
class TensorRecord:
    """A tensor by its description.

    Attributes:
        file: The file that holds it.
        dtype: Its number format.
        shape: Its shape.
        begin: Offset of its first byte in the file, or None where the format has its own way to find it.
    """

    file: Path
    dtype: Dtype
    shape: tuple[int, ...]
    begin: int | None = None

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the elements."""
        return self.elements * self.dtype.bytes


@dataclass(frozen=True)
class WeightRecords:
    """All tensors of one network.

    Attributes:
        source: What was asked for: a file or a shard index. Errors name it.
        files: The files that hold tensors, in order.
        tensors: By name.
        metadata: Free text that the format carries.
        wrapper: Key under which a ``.pth`` keeps its tensors, if not at the top.
    """

    source: Path
    files: tuple[Path, ...]
    tensors: Mapping[str, TensorRecord]
    metadata: Mapping[str, str]
    wrapper: str | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape by name."""
        return {name: record.shape for name, record in self.tensors.items()}

    @property
    def parameters(self) -> int:
        """Elements of all tensors."""
        return sum(record.elements for record in self.tensors.values())

    @property
    def bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(record.bytes for record in self.tensors.values())

    @property
    def dtypes(self) -> dict[str, int]:
        """Elements by torch's name of their format, the most frequent first."""
        counts: dict[str, int] = {}
        for record in self.tensors.values():
            counts[record.dtype.torch] = counts.get(record.dtype.torch, 0) + record.elements
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def is_sizes(value: Any) -> bool:
    """Whether ``value`` is a sequence of numbers that can be sizes of a tensor: few, not negative, of 63 bits."""
    return (
        isinstance(value, list | tuple)
        and len(value) <= _MAX_AXES
        and all(type(item) is int and 0 <= item < 1 << 63 for item in value)
    )


def parse_json(text: bytes, source: Path, what: str) -> dict[str, Any]:
    """A JSON object from bytes that nobody vouches for.

    Raises:
        DamagedFile: it is not JSON in UTF-8, not an object, nested without reason, or a key comes twice in an object.
    """

    def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise DamagedFile(source, f"a key comes twice in the {what}", key=key)
            found[key] = value
        return found

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(
            source, f"the {what} cannot be read", expected="JSON", found=f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, dict):
        raise DamagedFile(source, f"the {what} is not an object", expected="{...}", found=type(value).__name__)
    return value


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        MissingFile: there is no such file, or it cannot be opened.
        DamagedFile: see :func:`parse_json`; or it is larger than a configuration can be.
    """
    size = file_size(path)
    if size > MAX_HEADER_BYTES:
        raise DamagedFile(path, "too large for JSON", expected=f"at most {MAX_HEADER_BYTES} bytes", found=size)
    return parse_json(path.read_bytes(), path, "file")


def file_size(path: Path) -> int:
    """Bytes of a file.

    Raises:
        MissingFile: there is no such file, or it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file.seek(0, 2)
    except OSError as error:
        raise MissingFile(path, f"cannot be read: {error.strerror or error}") from error
