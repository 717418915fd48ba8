"""The headline: Wan 2.2 T2V-A14B, 1280×720, 81 frames, 40 steps with guidance, from prompt to MP4, on one GPU.

    python bench/headline.py --json OUT [--only exact balanced fast fewstep] [--passes 3]
    python bench/headline.py --smoke --json OUT       tiny networks on the CPU, the same code
    python bench/headline.py --merge OUT ...          writes the claims of runs

Random bf16 weights of true size, both experts, the text encoder and the VAE resident, as in a worker that has made a
video before: every recipe renders once for nothing, which also compiles. Then it is made as the product makes it:
planner, text encoding, two experts, VAE in bf16, frames to an MP4 file.

Passes of one kind (the same expert, the same attention and precision) take the same time. With ``--passes N`` the
blocks of N of each kind are computed and timed, and those of the others are left out and counted with the median of the
N: ``extrapolated`` says of how many passes, ``spread`` how far the slowest of a kind was from the fastest, relative to
its median. Without it everything is computed.

What a recipe does to a video is a matter of its gates (`filmgate gate`), for weights that somebody has; this measures
time. ``fewstep`` is four steps without guidance, as distilled models and LoRAs have them.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from claims import Measured, commit, finished_runs, report, today, versions, write
from filmgate.direction.planner import plan as make_plan
from filmgate.engine.models.dit import FoldedText, TextCache, WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.render import render
from filmgate.engine.runtime.attention_race import why_not
from filmgate.engine.runtime.light_attention import is_early
from filmgate.engine.runtime.pace import listen
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.sampling.step_cache import skipped_work
from filmgate.media.write import write_video
from filmgate.spec import (
    Acceleration,
    AccelerationPlan,
    AccelerationUse,
    DeviceDescription,
    EightBit,
    ExpertName,
    GuidanceReuse,
    Plan,
    Progress,
    Recipe,
    Request,
    SparseAttention,
    TaylorSeer,
)
from true_size_models import Row, chosen, describe, tiny
from true_size_weights import Meter, RandomWeights, free, parameters_of

MODEL = "wan2.2-t2v-a14b.1280x720x81"
EXPERTS: tuple[ExpertName, ...] = ("high_noise", "low_noise")


@dataclass(frozen=True)
class Profile:
    """What is measured: accelerations of both experts, and what is asked of the planner."""

    accelerations: tuple[Acceleration, ...] = ()
    wish: dict[str, Any] = field(default_factory=dict)
    goal: float = 0.0

    @property
    def recipe(self) -> Recipe:
        """The same for both experts."""
        return tuple(AccelerationUse(expert=name, acceleration=use) for name in EXPERTS for use in self.accelerations)


GUIDED: dict[str, Any] = {"steps": 40}
PROFILES = {
    "exact": Profile((), GUIDED, 800),
    "balanced": Profile(
        (EightBit(protected=0.1, last=1), SparseAttention(budget=0.3), GuidanceReuse(after=0.5)), GUIDED, 330
    ),
    "fast": Profile(
        (
            EightBit(), SparseAttention(budget=0.25, protected=0.1), TaylorSeer(interval=3, protected=4),
            GuidanceReuse(after=0.5),
        ), GUIDED, 180,
    ),
    "fewstep": Profile(
        (EightBit(), SparseAttention(budget=0.25, protected=0.25)),
        {"steps": 4, "shift": 5.0, "guidance_high": 1.0, "guidance_low": 1.0, "solver": "euler"}, 30,
    ),
}  # fmt: skip
"""Recipes at about the limits of the issue's goals; seconds from prompt to file."""


class Kinds:
    """Times the blocks of passes by kind, and leaves them out once enough of a kind are timed.

    Args:
        plan: Says which steps are of a kind.
        meter: Whose clock counts.
        limit: How many of each kind are computed; None: all.
    """

    def __init__(self, plan: Plan, meter: Meter, limit: int | None) -> None:
        self._plan = plan
        self._meter = meter
        self._limit = limit
        self._index = 0
        self.seconds: dict[str, list[float]] = {}
        self.left_out: dict[str, int] = {}

    def watch(self, name: ExpertName, network: WanDiT) -> None:
        """Let the blocks of an expert be timed, or left out."""
        inner = network.through_blocks

        def begin_step(index: int, _count: int) -> None:
            self._index = index

        def through(tokens: Tensor, *args: Any) -> Tensor:
            kind = self.kind(name, self._index)
            times = self.seconds.setdefault(kind, [])
            if self._limit is not None and len(times) >= self._limit:
                self.left_out[kind] = self.left_out.get(kind, 0) + 1
                return tokens.expand(texts_of(args[0]), -1, -1)
            start = self._meter.now()
            result = inner(tokens, *args)
            times.append(self._meter.now() - start)
            return result

        listen(network, begin_step)
        setattr(network, "through_blocks", through)  # noqa: B010  (as it is written it has named arguments)

    def kind(self, name: ExpertName, index: int) -> str:
        """What a step's passes have in common with others."""
        own = [use.acceleration for use in self._plan.acceleration.recipe if use.expert == name]
        count = len(self._plan.steps)
        words: list[str] = [name]
        for use in own:
            if isinstance(use, SparseAttention) and not is_early(index, count, use.protected):
                words.append("sparse")
            if isinstance(use, EightBit) and not is_early(index, count, use.protected) and index < count - use.last:
                words.append("8bit")
        return " ".join(words)

    @property
    def extrapolated(self) -> float:
        """Seconds that the passes which were left out would have taken."""
        return sum(count * statistics.median(self.seconds[kind]) for kind, count in self.left_out.items())

    @property
    def spread(self) -> float:
        """How far the slowest pass of a kind was from its fastest, relative to its median; the largest of all kinds."""
        return max((max(times) - min(times)) / statistics.median(times) for times in self.seconds.values())


