"""Checkpoints of random weights at true layer shapes, in shards as they are published, for bench/loading.py."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from filmgate.engine.checkpoints.tensors import build_empty
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from true_size_models import Row, chosen, tiny
from true_size_weights import GIB

MODEL = "wan2.2-t2v-a14b.1280x720x81"
SHARD = 10e9
"""Largest shard in bytes; a checkpoint has three at least."""
STORED = {"bf16": torch.bfloat16, "fp32": torch.float32}
Stored = Literal["bf16", "fp32"]
_STD = 0.014


def row_of(*, small: bool) -> Row:
    """The model, tiny for a trial."""
    row = next(row for row in chosen((MODEL,), "important") if isinstance(row, Row))
    return tiny(row) if small else row


def config_of(gib: float, stored: Stored, *, small: bool) -> DitConfig:
    """A14B's transformer with as many layers as fit."""
    whole = row_of(small=small).sizes.dit
    sizes = {count: bytes_of(replace(whole, num_layers=count), stored) for count in range(1, whole.num_layers + 1)}
    return replace(whole, num_layers=max((count for count, size in sizes.items() if size <= gib * GIB), default=1))


def shapes_of(config: DitConfig) -> dict[str, torch.Size]:
    """Of all tensors, in the order of the alphabet."""
    return {name: tensor.shape for name, tensor in sorted(build_empty(lambda: WanDiT(config)).state_dict().items())}


def bytes_of(config: DitConfig, stored: Stored) -> int:
    """Of all tensors."""
    return STORED[stored].itemsize * sum(shape.numel() for shape in shapes_of(config).values())


def write_checkpoint(config: DitConfig, stored: Stored, folder: Path, seed: int = 0) -> Path:
    """Shards of random weights, and their index, which is returned."""
    dtype, total = STORED[stored], bytes_of(config, stored)
    shards: list[dict[str, torch.Size]] = [{}]
    held = 0
    for name, shape in shapes_of(config).items():
        if held >= min(SHARD, total / 3):
            shards.append({})
            held = 0
        shards[-1][name] = shape
        held += dtype.itemsize * shape.numel()
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        path = folder / f"diffusion_pytorch_model-{number:05}-of-{len(shards):05}.safetensors"
        places.update(dict.fromkeys(shard, path.name))
        write_shard(path, shard, dtype, seed=seed)
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}))
    return index


def write_shard(path: Path, shard: Mapping[str, torch.Size], dtype: torch.dtype, *, seed: int) -> None:
    """A safetensors file of random weights, on the disk when this returns."""
    block = (torch.randn(1 << 22, generator=torch.Generator().manual_seed(seed)) * _STD).to(dtype)
    data = block.view(torch.uint8).numpy().tobytes()
    ends = list(itertools.accumulate(dtype.itemsize * shape.numel() for shape in shard.values()))
    header = {
        name: {
            "dtype": {2: "BF16", 4: "F32"}[dtype.itemsize], "shape": list(shape),
            "data_offsets": [end - dtype.itemsize * shape.numel(), end],
        }
        for (name, shape), end in zip(shard.items(), ends, strict=True)
    }  # fmt: skip
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb", buffering=0) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        left = ends[-1]
        while left:
            left -= file.write(memoryview(data)[: min(left, len(data))])
        os.fsync(file.fileno())
