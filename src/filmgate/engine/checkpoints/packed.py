"""Weights packed for shipping, and their expansion into an ordinary model directory. Without torch.

A packed file is a safetensors file in a form that takes about half as many bytes, and gives it back bit by bit:

``magic | length of the header (8 bytes, little endian) | header (JSON) | streams``

The streams are described in :mod:`~.planes`. Rounding mantissas before packing is what makes files small: every bit
less is an eighth of a byte per weight, since a plane of zeros costs nothing. Four bits make a relative error of 1.8 %
(rms), five 0.9 %, seven none.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
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
from filmgate.engine.checkpoints.records import DTYPES, MAX_HEADER_BYTES, WeightRecords, file_size, parse_json
from filmgate.media.publish import replace, scratch, writable
from filmgate.spec.errors import DamagedFile, InvalidRequest, MissingFile

if TYPE_CHECKING:
    from filmgate.engine.checkpoints.planes import Bytes

SUFFIX = ".planes"
"""Appended to the name of a packed file."""
BORROWED = "borrowed.json"
"""In a packed directory: files of the expanded one, by the packed files beside this directory that they come from."""
MAGIC = b"FILMGATE PLANES\n"
VERSION = 1
RUN_ELEMENTS = 1 << 21
"""Longest run of numbers that is packed together; bounds the memory of an expansion."""
_LENGTH_BYTES = 8
_STALE_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class PackedHeader:
    """What a packed file says of itself.

    Attributes:
        mantissa_bits: To which bf16 numbers were rounded (7: not at all).
        bytes, sha256: Of the expanded file.
        header: The safetensors header of the expanded file.
        runs: Per run of numbers of one format: its name, how many, and of each plane the form and its stored bytes.
    """

    mantissa_bits: int
    bytes: int
    sha256: str
    header: str
    runs: tuple[tuple[str, int, tuple[tuple[str, int], ...]], ...]


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
        for dtype, elements in _runs(records):
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
    text = json.dumps({"version": VERSION, **asdict(header)}, separators=(",", ":")).encode()
    with scratch(destination) as part:
        with writable(destination), part.open("wb") as output:
            output.write(MAGIC + len(text).to_bytes(_LENGTH_BYTES, "little") + text)
            output.writelines(payloads)
        replace(part, destination)
    return header


def unpack(source: Path, destination: Path) -> PackedHeader:
    """Expand a packed file; the result has the SHA-256 that the file promises, or is not published.

    Raises:
        MissingFile: there is no such file.
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


def pack_directory(
    source: Path, destination: Path, mantissa_bits: int = 5, exceptions: Mapping[str, int] | None = None, *,
    lenders: Sequence[Path] = (),
) -> None:  # fmt: skip
    """Pack every safetensors file of a model directory and copy the rest.

    Args:
        source: An ordinary model directory.
        destination: Must not exist yet; appears complete or not at all.
        mantissa_bits: As in :func:`pack`.
        exceptions: Other numbers of bits, by patterns of paths such as ``"*VAE*"``.
        lenders: Packed directories beside ``destination``: what they have too is not kept twice but named in
            :data:`BORROWED`.

    Raises:
        InvalidRequest, CheckpointError, OutputError: as :func:`pack`.
    """
    part = _part_of(destination)
    known = {
        read_packed_header(path).sha256: path
        for lender in lenders for path in _files(lender) if path.suffix == SUFFIX
    }  # fmt: skip
    borrowed: dict[str, str] = {}
    try:
        for path in _files(source):
            place, name = part / path.relative_to(source), path.relative_to(source).as_posix()
            with writable(destination):
                place.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".safetensors":
                bits = next((n for pattern, n in (exceptions or {}).items() if fnmatch(name, pattern)), mantissa_bits)
                packed = place.with_name(place.name + SUFFIX)
                found = known.get(pack(path, packed, bits).sha256)
                if found is not None:
                    borrowed[name] = Path(os.path.relpath(found, destination)).as_posix()
                    packed.unlink()
            else:
                with writable(destination):
                    shutil.copyfile(path, place)
        with writable(destination):
            if borrowed:
                (part / BORROWED).write_text(json.dumps(borrowed, indent=2) + "\n", encoding="utf-8")
            part.rename(destination)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_packed(path: Path) -> bool:
    """Whether a file is packed by its name, or a directory has packed files, in itself or in its folders."""
    if path.is_file():
        return path.suffix == SUFFIX
    return any(any(path.glob(pattern)) for pattern in (f"*{SUFFIX}", f"*/*{SUFFIX}", BORROWED))


def read_packed(path: Path) -> WeightRecords:
    """The tensors of a packed file, as its header lists them. Where their bytes lie is true of the expanded file only.

    Raises:
        MissingFile, DamagedFile: as :func:`read_packed_header`.
    """
    header = read_packed_header(path)
    text = header.header.encode()
    return parse_header(text, path, header.bytes - _LENGTH_BYTES - len(text))


