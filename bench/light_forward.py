"""Passes in eight bits and with sparse attention, and the kernels that they are made of: parts of bench/forward.py.

Random weights say what such passes take, and what eight bits lose in one of them. What sparse attention loses they do
not say: queries and keys of random weights look at everything alike (bench/light_passes.py has it for Toybox).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from filmgate.direction.acceleration import WAYS
from filmgate.engine.kernels.attention import attention_reference
from filmgate.engine.kernels.block_attention import all_blocks, block_attention, blocks_of, installed_version
from filmgate.engine.kernels.block_choice import ChoiceRule, Geometry, choose_blocks
from filmgate.engine.kernels.eight_bit_attention import eight_bit_attention
from filmgate.engine.kernels.eight_bit_product import (
    eight_bit_product,
    residual_norm_rounded,
    rounded_rows,
    rounded_weight,
)
from filmgate.engine.kernels.residual_norm import Modulation
from filmgate.engine.kernels.token_order import CELL, block_places, token_order
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.pipeline.speed import TRANSFORMER, eight_bit_rule, light_rule
from filmgate.engine.runtime.attention_race import KERNELS, why_not
from filmgate.engine.runtime.light_attention import LightAttention, LightRule
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.spec.speed import AttentionKernel
from floors import BANDWIDTH
from forward_measure import let_go, seconds
from forward_profile import profile

BUDGETS = (0.5, 0.25)
LIGHTEST = WAYS["fast"][0]
"""The way of the profile ``fast`` that is tried first: what ``sparse`` and ``8bit`` are passes of."""


def rule_of(budget: float, *, small: bool) -> ChoiceRule:
    """As the product chooses; of the two blocks of a trial one is read."""
    return ChoiceRule(budget, near=1) if small else ChoiceRule(budget)


def product_rule(*, small: bool) -> LightRule:
    """The self-attention of :data:`LIGHTEST` as the product makes it, dense blocks and all; in a trial of smaller
    blocks."""
    rule = light_rule(LIGHTEST)
    if rule is None or rule.choice is None:
        raise AssertionError(f"{LIGHTEST} does not choose blocks")
    return replace(rule, choice=replace(rule.choice, near=1), block=16) if small else rule


def relative(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ / ‖expected‖, in fp32: these are large."""
    wide = expected.float()
    return float((found.float() - wide).norm() / wide.norm())


def usual_kernel(device: torch.device) -> AttentionKernel:
    """The dense attention of every reading that names no other one."""
    return "cudnn" if device.type == "cuda" else "torch"


class Passes(NamedTuple):
    """Passes of networks with the same weights: ``build`` makes one as it is written, ``run`` makes a pass of it, and
    ``plain`` is the velocity of that."""

    build: Callable[[], WanDiT]
    run: Callable[[WanDiT], Tensor]
    plain: Tensor
    device: torch.device


class Light(NamedTuple):
    """What self-attention does in a reading."""

    attention: LightAttention
    sparse: bool
    narrow: bool


def light_passes(passes: Passes, *, small: bool) -> dict[str, Any]:
    """Passes of networks with fused blocks.

    A dense kernel has a network of its own. The other readings share one, whose self-attention is light and, from the
    second on, whose products are in eight bits; each sets what self-attention does, and all say which dense kernel is
    around (``NAME.attention``). Tokens are in the order of sparse attention also where all blocks are read, which takes
    a thousandth of a pass.

    Args:
        passes: Of the networks.
        small: A trial on the CPU.
    """
    device = passes.device
    found: dict[str, Any] = {}
    if why_not("flash4", device) is None:
        network = passes.build()
        prepare(network, Choices(attend=KERNELS["flash4"], forward=fused_block), TRANSFORMER)
        attempt(found, "flash4", passes, network, kernel="flash4")
        del network
        let_go(device)
    network = passes.build()
    dense = Choices(attend=KERNELS[usual_kernel(device)], forward=fused_block)
    rule = product_rule(small=small)
    light = None
    try:
        light = prepare(network, replace(dense, light=rule), TRANSFORMER).light
    except Exception as error:
        found["light_failed"] = _reason(error)
        prepare(network, dense, TRANSFORMER)

    def narrow() -> None:
        choices = Choices(eight_bit=eight_bit_rule(network.config, LIGHTEST))
        found["narrow_layers"] = len(prepare(network, choices, TRANSFORMER).eight_bit)

    def doing(*, sparse: bool, narrow: bool) -> Light | None:
        return None if light is None else Light(light, sparse, narrow)

    if light is not None:
        attempt(found, "sparse_bf16", passes, network, doing(sparse=True, narrow=False))
    attempt(found, "8bit_products", passes, network, doing(sparse=False, narrow=False), change=narrow)
    if light is not None:
        attempt(found, "8bit", passes, network, doing(sparse=False, narrow=True), profiled=True)
        attempt(found, "sparse", passes, network, doing(sparse=True, narrow=True), profiled=True)
        found["sparse.dense_layers"] = list(rule.dense_layers)
        light.rule = replace(rule, summary=False)
        attempt(found, "sparse_without_summary", passes, network, doing(sparse=True, narrow=True))
    return found


