"""What lighter passes lose: blocks that attention skips, and numbers in eight bits, on Toybox and on structured inputs.

    python bench/light_passes.py [--steps 0 5 10 15 19] [--clips 2]      on a CPU, about ten minutes on one core
    python bench/light_passes.py --smoke                                 as small as it goes; writes nothing

Attention of Toybox's experts is taken from a walk with its preset at 224×128×33 (1,008 tokens, 63 blocks of 16; a block
of 128 would be an eighth of them). Queries and keys of true size (832×480×81, heads of 128, blocks of 128) are made up:
moving things that tokens belong to, and a part that all tokens share, which rotary positions turn into a liking for
what is near. Everything is computed on the CPU in fp32; eight bits are emulated with the roundings of the kernels.

Claims: ``toybox.blocks.*`` and ``structured.blocks.*``, the share of attention that is read and the relative L2 error
of its result by way of choosing and budget; ``toybox.velocity.*``, that of the velocity; ``toybox.eight_bit.*``, that
of layers' outputs and of the velocity by group of layers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from claims import Measured, processor, report, write
from filmgate.engine.kernels.attention import Attend, sdpa
from filmgate.engine.kernels.block_attention import KeptBlocks, blocks_of
from filmgate.engine.kernels.block_choice import ChoiceRule, Geometry, choose_blocks, head_counts, kept_best
from filmgate.engine.kernels.eight_bit_product import rounded_rows
from filmgate.engine.kernels.norm import rms_norm
from filmgate.engine.kernels.rope import apply_rope, rope_table
from filmgate.engine.kernels.skipped_blocks import kept_mask, pooled
from filmgate.engine.kernels.token_order import CELL, TokenOrder, block_places, token_order
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import TextCache, WanDiT
from filmgate.engine.models.eight_bit import GROUPS, eight_bit_layers
from filmgate.engine.pipeline.speed import TRANSFORMER
from filmgate.engine.runtime.eight_bit_linear import EightBitRule
from filmgate.engine.runtime.light_attention import LightRule
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.engine.sampling.schedules import sigmas, timestep
from filmgate.spec import ExpertName, VideoShape
from filmgate.training.painting import Painter
from toybox_bench import HERE, shipped

PROMPTS = (
    "a red ball rolls past a blue cube, the camera dollies in",
    "a green cone bounces on sand at dusk, the camera pans left",
    "two yellow cubes on snow", "a blue ball flies over grass",
)  # fmt: skip
BUDGETS = (0.125, 0.25, 0.5)
SIZE = VideoShape(frames=33, height=128, width=224)
SMALL_BLOCK, SMALL_CELL = 16, (2, 2)
"""An eighth of the tokens of a true block, in cells that make it as deep, four latent frames."""
TRUE_GRID, TRUE_HEADS, TRUE_DIM, SAMPLED = (21, 30, 52), 4, 128, 12
SHARED = (1.6, 0.9, 0.5, 0.0)
"""How much of queries and keys all tokens share, by head: from one that looks near to one that does not."""


class Attention(NamedTuple):
    """Queries, keys and values, [1, L, N, Dh] each, frame by frame, over a grid of tokens."""

    q: Tensor
    k: Tensor
    v: Tensor
    grid: tuple[int, int, int]


class Seen(NamedTuple):
    """What a pass of an expert was given, and what it gave."""

    expert: ExpertName
    x: Tensor
    clock: Tensor
    texts: TextCache
    velocity: Tensor


# ---------------------------------------------------------------------------------------------------- what is looked at


@torch.no_grad()
def walk(painter: Painter, prompt: str, seed: int, wanted: Sequence[int]) -> Iterator[tuple[list[Attention], Seen]]:
    """The self-attention of every layer, and the conditional pass, at some steps of a walk."""
    settings = painter.settings
    levels = sigmas(settings.solver, settings.steps, settings.shift)
    clocks = {index: timestep(levels[index], settings.solver) for index in wanted}
    states = painter.states([prompt], [seed], settings)
    latents = [painter.noise([seed]), *states]
    features = painter.features([prompt])
    for index, clock in clocks.items():
        expert = painter.expert(clock, settings.boundary)
        network, taken = painter.experts[expert], list[Attention]()
        latent = latents[index]
        _, _, frames, height, width = latent.shape
        handles = watch(network, taken, (frames, height // 2, width // 2))
        clock_row, texts = latent.new_full((1,), clock), network.text_keys_values(features)
        velocity = network(latent, clock_row, text_cache=texts)
        for block, before in zip(network.text_blocks(), handles, strict=True):
            block.self_attn.attend = before
        yield taken, Seen(expert, latent, clock_row, texts, velocity)


def watch(network: WanDiT, taken: list[Attention], grid: tuple[int, int, int]) -> list[Attend]:
    """Let every layer's attention be noted; returns what was there before."""

    def noted(q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        taken.append(Attention(q, k, v, grid))
        return sdpa(q, k, v)

    before = [block.self_attn.attend for block in network.text_blocks()]
    for block in network.text_blocks():
        block.self_attn.attend = noted
    return before


def structured(seed: int, grid: tuple[int, int, int] = TRUE_GRID) -> Attention:
    """Attention of true size with things that move, and heads that look near or far; see the module."""
    draw = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in grid), indexing="ij")
    time, row, column = (axis.flatten() for axis in axes)
    things = 6
    start, speed = torch.rand(2, things, 2, generator=draw)
    size = 0.1 + 0.15 * torch.rand(things, generator=draw)
    moment = (time / grid[0])[:, None]
    far = ((row / grid[1])[:, None] - start[:, 0] - (speed[:, 0] - 0.5) * moment) ** 2
    far = far + ((column / grid[2])[:, None] - start[:, 1] - (speed[:, 1] - 0.5) * moment) ** 2
    belongs = torch.cat([(-far / size**2).exp(), torch.full((len(time), 1), 0.3)], dim=1)
    belongs = belongs / belongs.sum(1, keepdim=True)
    width = TRUE_HEADS * TRUE_DIM
    looks = torch.randn(things + 1, width, generator=draw)
    shared = torch.randn(width, generator=draw).view(TRUE_HEADS, TRUE_DIM) * torch.tensor(SHARED)[:, None]
    weight, rope = torch.full((width,), 1.7), rope_table(grid, TRUE_DIM)

    def projected() -> Tensor:
        noise = torch.randn(len(time), width, generator=draw)
        raw = belongs @ looks + shared.flatten() + 0.7 * noise
        return apply_rope(rms_norm(raw[None], weight, 1e-6).unflatten(-1, (TRUE_HEADS, TRUE_DIM)), *rope)

    values = belongs @ torch.randn(things + 1, width, generator=draw) + torch.randn(len(time), width, generator=draw)
    return Attention(projected(), projected(), values[None].unflatten(-1, (TRUE_HEADS, TRUE_DIM)), grid)


