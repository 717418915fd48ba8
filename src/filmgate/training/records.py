"""What a training run leaves behind: weights as safetensors, curves as JSON lines. Both are written atomically or
appended, so that a run cut off in the middle loses at most one evaluation."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from filmgate.engine.checkpoints.headers import read_safetensors
from filmgate.engine.checkpoints.packed_file import SUFFIX, pack, read_packed, unpack
from filmgate.media.publish import replace, scratch, writable
from filmgate.spec.errors import DamagedFile, MissingFile

PROGRESS = "progress"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Publish ``tensors`` (moved to the CPU) at ``path`` by atomic rename.

    Raises:
        OutputError: the directory cannot be made or written to, or the disk is full.
    """
    here = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with scratch(path) as part:
        with writable(path, SafetensorError):
            save_file(here, part, dict(metadata or {}))
        replace(part, path)


def progress_of(path: Path) -> float:
    """How far a run had come when it wrote its weights, packed or not: the share of its schedule, 0 if they do not
    say."""
    records = read_packed(path) if path.suffix == SUFFIX else read_safetensors(path)
    return float(records.metadata.get(PROGRESS, 0.0))


def reached(progress: float) -> dict[str, str]:
    """Metadata of weights that :func:`progress_of` reads."""
    return {PROGRESS: f"{progress:.6f}"}


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file that :func:`save_tensors` or :func:`keep` wrote, in fp32 where they are floating numbers.

    Raises:
        MissingFile: there is no such file.
        DamagedFile: it holds no tensors.
    """
    if not path.is_file():
        raise MissingFile(path, "there is no such file")
    if path.suffix != SUFFIX:
        try:
            return _wide(load_file(path))
        except SafetensorError as error:
            raise DamagedFile(path, f"not a sound file of tensors: {error}") from error
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.safetensors"
        unpack(path, plain)
        return _wide(load_file(plain))


def _wide(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.float() if t.dtype == torch.bfloat16 else t for name, t in tensors.items()}


def keep(source: Path, destination: Path, only: Sequence[str] = ()) -> None:
    """Pack the weights of a run as bf16 without further rounding: a third of the bytes, good enough to go on from.

    Args:
        only: How the names of the tensors begin that are kept; none: all are.
    """
    with tempfile.TemporaryDirectory() as folder:
        half = Path(folder) / "half.safetensors"
        tensors = {name: tensor for name, tensor in load_tensors(source).items()
                   if not only or name.startswith(tuple(only))}  # fmt: skip
        halved = {n: t.bfloat16() if t.is_floating_point() else t for n, t in tensors.items()}
        save_tensors(half, halved, reached(progress_of(source)))
        pack(half, destination, mantissa_bits=7)


class Curve:
    """Appends measurements to a JSON-lines file and prints them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def note(self, **values: float | int | str | list[float]) -> None:
        """Write one line."""
        line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()})
        with self.path.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)


def main() -> None:
    """Command line: ``python -m filmgate.training.records run/vae.safetensors kept/vae.planes``."""
    parser = argparse.ArgumentParser(description=keep.__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="how the names of the tensors begin that are kept")
    args = parser.parse_args()
    keep(args.source, args.destination, args.only)


if __name__ == "__main__":
    main()
