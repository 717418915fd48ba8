"""Our blocks compiled by torch, and replayed as a CUDA graph; and both texts of guidance in one pass.

Parts of bench/forward.py. The engine does none of the first two; these readings say whether it should.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.dit_layers import Block
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.pipeline.speed import TRANSFORMER
from filmgate.engine.runtime.attention_race import KERNELS
from filmgate.engine.runtime.prepare import Choices, prepare
from forward_measure import dtype_of_parameter, inputs, let_go, relative, row_of, seconds, wait
from light_forward import usual_kernel
from true_size_weights import materialised

LAUNCHED = ("ti2v-5b", "a14b-480p")
"""The shapes where the processor is likeliest to keep the GPU waiting: small model, and small video."""
GUIDED = ("wan2.1-t2v-1.3b", "ti2v-5b", "a14b-480p")
COUNTS = (1024, 2048, 4096, 8192, 16384, 32768)
"""Tokens of one text's pass, around the 8192 up to which the engine makes both passes one."""
Work = Callable[[], Tensor]


@torch.no_grad()
def launches(device: torch.device, *, small: bool) -> dict[str, Any]:
    """One block, and all blocks in a row, by each way: seconds, and what compiling takes."""
    found = {}
    for name in LAUNCHED:
        found[name] = _launched(name, device, small=small)
        let_go(device)
    return found


