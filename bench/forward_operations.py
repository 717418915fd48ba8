"""Attention and the fused operations by themselves, at the sizes of the models: parts of bench/forward.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from filmgate.engine.kernels.attention import attention_reference, cudnn_attention, sdpa
from filmgate.engine.kernels.channel_norm import (
    biased_sum,
    channel_rms_silu_after,
    channel_rms_silu_reference,
    lies_for_kernels,
)
from filmgate.engine.kernels.gelu import gelu_tanh, linear_gelu_tanh
from filmgate.engine.kernels.head_norm import norm_heads, norm_heads_reference
from filmgate.engine.kernels.residual_norm import Modulation, residual_norm, residual_norm_reference
from filmgate.engine.kernels.rope import rope_table
from floors import BANDWIDTH, PEAK, part
from forward_measure import ROWS, latent_of, relative, row_of, seconds


def attention(device: torch.device, *, small: bool) -> dict[str, Any]:
    """Attention by itself: seconds, speed, error against fp32 on the first queries, and whether bits repeat."""
    found = {}
    for name in ROWS:
        row = row_of(name, small=small)
        config = row.sizes.dit
        shape = (1, row.tokens, config.num_heads, config.head_dim)
        draw = torch.Generator(device).manual_seed(0)
        q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16, generator=draw) for _ in range(3))
        k = k + torch.randn(1, 1, *shape[2:], device=device, dtype=torch.bfloat16, generator=draw)
        expected = attention_reference(q[:, :256].float(), k.float(), v.float())
        operations = 4 * row.tokens**2 * config.dim
        floor = operations / PEAK
        kinds = {"torch": sdpa} if device.type == "cpu" else {"torch": sdpa, "cudnn": cudnn_attention}
        for kind, attend in kinds.items():
            first = attend(q, k, v)
            taken = statistics.median(seconds(partial(attend, q, k, v), device, 3))
            found[f"{name}.{kind}"] = {
                "seconds": taken, "floor": floor, "tera_operations_per_second": operations / taken / 1e12,
                "relative_error": relative(first[:, :256], expected),
                "repeats": all(torch.equal(attend(q, k, v), first) for _ in range(3)),
            }  # fmt: skip
    return found


def operations(device: torch.device, *, small: bool) -> dict[str, Any]:
    """The fused operations beside what they replace: error against fp64, seconds, and the least they could take."""
    return _of_transformer(device, small=small) | _product(device, small=small) | _of_vae(device, small=small)


def _of_transformer(device: torch.device, *, small: bool) -> dict[str, Any]:
    row = row_of("a14b-720p", small=small)
    config, length = row.sizes.dit, row.tokens
    draw = torch.Generator(device).manual_seed(0)

    def normal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.randn(shape, device=device, dtype=dtype, generator=draw)

    x, update = normal(1, length, config.dim), normal(1, length, config.dim, dtype=torch.bfloat16)
    rows = [normal(1, config.dim) for _ in range(3)]
    steered = Modulation(*rows)
    wide_rows = Modulation(*(row.double() for row in rows))
    exact = residual_norm_reference(x.double(), update, wide_rows, 1e-6, torch.float64)
    found = {}
    for name, function in (("residual_norm", residual_norm), ("residual_norm.plain", residual_norm_reference)):
        summed, normed = function(x, update, steered, 1e-6, torch.bfloat16)
        work = partial(function, x, update, steered, 1e-6, torch.bfloat16)
        taken = statistics.median(seconds(work, device, 5))
        found[name] = _moved(taken, 2 * x.nbytes + 2 * update.nbytes) | {
            "relative_error": relative(normed, exact[1]), "sum_error": relative(summed, exact[0]),
        }  # fmt: skip
    del exact, summed, normed
    heads, weight = (config.num_heads, config.head_dim), normal(config.dim)
    grid = (latent_of(row).frames, latent_of(row).height // 2, latent_of(row).width // 2)
    rope = rope_table(grid, config.head_dim, device)
    wide = norm_heads_reference(update.double(), weight.double(), 1e-6, heads, rope)
    for name, headed in (("norm_heads", norm_heads), ("norm_heads.plain", norm_heads_reference)):
        result = headed(update, weight, 1e-6, heads, rope)
        taken = statistics.median(seconds(partial(headed, update, weight, 1e-6, heads, rope), device, 5))
        found[name] = _moved(taken, 2 * update.nbytes) | {"relative_error": relative(result, wide)}
    return found


def _moved(taken: float, moved: float) -> dict[str, float]:
    """What is said of an operation that memory bounds."""
    return {"seconds": taken, "floor": moved / BANDWIDTH, "tera_bytes_per_second": moved / taken / 1e12}


@torch.no_grad()
def _product(device: torch.device, *, small: bool) -> dict[str, Any]:
    """The feed-forward product with its bias and GELU, unrounded in between, and the same in three calls."""
    row = row_of("a14b-720p", small=small)
    dim, wide = row.sizes.dit.dim, row.sizes.dit.ffn_dim
    draw = torch.Generator(device).manual_seed(0)
    x = torch.randn(1, row.tokens, dim, device=device, generator=draw).bfloat16()
    weight = (torch.randn(wide, dim, device=device, generator=draw) * dim**-0.5).bfloat16()
    bias = torch.randn(wide, device=device, generator=draw).bfloat16()
    exact = gelu_tanh(F.linear(x[:, :256].double(), weight.double(), bias.double()))
    operations = 2.0 * row.tokens * dim * wide
    moved = x.nbytes + weight.nbytes + 2.0 * row.tokens * wide

    def apart(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return gelu_tanh(F.linear(x, weight, bias))

    found = {}
    for name, product in (("linear_gelu", linear_gelu_tanh), ("linear_gelu.plain", apart)):
        result = product(x, weight, bias)
        taken = statistics.median(seconds(partial(product, x, weight, bias), device, 5))
        found[name] = {
            "seconds": taken, "floor": part(operations, moved).floor,
            "tera_operations_per_second": operations / taken / 1e12,
            "relative_error": relative(result[:, :256], exact),
        }  # fmt: skip
    return found


@torch.no_grad()
def _of_vae(device: torch.device, *, small: bool) -> dict[str, Any]:
    """The VAE's norm with SiLU behind the frames before it, and the sum that ends a residual block, at full resolution
    of the finest level; without a GPU the plain form alone."""
    row = row_of("a14b-720p", small=small)
    channels, video = row.sizes.vae.decoder_width, row.video
    draw = torch.Generator(device).manual_seed(0)

    def frames(count: int) -> Tensor:
        shape = (1, channels, count, video.height, video.width)
        made = torch.randn(shape, device=device, generator=draw).bfloat16()
        return made.contiguous(memory_format=torch.channels_last_3d)

    x, before, other = frames(4), frames(2), frames(4)
    bias = torch.randn(channels, device=device, generator=draw).bfloat16()
    gamma = torch.randn(channels, 1, 1, 1, device=device, generator=draw).bfloat16()

    def after(x: Tensor) -> Tensor:
        return channel_rms_silu_after(x, bias, gamma, before, 2)

    def after_plain(x: Tensor) -> Tensor:
        normed = channel_rms_silu_reference(x + bias.view(-1, 1, 1, 1), gamma)
        return torch.cat([before, normed], dim=2)

    def summed(x: Tensor) -> Tensor:
        return biased_sum(x, bias, other)

    def summed_plain(x: Tensor) -> Tensor:
        return x + bias.view(-1, 1, 1, 1) + other

    corner = (..., slice(16), slice(16))
    wide_x, wide_other = x[corner].double() + bias.double().view(-1, 1, 1, 1), other[corner].double()
    norm = wide_x.norm(dim=1, keepdim=True)
    unit = wide_x / norm * channels**0.5 * gamma.double()
    exact = {
        "channel_norm": torch.cat([before[corner].double(), F.silu(unit)], dim=2),
        "biased_sum": wide_x + wide_other,
    }
    # The frames before are copied: read and written.
    moved = {"channel_norm": 2 * (x.nbytes + before.nbytes), "biased_sum": 3 * x.nbytes}
    works: dict[str, Callable[[Tensor], Tensor]] = {"channel_norm.plain": after_plain, "biased_sum.plain": summed_plain}
    if lies_for_kernels(x):
        works |= {"channel_norm": after, "biased_sum": summed}
    found = {}
    for name, work in works.items():
        kind = name.removesuffix(".plain")
        error = relative(work(x)[corner], exact[kind])
        taken = statistics.median(seconds(partial(work, x), device, 5))
        found[name] = _moved(taken, moved[kind]) | {"relative_error": error}
    return found
