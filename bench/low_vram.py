"""Models of true size on a card of 24 GB: blocks that come from the host, against weights that all stay on the device.

    python bench/low_vram.py --json OUT [--only load a14b 5b a14b-fp8 a14b-mapped] [--device cuda:0] [--folder DIR]
    python bench/low_vram.py --smoke --json OUT      tiny networks on the CPU, the same code
    python bench/low_vram.py --merge OUT [--commit]  writes the claims of a run

One file of random weights in bf16 stands for an expert; both experts of A14B are read from it. Each part runs in a
process of its own:

load          reads an expert of 28 GB to the GPU, then to page-locked memory, and watches the process's memory: what it
              is at its peak beyond what must be there
a14b, 5b      two steps with guidance at the largest official size, and the frames in tiles, with torch's memory held
              to 24 GB; then the first of these steps with all weights on the device. The slowdown is that of the second
              streamed step, with A14B's other expert and its projection of the texts, which a longer video does once,
              against the warm forward passes of a step with resident weights. What the passes of the first step give
              is compared bit by bit
a14b-fp8      the same with ``--weights fp8`` on both sides, without the frames: half as many bytes are copied
a14b-mapped   the same as a14b, with blocks read from the mapped file in every pass

All of it runs as profile ``exact`` does, which is what everybody gets; a claim of a slowdown names the pass with
resident weights that it stands beside, since a faster pass hides less copying. The bytes copied in a step are counted,
by blocks.

The text encoder and the VAE are made up on the device, as in bench/true_size.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from claims import Measured, commit, report, today, versions, write
from filmgate.direction.speed import asked_speed
from filmgate.engine.checkpoints.filling import Filling
from filmgate.engine.checkpoints.tensors import build_empty, open_tensors
from filmgate.engine.checkpoints.wan import DTYPES, FP32_MODULES, narrow_as
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.tiled_vae import TiledVae
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.speed import TRANSFORMER, transformer_choices
from filmgate.engine.runtime.host_memory import HostRoom
from filmgate.engine.runtime.place import dtype_of, repeatable
from filmgate.engine.runtime.prepare import prepare
from filmgate.engine.runtime.stream import BlockStream, stream_blocks, streamed_prefixes
from filmgate.spec import DeviceDescription, ExpertName, HostPlace, Progress, Request, SpeedPlan, WeightFormat
from host_memory import HostMemory
from true_size import PROMPT, pictures_of, planned
from true_size_models import Row, chosen, tiny
from true_size_weights import GIB, Meter, RandomWeights, parameters_of

CARD = 24e9
"""Bytes that torch may have: what a card of 24 GiB leaves beside the driver's own."""
TILE = 512
PARTS = ("load", "a14b", "5b", "a14b-fp8", "a14b-mapped")
USUAL = PARTS[:4]
MODELS = {
    "load": "t2v-a14b", "a14b": "wan2.2-t2v-a14b.1280x720x81", "5b": "ti2v-5b", "a14b-fp8": "t2v-a14b",
    "a14b-mapped": "t2v-a14b",
}  # fmt: skip
CLAIMED = {
    "a14b": "gpu.a14b", "5b": "gpu.ti2v5b", "a14b-fp8": "gpu.a14b_fp8", "a14b-mapped": "gpu.a14b_mapped",
}  # fmt: skip
SLOWDOWNS = {"a14b-fp8": "gpu.a14b.24gb_slowdown.fp8"}
"""Those that are not called after :data:`CLAIMED`."""
_BLOCK = 1 << 25
"""Random numbers that the weights in a file are made of, over and over."""
_STD = 0.014


def row_of(part: str, *, small: bool) -> Row:
    """The model of a part, tiny for a trial."""
    row = next(row for row in chosen((MODELS[part],), "important") if isinstance(row, Row))
    return tiny(row) if small else row


