"""Tensors of a run as a file: safetensors, written whole or not at all, with a checksum of its own.

The format's header says how long a file must be, so that a truncated one is noticed; a flipped bit is not. The metadata
therefore hold the SHA-256 of everything else: of every tensor's name, dtype, shape and bytes, and of the metadata.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from filmgate.media.publish import write_bytes
from filmgate.spec.errors import DamagedFile, MissingFile

_CHECKSUM = "sha256"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors of any device and dtype, with ``metadata`` of any keys but ``sha256``. A file that is there is
    replaced in one moment, once the new one is on the disk.

    Raises:
        OutputError: the directory is missing or not writable, or the disk is full.
    """
    here = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(here, {**metadata, _CHECKSUM: _checksum(here, metadata)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and metadata of a file of :func:`write_tensors`.

    Raises:
        MissingFile: there is no such file.
        DamagedFile: it is not as it was written.
    """
    if not path.is_file():
        raise MissingFile(path, "there is no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = dict(file.metadata() or {})
            # Copies: a view of the mapped file lies at any address, and kernels may sum in another order there.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedFile(path, f"not a sound file of tensors: {error}") from error
    if metadata.pop(_CHECKSUM, None) != _checksum(tensors, metadata):
        raise DamagedFile(path, "its checksum is another than that of its contents")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
