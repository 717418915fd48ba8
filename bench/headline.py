"""The headline: Wan 2.2 T2V-A14B, 1280×720, 81 frames, 40 steps with guidance, from prompt to MP4, on one GPU.

    python bench/headline.py --json OUT [--only exact balanced fast fewstep diffusers] [--passes 3]
                             [--attention flash4] [--vae-precision bf16]
    python bench/headline.py --smoke --json OUT       tiny networks on the CPU, the same code
    python bench/headline.py --merge OUT ...          writes the claims of runs

Random bf16 weights of true size, both experts, the text encoder and the VAE resident, as in a worker that has made a
video before: every profile renders once for nothing, which also compiles. Then it is made as the product makes it:
planner, text encoding, two experts, VAE, frames to an MP4 file.

A profile is a request, and what is measured is what `filmgate generate` does with it, whose command line stands in the
claim's ``settings`` with the kernel of attention and the precision of the VAE: both are what the product takes unless
this is told otherwise, and then the command line says so too. ``balanced`` and ``fast`` follow the recipe that the
product would take if all gates of the profile passed: of those that `filmgate gate` tries the one that is expected to
save most.

Passes of one kind (the same expert, the same attention and precision) take the same time. With ``--passes N`` the
blocks of N of each kind are computed and timed, and those of the others are left out and counted with the median of the
N: ``extrapolated`` says of how many passes, ``spread`` how far the slowest of a kind was from the fastest, relative to
its median. Without it everything is computed.

What a recipe does to a video is a matter of its gates, for weights that somebody has; this measures time. ``fewstep``
is four steps without guidance, as distilled models have them, by ``fast``.

``diffusers`` are a few passes of its transformer at the same shape in the same run, compiled as in bench/forward.py,
and its VAE's decoding in bf16; the passes that a video has are counted with their median. Text encoding and writing the
file, which ours does too, are left out.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from claims import Measured, commit, finished_runs, report, today, versions, write
from filmgate.direction.acceleration import ALLOWED, followed, impossible, recipe_text, recipes, share_saved
from filmgate.direction.architectures import describe_published
from filmgate.direction.planner import plan as make_plan
from filmgate.engine.models.dit import FoldedText, TextCache, WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.render import render
from filmgate.engine.runtime.light_attention import is_early
from filmgate.engine.runtime.pace import listen
from filmgate.engine.runtime.place import repeatable
from filmgate.media.write import write_video
from filmgate.spec import (
    AttentionKernel,
    DeviceDescription,
    EightBit,
    ExpertName,
    Plan,
    Progress,
    Recipe,
    Request,
    SparseAttention,
    SpeedProfile,
)
from forward import peer, vae_peer
from true_size import H200
from true_size_models import Row, chosen, describe, tiny
from true_size_weights import Meter, RandomWeights, free, parameters_of

VARIANT = "wan2.2-t2v-a14b"
MODEL = f"{VARIANT}.1280x720x81"
PEER = "diffusers"
SMOKE_MEMORY = 64 << 30
"""What a trial's networks are planned to have."""


@dataclass(frozen=True)
class Profile:
    """What is asked for: the product's profile, and how many steps of which sampling."""

    speed: SpeedProfile
    sampling: dict[str, Any]
    goal: float


GUIDED: dict[str, Any] = {"steps": 40}
FEW: dict[str, Any] = {"steps": 4, "shift": 5.0, "guidance_high": 1.0, "guidance_low": 1.0, "solver": "euler"}
PROFILES = {
    "exact": Profile("exact", GUIDED, 800), "balanced": Profile("balanced", GUIDED, 330),
    "fast": Profile("fast", GUIDED, 180), "fewstep": Profile("fast", FEW, 30),
}  # fmt: skip
"""Goals are seconds from prompt to file."""
PASSES = 80
"""Of a video of 40 guided steps."""


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


def request_of(profile: Profile, row: Row, asked: dict[str, Any]) -> Request:
    """The wish of a profile; ``asked`` is what differs from the product's defaults."""
    video = row.video
    return Request(
        prompt="what shall be seen", negative="what shall not be seen", model=VARIANT, width=video.width,
        height=video.height, frames=video.frames, precision="bf16", memory="resident", text_encoder="device",
        profile=profile.speed, **profile.sampling, **asked,
    )  # fmt: skip


