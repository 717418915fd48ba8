"""How much faster several GPUs are than one: a guided step of the transformer at true size, and decoding.

    python bench/scaling.py --gpus 2 --json OUT [--only a14b-720p a14b-480p ti2v-5b]
    python bench/scaling.py --gpus 2 --smoke --json OUT      tiny networks and processes on the CPU, the same code
    python bench/scaling.py --merge OUT ...                  writes the claims of runs

Random weights, the same on every rank. A guided step is what ranks divide: one latent and two texts. Every rank first
does it alone, all at the same time, and then with the others in every layout of as many ranks; the same for decoding.
Efficiency is the seconds of one over N times the seconds of N, each the median of the passes after the first, as the
slowest rank saw it. ``relative_error`` is ‖together − alone‖ / ‖alone‖.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from claims import Measured, commit, report, today, versions, write
from filmgate.backends.ranks import on_ranks
from filmgate.engine.kernels.attention import cudnn_attention
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.parallel import parallel_transformer
from filmgate.engine.pipeline.parallel_vae import parallel_vae
from filmgate.engine.runtime.parallel import Team
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.runtime.prepare import call_attention, channels_last, run_as
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
            found["decode"] = decoder(part, joined, device, small=small)
            yield found
    joined.leave()


def transformer(part: str, joined: Team, device: torch.device, *, small: bool) -> dict[str, Any]:
    """A guided step, alone and in every layout."""
    row = row_of(part, small=small)
    x, timestep, text = inputs(row, device)
    texts = torch.cat([text, text.flip(1)])
    found: dict[str, Any] = {}
    alone: Tensor | None = None
    for layout in (None, *layouts(joined.layout.ranks)):
        network = materialised(lambda: WanDiT(row.sizes.dit), device, dtype_of_parameter)
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
        name = "alone" if layout is None else name_of(layout)
        found[name] = {"seconds": taken, "peak_gib": peak(device), "relative_error": relative(first, alone)}
        found[name]["repeats"] = torch.equal(run(), first)
        del network, cache, run
        let_go(device)
    return found


def decoder(part: str, joined: Team, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Decoding in bf16, alone and by rows."""
    row = row_of(part, small=small)
    shape = latent_of(row)
    draw = torch.Generator("cpu").manual_seed(2)
    latent = torch.randn(1, shape.channels, shape.frames, shape.height, shape.width, generator=draw).to(device)
    found: dict[str, Any] = {}
    alone: Tensor | None = None
    for group in (None, joined.everyone):
        network = materialised(lambda: WanVae(row.sizes.vae), device, lambda _name: torch.bfloat16)
        if device.type == "cuda":
            channels_last(network)
        if group is not None:
            parallel_vae(network, group)
        run: Callable[[], Tensor] = partial(network.decode, latent)
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
        part, alone, decode = found["part"], found["alone"], found["decode"]
        stem = f"gpu.scaling.{count}.{part}"
        best = min((name_of(layout) for layout in layouts(count)), key=lambda name: found[name]["seconds"])
        for layout in map(name_of, layouts(count)):
            here = found[layout]
            goal = GOALS.get(("denoise", count)) if part == GOAL_ROW and layout == best else None
            yield Measured(f"{stem}.{layout}.efficiency", alone["seconds"] / here["seconds"] / count, "", goal)
            yield Measured(f"{stem}.{layout}.seconds", here["seconds"], "s", higher_is_better=False)
            yield Measured(f"{stem}.{layout}.relative_error", here["relative_error"], "", higher_is_better=False)
        rows = decode["rows"]
        yield Measured(f"{stem}.decode.efficiency", decode["alone"]["seconds"] / rows["seconds"] / count, "")
        yield Measured(f"{stem}.decode.relative_error", rows["relative_error"], "", higher_is_better=False)
        one = STEPS * alone["seconds"] + decode["alone"]["seconds"]
        many = STEPS * found[best]["seconds"] + rows["seconds"]
        goal = GOALS.get(("together", count)) if part == GOAL_ROW else None
        yield Measured(f"{stem}.steps_and_decode.efficiency", one / many / count, "", goal)


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    arguments.add_argument("--gpus", type=int, default=2)
    arguments.add_argument("--json", type=Path)
    arguments.add_argument("--only", nargs="+", choices=tuple(ROWS), default=[GOAL_ROW])
    arguments.add_argument("--smoke", action="store_true")
    arguments.add_argument("--merge", nargs="+", type=Path)
    options = arguments.parse_args()
    if options.merge:
        for path in options.merge:
            run = json.loads(path.read_text())
            known = {"versions": run["versions"], "date": run["date"], "commit": run["commit"]}
            report(write(f"scaling{run['gpus']}", claims_of(run), hardware=run["hardware"], known=known))
        return
    work = partial(measure, tuple(options.only), options.gpus, options.smoke)
    found = list(on_ranks(work, options.gpus))
    gpu = "processes on a CPU" if options.smoke else torch.cuda.get_device_name(0)
    run = {"gpus": options.gpus, "hardware": f"{options.gpus} {gpu}", "versions": versions(), "date": today(),
           "commit": commit(), "parts": found}  # fmt: skip
    text = json.dumps(run, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    for claim in claims_of(run):
        print(f"{claim.id}: {claim.value:.4g} {claim.unit}", file=sys.stderr)


if __name__ == "__main__":
    main()