def _launched(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    row = row_of(name, small=small)
    attend = KERNELS[usual_kernel(device)]

    def build() -> WanDiT:
        return materialised(lambda: WanDiT(row.sizes.dit), device, dtype_of_parameter)

    network = build()
    prepare(network, Choices(attend=attend), TRANSFORMER)
    seen = given(network, *inputs(row, device))
    found: dict[str, Any] = {"tokens": row.tokens}
    works = works_of(network, seen)
    plain = {place: work() for place, work in works.items()}
    found |= {f"{place}.plain": statistics.median(seconds(work, device, 3)) for place, work in works.items()}
    prepare(network, Choices(forward=fused_block), TRANSFORMER)
    for place, work in works.items():
        found[f"{place}.fused"] = statistics.median(seconds(work, device, 3))
        found[f"{place}.fused.launching"] = launching(work, device)
        found[f"{place}.fused.relative_error"] = relative(work(), plain[place])
        try:
            replay = captured(work, device)
            found[f"{place}.graph"] = statistics.median(seconds(replay, device, 3))
            found[f"{place}.graph.relative_error"] = relative(replay(), plain[place])
        except Exception as error:  # what cannot be captured must not cost what can be compiled
            found[f"{place}.graph_failed"] = f"{type(error).__name__}: {error}"[:500]
    del network, works
    let_go(device)
    try:
        network = build()  # the same weights: blocks take one form only
        backend = "aot_eager" if small else "inductor"
        form = torch.compile(Block.forward, fullgraph=True, dynamic=False, backend=backend)
        prepare(network, Choices(attend=attend, forward=form), TRANSFORMER)
        found |= compiled(works_of(network, seen), plain, device)
    except Exception as error:
        found["compiled_failed"] = f"{type(error).__name__}: {error}"[:500]
    return found


def works_of(network: WanDiT, seen: list[tuple[Any, ...]]) -> dict[str, Work]:
    """The block in the middle by itself, and all blocks in a row, on what :func:`given` saw."""
    layers = network.text_blocks()
    middle = len(layers) // 2

    def block() -> Tensor:
        result: Tensor = layers[middle](*seen[middle])
        return result

    def all_blocks() -> Tensor:
        x: Tensor = seen[0][0]
        for layer, (_, *others) in zip(layers, seen, strict=True):
            x = layer(x, *others)
        return x

    return {"block": block, "pass": all_blocks}


def given(network: WanDiT, x: Tensor, timestep: Tensor, text: Tensor) -> list[tuple[Any, ...]]:
    """What every block is called with in a pass; all get the tokens of the first, which are all that is kept."""
    seen: list[tuple[Any, ...]] = []

    def note(_block: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append((seen[0][0] if seen else arguments[0], *arguments[1:]))

    handles = [layer.register_forward_pre_hook(note) for layer in network.text_blocks()]
    network(x, timestep, text_cache=network.text_keys_values(text))
    for handle in handles:
        handle.remove()
    return seen


def launching(work: Work, device: torch.device) -> float:
    """Seconds until the processor has told the device all of it: where they are fewer than the device takes, there is
    nothing that a graph could save."""
    found = []
    for _ in range(3):
        wait(device)
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    wait(device)
    return statistics.median(found)


def captured(work: Work, device: torch.device) -> Work:
    """A call that replays ``work`` as a CUDA graph; on a CPU, which has none, the work itself."""
    if device.type != "cuda":
        return work
    beside = torch.cuda.Stream(device)
    beside.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(beside):
        for _ in range(2):  # compiles and chooses before anything is recorded
            work()
    torch.cuda.current_stream(device).wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> Tensor:
        graph.replay()
        return result

    return replay


def compiled(works: dict[str, Work], plain: dict[str, Tensor], device: torch.device) -> dict[str, Any]:
    """The plain block compiled, one graph for all of them.

    ``compiling.cold`` begins with an empty cache. ``compiling.cached`` comes after, in the same process with all that
    torch holds of it forgotten, so that it reads the cache's files; a new process imports the compiler besides.
    """
    from torch._dynamo.utils import counters
    from torch._inductor.utils import fresh_cache

    found: dict[str, Any] = {}
    with fresh_cache():
        for name in ("cold", "cached"):
            torch.compiler.reset()
            counters.clear()
            wait(device)
            start = time.perf_counter()
            works["block"]()
            wait(device)
            found[f"compiling.{name}"] = time.perf_counter() - start
        for place, work in works.items():
            found[f"{place}.compiled"] = statistics.median(seconds(work, device, 3))
            found[f"{place}.compiled.launching"] = launching(work, device)
            found[f"{place}.compiled.relative_error"] = relative(work(), plain[place])
        found["graphs"] = counters["stats"]["unique_graphs"]
    torch.compiler.reset()
    return found


@torch.no_grad()
def guidance(device: torch.device, *, small: bool) -> dict[str, Any]:
    """Both passes of guidance one after the other, and as a batch of two texts, by model and number of tokens."""
    found: dict[str, Any] = {}
    for name in GUIDED:
        row = row_of(name, small=small)
        config = row.sizes.dit
        network = materialised(lambda config=config: WanDiT(config), device, dtype_of_parameter)
        prepare(network, Choices(attend=KERNELS[usual_kernel(device)], forward=fused_block), TRANSFORMER)
        draw = torch.Generator(device).manual_seed(0)
        texts = torch.randn(2, config.text_len, config.text_dim, device=device, generator=draw).bfloat16()
        caches = [network.text_keys_values(text) for text in (texts[:1], texts[1:], texts)]
        side = 2 if small else 16
        found[name] = {}
        for count in (8, 16) if small else COUNTS:
            x = torch.randn(1, config.in_dim, count // side**2, 2 * side, 2 * side, device=device, generator=draw)
            clock = torch.full((1, count) if config.per_token_timestep else (1,), 500.0, device=device)
            one, other, both = (partial(network, x, clock, text_cache=cache) for cache in caches)

            def in_turn(one: Work = one, other: Work = other) -> Tensor:
                return torch.cat([one(), other()])

            apart, together = in_turn(), both()
            found[name][str(count)] = {
                "sequential": statistics.median(seconds(in_turn, device, 3)),
                "batched": statistics.median(seconds(both, device, 3)),
                "relative_error": relative(together, apart),
            }  # fmt: skip
        del network, caches
        let_go(device)
    return found
