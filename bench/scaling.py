"""How much faster several GPUs are than one: a guided step of the transformer at true size, decoding and encoding.

    python bench/scaling.py --gpus 2 --json OUT [--only a14b-720p a14b-480p ti2v-5b]
    python bench/scaling.py --gpus 2 --smoke --json OUT      tiny networks and processes on the CPU, the same code
    python bench/scaling.py --merge OUT ... [--commit X]     writes the claims of runs

Random weights, the same on every rank. A guided step is what ranks divide: one latent and two texts. Every rank first
does it alone, all at the same time, and then with the others in every layout of as many ranks, in the first of these
also with an expert in parts (``sharded``); the same for decoding and encoding. Efficiency is the seconds of one over N
times the seconds of N, each the median of the passes after the first, as the slowest rank saw it. ``relative_error`` is
‖together − alone‖ / ‖alone‖.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from claims import RESULTS, Measured, commit, finished_runs, report, today, versions, write
from filmgate.backends.ranks import on_ranks
from filmgate.engine.kernels.attention import cudnn_attention
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.parallel import parallel_transformer
from filmgate.engine.pipeline.parallel_vae import parallel_vae
from filmgate.engine.runtime.parallel import Group, Team
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.runtime.prepare import call_attention, channels_last, run_as
from filmgate.engine.runtime.stream import stream_blocks, streamed_prefixes
from filmgate.spec import Layout
from forward import ROWS, dtype_of_parameter, inputs, latent_of, let_go, peak, relative, row_of, seconds
from true_size_weights import materialised

STEPS = 40
"""Of a video, all guided."""
GOALS = {("denoise", 2): 0.97, ("denoise", 4): 0.95, ("together", 2): 0.85, ("together", 4): 0.85}
GOAL_ROW = "a14b-720p"
PATIENCE = 120.0
"""Networks are filled while others wait."""


def layouts(count: int) -> list[Layout]:
    """Every way for as many ranks to share a guided step."""
    found = [Layout(sequence=count)]
    return found if count % 2 else [Layout(cfg=2, sequence=count // 2), *found]


def name_of(layout: Layout) -> str:
    return f"cfg{layout.cfg}.sequence{layout.sequence}"


@torch.no_grad()
def measure(parts: tuple[str, ...], count: int, small: bool, rank: int, meeting: str) -> Iterator[dict[str, Any]]:
    """What one rank does; the first one's results are those that count."""
    device = torch.device("cpu") if small else torch.device("cuda", rank)
    torch.set_num_threads(1)
    whole = Layout(sequence=count)
    joined = Team.join(whole, count, meeting, rank, device=device, patience=PATIENCE)
    with repeatable(1):
        for part in parts:
            found: dict[str, Any] = {"part": part, "tokens": row_of(part, small=small).tokens}
            found |= transformer(part, joined, device, small=small)
            for work in ("decode", "encode"):
                found[work] = coder(part, work, joined, device, small=small)
            yield found
    joined.leave()


def transformer(part: str, joined: Team, device: torch.device, *, small: bool) -> dict[str, Any]:
    """A guided step, alone, in every layout, and with blocks that are put together from all ranks."""
    row = row_of(part, small=small)
    x, timestep, text = inputs(row, device)
    texts = torch.cat([text, text.flip(1)])
    found: dict[str, Any] = {}
    alone: Tensor | None = None
    every = layouts(joined.layout.ranks)
    for layout, parts in ((None, False), *((layout, False) for layout in every), (every[0], True)):
        network = materialised(lambda: WanDiT(row.sizes.dit), device, dtype_of_parameter)
        if parts:
            network = sharded(network, joined.everyone, device)
        if device.type == "cuda":
            call_attention(network, cudnn_attention)
        run_as(network.text_blocks(), fused_block)
        if layout is not None:
            parallel_transformer(network, Team.formed(layout, row.sizes.dit.num_heads, joined.rank, PATIENCE))
        cache = network.text_keys_values(texts)
        run: Callable[[], Tensor] = partial(network, x, timestep, text_cache=cache)
        first = run()
        alone = first if alone is None else alone
        peak(device)
        joined.meet()
        taken = slowest(statistics.median(seconds(run, device, 3)))
        name = "sharded" if parts else "alone" if layout is None else name_of(layout)
        found[name] = {"seconds": taken, "peak_gib": peak(device), "relative_error": relative(first, alone)}
        found[name]["repeats"] = torch.equal(run(), first)
        del network, cache, run
        let_go(device)
    return found


def sharded(whole: WanDiT, group: Group, device: torch.device) -> WanDiT:
    """A transformer with the same weights, of whose blocks every rank keeps a part."""
    with torch.device("meta"):
        network = WanDiT(whole.config)
    for (_, like), (_, tensor) in zip(whole.named_parameters(), network.named_parameters(), strict=True):
        tensor.data = torch.empty_like(like, device="meta")
    network.requires_grad_(False).eval()
    prefixes = tuple(f"{name}." for name in streamed_prefixes(network))
    tensors = whole.state_dict()
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}
    network.load_state_dict(rest, strict=False, assign=True)
    stream_blocks(network, Shelf(tensors), device, group=group)
    tensors.clear()
    return network


