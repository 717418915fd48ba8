"""Model directories packed for shipping, and their expansion into ordinary ones. Without torch.

A directory of the family need not have what its neighbour has: whole files are named in :data:`BORROWED`, and packed
files leave out tensors that the neighbour's file has too (:func:`~.packed_file.lean`).
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from filmgate.engine.checkpoints.packed_file import SUFFIX, lean, lender_of, pack, read_packed_header, unpack
from filmgate.engine.checkpoints.records import parse_json
from filmgate.media.publish import writable
from filmgate.spec.errors import DamagedFile, MissingFile

BORROWED = "borrowed.json"
"""In a packed directory: files of the expanded one, by the packed files beside this directory that they come from."""
_STALE_SECONDS = 24 * 3600.0


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
        lenders: Packed directories beside ``destination``: files that they have too are not kept twice but named in
            :data:`BORROWED`, and of files that are a quarter the same only the other tensors are kept.

    Raises:
        InvalidRequest, CheckpointError, OutputError: as :func:`pack`.
    """
    part = _part_of(destination)
    theirs = [path for lender in lenders for path in _files(lender) if path.suffix == SUFFIX]
    known = {read_packed_header(path).sha256: path for path in theirs}
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
                    any(lean(packed, path) for path in theirs)
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
    for path in names.values():
        base = lender_of(path, read_packed_header(path)) if path.suffix == SUFFIX else None
        if base is not None and not _is_beside(base, directory):
            raise DamagedFile(path, "leaves tensors to what is no packed file beside this directory", found=str(base))
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
        within = (directory / name).resolve().is_relative_to(directory.resolve())
        if not (_is_beside(path, directory) and within):
            raise DamagedFile(table, "not a packed file beside this directory", key=name, found=str(place))
        if not path.is_file():
            raise MissingFile(path, f"{directory.name} borrows a file that is not there", key=name)
        yield name, path


def _is_beside(path: Path, directory: Path) -> bool:
    return path.suffix == SUFFIX and path.resolve().is_relative_to(directory.resolve().parent)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.suffix != ".pyc")