def materialise(directory: Path, cache_root: Path) -> Path:
    """An ordinary model directory with the contents of a packed one, made in a cache when it is first needed.

    The directory's name in the cache ends in a fingerprint of the contents, so that other contents become another
    directory. It appears complete, by a rename: processes that do this at the same time do not disturb each other, and
    one that dies leaves only a hidden directory, which a later call removes after a day.

    Args:
        directory: A packed directory; one without packed files is returned as it is.
        cache_root: Made if it does not exist.

    Raises:
        MissingFile: there is no such directory.
        DamagedFile: a packed file is truncated or altered.
        MissingFile: what it borrows is not there.
        OutputError: the cache cannot be written.
    """
    if not directory.is_dir():
        raise MissingFile(directory, "there is no such directory")
    if not is_packed(directory):
        return directory
    sizes, fingerprint = _contents(directory)
    target = cache_root / f"{directory.name}-{fingerprint[:16]}"
    if _is_whole(target, sizes):
        return target
    with writable(target):
        cache_root.mkdir(parents=True, exist_ok=True)
    _remove_stale(cache_root)
    part = _part_of(target)
    try:
        _expand_directory(directory, part, target)
        _publish(part, target, sizes)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _expand_directory(directory: Path, part: Path, target: Path) -> None:
    for name, path in _contained(directory).items():
        place = part / name
        with writable(target):
            place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == SUFFIX:
            unpack(path, place)
        else:
            with writable(target):
                shutil.copyfile(path, place)


def _publish(part: Path, target: Path, sizes: Mapping[str, int]) -> None:
    """Rename a finished directory to where it belongs, unless another process was faster; replace what is damaged."""
    for _ in range(2):
        try:
            part.rename(target)
            return
        except OSError:
            if _is_whole(target, sizes):
                return
            if not target.exists():
                break
            with writable(target):
                broken = _part_of(target)
                target.rename(broken)
            shutil.rmtree(broken, ignore_errors=True)
    with writable(target):
        part.rename(target)


def _contents(directory: Path) -> tuple[dict[str, int], str]:
    """Sizes of the files of the expanded directory, and a hash of everything in it. Packed files are not read for that
    but vouched for by the hash in their header, which the expansion verifies."""
    sizes: dict[str, int] = {}
    digest = hashlib.sha256()
    for name, path in _contained(directory).items():
        packed = path.suffix == SUFFIX
        if packed:
            header = read_packed_header(path)
            sizes[name], content = header.bytes, header.sha256
        else:
            data = path.read_bytes()
            sizes[name], content = len(data), hashlib.sha256(data).hexdigest()
        digest.update(f"{name}{SUFFIX if packed else ''}\0{content}\0".encode())
    return sizes, digest.hexdigest()


def _is_whole(target: Path, sizes: Mapping[str, int]) -> bool:
    try:
        return all((target / name).stat().st_size == size for name, size in sizes.items())
    except OSError:
        return False


def _remove_stale(cache_root: Path) -> None:
    for path in cache_root.glob(".*.part"):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def _part_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")


def _contained(directory: Path) -> dict[str, Path]:
    """Names of the files of the expanded directory, and the packed or plain files that they are made of."""
    names: dict[str, Path] = {}
    for path in _files(directory):
        place = path.relative_to(directory)
        if place.as_posix() != BORROWED:
            names[(place.with_suffix("") if path.suffix == SUFFIX else place).as_posix()] = path
    found = names | dict(_borrowed(directory))
    # In the order of the files of a directory that has all of them itself: both have one fingerprint.
    return dict(sorted(found.items(), key=lambda item: Path(item[0] + (SUFFIX if item[1].suffix == SUFFIX else ""))))


def _borrowed(directory: Path) -> Iterator[tuple[str, Path]]:
    """What another packed directory beside this one has of it; nothing from anywhere else."""
    table = directory / BORROWED
    if not table.is_file():
        return
    for name, place in sorted(parse_json(table.read_bytes(), table, "file").items()):
        path = directory / str(place)
        beside = path.resolve().is_relative_to(directory.resolve().parent)
        within = (directory / name).resolve().is_relative_to(directory.resolve())
        if not (beside and within) or path.suffix != SUFFIX:
            raise DamagedFile(table, "not a packed file beside this directory", key=name, found=str(place))
        if not path.is_file():
            raise MissingFile(path, f"{directory.name} borrows a file that is not there", key=name)
        yield name, path


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix != ".pyc")


def _runs(records: WeightRecords) -> Iterator[tuple[str, int]]:
    """Consecutive numbers of one format, in the order of the file: format and count."""
    pending: tuple[str, int] | None = None
    for record in sorted(records.tensors.values(), key=lambda record: record.begin or 0):
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
        if entries.pop("version") != VERSION:
            raise ValueError("written by another version of this program")
        runs = tuple(
            (str(d), int(n), tuple((str(f), int(s)) for f, s in planes)) for d, n, planes in entries.pop("runs")
        )
        header = PackedHeader(runs=runs, **entries)
        text, total = header.header.encode(), header.bytes
        for dtype, elements, planes in runs:
            counts = plane_sizes(dtype, elements)
            if not 0 < elements <= RUN_ELEMENTS or len(planes) != len(counts):
                raise ValueError("a run of impossible length")
            if any(form not in FORMS or size < 0 for form, size in planes):
                raise ValueError("a stream of unknown form")
        records = parse_header(text, path, total - _LENGTH_BYTES - len(text))
        if [(dtype, elements) for dtype, elements, _ in runs] != list(_runs(records)):
            raise ValueError("the runs are not those of the tensors")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedFile(path, "the header makes no sense", found=f"{type(error).__name__}: {error}"[:120]) from error
    return header