def texts_of(cache: TextCache) -> int:
    """How many texts a pass reads."""
    first = cache[0]
    return len(first.k) if isinstance(first, FoldedText) else len(first[0][0])


class Resident(RandomWeights):
    """Networks that stay once they are there.

    Args:
        row: Their architectures.
        device: Where they are.
        meter: Times passes.
        plan: What is made.
    """

    def __init__(self, row: Row, device: torch.device, meter: Meter, plan: Plan) -> None:
        super().__init__(row, device, meter, plan.speed, keep_both=True, recipe=plan.acceleration.recipe)
        self.kinds: Kinds | None = None
        self._watched: dict[str, Any] = {}

    def transformer(self, name: ExpertName, *, adapted: bool = True) -> WanDiT:
        """See :class:`RandomWeights`; with blocks that are timed by kind."""
        network = super().transformer(name, adapted=adapted)
        if self.kinds is not None and name not in self._watched:
            self._watched[name] = network.through_blocks
            self.kinds.watch(name, network)
        return network

    def watched_by(self, kinds: Kinds) -> None:
        """From now on passes are timed by ``kinds``."""
        for name, inner in self._watched.items():
            setattr(self._held[name], "through_blocks", inner)  # noqa: B010
        self._watched.clear()
        self.kinds = kinds

    def release(self, name: str) -> None:
        """Nothing is let go."""

    def clear(self) -> None:
        """Now it is."""
        self._held.clear()
        free(self.device)


def planned(row: Row, described: DeviceDescription, profile: Profile, device: torch.device) -> Plan:
    """The planner's plan, with the recipe carried out as it would be if its gates had passed."""
    sizes = row.sizes
    parameters = {"dit": parameters_of(lambda: WanDiT(sizes.dit)), "vae": parameters_of(lambda: WanVae(sizes.vae))}
    parameters["text_encoder"] = parameters_of(lambda: Umt5Encoder(sizes.text))
    wish = Request(
        prompt="what shall be seen", negative="what shall not be seen", width=row.video.width, height=row.video.height,
        frames=row.video.frames, precision="bf16", **profile.wish,
        vae_precision="bf16" if device.type == "cuda" else "fp32",
    )  # fmt: skip
    plan = make_plan(wish, describe(row, parameters), described, lambda _text: row.sizes.dit.text_len)
    speed = plan.speed
    if device.type == "cuda" and why_not("flash4", device) is None:
        speed = speed.model_copy(update={"attention": "flash4"})
    work = skipped_work(plan.steps, plan.guidance_rule, profile.recipe) if profile.recipe else ()
    if all(step.blocks == "computed" and step.difference == "computed" for step in work):
        work = ()
    acceleration = AccelerationPlan(recipe=profile.recipe, work=work)
    return plan.model_copy(update={"acceleration": acceleration, "speed": speed})


def made(plan: Plan, networks: Resident, path: Path) -> tuple[float, dict[str, float]]:
    """Seconds from prompt to file, and by stage."""
    stages: dict[str, float] = {}

    def frames() -> Iterator[NDArray[np.uint8]]:
        with torch.no_grad(), repeatable(torch.get_num_threads()):
            for event in render(plan, networks):
                if isinstance(event, Progress):
                    stages[event.stage] = stages.get(event.stage, 0.0) + event.seconds
                elif isinstance(event, np.ndarray):
                    yield from event

    start = time.perf_counter()
    count = write_video(path, frames(), fps=plan.fps)
    taken = time.perf_counter() - start
    if count != plan.video.frames:
        raise AssertionError(f"{count} frames came out, not {plan.video.frames}")
    return taken, stages


