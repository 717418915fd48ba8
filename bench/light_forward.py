"""Passes in eight bits and with sparse attention, and the kernels that they are made of: parts of bench/forward.py.

Random weights say what such passes take, and what eight bits lose in one of them. What sparse attention loses they do
not say: queries and keys of random weights look at everything alike (bench/light_passes.py has it for Toybox).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

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
from filmgate.engine.models.eight_bit import eight_bit_layers
from filmgate.engine.pipeline.speed import lighten
from filmgate.engine.runtime.attention_race import KERNELS, why_not
from filmgate.engine.runtime.eight_bit_linear import compute_in_eight_bits
from filmgate.engine.runtime.light_attention import LightRule
from filmgate.engine.runtime.prepare import call_attention
from filmgate.spec import FilmgateError

BUDGETS = (0.5, 0.25)
Seconds = Callable[..., list[float]]
"""``seconds`` of bench/forward.py."""


def rule_of(budget: float, *, small: bool) -> ChoiceRule:
    """As the product chooses; of the two blocks of a trial one is read."""
    return ChoiceRule(budget, near=1) if small else ChoiceRule(budget)


def relative(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ / ‖expected‖, in fp32: these are large."""
    wide = expected.float()
    return float((found.float() - wide).norm() / wide.norm())


def light_passes(
    network: WanDiT, run: Callable[[], Tensor], plain: Tensor, device: torch.device, seconds: Seconds, *, small: bool
) -> dict[str, Any]:
    """Passes of a network with fused blocks; it is spent afterwards.

    Args:
        network: With cuDNN's attention on a GPU.
        run: One pass.
        plain: Its velocity as it was written.
        device: Where it is.
        seconds: Times.
        small: A trial on the CPU.
    """
    found: dict[str, Any] = {}
    if why_not("flash4", device) is None:
        attempt(found, "flash4", run, plain, device, seconds, lambda: call_attention(network, KERNELS["flash4"]))
    rule = LightRule(choice=rule_of(BUDGETS[-1], small=small), eight_bit=True, block=16 if small else 128)
    light = None
    try:
        light = lighten(network, rule)
    except FilmgateError as error:
        found["light_failed"] = str(error)

    def narrow() -> None:
        found["narrow_layers"] = len(compute_in_eight_bits(network, eight_bit_layers(network.config), keep=False))

    def turn(*, sparse: bool, eight_bit: bool) -> None:
        assert light is not None
        light.sparse, light.narrow = sparse, eight_bit

    if light is not None:
        attempt(found, "sparse_bf16", run, plain, device, seconds, partial(turn, sparse=True, eight_bit=False))
        turn(sparse=False, eight_bit=False)
    attempt(found, "8bit_products", run, plain, device, seconds, narrow)
    if light is not None:
        attempt(found, "8bit", run, plain, device, seconds, partial(turn, sparse=False, eight_bit=True))
        attempt(found, "sparse", run, plain, device, seconds, partial(turn, sparse=True, eight_bit=True))
        light.rule = LightRule(choice=rule.choice, eight_bit=True, summary=False, block=rule.block)
        attempt(found, "sparse_without_summary", run, plain, device, seconds, lambda: None)
    return found


def attempt(
    found: dict[str, Any], name: str, run: Callable[[], Tensor], plain: Tensor, device: torch.device, seconds: Seconds,
    change: Callable[[], object],
) -> None:  # fmt: skip
    """Time a pass after a change, or note why it cannot be made: one kernel must not cost the others."""
    try:
        change()
        first = run()
        found[name] = seconds(run, device, 2, 0)
        found[f"{name}.relative_error"] = relative(first, plain)
        found[f"{name}.repeats"] = torch.equal(run(), first)
    except (FilmgateError, RuntimeError, ImportError, NotImplementedError, ValueError) as error:
        found[f"{name}_failed"] = f"{type(error).__name__}: {error}"[:500]


def light_attention(
    grid: tuple[int, int, int], heads: int, width: int, device: torch.device, seconds: Seconds, *, small: bool
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
            _timed(found, name, partial(attend, q, k, v), expected, operations, device, seconds)
    for name, kernel in (("bf16", block_attention), ("8bit", eight_bit_attention)):
        _timed(found, name, partial(kernel, q, k, v, every), expected, operations, device, seconds)
    order = token_order(grid, CELL)
    for budget in BUDGETS:
        rule = rule_of(budget, small=small)
        geometry = Geometry.of(block_places(grid, block, order), rule, device)
        choose = partial(choose_blocks, q, k, geometry, rule, block)
        found[f"choice.{budget:g}"] = statistics.median(seconds(choose, device, 3))
        kept = choose()
        for name, kernel in (("bf16", block_attention), ("8bit", eight_bit_attention)):
            for summary in (False, True):
                work = partial(kernel, q, k, v, kept, summary=summary)
                label = f"{name}.{budget:g}{'.summary' if summary else ''}"
                _timed(found, label, work, None, operations, device, seconds)
    found["blocks"] = blocks_of(length, block)
    return found


def _timed(
    found: dict[str, Any], name: str, work: Callable[[], Tensor], expected: Tensor | None, operations: int,
    device: torch.device, seconds: Seconds,
) -> None:  # fmt: skip
    try:
        first = work()
        taken = statistics.median(seconds(work, device, 3, 0))
    except (RuntimeError, ImportError, NotImplementedError, ValueError) as error:
        found[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
        return
    found[name] = {"seconds": taken, "tera_operations_per_second": operations / taken / 1e12}
    if expected is not None:
        found[name]["relative_error"] = relative(first[:, :256], expected)
    found[name]["repeats"] = torch.equal(work(), first)


def light_operations(
    length: int, dim: int, wide: int, heads: tuple[int, int], device: torch.device, seconds: Seconds
) -> dict[str, Any]:
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
        found[name] = {"seconds": taken, "tera_bytes_per_second": moved / taken / 1e12}
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