def weight_file(row: Row, folder: Path) -> tuple[Path, float]:
    """A safetensors file with an expert of a model, and the seconds that writing took; it is not written twice."""
    path = folder / f"{row.variant}-{row.sizes.dit.dim}.safetensors"
    if path.exists():
        return path, 0.0
    start = time.perf_counter()
    draw = np.random.default_rng(0).standard_normal(min(_BLOCK, 1 << 25), np.float32) * _STD
    block = torch.from_numpy(draw).to(torch.bfloat16).view(torch.uint8).numpy().tobytes()
    header, position = {}, 0
    tensors = build_empty(lambda: WanDiT(row.sizes.dit)).state_dict()
    for name, tensor in tensors.items():
        size = 2 * tensor.numel()
        header[name] = {
            "dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [position, position + size],
        }  # fmt: skip
        position += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_suffix(".part")
    with part.open("wb", buffering=0) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in tensors.items():
            left = 2 * tensor.numel()
            if "norm" in name and name.endswith("weight"):
                file.write(torch.ones(tensor.shape, dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes())
                left = 0
            while left:
                left -= file.write(memoryview(block)[: min(left, len(block))])
    part.replace(path)
    return path, time.perf_counter() - start


class FromFile(RandomWeights):
    """Experts from a file, whole on the device or streamed; the VAE in tiles.

    Args:
        row: Their architecture.
        device: Where they work.
        meter: Watches them.
        speed: What makes them fast.
        path: The file.
        host: Where streamed blocks are meanwhile; None: both experts, which are one, stay on the device.
        weights: In what format large layers stay.
    """

    def __init__(
        self, row: Row, device: torch.device, meter: Meter, speed: SpeedPlan, path: Path, host: HostPlace | None,
        weights: WeightFormat = "as_computed",
    ) -> None:  # fmt: skip
        super().__init__(row, device, meter, speed, keep_both=host is None)
        self.prints: list[int] = []
        self.streams: list[BlockStream] = []
        self._path, self._host, self._weights = path, host, weights
        self._copies: list[tuple[BlockStream, float]] = []
        self._room = HostRoom()
        self._loaded: WanDiT | None = None

    def transformer(self, name: ExpertName, *, adapted: bool = True) -> WanDiT:
        """An expert. What stays is loaded once: both experts have the same weights."""
        if self._loaded is not None and self._host is None:
            self._held[name] = self._loaded
        self._loaded = super().transformer(name, adapted=adapted)
        return self._loaded

    def _transformer(self, name: ExpertName) -> WanDiT:
        del name  # both have the same weights
        network, stream = load(self._row, self.device, self._path, self._host, self._room, self._weights)
        if stream is not None:
            self.streams.append(stream)
            self._copies.append((stream, block_bytes(network, stream)))
        prepare(network, transformer_choices(network, self._speed), TRANSFORMER)
        self._meter.watch(network)
        network.register_forward_hook(self._note)
        return network

    @property
    def copied_bytes(self) -> float:
        """Bytes of all blocks that were copied to the device so far."""
        return sum(stream.copied * each for stream, each in self._copies)

    def _note(self, _network: nn.Module, _inputs: object, output: Tensor) -> None:
        self.prints.append(int(output.contiguous().view(torch.int32).sum(dtype=torch.int64)))

    def release(self, name: str) -> None:
        """Let go of a network, and of what was streamed to it."""
        if self._host is not None and name in self._row.experts and self.holds(name):
            self._loaded = None
            self.streams.pop().close()
        super().release(name)

    def vae(self) -> WanVae:
        """In tiles."""
        config = self._row.sizes.vae
        tile = TILE if config.dim > self._TRIAL else 8 * config.spatial_factor
        return self._get("vae", lambda: self._vae(lambda: TiledVae(config, tile)))

    _TRIAL = 8


def block_bytes(network: WanDiT, stream: BlockStream) -> float:
    """Bytes of a streamed block, the mean of all: those of the models here are alike."""
    tensors = network.state_dict()
    return sum(tensors[name].nbytes for name in stream.names) / len(streamed_prefixes(network))


def load(
    row: Row,
    device: torch.device,
    path: Path,
    host: HostPlace | None,
    room: HostRoom | None = None,
    weights: WeightFormat = "as_computed",
) -> tuple[WanDiT, BlockStream | None]:
    """An expert from a file, and its stream, as the local backend makes them."""

    def dtype(name: str) -> torch.dtype:
        return torch.float32 if FP32_MODULES.search(name) else DTYPES["bf16"]

    network = build_empty(lambda: WanDiT(row.sizes.dit))
    tensors = open_tensors(path)
    narrow = narrow_as(weights, tensors.records, dtype)
    filling = Filling(network, tensors, device=device, dtype=dtype, narrow=narrow)
    if host is None:
        filling.fill()
        return network, None
    filling.fill(streamed_prefixes(network))
    return network, stream_blocks(network, filling, device, host=host, room=room)


def measure_load(row: Row, device: torch.device, path: Path) -> dict[str, Any]:
    """Memory of the host while an expert is read to the device and to page-locked memory."""
    torch.zeros(1, device=device).add_(1)
    found: dict[str, Any] = {"file_gib": round(path.stat().st_size / GIB, 3)}
    places: tuple[tuple[str, HostPlace | None], ...] = (("device", None), ("host", "pinned"))
    for name, host in places:
        before = HostMemory.now()[0]
        start = time.perf_counter()
        with HostMemory().watched() as memory:
            network, stream = load(row, device, path, host)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
        # On a GPU nothing of it must stay on the host; on a CPU the network itself must.
        kept = 0 if stream is None else stream.host_bytes
        if device.type == "cpu":
            kept += sum(tensor.nbytes for tensor in network.state_dict().values() if not tensor.is_meta)
        found[name] = {
            "seconds": round(seconds, 3), "gib_per_second": round(path.stat().st_size / GIB / seconds, 3),
            "must_be_resident_gib": round(kept / GIB, 3), "peak_gib": round((memory.peak - before) / GIB, 3),
            "overhead_gib": round((memory.peak - before - kept) / GIB, 3),
            "page_locked": stream is not None and stream.locked,
        }  # fmt: skip
        if stream is not None:
            stream.close()
        del network, stream
        if device.type == "cuda":
            torch.cuda.empty_cache()
    found["overhead_gib"] = max(found["device"]["overhead_gib"], found["host"]["overhead_gib"])
    return found


def copy_speed(device: torch.device) -> float:
    """GB/s from page-locked memory to the device."""
    if device.type != "cuda":
        return 0.0
    host = torch.empty(1 << 29, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(host, device=device)
    times = []
    for _ in range(4):
        torch.cuda.synchronize(device)
        start = time.perf_counter()
        target.copy_(host, non_blocking=True)
        torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return host.nbytes / 1e9 / min(times)


def walk(
    row: Row,
    described: DeviceDescription,
    networks: FromFile,
    meter: Meter,
    *,
    frames: bool,
    steps: int | None = None,
) -> dict[str, Any]:
    """The first ``steps`` of two, or both, and the frames if they are wanted; what they took."""
    pictures, inputs = pictures_of(row)
    sizes = row.sizes
    parameters = {"dit": parameters_of(lambda: WanDiT(sizes.dit)), "vae": parameters_of(lambda: WanVae(sizes.vae))}
    parameters["text_encoder"] = parameters_of(lambda: Umt5Encoder(sizes.text))
    plan = planned(row, described, inputs, parameters)
    wanted = len(plan.steps) if steps is None else steps
    seconds: dict[str, list[float]] = {}
    copied = [networks.copied_bytes]
    made = 0
    events = render(plan, networks, pictures)
    for event in events:
        if isinstance(event, Progress):
            meter.mark(event.stage)
            seconds.setdefault(event.stage, []).append(round(event.seconds, 4))
            if event.stage == "denoise":
                copied.append(networks.copied_bytes)
                if event.done == wanted and not frames:
                    break
        elif isinstance(event, np.ndarray):
            made += len(event)
    events.close()
    for name in (*row.experts, "vae", "text_encoder"):
        networks.release(name)
    if frames and made != row.video.frames:
        raise AssertionError(f"{made} frames came out, not {row.video.frames}")
    return {
        "step_seconds": seconds.pop("denoise"), "passes": [round(one, 5) for one in meter.passes],
        "other_seconds": {stage: round(sum(every), 3) for stage, every in seconds.items()},
        "copied_gib": [round((after - before) / GIB, 9) for before, after in pairwise(copied)],
        "prints": networks.prints, **meter.record(),
    }  # fmt: skip


def measure_small(
    row: Row,
    device: torch.device,
    described: DeviceDescription,
    path: Path,
    host: HostPlace,
    *,
    frames: bool,
    weights: WeightFormat = "as_computed",
) -> dict[str, Any]:
    """A model streamed within the memory of the small card, and with all weights on the device."""
    hold_to(device, CARD)
    meter = Meter(device)
    speed = asked_speed(Request(prompt=PROMPT, profile="exact"), described, "bf16")
    networks = FromFile(row, device, meter, speed, path, host, weights)
    with HostMemory().watched() as memory:
        small = walk(row, described, networks, meter, frames=frames)
    del networks
    hold_to(device, None)
    meter = Meter(device)
    large = walk(row, described, FromFile(row, device, meter, speed, path, None, weights), meter, frames=False, steps=1)
    prints = large.pop("prints")
    same = small.pop("prints")[: len(prints)] == prints
    if not same:
        raise AssertionError("streamed blocks compute something else")
    return {
        "row": row.key, "speed": speed.model_dump(), "host": host, "weights": weights, "cap_gb": CARD / 1e9,
        "streamed": small, "resident": large,
        "slowdown": round(small["step_seconds"][-1] / (len(large["passes"]) * middle(large["passes"])), 4),
        "forward_slowdown": round(middle(small["passes"]) / middle(large["passes"]), 4),
        "identical": same, "host_peak_gib": round(memory.peak / GIB, 3),
        "host_anonymous_peak_gib": round(memory.anonymous_peak / GIB, 3),
        "copy_gb_per_second": round(copy_speed(device), 1),
    }  # fmt: skip


def middle(passes: Sequence[float]) -> float:
    """Median of the forward passes but the first, which also chooses algorithms."""
    return float(np.median(passes[1:]))


def hold_to(device: torch.device, limit: float | None) -> None:
    """Let torch have so many bytes of the device; None: all."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(1.0 if limit is None else min(1.0, limit / total), device)


def run_part(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one part in this process."""
    device = torch.device("cpu" if options.smoke else options.device)
    described = DeviceDescription(kind="cpu", name="a processor", memory_bytes=0)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        dtype_of("bf16", device)
        found = torch.cuda.get_device_properties(device)
        described = DeviceDescription(
            kind="cuda", name=found.name, memory_bytes=found.total_memory, index=device.index or 0
        )
    row = row_of(options.part, small=options.smoke)
    path, written = weight_file(row, options.folder)
    work: Callable[[], dict[str, Any]]
    if options.part == "load":
        work = partial(measure_load, row, device, path)
    else:
        host: HostPlace = "mapped" if options.part.endswith("mapped") else "pinned"
        weights: WeightFormat = "fp8" if options.part.endswith("fp8") else "as_computed"
        frames = not options.no_frames and weights == "as_computed"  # they are the same
        work = partial(measure_small, row, device, described, path, host, frames=frames, weights=weights)
    with torch.no_grad(), repeatable(torch.get_num_threads()):
        found_now = work()
    return {"hardware": described.name, "file_written_seconds": round(written, 2), **found_now}


def run(options: argparse.Namespace) -> int:
    """Measure parts, each in its own process; the number of those that failed."""
    content: dict[str, Any] = {
        "mode": "smoke" if options.smoke else "true", "versions": versions(), "date": today(), "commit": commit(),
        "parts": {},
    }  # fmt: skip
    failed = 0
    for part in options.only or USUAL:
        command = [
            sys.executable,
            __file__,
            "--part",
            part,
            "--folder",
            str(options.folder),
            "--device",
            options.device,
        ]
        start = time.perf_counter()
        done = subprocess.run(
            [*command, *(["--smoke"] if options.smoke else []), *(["--no-frames"] if options.no_frames else [])],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        lines = done.stdout.strip().splitlines()
        found = json.loads(lines[-1]) if done.returncode == 0 and lines else {"failed": done.returncode}
        failed += "failed" in found
        content["parts"][part] = {**found, "wall_seconds": round(time.perf_counter() - start, 2)}
        print(json.dumps({part: content["parts"][part]}), flush=True)
        if options.json is not None:
            scratch = options.json.with_name(options.json.name + ".part")
            scratch.write_text(json.dumps(content, indent=1) + "\n")
            scratch.replace(options.json)
    return failed


def numbers_of(parts: dict[str, Any]) -> Iterator[Measured]:
    """What a run claims."""
    if "overhead_gib" in parts.get("load", {}):
        yield Measured("gpu.load_host_overhead_gib", parts["load"]["overhead_gib"], "GiB", 2.0, higher_is_better=False)
    for part, name in CLAIMED.items():
        found = parts.get(part, {})
        if "slowdown" not in found:
            continue
        goal = None if part.endswith("mapped") else 1.15
        yield Measured(
            SLOWDOWNS.get(part, f"{name}.24gb_slowdown"), found["slowdown"], "times", goal, higher_is_better=False,
            settings=settings_of(found),
        )  # fmt: skip
        copied = found["streamed"]["copied_gib"][-1]
        yield Measured(f"{name}.24gb_copied_gib_per_step", round(copied, 3), "GiB", higher_is_better=False)
        yield Measured(f"{name}.24gb_forward_slowdown", found["forward_slowdown"], "times", higher_is_better=False)
        for kind in ("streamed", "resident"):
            each = middle(found[kind]["passes"])
            yield Measured(f"{name}.{kind}_forward_seconds", round(each, 5), "s", higher_is_better=False)
            peak = max(found[kind]["peak_gib"].values(), default=0.0)
            yield Measured(f"{name}.{kind}_peak_gib", peak, "GiB", higher_is_better=False)
        yield Measured(f"{name}.24gb_host_gib", found["host_peak_gib"], "GiB", higher_is_better=False)


def settings_of(found: dict[str, Any]) -> dict[str, str]:
    """What a slowdown stands beside: how the networks ran, and what a pass with resident weights took."""
    return {
        "profile": found["speed"]["profile"], "attention": found["speed"]["attention"], "weights": found["weights"],
        "host": found["host"], "resident_forward_seconds": f"{middle(found['resident']['passes']):.4g}",
    }  # fmt: skip


def merge(path: Path, stated: str | None, folder: Path | None = None) -> Path:
    """Write the claims of a run at true size.

    Args:
        path: Of the run.
        stated: Commit, for a run that took place where there is no git.
        folder: Where to write; None: where all claims are.

    Raises:
        ValueError: the run was a trial.
    """
    content = json.loads(path.read_text())
    if content["mode"] != "true":
        raise ValueError(f"{path}: a trial measures nothing")
    hardware = next(part["hardware"] for part in content["parts"].values() if "hardware" in part)
    known = {"versions": content["versions"], "date": content["date"], "commit": stated or content["commit"]}
    where = {} if folder is None else {"folder": folder}
    return write("low_vram", numbers_of(content["parts"]), hardware=hardware, known=known, **where)


def main() -> int:
    """Measure, or write the claims of what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file of the run, rewritten after every part")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--device", default="cuda:0", help="cuda:N")
    parser.add_argument("--folder", type=Path, help="where files of weights are made, up to 39 GB; kept if given")
    parser.add_argument("--no-frames", action="store_true", help="leave out the decoding, to save time")
    parser.add_argument("--smoke", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--merge", type=Path, metavar="FILE", help="write the claims of a run")
    parser.add_argument("--commit", help="with --merge: of a run that took place where there is no git")
    options = parser.parse_args()
    if options.merge:
        report(merge(options.merge, options.commit))
        return 0
    if options.part:
        print(json.dumps(run_part(options)), flush=True)
        return 0
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        return run(options)
    with tempfile.TemporaryDirectory(prefix="filmgate-low-vram-") as folder:
        options.folder = Path(folder)
        return run(options)


if __name__ == "__main__":
    # Sums on a GPU are repeatable only with this, and it is read when cuBLAS starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    sys.exit(main())