# --------------------------------------------------------------------------------------------------------------- blocks


Choose = Callable[[Attention, Tensor, int, float], KeptBlocks]
"""Ordered attention, true weights of blocks [N, R, R] (where they are known), tokens of a block and budget to lists."""


def by_rule(
    attention: Attention, _true: Tensor, block: int, budget: float, order: TokenOrder, **rule: object
) -> KeptBlocks:
    """As the product chooses."""
    made = ChoiceRule(budget, **rule)  # type: ignore[arg-type]
    geometry = Geometry.of(block_places(attention.grid, block, order), made)
    return choose_blocks(attention.q, attention.k, geometry, made, block)


def by_chance(_attention: Attention, true: Tensor, block: int, budget: float) -> KeptBlocks:
    """The own block and any others."""
    blocks = true.shape[-1]
    drawn = torch.rand(true.shape, generator=torch.Generator().manual_seed(0))
    drawn = drawn.masked_fill(torch.eye(blocks, dtype=torch.bool), 2)
    return kept_best(drawn[None], [max(1, round(budget * blocks))] * len(true), block)


def by_truth(_attention: Attention, true: Tensor, block: int, budget: float, *, per_head: bool = False) -> KeptBlocks:
    """The blocks that really have most weight, which nobody knows beforehand."""
    count = max(1, round(budget * true.shape[-1]))
    counts = head_counts(true, count, 1) if per_head else [count] * len(true)
    return kept_best(true[None], counts, block)


def ways(order: TokenOrder) -> dict[str, Choose]:
    """All ways of choosing, in an order of tokens."""
    rule = partial(by_rule, order=order)
    return {
        "chance": by_chance,
        "place": partial(rule, pooled=0.0, radial=1.0),
        "means": rule,
        "both": partial(rule, radial=0.5),
        "means, per head": partial(rule, per_head=True),
        "truth": by_truth,
    }  # fmt: skip


