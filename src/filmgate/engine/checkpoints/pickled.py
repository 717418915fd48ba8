"""Shapes of the tensors of a ``.pth`` file, without torch and without unpickling.

``torch.save`` writes a zip archive: ``data.pkl`` describes the objects, ``data/KEY`` holds the bytes of a storage. A
pickle is a program for a stack machine, and Python's machine runs whatever it names. The machine below knows the few
instructions that a dictionary of tensors needs. Where the program names a function, it looks the name up in a table
whose entries make shapes; a name that is not in the table ends the reading. Nothing of the file is ever imported,
called or executed.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
from filmgate.spec.errors import DamagedFile, UnsafeCheckpoint

WRAPPERS = ("state_dict", "model_state", "model")
"""Keys under which some publishers put the tensors; at most one is unwrapped."""
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
"""How ``torch.save`` began a file before it wrote zip archives (torch 1.6)."""


class _Name(NamedTuple):
    """A function or class that the program names."""

    module: str
    name: str


@dataclass(frozen=True)
class _Storage:
    dtype: Dtype | None
    """None: bytes, the tensor says what they are."""
    key: str
    elements: int


@dataclass(frozen=True)
class _Shaped:
    dtype: Dtype
    shape: tuple[int, ...]
    storage: _Storage
    end: int
    """Elements of the storage up to the tensor's last."""


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> _Shaped:
    """What ``torch._utils._rebuild_tensor_v2`` and, with a dtype after two more arguments, ``_v3`` would rebuild."""
    dtype = storage.dtype
    if dtype is None:
        if not isinstance(rest[2], _Name):
            raise TypeError("a dtype that is not one")
        dtype = _DTYPE_NAMES[rest[2]]
    if not all(map(is_sizes, (shape, stride, (offset,)))) or len(shape) != len(stride):
        raise ValueError("a tensor's shape is not made of sizes")
    span = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    end = offset + span + 1 if all(shape) else offset
    return _Shaped(dtype, tuple(shape), storage, end)


def _parameter(tensor: Any, *_rest: Any) -> _Shaped:
    if not isinstance(tensor, _Shaped):
        raise TypeError("a parameter that is not a tensor")
    return tensor


def _ordered(*items: Any) -> dict[Any, Any]:
    if items:
        raise TypeError("an ordered dictionary with arguments")
    return {}


_FUNCTIONS: Mapping[_Name, Callable[..., Any]] = {
    _Name("collections", "OrderedDict"): _ordered,
    _Name("torch._utils", "_rebuild_tensor_v2"): _tensor,
    _Name("torch._utils", "_rebuild_tensor_v3"): _tensor,
    _Name("torch._utils", "_rebuild_parameter"): _parameter,
    _Name("torch", "Size"): tuple,
}
_STORAGES: Mapping[_Name, Dtype | None] = {
    _Name("torch", f"{storage}Storage"): DTYPES[name]
    for storage, name in {
        "Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16",
        "Char": "I8", "Byte": "U8", "Bool": "BOOL",
    }.items()
} | {_Name("torch.storage", "UntypedStorage"): None}  # fmt: skip
_DTYPE_NAMES: Mapping[_Name, Dtype] = {_Name("torch", dtype.torch): dtype for dtype in DTYPES.values()}
_KNOWN = _FUNCTIONS.keys() | _STORAGES.keys() | _DTYPE_NAMES.keys()


def read_pth(path: Path) -> WeightRecords:
    """The tensors of a file that ``torch.save`` wrote: a dictionary of tensors, perhaps under one of :data:`WRAPPERS`.

    Entries that are not tensors (a step counter) are left out.

    Raises:
        MissingFile: there is no such file.
        UnsafeCheckpoint: it names something other than tensors and dictionaries, so that unpickling it would run code.
        DamagedFile: it is truncated, contradicts itself, or was written by a torch older than 1.6.
    """
    size = weight_file_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
            root, program = _program(archive, path)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    tensors, wrapper = _tensors(_run(program, path), path)
    for name, shaped in tensors.items():
        _check_storage(path, name, shaped, entries.get(f"{root}data/{shaped.storage.key}"), size)
    return WeightRecords(
        source=path,
        files=(path,),
        tensors={name: TensorRecord(path, shaped.dtype, shaped.shape) for name, shaped in tensors.items()},
        metadata={},
        wrapper=wrapper,
    )