def measure(
    name: str, row: Row, device: torch.device, described: DeviceDescription, limit: int | None
) -> dict[str, Any]:
    """One profile: a render for nothing, then the one that counts."""
    plan = planned(row, described, PROFILES[name], device)
    meter = Meter(device)
    networks = Resident(row, device, meter, plan)
    with tempfile.TemporaryDirectory() as folder:
        networks.watched_by(Kinds(plan, meter, 1))
        first, _ = made(plan, networks, Path(folder) / "first.mp4")
        meter.mark("first")
        kinds = Kinds(plan, meter, limit)
        networks.watched_by(kinds)
        taken, stages = made(plan, networks, Path(folder) / "second.mp4")
        size = (Path(folder) / "second.mp4").stat().st_size
    meter.mark("second")
    networks.clear()
    counts = plan.pass_counts
    return {
        "seconds": taken + kinds.extrapolated, "computed_seconds": taken, "extrapolated_seconds": kinds.extrapolated,
        "extrapolated": sum(kinds.left_out.values()), "spread": kinds.spread, "stages": stages, "first": first,
        "passes": counts.model_dump(), "steps": len(plan.steps), "tokens": row.tokens, "bytes": size,
        "kinds": {kind: {"seconds": times, "left_out": kinds.left_out.get(kind, 0)}
                  for kind, times in kinds.seconds.items()},
        "speed": plan.speed.model_dump(), "recipe": [use.model_dump() for use in plan.acceleration.recipe],
        **meter.record(),
    }  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Measure the profiles; the number that failed."""
    (row,) = (row for row in chosen([MODEL], "important") if isinstance(row, Row))
    device = torch.device("cpu" if options.smoke else options.device)
    limit = options.passes
    if options.smoke:
        row, limit = tiny(row), 1
        described = DeviceDescription(kind="cpu", name=platform.machine(), memory_bytes=0)
    else:
        torch.cuda.set_device(device)
        found = torch.cuda.get_device_properties(device)
        described = DeviceDescription(kind="cuda", name=found.name, memory_bytes=found.total_memory)
    content: dict[str, Any] = {
        "mode": "smoke" if options.smoke else "true", "hardware": described.name, "versions": versions(),
        "date": today(), "commit": commit(), "profiles": {},
    }  # fmt: skip
    failed = 0
    for name in options.only or PROFILES:
        start = time.perf_counter()
        try:
            part = measure(name, row, device, described, limit)
        except Exception as error:  # one profile must not cost the others
            failed += 1
            part = {"failed": f"{type(error).__name__}: {error}"[:2000]}
            traceback.print_exc()
            del error
        free(device)
        content["profiles"][name] = part
        print(f"{name} ({time.perf_counter() - start:.1f} s): {json.dumps(part)}", flush=True)
        if options.json is not None:
            options.json.write_text(json.dumps(content, indent=1) + "\n")
    return failed


def merge(paths: Sequence[Path], stated: str | None) -> None:
    """Write the claims of runs."""
    for content, facts in finished_runs(paths, stated):
        numbers = [number for name, part in content["profiles"].items() for number in numbers_of(name, part)]
        report(write("headline", numbers, **facts))


def numbers_of(name: str, part: dict[str, Any]) -> list[Measured]:
    """What a profile claims."""
    if "failed" in part:
        return []
    key = f"gpu.headline.{name}"
    peak = max(part["peak_gib"].values(), default=0.0)
    found = [
        Measured(key, round(part["seconds"], 2), "s", PROFILES[name].goal, False),
        Measured(f"{key}.extrapolated", part["extrapolated"], "passes", None, False),
        Measured(f"{key}.spread", round(part["spread"], 4), "", None, False),
        Measured(f"{key}.computed_passes", part["passes"]["computed"], "passes", None, False),
        Measured(f"{key}.peak", round(peak, 1), "GiB", None, False),
    ]
    seconds = {**part["stages"], "denoise": part["stages"].get("denoise", 0.0) + part["extrapolated_seconds"]}
    found += [Measured(f"{key}.{stage}", round(taken, 2), "s", None, False) for stage, taken in seconds.items()]
    return found


def main() -> int:
    """Measure, or merge what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file of the run, rewritten after every profile")
    parser.add_argument("--only", nargs="+", choices=PROFILES, metavar="PROFILE", help=f"of {', '.join(PROFILES)}")
    parser.add_argument("--passes", type=int, help="so many passes of each kind are computed; without it all are")
    parser.add_argument("--device", default="cuda:0", help="cuda:N")
    parser.add_argument("--smoke", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--merge", nargs="+", type=Path, metavar="FILE", help="write the claims of runs")
    parser.add_argument("--commit", help="with --merge: of runs that took place where there is no git")
    options = parser.parse_args()
    if options.merge:
        merge(options.merge, options.commit)
        return 0
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