def command_of(request: Request) -> str:
    """The command line that makes such a video; a worker's first also loads the networks."""
    words = ["filmgate", "generate", request.prompt]
    for name, value in request.model_dump(exclude_unset=True, exclude={"prompt"}).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def recipe_of(request: Request) -> Recipe:
    """What the product would skip of a video of true size if every gate passed: of all recipes that `filmgate gate`
    tries for the profile the one that is expected to save most."""
    model = describe_published(VARIANT)
    plan = make_plan(request, model, H200, lambda _text: model.dit.text_len)
    profile = request.profile or "exact"
    tried = [recipe for allowed in reversed(ALLOWED[profile]) for recipe in recipes(allowed, plan)]

    def saved(recipe: Recipe) -> float:
        return share_saved(plan, followed(plan, recipe, None, profile).work, recipe)

    return max((recipe for recipe in tried if not impossible(plan, recipe)), key=saved, default=())


def planned(row: Row, described: DeviceDescription, request: Request, recipe: Recipe) -> Plan:
    """The planner's plan, with the recipe carried out as it would be if its gate had passed."""
    sizes = row.sizes
    parameters = {"dit": parameters_of(lambda: WanDiT(sizes.dit)), "vae": parameters_of(lambda: WanVae(sizes.vae))}
    parameters["text_encoder"] = parameters_of(lambda: Umt5Encoder(sizes.text))
    plan = make_plan(request, describe(row, parameters), described, lambda _text: row.sizes.dit.text_len)
    if not recipe:
        return plan
    return plan.model_copy(update={"acceleration": followed(plan, recipe, None, plan.acceleration.profile)})


def settings_of(plan: Plan, command: str) -> dict[str, str]:
    """What a claim must say of how the video was made."""
    recipe = plan.acceleration.recipe
    return {
        "command": command, "kernels": plan.speed.profile, "attention": plan.speed.attention,
        "vae_precision": plan.speed.vae_precision,
        **({"recipe": recipe_text(recipe), "gates": "taken as passed"} if recipe else {}),
    }  # fmt: skip


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


def measure(name: str, row: Row, place: Place) -> dict[str, Any]:
    """One profile: a render for nothing, then the one that counts."""
    profile, device = PROFILES[name], place.device
    true_size = request_of(profile, headline_row(), place.asked)
    plan = planned(row, place.described, request_of(profile, row, place.asked), recipe_of(true_size))
    settings = settings_of(plan, command_of(true_size))
    print(settings["command"], flush=True)
    meter = Meter(device)
    networks = Resident(row, device, meter, plan)
    with tempfile.TemporaryDirectory() as folder:
        networks.watched_by(Kinds(plan, meter, 1))
        first, _ = made(plan, networks, Path(folder) / "first.mp4")
        meter.mark("first")
        kinds = Kinds(plan, meter, place.limit)
        networks.watched_by(kinds)
        taken, stages = made(plan, networks, Path(folder) / "second.mp4")
        size = (Path(folder) / "second.mp4").stat().st_size
    meter.mark("second")
    networks.clear()
    counts = plan.pass_counts
    return {
        "settings": settings,
        "seconds": taken + kinds.extrapolated, "computed_seconds": taken, "extrapolated_seconds": kinds.extrapolated,
        "extrapolated": sum(kinds.left_out.values()), "spread": kinds.spread, "stages": stages, "first": first,
        "passes": counts.model_dump(), "steps": len(plan.steps), "tokens": row.tokens, "bytes": size,
        "kinds": {kind: {"seconds": times, "left_out": kinds.left_out.get(kind, 0)}
                  for kind, times in kinds.seconds.items()},
        "speed": plan.speed.model_dump(), "recipe": [use.model_dump() for use in plan.acceleration.recipe],
        **meter.record(),
    }  # fmt: skip


