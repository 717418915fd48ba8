"""Weight files by their suffix: which reader a file needs, and shards with their index. Does not need torch."""

from __future__ import annotations

import re
from pathlib import Path

from filmgate.engine.checkpoints.gguf_header import read_gguf
from filmgate.engine.checkpoints.headers import read_safetensors
from filmgate.engine.checkpoints.pickled import read_pth
from filmgate.engine.checkpoints.records import TensorRecord, WeightRecords, check_count, check_name, read_json
from filmgate.spec.errors import DamagedFile, MissingFile, MissingTensor, UnexpectedTensor

SAFETENSORS, INDEX, PICKLES, GGUF = ".safetensors", ".safetensors.index.json", (".pth", ".pt", ".bin"), ".gguf"
SUFFIXES = (SAFETENSORS, *PICKLES, GGUF)
"""Of files that hold tensors."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")


def weight_files(folder: Path) -> list[Path]:
    """Weight files of a folder by name; a sharded one by its index only."""
    return sorted(
        path
        for path in folder.iterdir()
        if (path.name.endswith(INDEX) or (path.suffix in SUFFIXES and not _SHARD.search(path.name))) and path.is_file()
    )


def read_weights(path: Path) -> WeightRecords:
    """What a weight file, or the index of a sharded one, says of its tensors.

    Raises:
        MissingFile: it is not there, or a shard is not.
        DamagedFile, UnsafeCheckpoint: see the readers of the two formats.
        MissingTensor, UnexpectedTensor: index and shards contradict each other.
    """
    if path.name.endswith(INDEX):
        return _read_shards(path)
    if path.suffix == SAFETENSORS:
        return read_safetensors(path)
    if path.suffix in PICKLES:
        return read_pth(path)
    if path.suffix == GGUF:
        return read_gguf(path)
    raise DamagedFile(
        path, "not a weight file by its name", expected=", ".join((SAFETENSORS, INDEX, *PICKLES, GGUF)), found=path.name
    )


def _read_shards(index: Path) -> WeightRecords:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise DamagedFile(index, "not an index", key="weight_map", expected="file names by tensor", found=type(places))
    check_count(index, len(places))
    for name, place in places.items():
        check_name(index, name)
        if not isinstance(place, str) or place in ("", ".", "..") or Path(place).name != place or "\\" in place:
            raise DamagedFile(
                index, "a shard outside the directory", key=name, expected="a file name", found=repr(place)[:80]
            )
    names = sorted(set(places.values()))
    tensors: dict[str, TensorRecord] = {}
    for shard in names:
        if not (index.parent / shard).is_file():
            raise MissingFile(index.parent / shard, "a shard is missing", expected=f"{len(names)} shards")
        for name, record in read_safetensors(index.parent / shard).tensors.items():
            if places.get(name) != shard:
                raise UnexpectedTensor(
                    record.file, "a tensor that the index has elsewhere", key=name, found=places.get(name)
                )
            tensors[name] = record
    for name, place in places.items():
        if name not in tensors:
            raise MissingTensor(index.parent / place, "a tensor of the index is not in its shard", key=name)
    return WeightRecords(index, tuple(index.parent / shard for shard in names), tensors, {})
