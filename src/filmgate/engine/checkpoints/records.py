"""What a weight file says of its tensors before any of them is read. Does not need torch."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filmgate.spec.errors import DamagedFile, MissingFile

MAX_HEADER_BYTES = 100_000_000
"""Largest header, index or pickle that is read at all; the limit of the safetensors format."""

MAX_TENSORS = 1 << 16
"""Most tensors of a file; the largest models have two thousand."""
MAX_NAME = 512
"""Longest name of a tensor, in characters."""

_MAX_AXES = 64
"""As many as torch itself can have."""
_LFS_POINTER, _TELLING_BYTES = b"version https://git-lfs.github.com/", 64
"""How a pointer of Git LFS begins, and how much of a file is looked at for that."""

DtypeClass = Literal["float", "integer", "boolean"]


@dataclass(frozen=True)
class Dtype:
    """A number format, by the name that its file format gives it.

    Attributes:
        name: As in the header.
        bytes: Of one block.
        kind: Kind of numbers.
        torch: Torch's name; of blocks, which torch does not have, the name in lower case.
        block: Elements that share the bytes of a block; 1 for everything but GGUF's quantised types.
    """

    name: str
    bytes: int
    kind: DtypeClass
    torch: str
    block: int = 1


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
        stored: Its name in the file, if it goes by another one here.
        scale: What the stored numbers must be multiplied by: one number, or one per row.
        pieces: Tensors that it is put together from, along the first axis; it then has no bytes of its own.
    """

    file: Path
    dtype: Dtype
    shape: tuple[int, ...]
    begin: int | None = None
    stored: str | None = None
    scale: TensorRecord | None = None
    pieces: tuple[TensorRecord, ...] = ()

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the elements, without their scale."""
        return self.elements // self.dtype.block * self.dtype.bytes

    @property
    def kind(self) -> DtypeClass:
        """Kind of the numbers that it stands for: integers with a scale are fractions."""
        return "float" if self.scale is not None else self.dtype.kind


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


def check_count(path: Path, tensors: int) -> None:
    """A file must not have so many tensors that reading their names takes long.

    Raises:
        DamagedFile: it has.
    """
    if tensors > MAX_TENSORS:
        raise DamagedFile(path, "more tensors than a model can have", expected=f"at most {MAX_TENSORS}", found=tensors)


def check_name(path: Path, name: str) -> None:
    """A tensor's name must be one that a message can repeat.

    Raises:
        DamagedFile: it is too long.
    """
    if len(name) > MAX_NAME:
        raise DamagedFile(
            path, "a name that is too long", key=name[:80], expected=f"at most {MAX_NAME} characters", found=len(name)
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
                raise DamagedFile(source, f"a key comes twice in the {what}", key=key[:MAX_NAME])
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
        DamagedFile: it is a pipe, a socket or a device: opening one may wait for ever, and reading never end.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise DamagedFile(path, "not a file on disk", expected="a file", found="a pipe, a socket or a device")
        with path.open("rb") as file:
            return file.seek(0, 2)
    except OSError as error:
        raise MissingFile(path, f"cannot be read: {error.strerror or error}") from error


def weight_file_size(path: Path) -> int:
    """Bytes of a file that weights are expected in.

    Raises:
        MissingFile: see :func:`file_size`; or it only stands for one that was not downloaded.
        DamagedFile: see :func:`file_size`; or it is a web page.
    """
    size = file_size(path)
    with path.open("rb") as file:
        start = file.read(_TELLING_BYTES).lstrip()
    if start.startswith(_LFS_POINTER):
        raise MissingFile(
            path, "its weights were not downloaded", expected="the file itself, as `git lfs pull` brings it",
            found=f"a pointer of Git LFS, {size} bytes",
        )  # fmt: skip
    if start[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DamagedFile(
            path, "a web page, saved in place of weights", expected="the file itself, downloaded again",
            found=f"{size} bytes that begin with {start[:15].decode('ascii', 'replace')!r}",
        )  # fmt: skip
    return size
