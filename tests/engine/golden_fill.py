"""Deterministic contents for the golden vectors: no weights, no random generator, nothing to download.

Every value is a hash of the tensor's name and the element's index, so that any implementation with the same parameter
names can be filled the same way and its output compared with a handful of published numbers.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor, nn

UNIT_SCALE = ("modulation", "emb_pos", "cls_embedding", "pos_embedding")
PLAIN = ("pos_embedding.embedding.weight", "token_embedding.weight")


def uniform(seed: int, count: int) -> np.ndarray:
    """``count`` values in [-1, 1), float64."""
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed)) & mask
    h ^= h >> np.uint64(16)
    h = h * np.uint64(2246822519) & mask
    h ^= h >> np.uint64(13)
    h = h * np.uint64(3266489917) & mask
    h ^= h >> np.uint64(16)
    return h.astype(np.float64) / 2.0**32 * 2 - 1


def golden_array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Float64 values in [-1, 1) of the given shape, C order."""
    return uniform(zlib.crc32(name.encode()), math.prod(shape)).reshape(shape)


def golden_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """:func:`golden_array` as an fp32 tensor."""
    return torch.from_numpy(golden_array(name, tuple(shape)).astype(np.float32))


def golden_parameter(name: str, shape: tuple[int, ...]) -> Tensor:
    """Contents of the parameter ``name`` (original checkpoint name), fp32."""
    u = golden_array(name, tuple(shape))
    last = name.rsplit(".", 1)[-1]
    if name.endswith(PLAIN):
        value = u
    elif last == "gamma" or (last == "weight" and len(shape) == 1):
        value = 1 + 0.2 * u
    elif last == "bias":
        value = 0.1 * u
    elif last in UNIT_SCALE:
        value = 0.2 * u
    else:
        value = u * math.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy(value.astype(np.float32))


@torch.no_grad()
def fill_parameters(module: nn.Module) -> nn.Module:
    """Fill all parameters of ``module`` in place and return it in evaluation mode."""
    for name, parameter in module.named_parameters():
        parameter.copy_(golden_parameter(name, tuple(parameter.shape)))
    return module.eval()


def fingerprint(x: Tensor) -> tuple[list[float], list[float]]:
    """([mean, rms], [first 6 and last 4 values]) of the C-order flattening, in float64."""
    flat = x.detach().double().flatten()
    return (
        [flat.mean().item(), flat.pow(2).mean().sqrt().item()],
        [*flat[:6].tolist(), *flat[-4:].tolist()],
    )
