"""Headers of GGUF files, read by hand and checked against the file, without torch and without the ``gguf`` library.

A file is ``GGUF``, a version, the counts of tensors and of metadata, the metadata (typed values by name), the tensors
(name, sizes with the fastest axis first, type, offset), padding, and the tensors' bytes (github.com/ggml-org/ggml,
docs/gguf.md). Nothing is allocated by what a file claims: every length is compared with what is left of the file, and
long lists, such as a vocabulary, are passed over.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from filmgate.engine.checkpoints.records import (
    DTYPES,
    MAX_HEADER_BYTES,
    Dtype,
    TensorRecord,
    WeightRecords,
    check_count,
    check_name,
    is_sizes,
    weight_file_size,
)
from filmgate.spec.errors import DamagedFile, WrongDtype

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = "general.alignment"
ORIGINAL_SHAPE = "comfy.gguf.orig_shape."
"""In front of the name of a tensor that was reshaped to make its rows divisible into blocks; the value is its shape."""

_MAX_ENTRIES = 4_000_000
"""Most items of all lists together, and most tensors or values. The largest vocabularies have 256 thousand."""
_MAX_KEPT = 64
"""Longest list that is kept."""
_MAX_AXES = 8
_STRING, _ARRAY = 8, 9
_NUMBERS: Mapping[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_BLOCKS = (
    (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22), (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34),
    (10, "Q2_K", 256, 84), (11, "Q3_K", 256, 110), (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210), (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50), (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136), (29, "IQ1_M", 256, 56),
)  # fmt: skip
TYPES: Mapping[int, Dtype] = {
    0: DTYPES["F32"], 1: DTYPES["F16"], 24: DTYPES["I8"], 25: DTYPES["I16"], 26: DTYPES["I32"], 27: DTYPES["I64"],
    28: DTYPES["F64"], 30: DTYPES["BF16"],
} | {number: Dtype(name, size, "float", name.lower(), block) for number, name, block, size in _BLOCKS}  # fmt: skip
"""Number formats by their number in a header: plain ones, and blocks that share scales."""


def read_gguf(path: Path) -> WeightRecords:
    """The tensors of a GGUF file, with torch's order of axes, and its short metadata as text.

    Raises:
        MissingFile: there is no such file.
        DamagedFile: it is truncated, of a version that is not known, or contradicts itself or the file's size.
        WrongDtype: a tensor has a type that cannot be read.
    """
    size = weight_file_size(path)
    with path.open("rb") as file:
        return _Reader(file, path, size).read()


@dataclass
class _Reader:
    """A position in the header, and how much may still be read."""

    file: BinaryIO
    path: Path
    size: int
    position: int = 0
    entries: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    def read(self) -> WeightRecords:
        if self.take(4) != MAGIC:
            raise DamagedFile(self.path, "not a GGUF file", expected="GGUF at its start", found="something else")
        version = self.number("<I")
        if version not in VERSIONS:
            raise DamagedFile(
                self.path, "a GGUF file of another version", expected=" or ".join(map(str, VERSIONS)), found=version
            )
        tensors, values = self.count(self.number("<Q")), self.count(self.number("<Q"))
        check_count(self.path, tensors)
        for _ in range(values):
            key = self.text()
            self.metadata[key] = self.value(self.number("<I"))
        offsets: dict[str, tuple[int, TensorRecord]] = {}
        for _ in range(tensors):
            name = self.text()
            check_name(self.path, name)
            if name in offsets:
                raise DamagedFile(self.path, "a tensor comes twice in the header", key=name)
            offsets[name] = self.tensor(name)
        return WeightRecords(
            source=self.path,
            files=(self.path,),
            tensors=self.placed(offsets),
            metadata={key: str(value) for key, value in self.metadata.items() if value is not None},
        )

    def tensor(self, name: str) -> tuple[int, TensorRecord]:
        """Offset from the end of the header, and the record without its place."""
        axes = self.number("<I")
        if axes > _MAX_AXES:
            raise DamagedFile(self.path, "too many axes", key=name, expected=f"at most {_MAX_AXES}", found=axes)
        sizes = tuple(self.number("<Q") for _ in range(axes))
        number, offset = self.number("<I"), self.number("<Q")
        dtype = TYPES.get(number)
        if dtype is None:
            raise WrongDtype(
                self.path, "a type that cannot be read", key=name,
                expected=", ".join(known.name for known in TYPES.values()), found=f"type {number}",
            )  # fmt: skip
        if not is_sizes(sizes) or not is_sizes((math.prod(sizes),)):
            raise DamagedFile(self.path, "not a shape", key=name, expected="sizes", found=str(sizes)[:80])
        if (sizes[0] if sizes else 1) % dtype.block:
            raise DamagedFile(
                self.path, "rows that are not whole blocks", key=name, expected=f"a multiple of {dtype.block}",
                found=sizes[:1],
            )  # fmt: skip
        return offset, TensorRecord(file=self.path, dtype=dtype, shape=self.shape(name, sizes))

    def shape(self, name: str, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Torch's shape: the slowest axis first, and as it was before it was made divisible into blocks."""
        original = self.metadata.get(f"{ORIGINAL_SHAPE}{name}")
        if original is None:
            return tuple(reversed(sizes))
        if not is_sizes(original) or math.prod(original) != math.prod(sizes):
            raise DamagedFile(
                self.path, "its original shape has another size", key=name, expected=math.prod(sizes),
                found=str(original)[:80],
            )  # fmt: skip
        return tuple(original)

    def placed(self, offsets: Mapping[str, tuple[int, TensorRecord]]) -> dict[str, TensorRecord]:
        """Records with their offset in the file; tensors must lie inside the file and not overlap."""
        alignment = self.metadata.get(ALIGNMENT, 32)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise DamagedFile(
                self.path, "not an alignment", key=ALIGNMENT, expected="1 ... 1048576", found=repr(alignment)[:80]
            )
        start = -(-self.position // alignment) * alignment
        end = start
        for offset, name in sorted((offset, name) for name, (offset, _) in offsets.items()):
            if start + offset < end:
                raise DamagedFile(
                    self.path, "a tensor overlaps the one before it", key=name, expected=f"byte {end} or later",
                    found=f"byte {start + offset}",
                )  # fmt: skip
            end = start + offset + offsets[name][1].bytes
            if end > self.size:
                raise DamagedFile(
                    self.path, "truncated in its tensors", key=name, expected=f"{end} bytes", found=self.size
                )
        return {name: replace(record, begin=start + offset) for name, (offset, record) in offsets.items()}

    def value(self, kind: int) -> Any:
        """A value of the metadata; None for a list that is too long to be of use."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(self.layout(kind))
        kind, count = self.number("<I"), self.count(self.number("<Q"))
        keep = count <= _MAX_KEPT
        if kind == _STRING:
            items = [self.text(keep=keep) for _ in range(count)]
            return items if keep else None
        layout = self.layout(kind)
        if keep:
            return [self.number(layout) for _ in range(count)]
        self.skip(count * struct.calcsize(layout))
        return None

    def layout(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise DamagedFile(
                self.path, "a value of an unknown type", expected="0 ... 12, lists not nested", found=kind
            )
        return _NUMBERS[kind]

    def count(self, count: int) -> int:
        self.entries += count
        if self.entries > _MAX_ENTRIES:
            raise DamagedFile(
                self.path, "more entries than a model can have", expected=f"at most {_MAX_ENTRIES}", found=self.entries
            )
        return count

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def text(self, *, keep: bool = True) -> str:
        length = self.number("<Q")
        if not keep:
            self.skip(length)
            return ""
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DamagedFile(self.path, "a name that is not text", expected="UTF-8", found=str(error)[:80]) from error

    def skip(self, count: int) -> None:
        self.advance(count)
        self.file.seek(self.position)

    def take(self, count: int) -> bytes:
        self.advance(count)
        return self.file.read(count)

    def advance(self, count: int) -> None:
        self.position += count
        limit = min(self.size, MAX_HEADER_BYTES)
        if self.position > limit:
            what = "truncated in its header" if limit == self.size else "its header is too long"
            raise DamagedFile(self.path, what, expected=f"at most {limit} bytes", found=f"{self.position} or more")
