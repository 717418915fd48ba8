"""What the GPU could do at best: operations and bytes of the parts of a pass and of decoding, counted from shapes.

The roofs are those of the data sheet of an H200: 989 TFLOP/s in bf16, twice as many in e4m3, and 4.8 TB/s. Every input
is read once and every output written once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from filmgate.engine.kernels.block_attention import BLOCK, blocks_of
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.eight_bit import wide_blocks
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.engine.runtime.light_attention import LightRule
from filmgate.spec import LatentShape
from true_size_weights import materialised

PEAK, PEAK_8BIT, BANDWIDTH = 989e12, 1979e12, 4.8e12
NORM_OPERATIONS = 20
"""Of a fused norm, per number."""


class Part(NamedTuple):
    """Operations and bytes of a kind of kernel, and the seconds that they take at the roofs."""

    operations: float
    bytes: float
    floor: float


def part(operations: float, moved: float, peak: float = PEAK) -> Part:
    """A kernel at its roof, or several that are alike."""
    return Part(operations, moved, max(operations / peak, moved / BANDWIDTH))


def together(parts: Iterable[Part]) -> Part:
    """Kernels one after the other."""
    return Part(*(math.fsum(numbers) for numbers in zip(*parts, strict=True)))


def parts_of(
    config: DitConfig, tokens: int, *, eight_bit: bool = False, rule: LightRule | None = None
) -> dict[str, Part]:
    """What one pass for one text does, by kind of kernel; bf16, with the residual stream in fp32.

    Args:
        config: Of the transformer.
        tokens: Of the video.
        eight_bit: Whether products are in e4m3 but in the blocks that stay wide.
        rule: Of self-attention that is light.
    """
    layers = config.num_layers
    wide = len(wide_blocks(config)) if eight_bit else layers
    products = [
        wide * [_products(config, tokens, 2, PEAK)],
        (layers - wide) * [_products(config, tokens, 1, PEAK_8BIT)],
    ]
    attention = [_attention(config, tokens, rule, layer) for layer in range(layers)]
    n, d = tokens, config.dim
    # In e4m3 a norm writes one byte and not two, and the GELU is in a kernel of its own, which rounds.
    extra = (layers - wide) * (3.0 * n * config.ffn_dim + 2 * 3.0 * n * d - 3 * n * d)
    norms = part(layers * NORM_OPERATIONS * 7.0 * n * d, layers * 52.0 * n * d + extra)
    return {
        "attention": together(attention),
        "products": together(one for some in products for one in some),
        "norms": norms,
    }


def _products(config: DitConfig, tokens: int, width: int, peak: float) -> Part:
    """The eight products of one block, numbers of ``width`` bytes in and bf16 out."""
    n, d, f = tokens, config.dim, config.ffn_dim
    square = part(2.0 * n * d * d, width * (n * d + d * d) + 2.0 * n * d, peak)
    first = part(2.0 * n * d * f, width * (n * d + d * f) + 2.0 * n * f, peak)
    second = part(2.0 * n * d * f, width * (n * f + d * f) + 2.0 * n * d, peak)
    return together([*[square] * 6, first, second])


def _attention(config: DitConfig, tokens: int, rule: LightRule | None, layer: int) -> Part:
    """Both attentions of a block; that to text is always dense and in bf16."""
    n, d, rows = tokens, config.dim, config.text_len
    text = part(4.0 * n * rows * d, 2.0 * (2 * n * d + 2 * rows * d))
    eight = rule is not None and rule.eight_bit
    peak, width = (PEAK_8BIT, 1) if eight else (PEAK, 2)
    share, means = 1.0, 0.0
    if rule is not None and rule.choice is not None and layer not in rule.dense_layers:
        count = blocks_of(n, BLOCK)
        share = rule.choice.count(count) / count
        means = (1 - share) / BLOCK if rule.summary else 0.0
    read = part(4.0 * n * n * d * share, n * d * (3.0 * width + 2), peak)
    # Means are read in bf16 whatever the rest is in.
    summary = part(4.0 * n * n * d * means, 2.0 * n * d if means else 0.0)
    return together([text, read, summary])


class _Convolutions(TorchDispatchMode):
    """Counts the convolutions that are called, without computing anything on ``meta``."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Part] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function is torch.ops.aten.convolution.default:
            x, weight = args[0], args[1]
            operations = 2.0 * result.numel() * weight[0].numel()
            moved = sum(tensor.numel() * tensor.element_size() for tensor in (x, weight, result))
            self.found.append(part(operations, moved))
        return result


@torch.no_grad()
def convolutions_of(config: VaeConfig, latent: LatentShape, frames: int) -> Part:
    """The convolutions of decoding some latent frames by the stream, in bf16."""
    device = torch.device("meta")
    network = materialised(lambda: WanVae(config), device, lambda _: torch.bfloat16)
    z = torch.empty(1, config.z_dim, frames, latent.height, latent.width, device=device)
    with _Convolutions() as seen:
        for _ in network.decode_chunks(z):
            pass
    return together(seen.found)