def measure_peer(device: torch.device, *, small: bool) -> dict[str, Any]:
    """diffusers at the same shape: seconds of all passes, from a few, and of decoding."""
    if find_spec(PEER) is None:
        return {"skipped": f"{PEER} is not installed"}
    passes = peer("a14b-720p", device, small=small)
    coded = vae_peer("vae21", device, small=small)  # a trial leaves it out
    each, decode = statistics.median(passes["compiled"]), statistics.median(coded.get("decode", [0.0]))
    attention = "cuDNN (_native_cudnn)" if device.type == "cuda" else "torch"
    return {
        "settings": {
            "what": "WanTransformer3DModel, compile_repeated_blocks; AutoencoderKLWan", "attention": attention,
            "vae_precision": "bf16", "left_out": "text encoding, solver, writing the file",
        },
        "seconds": PASSES * each + decode, "denoise": PASSES * each, "decode": decode, "passes": PASSES,
        "extrapolated": PASSES - len(passes["compiled"]), "compiled": passes["compiled"], "eager": passes["eager"],
    }  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a run takes place, how many passes of a kind it computes, and what it asks for beyond defaults."""

    device: torch.device
    described: DeviceDescription
    limit: int | None
    asked: dict[str, Any]


def headline_row() -> Row:
    """The model and the video."""
    (row,) = (row for row in chosen([MODEL], "important") if isinstance(row, Row))
    return row


def place_of(options: argparse.Namespace) -> Place:
    """What a command line asks for."""
    asked = {"attention": options.attention, "vae_precision": options.vae_precision}
    asked = {name: value for name, value in asked.items() if value is not None}
    if options.smoke:
        described = DeviceDescription(kind="cpu", name=platform.machine(), memory_bytes=SMOKE_MEMORY)
        return Place(torch.device("cpu"), described, 1, asked)
    device = torch.device(options.device)
    torch.cuda.set_device(device)
    found = torch.cuda.get_device_properties(device)
    described = DeviceDescription(
        kind="cuda", name=found.name, memory_bytes=found.total_memory, triton=find_spec("triton") is not None
    )
    return Place(device, described, options.passes, asked)


def run(options: argparse.Namespace) -> int:
    """Measure the profiles, and diffusers; the number that failed."""
    place = place_of(options)
    row = tiny(headline_row()) if options.smoke else headline_row()
    content: dict[str, Any] = {
        "mode": "smoke" if options.smoke else "true", "hardware": place.described.name, "versions": versions(),
        "date": today(), "commit": commit(), "profiles": {},
    }  # fmt: skip
    works: dict[str, Callable[[], dict[str, Any]]] = {name: partial(measure, name, row, place) for name in PROFILES}
    if not options.no_peer:
        works[PEER] = partial(measure_peer, place.device, small=options.smoke)
    failed = 0
    for name in options.only or works:
        start = time.perf_counter()
        try:
            part = works[name]()
        except Exception as error:  # one profile must not cost the others
            failed += 1
            part = {"failed": f"{type(error).__name__}: {error}"[:2000]}
            traceback.print_exc()
            del error
        free(place.device)
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
    """What a profile, or diffusers, claims."""
    if "failed" in part or "skipped" in part:
        return []
    key, settings = f"gpu.headline.{name}", part["settings"]
    if name == PEER:
        return [
            Measured(key, round(part["seconds"], 2), "s", None, False, settings=settings),
            Measured(f"{key}.extrapolated", part["extrapolated"], "passes", None, False),
            Measured(f"{key}.computed_passes", part["passes"], "passes", None, False),
            Measured(f"{key}.denoise", round(part["denoise"], 2), "s", None, False),
            Measured(f"{key}.decode", round(part["decode"], 2), "s", None, False),
        ]
    peak = max(part["peak_gib"].values(), default=0.0)
    found = [
        Measured(key, round(part["seconds"], 2), "s", PROFILES[name].goal, False, settings=settings),
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
    parts = (*PROFILES, PEER)
    parser.add_argument("--only", nargs="+", choices=parts, metavar="PROFILE", help=f"of {', '.join(parts)}")
    parser.add_argument("--no-peer", action="store_true", help=f"leave out {PEER}")
    parser.add_argument("--attention", choices=get_args(AttentionKernel), help="as for filmgate generate")
    parser.add_argument("--vae-precision", choices=("fp32", "bf16", "fp16"), help="as for filmgate generate")
    parser.add_argument("--passes", type=int, help="so many passes of each kind are computed; without it all are")
    parser.add_argument("--device", default="cuda:0", help="cuda:N")
    parser.add_argument("--smoke", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--merge", nargs="+", type=Path, metavar="FILE", help="write the claims of runs")
    parser.add_argument("--commit", help="with --merge: of runs that took place where there is no git")
    options = parser.parse_args()
    if options.merge:
        merge(options.merge, options.commit)
        return 0
    if options.no_peer and PEER in (options.only or ()):
        parser.error(f"--no-peer leaves out what --only {PEER} asks for")
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
