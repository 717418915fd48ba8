"""How much faster several GPUs are than one: a guided step of the transformer at true size, decoding and encoding.

    python bench/scaling.py --gpus 2 --json OUT [--only a14b-720p a14b-480p ti2v-5b]
    python bench/scaling.py --gpus 2 --smoke --json OUT      tiny networks and processes on the CPU, the same code
    python bench/scaling.py --merge OUT ... [--commit X]     writes the claims of runs

Random weights, the same on every rank. A guided step is what ranks divide: one latent and two texts. Every rank first
does it alone, all at the same time, and then with the others in every layout of as many ranks, in the first of these
also with an expert in parts (``sharded``); the same for decoding and encoding. Efficiency is the seconds of one over N
times the seconds of N, each the median of the passes after the first, as the slowest rank saw it. ``relative_error`` is
‖together − alone‖ / ‖alone‖.

Claims are two for each number of GPUs, of A14B at 720p in the arrangement that a plan has: ``gpu.scaling.N`` is the
efficiency of the guided step, and ``gpu.scaling.N.end_to_end`` that of a video's 40 steps and its decoding. Everything
else stands beside them in the results as details, which bench/scaling_table prints.
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
from filmgate.direction.architectures import describe_published
from filmgate.direction.planner import plan as make_plan
from filmgate.engine.kernels.attention import cudnn_attention
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.speed import AUTOENCODER, TRANSFORMER, autoencoder_choices
from filmgate.engine.runtime.parallel import ONE, Group, Team
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.engine.runtime.stream import stream_blocks, streamed_prefixes
from filmgate.spec import Layout, Request
from forward import ROWS, dtype_of_parameter, inputs, latent_of, let_go, peak, relative, row_of, seconds
from true_size import H200
from true_size_weights import materialised

STEPS = 40
"""Of a video, all guided."""
GOALS = {2: 97.0, 4: 95.0}
"""Of the guided step, in percent, by GPUs."""
WHOLE_GOAL = 85.0
"""Of a video."""
GOAL_ROW = "a14b-720p"
PATIENCE = 120.0
"""Networks are filled while others wait."""


def layouts(count: int) -> list[Layout]:
    """Every way for as many ranks to share a guided step."""
    found = [Layout(sequence=count)]
    return found if count % 2 else [Layout(cfg=2, sequence=count // 2), *found]


def name_of(layout: Layout) -> str:
    return f"cfg{layout.cfg}.sequence{layout.sequence}"


def planned_layout(part: str, count: int) -> Layout:
    """How a plan lets so many GPUs share a guided video."""
    row = row_of(part, small=False)
    size = {"width": row.video.width, "height": row.video.height, "frames": row.video.frames}
    wish = Request(prompt="what shall be seen", negative="what shall not", gpus=count, steps=STEPS, **size)
    return make_plan(wish, describe_published(row.variant), H200, lambda _text: row.sizes.dit.text_len).layout


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
        team = ONE if layout is None else Team.formed(layout, row.sizes.dit.num_heads, joined.rank, PATIENCE)
        attend = cudnn_attention if device.type == "cuda" else None
        prepare(network, Choices(attend=attend, forward=fused_block, team=team), TRANSFORMER)
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
    for team in (ONE, joined):
        network = materialised(lambda: WanVae(row.sizes.vae), device, lambda _name: dtype)
        prepare(network, autoencoder_choices(device, team), AUTOENCODER)
        run: Callable[[], Tensor] = partial(network.decode, latent)
        if video is not None:
            run = partial(network.encode, video)
        first = run().cpu()
        alone = first if alone is None else alone
        peak(device)
        joined.meet()
        taken = slowest(statistics.median(seconds(run, device, 2)))
        found["alone" if team is ONE else "rows"] = {
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


def details_of_run(run: dict[str, Any]) -> dict[str, Any]:
    """Efficiencies, errors and seconds of every part of a run, by part."""
    facts = {name: run[name] for name in ("gpus", "hardware", "date", "commit")}
    return {found["part"]: {**facts, **_details(run["gpus"], found)} for found in run["parts"]}


def _details(count: int, found: dict[str, Any]) -> dict[str, Any]:
    alone, parts, every = found["alone"]["seconds"], found["sharded"], layouts(count)
    planned = name_of(planned_layout(found["part"], count))
    coding = {work: found[work]["alone"]["seconds"] / found[work]["rows"]["seconds"] / count
              for work in ("decode", "encode")}  # fmt: skip
    one = STEPS * alone + found["decode"]["alone"]["seconds"]
    many = STEPS * found[planned]["seconds"] + found["decode"]["rows"]["seconds"]
    return {
        "planned": planned, "seconds_alone": alone,
        "layouts": {
            name: {"efficiency": alone / found[name]["seconds"] / count, **found[name]} for name in map(name_of, every)
        },
        # Experts in parts were measured in the first layout.
        "sharded": {"slowdown": parts["seconds"] / found[name_of(every[0])]["seconds"], **parts},
        **{work: {"efficiency": coding[work], **found[work]} for work in coding},
        "end_to_end": one / many / count,
    }  # fmt: skip


def claims_of(run: dict[str, Any]) -> Iterator[Measured]:
    """What was promised of several GPUs."""
    count, found = run["gpus"], details_of_run(run).get(GOAL_ROW)
    if found is None:
        return
    layout = found["planned"]
    settings = {"model": ROWS[GOAL_ROW], "layout": layout}
    percent = round(100 * found["layouts"][layout]["efficiency"], 2)
    yield Measured(f"gpu.scaling.{count}", percent, "%", GOALS.get(count), settings=settings)
    whole = round(100 * found["end_to_end"], 2)
    goal = WHOLE_GOAL if count in GOALS else None
    what = {"what": f"{STEPS} guided steps and decoding, added up"}
    yield Measured(f"gpu.scaling.{count}.end_to_end", whole, "%", goal, settings={**settings, **what})


def merge(paths: Sequence[Path], stated: str | None, folder: Path = RESULTS) -> None:
    """Write the claims of runs."""
    for content, facts in finished_runs(paths, stated):
        details = details_of_run({**content, "commit": facts["known"]["commit"]})
        report(write(f"scaling{content['gpus']}", claims_of(content), folder=folder, details=details, **facts))


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
