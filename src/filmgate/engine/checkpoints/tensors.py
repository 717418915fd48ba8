"""Tensors of weight files, memory-mapped, and modules that wait for them."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from filmgate.engine.checkpoints.records import Dtype, TensorRecord, WeightRecords
from filmgate.engine.checkpoints.weights import read_weights
from filmgate.spec.errors import DamagedFile, MissingTensor, UnexpectedTensor, WrongDtype, WrongShape

Network = TypeVar("Network", bound=nn.Module)
_BLOCKS_AT_ONCE = 1 << 14


class Tensors(Mapping[str, Tensor]):
    """Tensors of a network by name, on the CPU, each made when it is asked for.

    They share the pages of the file: nothing is read before it is used, and what is read can be dropped again by the
    operating system. Writing to one changes this process's own copy of a page, never the file. Only what is quantised,
    or in pieces, is a new tensor: fp32, or of the pieces' format.

    Attributes:
        records: What the files' headers say.
    """

    def __init__(self, records: WeightRecords) -> None:
        self.records = records
        self._mapped: dict[Path, Tensor] = {}
        self._maps: dict[Path, mmap.mmap] = {}
        self._unpickled: dict[str, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.records.tensors)

    def __iter__(self) -> Iterator[str]:
        return iter(self.records.tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._made(name, self.records.tensors[name])

    def stored(self, name: str) -> Tensor:
        """The numbers of a tensor that is not in pieces as they lie in the file: those of GGUF's blocks as bytes
        [bytes], others in their own format and shape, not multiplied by their scale."""
        record = self.records.tensors[name]
        return self._bytes(name, record) if record.dtype.block > 1 else self._stored(record.stored or name, record)

    def scale(self, name: str) -> Tensor | None:
        """What a tensor's stored numbers must be multiplied by, fp32; None: nothing."""
        scale = self.records.tensors[name].scale
        return None if scale is None else self._made(name, scale).float()

    def shares(self, tensor: Tensor) -> bool:
        """Whether a tensor's numbers are those in a mapped file, and not a copy."""
        return tensor.device.type == "cpu" and any(
            file.data_ptr() <= tensor.data_ptr() < file.data_ptr() + file.nbytes for file in self._mapped.values()
        )

    def drop(self, name: str) -> None:
        """Take the pages of a tensor out of this process's memory; they are read again when they are used again.

        For tensors that were copied: what was written to such pages is lost.
        """
        for record in self.records.tensors[name].pieces or (self.records.tensors[name],):
            mapping = self._maps.get(record.file)
            if record.begin is not None and mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
                # Whole pages only: the first and the last may hold parts of other tensors.
                first = -(-record.begin // mmap.PAGESIZE) * mmap.PAGESIZE
                last = (record.begin + record.bytes) // mmap.PAGESIZE * mmap.PAGESIZE
                if first < last:
                    mapping.madvise(mmap.MADV_DONTNEED, first, last - first)

    def _made(self, name: str, record: TensorRecord) -> Tensor:
        if record.pieces:
            return torch.cat([self._made(name, piece) for piece in record.pieces])
        values = self._stored(record.stored or name, record)
        if record.scale is None:
            return values
        scale = self._made(name, record.scale).float()
        # One number, or one per row: either way spread over the other axes.
        return values.float() * scale.reshape(-1, *(1,) * (values.ndim - 1) if values.ndim else ())

    def _stored(self, name: str, record: TensorRecord) -> Tensor:
        """The numbers as they lie in the file, and of the record's shape."""
        if record.begin is None:
            return self._from_pickle(name, record)
        data = self._bytes(name, record)
        if record.dtype.block > 1:
            return dequantised(data, record.dtype).view(record.shape)
        if record.begin % record.dtype.bytes:
            data = data.clone()  # a header of odd length: such a tensor cannot be used in place
        return data.view(getattr(torch, record.dtype.torch)).view(record.shape)

    def _bytes(self, name: str, record: TensorRecord) -> Tensor:
        assert record.begin is not None
        if record.file not in self._mapped:
            self._maps[record.file] = mapping = open_map(record.file)
            self._mapped[record.file] = torch.frombuffer(mapping, dtype=torch.uint8)
        file, end = self._mapped[record.file], record.begin + record.bytes
        if end > file.numel():
            raise DamagedFile(record.file, "became shorter while open", key=name, expected=end, found=file.numel())
        return file[record.begin : end]

    def _from_pickle(self, name: str, record: TensorRecord) -> Tensor:
        if self._unpickled is None:
            # Only after the file was read by our own machine and found to make nothing but tensors.
            content = torch.load(record.file, map_location="cpu", weights_only=True, mmap=True)
            self._unpickled = content if self.records.wrapper is None else content[self.records.wrapper]
        tensor = self._unpickled[name].detach()
        if tensor.numel() != record.elements or tensor.dtype != getattr(torch, record.dtype.torch):
            raise DamagedFile(record.file, "changed while open", key=name, expected=record.shape, found=tensor.shape)
        return tensor.reshape(record.shape)


def dequantised(data: Tensor, dtype: Dtype) -> Tensor:
    """Blocks of a GGUF type, as bytes [n], to fp32 [elements]; by the reference implementation of the format."""
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    kind, step = GGMLQuantizationType[dtype.name], _BLOCKS_AT_ONCE * dtype.bytes
    values = torch.empty(data.numel() // dtype.bytes * dtype.block)
    for index, begin in enumerate(range(0, data.numel(), step)):
        # In parts: the library makes several temporary arrays of the size of its result.
        piece = torch.from_numpy(dequantize(data[begin : begin + step].numpy()[None], kind)[0])
        first = index * _BLOCKS_AT_ONCE * dtype.block
        values[first : first + piece.numel()] = piece
    return values


def open_tensors(path: Path) -> Tensors:
    """Tensors of a weight file or of a shard index, under the names that they have there.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe; see :func:`~.layout.read_weights`.
    """
    return Tensors(read_weights(path))


def open_map(path: Path) -> mmap.mmap:
    """A file as bytes that are read when they are used, and that may be written to without changing it."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


class _WithoutValues(TorchFunctionMode):
    """Skips the initial values of modules that are made on the meta device.

    There are none there, but normal deviates and divisions on that device make torch import its compiler, which takes
    longer than loading a small model.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        if func is Tensor.div and isinstance(args[1], int | float):
            return args[0]
        return torch.empty(*args, **kwargs) if func is torch.randn else func(*args, **kwargs)


def build_empty(build: Callable[[], Network]) -> Network:
    """A module with shapes and without numbers, for :mod:`~.filling`; takes no memory for its tensors."""
    with torch.device("meta"), _WithoutValues():
        return build()


def check_tensors(needed: Mapping[str, tuple[int, ...]], records: WeightRecords) -> None:
    """Compare the names, shapes and number formats of a file with those that an architecture needs.

    Raises:
        MissingTensor, UnexpectedTensor, WrongShape, WrongDtype: with the first key at fault, and how many there are.
    """
    found = records.tensors
    if missing := [name for name in needed if name not in found]:
        raise MissingTensor(
            records.source, _counted("missing", missing), key=missing[0], expected=needed[missing[0]], found="nothing"
        )
    if unexpected := [name for name in found if name not in needed]:
        first = found[unexpected[0]]
        raise UnexpectedTensor(
            first.file,
            _counted("without a place in the architecture", unexpected),
            key=unexpected[0],
            expected="nothing",
            found=first.shape,
        )
    for name, shape in needed.items():
        record = found[name]
        if record.shape != shape:
            raise WrongShape(record.file, "a tensor has another shape", key=name, expected=shape, found=record.shape)
        if record.kind != "float":
            raise WrongDtype(
                record.file, "not weights", key=name, expected="floating-point numbers", found=record.dtype.torch
            )


def _counted(what: str, names: list[str]) -> str:
    return f"a tensor is {what}" if len(names) == 1 else f"{len(names)} tensors are {what}, first this one"
