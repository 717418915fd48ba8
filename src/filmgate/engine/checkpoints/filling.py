"""Modules made of the tensors of files, without a second copy in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from filmgate.engine.checkpoints.reading import AVAILABLE, Wanted, dtype_of, place_of, read_all
from filmgate.engine.checkpoints.records import TensorRecord
from filmgate.engine.checkpoints.tensors import Tensors, check_tensors
from filmgate.engine.kernels.gguf_blocks import DECODERS
from filmgate.engine.kernels.narrow import NARROWERS, PLAIN, Narrow, like
from filmgate.engine.runtime.narrow_linear import put_in_place
from filmgate.spec.errors import DeviceError, MissingTensor
from filmgate.spec.residency import WeightFormat

DtypeOf = Callable[[str], torch.dtype]
"""Number format in which a tensor is kept, by its name."""
NarrowAs = Callable[[str], WeightFormat | None]
"""Format other than that of the arithmetic in which a weight stays, by its name."""
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def load_into(module: nn.Module, tensors: Tensors, *, device: torch.device, dtype: DtypeOf) -> None:
    """Give a module that was made on the meta device its weights, in evaluation mode and without gradients.

    They go to ``device`` and to their ``dtype`` piece by piece. On the CPU, tensors that are stored in that dtype stay
    in the mapped file.

    Args:
        module: As large as its names and shapes, no larger.
        tensors: Exactly the module's, by name.
        device: Where to.
        dtype: Of every tensor.

    Raises:
        MissingTensor, UnexpectedTensor, WrongShape, WrongDtype: the tensors are not the module's; nothing was loaded.
        DamagedFile: a file changed since it was opened.
    """
    Filling(module, tensors, device=device, dtype=dtype).fill()


class Filling:
    """What the tensors of a module that was made on the meta device become, made when they are asked for.

    Large layers may stay in few bits: they are then replaced (see :mod:`~filmgate.engine.runtime.narrow_linear`), and
    what they consist of are tensors of the module like any others.

    Args:
        module, tensors, device, dtype: As for :func:`load_into`.
        narrow: In what format a weight of a linear layer stays, by its name; None: that of ``dtype``.

    Raises:
        MissingTensor, UnexpectedTensor, WrongShape, WrongDtype: as :func:`load_into`.
        DeviceError: a format is not for the device.
    """

    def __init__(
        self,
        module: nn.Module,
        tensors: Tensors,
        *,
        device: torch.device,
        dtype: DtypeOf,
        narrow: NarrowAs = lambda _: None,
    ) -> None:
        self.module, self.device = module, device
        self._tensors, self._dtype = tensors, dtype
        self._weights: dict[str, str] = {}
        self._kinds: dict[str, WeightFormat] = {}
        self._last: tuple[str, Narrow] | None = None
        needed = module.state_dict()
        check_tensors({name: tuple(tensor.shape) for name, tensor in needed.items()}, tensors.records)
        module.requires_grad_(False).eval()
        for name, layer in list(module.named_modules()):
            weight = f"{name}.weight"
            if isinstance(layer, nn.Linear) and (kind := narrow(weight)) is not None:
                self._replace(name, layer, kind)
        filled = module.state_dict()
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if name not in filled:
                raise MissingTensor(
                    tensors.records.source, "the module keeps a tensor that no checkpoint has", key=name
                )
            if name not in self._weights:
                # Still no numbers, but their format. (``empty_like`` runs in Python on the meta device.)
                tensor.data = torch.empty(tensor.shape, dtype=dtype(name), device="meta")

    def fill(self, streamed: Sequence[str] = ()) -> None:
        """Put all tensors on the device but those within the parts called ``streamed``."""
        prefixes = tuple(f"{name}." for name in streamed)
        empty = {name: like for name, like in self.module.state_dict().items() if not name.startswith(prefixes)}
        state: dict[str, Tensor] = {}

        def wanted() -> Iterator[Wanted]:
            # Targets are made while those before them are read: to get memory from a GPU takes time too.
            for name, record in sorted(read.items(), key=lambda item: place_of(item[1])):
                state[name] = torch.empty_like(empty[name], device=self.device)
                yield Wanted(name, record, dtype_of(record), state[name])

        read = {name: record for name in empty if (record := self._readable(name, self.device)) is not None}
        if self.device.type == "cpu":  # what can be used as it lies in the mapped file stays there
            read = {name: record for name, record in read.items() if dtype_of(record) != empty[name].dtype}
        read_all(wanted(), self.device)
        for name in empty:
            if name not in read:
                state[name] = self._made(name)
                if not self._tensors.shares(state[name]):
                    self._drop(name)
        self.module.load_state_dict(state, strict=False, assign=True)

    def copy_into(self, name: str, target: Tensor) -> None:
        """Write a tensor to ``target``, wherever that is; see :class:`~filmgate.engine.runtime.stream.Source`."""
        layer = self._weights.get(name)
        target.copy_(self._tensors[name] if layer is None else self._part(layer, name))
        self._drop(name)

    def copy_all(self, groups: Iterable[Sequence[tuple[str, Tensor]]]) -> None:
        """Write tensors to their targets, reading several at once where these are on the host; see
        :class:`~filmgate.engine.runtime.stream.Source`."""

        def wanted() -> Iterator[Wanted]:
            for group in groups:
                found: list[Wanted] = []
                for name, target in group:
                    record = self._readable(name, target.device) if target.device.type == "cpu" else None
                    if record is None:
                        self.copy_into(name, target)
                    else:
                        found.append(Wanted(name, record, dtype_of(record), target))
                # A disk reads ahead: in another order half of that is in vain.
                yield from sorted(found, key=lambda item: place_of(item.record))

        read_all(wanted())

    def _readable(self, name: str, device: torch.device) -> TensorRecord | None:
        """The tensor in the file whose bytes, in one piece, are all that a tensor of the module is made of; None if it
        is made in another way, or for a device that is not read to."""
        if not AVAILABLE or device.type not in ("cpu", "cuda"):
            return None
        layer = self._weights.get(name)
        record = self._tensors.records.tensors[name if layer is None else f"{layer}.weight"]
        if record.begin is None or record.pieces:
            return None
        if layer is None:
            return record if record.scale is None and record.dtype.block == 1 else None
        return record if self._kinds[layer] == "as_stored" and name.endswith(".numbers") else None

    def _made(self, name: str) -> Tensor:
        layer = self._weights.get(name)
        if layer is not None:
            return self._part(layer, name).to(self.device)
        return self._tensors[name].to(self.device).to(self._dtype(name))

    def _drop(self, name: str) -> None:
        layer = self._weights.get(name)
        self._tensors.drop(name if layer is None else f"{layer}.weight")

    def _replace(self, name: str, layer: nn.Linear, kind: WeightFormat) -> None:
        weight = f"{name}.weight"
        record = self._tensors.records.tensors[weight]
        empty = as_stored(record) if kind == "as_stored" else like(kind, layer.out_features, layer.in_features)
        if self.device.type == "mps" and empty.numbers.dtype in FP8:
            raise DeviceError("Apple's GPU has no fp8", allowed="weights as_computed, int8 or int4", nearest="int8")
        put_in_place(self.module, name, empty, self._dtype(weight))
        self._kinds[name] = kind
        for part in ("numbers", "scale"):
            self._weights[f"{name}.{part}"] = name

    def _part(self, layer: str, name: str) -> Tensor:
        """``numbers`` or ``scale`` of a layer in few bits; both are made at once, and asked for one after the other."""
        if self._last is None or self._last[0] != layer:
            self._last = layer, self._narrowed(f"{layer}.weight", self._kinds[layer])
        narrow = self._last[1]
        part = narrow.numbers if name.endswith("numbers") else narrow.scale
        assert part is not None
        if name.endswith("scale") or narrow.scale is None:
            self._last = None
        return part

    def _narrowed(self, weight: str, kind: WeightFormat) -> Narrow:
        if kind != "as_stored":
            return NARROWERS[kind](self._tensors[weight].to(self.device))
        record = self._tensors.records.tensors[weight]
        empty, numbers = as_stored(record), self._tensors.stored(weight)
        scale = self._tensors.scale(weight)
        shape = None if empty.scale is None else empty.scale.shape
        return Narrow(
            empty.layout, empty.columns, numbers.view(empty.numbers.shape),
            None if scale is None or shape is None else scale.reshape(shape),
        )  # fmt: skip


def stays_as_stored(record: TensorRecord, dtype: torch.dtype) -> bool:
    """Whether a weight [R, C] takes fewer bytes in its file than in ``dtype``, and can be used as it is there."""
    if record.pieces or len(record.shape) != 2:
        return False
    if record.dtype.block > 1:
        return record.dtype.name in DECODERS and record.shape[1] % record.dtype.block == 0
    return record.dtype.bytes < dtype.itemsize


def as_stored(record: TensorRecord) -> Narrow:
    """A weight as it lies in its file, without numbers."""
    rows, columns = record.shape
    if record.dtype.block > 1:
        width = columns // record.dtype.block * record.dtype.bytes
        return Narrow(record.dtype.name, columns, torch.empty(rows, width, dtype=torch.uint8, device="meta"))
    scale = None
    if record.scale is not None:
        shape = () if record.scale.elements == 1 else (rows, 1)
        scale = torch.empty(shape, dtype=torch.float32, device="meta")
    kind = getattr(torch, record.dtype.torch)
    return Narrow(PLAIN, columns, torch.empty(rows, columns, dtype=kind, device="meta"), scale)