def judged(
    attention: Attention,
    order: TokenOrder,
    block: int,
    chosen: dict[str, Choose],
    budgets: Sequence[float],
    sampled: int | None = None,
) -> dict[tuple[str, float], Tensor]:
    """(share read, error without summary, error with it) of every way and budget, over blocks of queries.

    Args:
        attention: Frame by frame.
        order: Of the tokens.
        block: Tokens of a block.
        chosen: The ways.
        budgets: Shares of the blocks.
        sampled: How many blocks of queries are looked at; None: all.
    """
    q, k, v = (x.index_select(1, order.places) for x in attention[:3])
    ordered = Attention(q, k, v, attention.grid)
    length, blocks = q.shape[1], blocks_of(q.shape[1], block)
    rows = range(blocks) if sampled is None else range(0, blocks, max(1, blocks // sampled))
    number = torch.arange(length) // block
    queries, keys, values = (x[0].transpose(0, 1) for x in (q, k, v))
    scores = [queries[:, row * block : (row + 1) * block] * q.shape[-1] ** -0.5 @ keys.transpose(1, 2) for row in rows]
    true = torch.zeros(len(queries), blocks, blocks)
    for row, some in zip(rows, scores, strict=True):
        weights = some.softmax(-1).mean(1)
        true[:, row] = torch.zeros(len(queries), blocks).index_add_(1, number, weights)
    means = [pooled(x, block)[0] for x in (k, v)]
    found: dict[tuple[str, float], Tensor] = {}
    for name, choose in chosen.items():
        for budget in budgets:
            kept = choose(ordered, true, block, budget)
            mask = torch.zeros(len(queries), blocks, blocks)
            for group in kept.groups:
                mask[slice(None) if group.heads is None else group.heads] = kept_mask(group.index, 1)[0].float()
            parts = [_row(some, mask[:, row], number, means, values) for row, some in zip(rows, scores, strict=True)]
            exact, plain, summary = (torch.cat([part[index] for part in parts], dim=1) for index in range(3))
            read = (true * mask)[:, list(rows)].sum(-1).mean()
            found[name, budget] = torch.stack([read, *(_relative(one, exact) for one in (plain, summary))])
    return found


def _row(
    scores: Tensor, mask: Tensor, number: Tensor, means: Sequence[Tensor], values: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Dense attention of one block of queries [N, r, Dh], that to the blocks of a mask [N, R], and with the others'
    means beside."""
    largest = scores.amax(-1, keepdim=True)
    weights = (scores - largest).exp()
    exact = weights @ values / weights.sum(-1, keepdim=True)
    some = weights * mask[:, number][:, None]
    top, sums = some @ values, some.sum(-1, keepdim=True)
    # The mean key's score is the mean of the scores.
    count = number.bincount().float()
    mean = torch.zeros(*scores.shape[:2], len(count)).index_add_(2, number, scores) / count
    others = (mean - largest).exp() * count * (1 - mask)[:, None]
    return exact, top / sums, (top + others @ means[1]) / (sums + others.sum(-1, keepdim=True))


def _relative(found: Tensor, expected: Tensor) -> Tensor:
    error: Tensor = (found - expected).norm() / expected.norm()
    return error


def averaged(parts: Sequence[dict[tuple[str, float], Tensor]]) -> dict[tuple[str, float], Tensor]:
    """Means over what was looked at."""
    return {key: torch.stack([part[key] for part in parts]).mean(0) for key in parts[0]}


# ------------------------------------------------------------------------------------------------------- whole networks


@torch.no_grad()
def velocities(painter: Painter, seen: Sequence[Seen], choices: Choices) -> float:
    """Relative L2 of the velocity of networks with choices, mean over passes."""
    errors = []
    for expert in {one.expert for one in seen}:
        network = deepcopy(painter.experts[expert])
        own = [one for one in seen if one.expert == expert]
        prepare(network, choices, TRANSFORMER)
        errors += [float(_relative(network(one.x, one.clock, text_cache=one.texts), one.velocity)) for one in own]
    return sum(errors) / len(errors)


def light(budget: float | None, *, summary: bool = True, eight_bit: bool = False) -> Choices:
    """Light attention in all blocks but the first."""
    choice = None if budget is None else ChoiceRule(budget)
    return Choices(light=LightRule(
        choice=choice, summary=summary, eight_bit=eight_bit, dense_layers=(0,), cell=SMALL_CELL, block=SMALL_BLOCK
    ))  # fmt: skip


def narrow(config: DitConfig, groups: Sequence[str], *, all_blocks: bool = False) -> Choices:
    """Products of groups of layers in eight bits."""
    return Choices(eight_bit=EightBitRule(tuple(eight_bit_layers(config, groups, all_blocks=all_blocks))))


@torch.no_grad()
def outputs(painter: Painter, seen: Sequence[Seen], group: str) -> float:
    """Relative L2 of the outputs of a group's layers for what they are given in wide passes, mean over them."""
    errors: list[float] = []

    def compared(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        found = rounded_rows(inputs[0]).wide() @ rounded_rows(weight[None]).wide()[0].t() + bias
        errors.append(float(_relative(found, output)))

    for one in seen:
        network = painter.experts[one.expert]
        layers = [network.get_submodule(name) for name in eight_bit_layers(network.config, [group])]
        handles = [layer.register_forward_hook(compared) for layer in layers]
        network(one.x, one.clock, text_cache=one.texts)
        for handle in handles:
            handle.remove()
    return sum(errors) / len(errors)


# ----------------------------------------------------------------------------------------------------------------- runs


def measure(options: argparse.Namespace) -> Iterator[Measured]:
    """All claims."""
    painter = Painter(shipped(HERE.parent / ".cache"), torch.device("cpu"))
    if not options.smoke:
        painter.video = SIZE
    judgements: dict[str, list[dict[tuple[str, float], Tensor]]] = {}
    seen: list[Seen] = []
    for index, prompt in enumerate(PROMPTS[: options.clips]):
        for taken, one in walk(painter, prompt, index, options.steps):
            seen.append(one)
            for attention in taken[:: options.every]:
                for name, cell in (("", SMALL_CELL), (".by_frame", attention.grid[1:])):
                    order = token_order(attention.grid, cell)
                    chosen = ways(order) if not name else {"means": ways(order)["means"], "truth": by_truth}
                    judgements.setdefault(f"toybox.blocks{name}", []).append(
                        judged(attention, order, SMALL_BLOCK, chosen, options.budgets)
                    )
    for seed in range(options.structured):
        attention = structured(seed, (5, 6, 8) if options.smoke else TRUE_GRID)
        for name, cell in (("", CELL), (".by_frame", attention.grid[1:])):
            order = token_order(attention.grid, cell)
            chosen = ways(order) if not name else {"means": ways(order)["means"], "truth": by_truth}
            judgements.setdefault(f"structured.blocks{name}", []).append(
                judged(attention, order, 16 if options.smoke else 128, chosen, options.budgets, SAMPLED)
            )
    for key, parts in judgements.items():
        for (way, budget), numbers in averaged(parts).items():
            stem = f"{key}.{way.replace(', ', '_').replace(' ', '_')}.{budget * 100:g}"
            for label, value in zip(("read", "error", "error_with_summary"), numbers.tolist(), strict=True):
                yield Measured(f"{stem}.{label}", round(value, 4), "", None, label == "read")
    yield from of_velocity(painter, seen, options.budgets)


def of_velocity(painter: Painter, seen: Sequence[Seen], budgets: Sequence[float]) -> Iterator[Measured]:
    """Errors of the velocity, and of layers."""
    changes: dict[str, Choices] = {}
    config = next(iter(painter.experts.values())).config  # experts are alike
    for budget in budgets:
        for summary in (False, True):
            changes[f"toybox.velocity.blocks.{budget * 100:g}{'.summary' if summary else ''}"] = light(
                budget, summary=summary
            )
    changes["toybox.velocity.blocks.25.summary.eight_bit"] = light(0.25, eight_bit=True)
    changes["toybox.eight_bit.attention.velocity"] = light(None, eight_bit=True)
    for group in GROUPS:
        yield _small(f"toybox.eight_bit.{_slug(group)}.output", outputs(painter, seen, group))
        changes[f"toybox.eight_bit.{_slug(group)}.velocity"] = narrow(config, [group])
    changes["toybox.eight_bit.products.velocity"] = narrow(config, list(GROUPS))
    changes["toybox.eight_bit.products_of_all_blocks.velocity"] = narrow(config, list(GROUPS), all_blocks=True)
    for key, choices in changes.items():
        yield _small(key, velocities(painter, seen, choices))


def _small(key: str, value: float) -> Measured:
    return Measured(key, float(f"{value:.3g}"), "", None, False)


def _slug(name: str) -> str:
    return name.replace("-", "_").replace(" ", "_")


def main() -> int:
    """Measure and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[0, 4, 9, 14, 19], help="of the walk, of 20")
    parser.add_argument("--clips", type=int, default=2, help=f"up to {len(PROMPTS)}")
    parser.add_argument("--every", type=int, default=2, help="every so many-th layer's blocks")
    parser.add_argument("--structured", type=int, default=2, help="made-up inputs")
    parser.add_argument("--smoke", action="store_true", help="as small as it goes; writes nothing")
    options = parser.parse_args()
    options.budgets = BUDGETS
    if options.smoke:
        options.steps, options.clips, options.every, options.structured = [1], 1, 8, 1
        options.budgets = (0.25,)
    measured = []
    for number in measure(options):
        print(f"{number.id}: {number.value}", flush=True)
        measured.append(number)
    if not options.smoke:
        report(write("light_passes", measured, hardware=processor(), folder=Path(HERE) / "results"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