def _unreadable(path: Path, error: Exception) -> DamagedFile | UnsafeCheckpoint:
    with path.open("rb") as file:
        start = file.read(len(_LEGACY))
    if start == _LEGACY:
        return DamagedFile(
            path,
            "written in torch's old format, which cannot be memory-mapped; load it with weights_only=True and save it"
            " again",
            expected="the zip archive that torch.save writes since version 1.6",
            found="the stream of older versions",
        )
    if start[:1] == b"\x80":
        return UnsafeCheckpoint(path, "a bare pickle", expected="a zip archive written by torch.save", found="a pickle")
    found = f"{type(error).__name__}: {error}" if start[:2] == b"PK" else f"a file that begins with {start[:4]!r}"
    return DamagedFile(path, "truncated, or not a .pth file", expected="a complete zip archive", found=found)


def _program(archive: zipfile.ZipFile, path: Path) -> tuple[str, bytes]:
    """Folder inside the archive that everything lies in, with its slash, and the pickle."""
    found = [info for info in archive.infolist() if info.filename.split("/")[1:] == ["data.pkl"]]
    if len(found) != 1:
        raise DamagedFile(path, "not written by torch.save", expected="one data.pkl", found=len(found))
    if max(found[0].file_size, found[0].compress_size) > MAX_HEADER_BYTES:
        raise DamagedFile(
            path, "data.pkl is too large", expected=f"at most {MAX_HEADER_BYTES} bytes", found=found[0].file_size
        )
    with archive.open(found[0]) as file:
        # Not archive.read: that expands all of a compressed entry before it looks at the size that the entry claims.
        program = file.read(found[0].file_size)
    return found[0].filename.removesuffix("data.pkl"), program


def _tensors(value: Any, path: Path) -> tuple[dict[str, _Shaped], str | None]:
    wrapper = None
    if isinstance(value, dict):
        wrapper = next((key for key in WRAPPERS if isinstance(value.get(key), dict)), None)
        value = value if wrapper is None else value[wrapper]
    if not isinstance(value, dict):
        raise DamagedFile(
            path, "not weights", expected="a dictionary of tensors", found=type(value).__name__.strip("_")
        )
    tensors = {name: item for name, item in value.items() if isinstance(name, str) and isinstance(item, _Shaped)}
    check_count(path, len(tensors))
    for name, item in tensors.items():
        check_name(path, name)
        check_name(path, item.storage.key)
    return tensors, wrapper


def _check_storage(path: Path, name: str, tensor: _Shaped, entry: zipfile.ZipInfo | None, size: int) -> None:
    storage = tensor.storage
    unit = 1 if storage.dtype is None else storage.dtype.bytes
    declared, used = storage.elements * unit, tensor.end * tensor.dtype.bytes
    if used > declared:
        raise DamagedFile(path, "a tensor reaches beyond its storage", key=name, expected=declared, found=used)
    if entry is None:
        raise DamagedFile(path, "the bytes of a tensor are missing", key=name, expected=f"data/{storage.key}")
    if entry.compress_type != zipfile.ZIP_STORED:
        raise DamagedFile(path, "compressed, so that it cannot be memory-mapped", key=name)
    if entry.file_size != declared or entry.header_offset + entry.file_size > size:
        raise DamagedFile(
            path, "a storage has another size", key=name, expected=f"{declared} bytes", found=entry.file_size
        )


_MARK = object()