class Shelf:
    """Tensors by name."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def copy_into(self, name: str, target: Tensor) -> None:
        """See :class:`~filmgate.engine.runtime.stream.Source`."""
        target.copy_(self.tensors[name])

    def copy_all(self, groups: Iterable[Sequence[tuple[str, Tensor]]]) -> None:
        """See :class:`~filmgate.engine.runtime.stream.Source`."""
        for group in groups:
            for name, target in group:
                self.copy_into(name, target)


def coder(part: str, work: str, joined: Team, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Decoding or encoding in bf16, on a CPU in fp32, which is faster there; alone and by rows."""
    dtype = torch.float32 if small else torch.bfloat16
    row = row_of(part, small=small)
    shape = latent_of(row)
    draw = torch.Generator("cpu").manual_seed(2)
    latent = torch.randn(1, shape.channels, shape.frames, shape.height, shape.width, generator=draw).to(device)
    side = row.sizes.vae.spatial_factor
    pixels = (1 + 4 * (shape.frames - 1), side * shape.height, side * shape.width)
    video = None if work == "decode" else torch.rand(1, 3, *pixels, generator=draw).to(device) * 2 - 1
    found: dict[str, Any] = {}
    alone: Tensor | None = None
    for group in (None, joined.everyone):
        network = materialised(lambda: WanVae(row.sizes.vae), device, lambda _name: dtype)
        if device.type == "cuda":
            channels_last(network)
        if group is not None:
            parallel_vae(network, group)
        run: Callable[[], Tensor] = partial(network.decode, latent)
        if video is not None:
            run = partial(network.encode, video)
        first = run().cpu()
        alone = first if alone is None else alone
        peak(device)
        joined.meet()
        taken = slowest(statistics.median(seconds(run, device, 2)))
        found["alone" if group is None else "rows"] = {
            "seconds": taken, "peak_gib": peak(device), "relative_error": relative(first, alone),
        }  # fmt: skip
        del network, run
        let_go(device)
    return found


def slowest(taken: float) -> float:
    """The longest of all ranks."""
    shared = torch.tensor(taken, dtype=torch.float64)
    dist.all_reduce(shared, dist.ReduceOp.MAX)
    return shared.item()


def claims_of(run: dict[str, Any]) -> Iterator[Measured]:
    """Efficiencies, errors and seconds of a run."""
    count = run["gpus"]
    for found in run["parts"]:
        part, alone, decode, parts = found["part"], found["alone"], found["decode"], found["sharded"]
        stem = f"gpu.scaling.{count}.{part}"
        best = min((name_of(layout) for layout in layouts(count)), key=lambda name: found[name]["seconds"])
        for layout in map(name_of, layouts(count)):
            here = found[layout]
            goal = GOALS.get(("denoise", count)) if part == GOAL_ROW and layout == best else None
            yield Measured(f"{stem}.{layout}.efficiency", alone["seconds"] / here["seconds"] / count, "", goal)
            yield Measured(f"{stem}.{layout}.seconds", here["seconds"], "s", higher_is_better=False)
            yield Measured(f"{stem}.{layout}.relative_error", here["relative_error"], "", higher_is_better=False)
        yield Measured(f"{stem}.sharded.slowdown", parts["seconds"] / found[name_of(layouts(count)[0])]["seconds"], "",
                       higher_is_better=False)  # fmt: skip
        yield Measured(f"{stem}.sharded.relative_error", parts["relative_error"], "", higher_is_better=False)
        yield Measured(f"{stem}.sharded.peak", parts["peak_gib"], "GiB", higher_is_better=False)
        for work in ("decode", "encode"):
            coded = found[work]
            gain = coded["alone"]["seconds"] / coded["rows"]["seconds"]
            yield Measured(f"{stem}.{work}.efficiency", gain / count, "")
            error = coded["rows"]["relative_error"]
            yield Measured(f"{stem}.{work}.relative_error", error, "", higher_is_better=False)
        rows = decode["rows"]
        one = STEPS * alone["seconds"] + decode["alone"]["seconds"]
        many = STEPS * found[best]["seconds"] + rows["seconds"]
        goal = GOALS.get(("together", count)) if part == GOAL_ROW else None
        yield Measured(f"{stem}.steps_and_decode.efficiency", one / many / count, "", goal)


def merge(paths: Sequence[Path], stated: str | None, folder: Path = RESULTS) -> None:
    """Write the claims of runs."""
    for content, facts in finished_runs(paths, stated):
        report(write(f"scaling{content['gpus']}", claims_of(content), folder=folder, **facts))


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    arguments.add_argument("--gpus", type=int, default=2)
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--only", nargs="+", choices=tuple(ROWS), default=[GOAL_ROW])
    arguments.add_argument("--smoke", action="store_true")
    arguments.add_argument("--merge", nargs="+", type=Path, metavar="FILE", help="write the claims of runs")
    arguments.add_argument("--commit", help="with --merge: of runs that took place where there is no git")
    options = arguments.parse_args()
    if options.merge:
        merge(options.merge, options.commit)
        return
    work = partial(measure, tuple(options.only), options.gpus, options.smoke)
    found = list(on_ranks(work, options.gpus))
    gpu = "processes on a CPU" if options.smoke else torch.cuda.get_device_name(0)
    run = {"mode": "smoke" if options.smoke else "true", "gpus": options.gpus, "hardware": f"{options.gpus} {gpu}",
           "versions": versions(), "date": today(), "commit": commit(), "parts": found}  # fmt: skip
    text = json.dumps(run, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    for claim in claims_of(run):
        print(f"{claim.id}: {claim.value:.4g} {claim.unit}", file=sys.stderr)


if __name__ == "__main__":
    main()