def attempt(
    found: dict[str, Any], name: str, passes: Passes, network: WanDiT, light: Light | None = None, *,
    kernel: AttentionKernel | None = None, change: Callable[[], object] | None = None, profiled: bool = False,
) -> None:  # fmt: skip
    """Time a pass, or note why it cannot be made: one kernel must not cost the others.

    Args:
        found: Gets what was seen.
        name: Of the reading.
        passes: Of the networks.
        network: Which is measured.
        light: What its self-attention does; None: it is not one that could be light.
        kernel: Its dense attention; None: the usual one.
        change: What else is different from now on.
        profiled: Whether kernels are counted too.
    """
    found[f"{name}.attention"] = kernel or usual_kernel(passes.device)
    try:
        if change is not None:
            change()
        if light is not None:
            light.attention.sparse, light.attention.narrow = light.sparse, light.narrow
        run = partial(passes.run, network)
        first = run()
        found[name] = seconds(run, passes.device, 2, 0)
        found[f"{name}.relative_error"] = relative(first, passes.plain)
        found[f"{name}.repeats"] = torch.equal(run(), first)
        if profiled:
            found[f"{name}_kernels"] = profile(run, passes.device)
    except Exception as error:
        found[f"{name}_failed"] = _reason(error)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]


def light_attention(
    grid: tuple[int, int, int], heads: int, width: int, device: torch.device, *, small: bool
) -> dict[str, Any]:
    """Attention by itself at the true shape of a model: seconds, speed on the dense operation count, and error of the
    first queries against fp32 where all blocks are read."""
    found: dict[str, Any] = {"package": installed_version()}
    block = 16 if small else 128
    length = grid[0] * grid[1] * grid[2]
    draw = torch.Generator(device).manual_seed(0)
    shape = (1, length, heads, width)
    q, k, v = (torch.randn(shape, device=device, dtype=torch.bfloat16, generator=draw) for _ in range(3))
    k = k + torch.randn(1, 1, heads, width, device=device, dtype=torch.bfloat16, generator=draw)
    expected = attention_reference(q[:, :256].float(), k.float(), v.float())
    operations = 4 * length**2 * heads * width
    every = all_blocks(length, heads, block, device)
    for name, attend in (("flash4", KERNELS["flash4"]), ("cudnn", KERNELS["cudnn"]), ("torch", KERNELS["torch"])):
        if device.type == "cuda" and why_not(name, device) is None:  # type: ignore[arg-type]
            _timed(found, name, partial(attend, q, k, v), expected, operations, device)
    for name, kernel in (("bf16", block_attention), ("8bit", eight_bit_attention)):
        _timed(found, name, partial(kernel, q, k, v, every), expected, operations, device)
    order = token_order(grid, CELL)
    for budget in BUDGETS:
        rule = rule_of(budget, small=small)
        geometry = Geometry.of(block_places(grid, block, order), rule, device)
        choose = partial(choose_blocks, q, k, geometry, rule, block)
        found[f"choice.{100 * budget:.0f}"] = statistics.median(seconds(choose, device, 3))
        kept = choose()
        for name, kernel in (("bf16", block_attention), ("8bit", eight_bit_attention)):
            for summary in (False, True):
                work = partial(kernel, q, k, v, kept, summary=summary)
                label = f"{name}.{100 * budget:.0f}{'.summary' if summary else ''}"
                _timed(found, label, work, None, operations, device)
    found["blocks"] = blocks_of(length, block)
    return found


def _timed(
    found: dict[str, Any], name: str, work: Callable[[], Tensor], expected: Tensor | None, operations: int,
    device: torch.device,
) -> None:  # fmt: skip
    try:
        first = work()
        taken = statistics.median(seconds(work, device, 3, 0))
    except Exception as error:
        found[name] = {"failed": _reason(error)}
        return
    found[name] = {"seconds": taken, "tera_operations_per_second": operations / taken / 1e12}
    if expected is not None:
        found[name]["relative_error"] = relative(first[:, :256], expected)
    found[name]["repeats"] = torch.equal(work(), first)


def light_operations(length: int, dim: int, wide: int, heads: tuple[int, int], device: torch.device) -> dict[str, Any]:
    """What rounds rows, in bytes per second, and products in eight bits beside those in bf16, in operations."""
    draw = torch.Generator(device).manual_seed(0)

    def normal(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return torch.randn(shape, device=device, dtype=dtype, generator=draw)

    found: dict[str, Any] = {}
    x, update = normal(1, length, dim, dtype=torch.float32), normal(1, length, dim)
    rows = Modulation(*(normal(1, dim, dtype=torch.float32) for _ in range(3)))
    hidden = normal(1, length, wide)
    apart = normal(1, heads[0], length, heads[1]).transpose(1, 2)
    works: dict[str, tuple[Callable[[], object], int]] = {
        "residual_norm_rounded": (partial(residual_norm_rounded, x, update, rows, 1e-6), 11 * x.numel()),
        "rounded_rows.gelu": (partial(rounded_rows, hidden, gelu=True), 3 * hidden.numel()),
        "rounded_rows.heads": (partial(rounded_rows, apart, heads=True), 3 * apart.numel()),
    }
    for name, (work, moved) in works.items():
        taken = statistics.median(seconds(work, device, 5))
        found[name] = {
            "seconds": taken, "floor": moved / BANDWIDTH, "tera_bytes_per_second": moved / taken / 1e12,
        }  # fmt: skip
    for name, source, outputs in (("square", update, dim), ("in", update, wide), ("out", hidden, dim)):
        weight = normal(outputs, source.shape[-1])
        narrow, rounded = rounded_weight(weight), rounded_rows(source)
        operations = 2 * length * outputs * source.shape[-1]
        products: dict[str, Callable[[], Tensor]] = {
            "bf16": partial(torch.nn.functional.linear, source, weight),
            "8bit": partial(eight_bit_product, rounded, narrow, None, torch.bfloat16),
        }
        for kind, product in products.items():
            taken = statistics.median(seconds(product, device, 5))
            found[f"product.{name}.{kind}"] = {
                "seconds": taken, "tera_operations_per_second": operations / taken / 1e12,
            }  # fmt: skip
        exact = torch.nn.functional.linear(source[:, :256].float(), weight.float())
        found[f"product.{name}.relative_error"] = relative(products["8bit"]()[:, :256], exact)
    return found