class _Machine:
    """Stack and memory of the pickle program that is being read."""

    def __init__(self, program: bytes, path: Path) -> None:
        self._program = program
        self._path = path
        self._position = 0
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def run(self) -> Any:
        """The object that the program makes."""
        while True:
            code = self._program[self._position]
            self._position += 1
            if code == ord("."):
                return self._stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise UnsafeCheckpoint(
                    self._path,
                    "does something that weights do not need",
                    expected="tensors and dictionaries",
                    found=f"pickle instruction 0x{code:02x}",
                )
            step(self)

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value belongs")
        return value

    def since_mark(self) -> list[Any]:
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                values = self._stack[index + 1 :]
                del self._stack[index:]
                return values
        raise ValueError("no mark")

    def top(self, count: int) -> tuple[Any, ...]:
        values = [self.pop() for _ in range(count)]
        return tuple(reversed(values))

    def take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._program):
            raise ValueError("ends in the middle of an instruction")
        data = self._program[self._position : end]
        self._position = end
        return data

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def text(self, layout: str) -> str:
        return self.take(self.number(layout)).decode("utf-8", "surrogatepass")

    def line(self) -> str:
        end = self._program.index(b"\n", self._position)
        data = self._program[self._position : end]
        self._position = end + 1
        return data.decode("utf-8")

    def remember(self, key: int) -> None:
        self._memory[key] = self._stack[-1]

    def remember_next(self) -> None:
        self.remember(len(self._memory))

    def recall(self, key: int) -> None:
        self.push(self._memory[key])

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("a name that is not text")
        named = _Name(module[:80], name[:80])
        if named not in _KNOWN:
            raise UnsafeCheckpoint(
                self._path,
                "unpickling it would import something that is not a tensor",
                expected="tensors and dictionaries",
                found=f"{named.module}.{named.name}",
            )
        self.push(named)

    def call(self) -> None:
        named, arguments = self.top(2)
        function = _FUNCTIONS.get(named) if isinstance(named, _Name) else None
        if function is None or type(arguments) is not tuple:
            raise UnsafeCheckpoint(
                self._path,
                "unpickling it would call something that does not make a tensor",
                expected="tensors and dictionaries",
                found=str(named)[:80] if isinstance(named, _Name) else type(named).__name__,
            )
        self.push(function(*arguments))

    def storage(self) -> None:
        kind, cls, key, _place, elements = self.pop()
        if kind != "storage" or not isinstance(cls, _Name) or not isinstance(key, str) or not is_sizes((elements,)):
            raise ValueError("not a storage")
        self.push(_Storage(_STORAGES[cls], key, elements))

    def build(self) -> None:
        # The only state in a dictionary of tensors is the version record of the module that it was taken from.
        self.pop()
        if not isinstance(self._stack[-1], dict):
            raise UnsafeCheckpoint(
                self._path, "unpickling it would set the state of an object", expected="tensors and dictionaries"
            )

    def set_items(self, pairs: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise ValueError("items for something that is not a dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Other keys do not occur, and hashing a tuple of tuples can take forever.
            if not isinstance(key, str | int):
                raise TypeError("a key that is not a name")
            target[key] = value

    def append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise ValueError("items for something that is not a list")
        target.extend(values)


_STEPS: Mapping[int, Callable[[_Machine], None]] = {
    0x80: lambda m: m.number("<B"),  # PROTO: which version of the language; the instructions themselves tell
    0x95: lambda m: m.number("<Q"),  # FRAME: how much to read at once
    ord("("): lambda m: m.push(_MARK),
    ord("}"): lambda m: m.push({}),
    ord("]"): lambda m: m.push([]),
    ord(")"): lambda m: m.push(()),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    ord("J"): lambda m: m.push(m.number("<i")),
    0x8A: lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("X"): lambda m: m.push(m.text("<I")),
    0x8C: lambda m: m.push(m.text("<B")),
    0x8D: lambda m: m.push(m.text("<Q")),
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    0x85: lambda m: m.push(m.top(1)),
    0x86: lambda m: m.push(m.top(2)),
    0x87: lambda m: m.push(m.top(3)),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember_next(),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("c"): lambda m: m.name(m.line(), m.line()),
    0x93: lambda m: m.name(*m.top(2)),
    ord("R"): lambda m: m.call(),
    ord("Q"): lambda m: m.storage(),
    ord("b"): lambda m: m.build(),
    ord("s"): lambda m: m.set_items(list(m.top(2))),
    ord("u"): lambda m: m.set_items(m.since_mark()),
    ord("a"): lambda m: m.append([m.pop()]),
    ord("e"): lambda m: m.append(m.since_mark()),
}


def _run(program: bytes, path: Path) -> Any:
    try:
        return _Machine(program, path).run()
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
        raise DamagedFile(
            path,
            "its description of tensors makes no sense",
            expected="what torch.save writes",
            found=f"{type(error).__name__}: {str(error)[:80]}",
        ) from error
