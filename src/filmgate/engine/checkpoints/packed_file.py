"""Weights packed for shipping, one file at a time. Without torch.

A packed file is a safetensors file in a form that takes about half as many bytes, and gives it back bit by bit:

``magic | length of the header (8 bytes, little endian) | header (JSON) | streams``

The streams are described in :mod:`~.planes`. Rounding mantissas before packing is what makes files small: every bit
less is an eighth of a byte per weight, since a plane of zeros costs nothing. Four bits make a relative error of 1.8 %
(rms), five 0.9 %, seven none.

A file may also leave out tensors that another packed file has: its header then names that file, and which tensors are
its own. Header, size and hash are those of the whole expanded file all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from dataclasses import replace as with_changes
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from filmgate.engine.checkpoints.headers import parse_header, read_safetensors
from filmgate.engine.checkpoints.planes import (
    FORMS,
    MANTISSA_BITS,
    plane_sizes,
    put_together,
    restore,
    rounded,
    squeeze,
    take_apart,
)
from filmgate.engine.checkpoints.records import (
    DTYPES,
    MAX_HEADER_BYTES,
    TensorRecord,
    WeightRecords,
    file_size,
    parse_json,
)
from filmgate.media.publish import replace, scratch, writable
from filmgate.spec.errors import DamagedFile, InvalidRequest, MissingFile

if TYPE_CHECKING:
    from filmgate.engine.checkpoints.planes import Bytes

SUFFIX = ".planes"
"""Appended to the name of a packed file."""
MAGIC = b"FILMGATE PLANES\n"
VERSION, LEAN_VERSION = 1, 2
"""Of files with everything in them, and of those that leave tensors to another."""
RUN_ELEMENTS = 1 << 21
"""Longest run of numbers that is packed together; bounds the memory of an expansion."""
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class PackedHeader:
    """What a packed file says of itself.

    Attributes:
        mantissa_bits: To which bf16 numbers were rounded (7: not at all).
        bytes, sha256: Of the expanded file.
        header: The safetensors header of the expanded file.
        runs: Per run of numbers of one format: its name, how many, and of each plane the form and its stored bytes.
        base: The packed file, as seen from this one's folder, that has the other tensors; None: there are no others.
        own: Names of the tensors in ``runs``, where ``base`` is given.
    """

    mantissa_bits: int
    bytes: int
    sha256: str
    header: str
    runs: tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...]
    base: str | None = None
    own: tuple[str, ...] = ()


def pack(source: Path, destination: Path, mantissa_bits: int = 5) -> PackedHeader:
    """Pack a safetensors file.

    Args:
        source: The file.
        destination: Replaced if it exists.
        mantissa_bits: Of bf16 tensors, 1 ... 7, rounded to nearest, ties to even. Other tensors are kept exactly.

    Raises:
        InvalidRequest: ``mantissa_bits`` is out of range.
        CheckpointError: the source is missing or damaged, or has bf16 weights that are not finite.
        OutputError: the destination cannot be written.
    """
    if not 1 <= mantissa_bits <= MANTISSA_BITS:
        raise InvalidRequest(
            "mantissa_bits", f"{mantissa_bits} is not possible", allowed="1 ... 7",
            nearest=str(min(max(mantissa_bits, 1), MANTISSA_BITS)),
        )  # fmt: skip
    records = read_safetensors(source)
    start = source.stat().st_size - records.bytes
    with source.open("rb") as file:
        prefix = file.read(start)
        digest = hashlib.sha256(prefix)
        runs, payloads = [], []
        for dtype, elements in _runs(record for _, record in in_order(records)):
            data = file.read(elements * DTYPES[dtype].bytes)
            if dtype == "BF16":
                import numpy as np

                data = rounded(np.frombuffer(data, "<u2"), mantissa_bits, source).tobytes()
            digest.update(data)
            planes = [squeeze(plane) for plane in take_apart(data, dtype)]
            runs.append((dtype, elements, tuple((form, len(payload)) for form, payload in planes)))
            payloads += [payload for _, payload in planes]
    header = PackedHeader(
        mantissa_bits, source.stat().st_size, digest.hexdigest(), prefix[_LENGTH_BYTES:].decode(), tuple(runs)
    )
    _publish(destination, header, payloads)
    return header


def _publish(destination: Path, header: PackedHeader, payloads: Iterable[bytes]) -> None:
    entries = asdict(header)
    if header.base is None:
        del entries["base"], entries["own"]
    version = VERSION if header.base is None else LEAN_VERSION
    text = json.dumps({"version": version, **entries}, separators=(",", ":")).encode()
    with scratch(destination) as part:
        with writable(destination), part.open("wb") as output:
            output.write(MAGIC + len(text).to_bytes(_LENGTH_BYTES, "little") + text)
            output.writelines(payloads)
        replace(part, destination)


def lean(packed: Path, lender: Path) -> bool:
    """Take the tensors out of a packed file that another has too, of the same name and the same bits.

    Nothing is changed where they are less than a quarter of the bytes, where the lender itself leaves tensors to
    another, or where it has them in another order.

    Returns:
        Whether the file is lean now.

    Raises:
        MissingFile, DamagedFile: as :func:`unpack`.
        OutputError: the file cannot be written.
    """
    header, other = read_packed_header(packed), read_packed_header(lender)
    mine, theirs = (in_order(_records(h, path)) for h, path in ((header, packed), (other, lender)))
    same = {name for name, record in mine if _same_form(record, dict(theirs).get(name))}
    size = sum(record.bytes for _, record in mine)
    if other.base is not None or header.base is not None or 4 * _bytes_of(mine, same) < size:
        return False
    with tempfile.TemporaryDirectory() as folder:
        here, there = Path(folder) / "mine", Path(folder) / "theirs"
        unpack(packed, here)
        unpack(lender, there)
        data, loan = here.read_bytes(), there.read_bytes()
    lent = {name for name in same if _bytes(data, dict(mine)[name]) == _bytes(loan, dict(theirs)[name])}
    order = [name for name, _ in theirs if name in lent]
    if order != [name for name, _ in mine if name in lent] or 4 * _bytes_of(mine, lent) < size:
        return False
    own = [(name, record) for name, record in mine if name not in lent]
    runs, payloads = [], []
    numbers = _Stream(iter([b"".join(_bytes(data, record) for _, record in own)]))
    for dtype, elements in _runs(record for _, record in own):
        planes = [squeeze(plane) for plane in take_apart(numbers.take(elements * DTYPES[dtype].bytes), dtype)]
        runs.append((dtype, elements, tuple((form, len(payload)) for form, payload in planes)))
        payloads += [payload for _, payload in planes]
    base = Path(os.path.relpath(lender, packed.parent)).as_posix()
    changed = with_changes(header, runs=tuple(runs), base=base, own=tuple(name for name, _ in own))
    _publish(packed, changed, payloads)
    return True


def lender_of(packed: Path, header: PackedHeader) -> Path | None:
    """The file that has what a lean one leaves out."""
    return None if header.base is None else packed.parent / header.base


def in_order(records: WeightRecords) -> list[tuple[str, TensorRecord]]:
    """Tensors by name, in the order of their bytes in the file."""
    return sorted(records.tensors.items(), key=lambda item: item[1].begin or 0)


def _records(header: PackedHeader, path: Path) -> WeightRecords:
    text = header.header.encode()
    return parse_header(text, path, header.bytes - _LENGTH_BYTES - len(text))


def _same_form(record: TensorRecord, other: TensorRecord | None) -> bool:
    return other is not None and (record.dtype, record.shape) == (other.dtype, other.shape)


def _bytes(data: bytes, record: TensorRecord) -> bytes:
    return data[record.begin or 0 : (record.begin or 0) + record.bytes]


def _bytes_of(records: Iterable[tuple[str, TensorRecord]], names: set[str]) -> int:
    return sum(record.bytes for name, record in records if name in names)


def unpack(source: Path, destination: Path) -> PackedHeader:
    """Expand a packed file; the result has the SHA-256 that the file promises, or is not published.

    Raises:
        MissingFile: there is no such file, or not the one that it leaves tensors to.
        DamagedFile: it is truncated or altered.
        OutputError: the destination cannot be written.
    """
    header = read_packed_header(source)
    with scratch(destination) as part:
        digest = hashlib.sha256()
        with writable(destination), part.open("wb") as output:
            for data in _expanded(source, header):
                digest.update(data)
                output.write(data)
        if digest.hexdigest() != header.sha256:
            raise DamagedFile(source, "expands to other bytes", expected=header.sha256, found=digest.hexdigest())
        replace(part, destination)
    return header


def read_packed_header(path: Path) -> PackedHeader:
    """What a packed file says of itself, checked against its size and against itself.

    Raises:
        MissingFile: there is no such file.
        DamagedFile: it is not a packed file, truncated, or contradicts itself.
    """
    size = file_size(path)
    with path.open("rb") as file:
        magic, length = file.read(len(MAGIC)), int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if magic != MAGIC:
            raise DamagedFile(path, "not a packed file", expected=MAGIC, found=magic)
        room = size - len(MAGIC) - _LENGTH_BYTES
        if length > min(room, MAX_HEADER_BYTES):
            raise DamagedFile(path, "truncated in its header", expected=f"{length} bytes of header", found=room)
        entries = parse_json(file.read(length), path, "header")
    header = _header_from(entries, path)
    stored = sum(bytes_ for _, _, planes in header.runs for _, bytes_ in planes)
    if stored != room - length:
        raise DamagedFile(path, "truncated, or longer than it says", expected=stored, found=room - length)
    return header


def read_packed(path: Path) -> WeightRecords:
    """The tensors of a packed file, as its header lists them. Where their bytes lie is true of the expanded file only.

    Raises:
        MissingFile, DamagedFile: as :func:`read_packed_header`.
    """
    return _records(read_packed_header(path), path)


def _runs(records: Iterable[TensorRecord]) -> Iterator[tuple[str, int]]:
    """Consecutive numbers of one format, in the order of the file: format and count."""
    pending: tuple[str, int] | None = None
    for record in records:
        name, count = record.dtype.name, record.elements
        if pending is not None and pending[0] == name:
            count += pending[1]
        elif pending is not None and pending[1]:
            yield pending
        while count > RUN_ELEMENTS:
            yield name, RUN_ELEMENTS
            count -= RUN_ELEMENTS
        pending = (name, count)
    if pending is not None and pending[1]:
        yield pending


def _expanded(source: Path, header: PackedHeader) -> Iterator[bytes]:
    """The expanded file, piece by piece."""
    text = header.header.encode()
    yield len(text).to_bytes(_LENGTH_BYTES, "little") + text
    lender = lender_of(source, header)
    if lender is None:
        yield from _numbers(source, header)
        return
    if not lender.is_file():
        raise MissingFile(lender, f"{source.name} leaves tensors to a file that is not there")
    other = read_packed_header(lender)
    if other.base is not None:
        raise DamagedFile(lender, "leaves tensors to a file itself, so that nothing can be left to it")
    own, loan = _Stream(_numbers(source, header)), _Stream(_numbers(lender, other))
    places = iter(in_order(_records(other, lender)))
    for name, record in in_order(_records(header, source)):
        if name in header.own:
            yield own.take(record.bytes)
            continue
        for found, there in places:
            passing = loan.take(there.bytes)
            if found == name:
                yield passing
                break
        else:
            raise DamagedFile(lender, f"has not what {source.name} leaves to it", key=name)


class _Stream:
    """Bytes that come in pieces, taken in other pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, bytearray()

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer at the end."""
        while len(self._rest) < count and (piece := next(self._pieces, None)) is not None:
            self._rest += piece
        taken = bytes(self._rest[:count])
        del self._rest[:count]
        return taken


def _numbers(source: Path, header: PackedHeader) -> Iterator[bytes]:
    """What the streams of a packed file expand to."""
    with source.open("rb") as file:
        file.seek(source.stat().st_size - sum(size for _, _, planes in header.runs for _, size in planes))
        for dtype, elements, planes in header.runs:
            yield put_together(_planes(file, dtype, elements, planes, source), dtype, elements)


def _planes(
    file: BinaryIO, dtype: str, elements: int, planes: tuple[tuple[str, int], ...], source: Path
) -> Iterator[Bytes]:
    for (form, size), count in zip(planes, plane_sizes(dtype, elements), strict=True):
        yield restore(form, file.read(size), count, source)


def _header_from(entries: dict[str, Any], path: Path) -> PackedHeader:
    """A header from its JSON, with every claim checked that a reader relies on."""
    try:
        version, base = entries.pop("version"), entries.get("base")
        if version != (VERSION if base is None else LEAN_VERSION):
            raise ValueError("written by another version of this program")
        if base is not None and not (isinstance(base, str) and base.endswith(SUFFIX)):
            raise ValueError("tensors are left to what is no packed file")
        runs = tuple(
            (str(d), int(n), tuple((str(f), int(s)) for f, s in planes)) for d, n, planes in entries.pop("runs")
        )
        own = tuple(str(name) for name in entries.pop("own", ()))
        header = PackedHeader(runs=runs, own=own, **entries)
        for dtype, elements, planes in runs:
            counts = plane_sizes(dtype, elements)
            if not 0 < elements <= RUN_ELEMENTS or len(planes) != len(counts):
                raise ValueError("a run of impossible length")
            if any(form not in FORMS or size < 0 for form, size in planes):
                raise ValueError("a stream of unknown form")
        mine = [record for name, record in in_order(_records(header, path)) if base is None or name in own]
        if [(dtype, elements) for dtype, elements, _ in runs] != list(_runs(mine)):
            raise ValueError("the runs are not those of the tensors")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFile(path, "the header makes no sense", found=f"{type(error).__name__}: {error}"[:120]) from error
    return header
