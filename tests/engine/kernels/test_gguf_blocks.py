"""Block formats of GGUF against the library that defines them, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from filmgate.engine.kernels.gguf_blocks import DECODERS


def random_blocks(name: str, count: int = 40) -> np.ndarray:
    """Any bytes, but scales that are finite numbers: every bit pattern of the small integers occurs."""
    _, size, _ = DECODERS[name]
    rng = np.random.default_rng(len(name))
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for place in halves(name, size):
        blocks[:, place : place + 2] = rng.normal(0, 0.1, (count, 1)).astype(np.float16).view(np.uint8)
    return blocks


def halves(name: str, size: int) -> tuple[int, ...]:
    """Where the fp16 numbers of a block are."""
    if name in ("Q3_K", "Q6_K"):
        return (size - 2,)
    if name == "Q2_K":
        return (size - 4, size - 2)
    return (0, 2) if name in ("Q4_1", "Q5_1", "Q4_K", "Q5_K") else (0,)


@pytest.mark.parametrize("name", DECODERS)
def test_numbers_are_those_of_the_library(name: str) -> None:
    blocks = random_blocks(name)
    expected = dequantize(blocks, GGMLQuantizationType[name])
    found = DECODERS[name][2](torch.from_numpy(blocks))
    assert found.dtype == torch.float32
    assert np.isfinite(expected).all()
    assert np.array_equal(found.numpy().view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("name", DECODERS)
def test_sizes_are_those_of_the_library(name: str) -> None:
    assert GGML_QUANT_SIZES[GGMLQuantizationType[name]] == DECODERS[name][:2]
