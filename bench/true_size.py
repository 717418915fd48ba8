"""Every published model at true size, random weights, bf16: seconds per forward pass and peak memory, on one GPU.

    python bench/true_size.py --json OUT [--only NAME ...] [--budget SECONDS] [--order cheap-first] [--device cuda:1]
    python bench/true_size.py --smoke --json OUT     tiny networks on the CPU, the same code
    python bench/true_size.py --dry                  true shapes on the meta device: no memory, no numbers
    python bench/true_size.py --merge OUT ...        writes the claims of runs

A row is :func:`filmgate.engine.pipeline.render.render` itself on a plan of the planner, with the official preset except
that it has two steps, and that the boundary of a model with two experts lies between them. Networks are built on the
meta device in the number formats of the loader, get their memory on the GPU and are filled there; one at a time is in
memory, as in the local backend. Both texts have as many tokens as the model reads, pictures are noise, and the frames
that the VAE decodes are thrown away.

Seconds are those of the forward passes after the first, each between two synchronisations; the median is kept. Peaks
are what torch allocated, without the driver's own. FLOP are counted from the shapes, not measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch._dynamo
from torch import Tensor, nn

from claims import Measured, commit, report, today, versions, write
from filmgate.camera.poses import CameraPath
from filmgate.direction.planner import plan as make_plan
from filmgate.engine.models.clip import ClipEncoder
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline import decode as decode_stage
from filmgate.engine.pipeline import denoise as denoise_stage
from filmgate.engine.pipeline.encode import encode
from filmgate.engine.pipeline.pictures import look
from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.values import Pictures
from filmgate.engine.runtime.place import dtype_of, repeatable
from filmgate.spec import DeviceDescription, InputFile, InputRole, Plan, Progress, Request
from true_size_models import STEPS, Row, chosen, describe, forward_operations, seconds_expected, tiny
from true_size_weights import GIB, Meter, RandomWeights, free, image_encoder, parameters_of, text_encoder

PROMPT, NEGATIVE = "what shall be seen", "what shall not be seen"
SHOWN = (720, 1280)
"""Rows and columns of the picture that the image encoder is timed with."""
ENCODER_SECONDS = 5.0
REPEATS = 5
"""Measured passes of an encoder, after one that is not."""
H200 = DeviceDescription(kind="cuda", name="NVIDIA H200", memory_bytes=141 * 10**9)
"""What a dry run plans for."""


def pictures_of(row: Row) -> tuple[Pictures, tuple[InputFile, ...]]:
    """What a row starts from, at the size of its video: noise, and a camera that moves forward."""
    video, draw = row.video, np.random.default_rng(0)
    still = draw.integers(0, 256, (video.height, video.width, 3), dtype=np.uint8)
    roles: list[InputRole] = []
    given: dict[str, Any] = {}
    if row.operation in ("i2v", "flf2v", "camera"):
        roles.append("image")
        given["image"] = still
    if row.operation == "flf2v":
        roles.append("last_image")
        given["last_image"] = still[::-1]
    if row.operation == "vace":
        roles += ["video", "mask", "reference"]
        clip = draw.integers(0, 256, (video.frames, video.height, video.width, 3), dtype=np.uint8)
        mask = np.zeros(clip.shape[:3], np.uint8)
        mask[:, :, video.width // 2 :] = 255
        given.update(video=clip, mask=mask, references=(still,))
    if row.operation == "camera":
        roles.append("camera")
        poses = np.tile(np.eye(3, 4), (video.frames, 1, 1))
        poses[:, 2, 3] = np.linspace(0, -1, video.frames)
        given["path"] = CameraPath(np.tile([0.5, 0.9, 0.5, 0.5], (video.frames, 1)), poses)
    return Pictures(**given), tuple(_file(role, row) for role in roles)


def _file(role: InputRole, row: Row) -> InputFile:
    """The description of a file that is not there."""
    moving = role in ("video", "mask", "camera")
    width, height = (0, 0) if role == "camera" else (row.video.width, row.video.height)
    frames = row.video.frames if moving else 1
    return InputFile(role=role, path=role, sha256="0" * 64, width=width, height=height, frames=frames)


def planned(row: Row, device: DeviceDescription, inputs: Sequence[InputFile], parameters: dict[str, int]) -> Plan:
    """The planner's plan for a row: the preset, with two steps, one for each expert."""
    model = describe(row, parameters)
    paths: dict[str, Any] = {file.role: file.path for file in inputs if file.role != "reference"}
    paths["references"] = tuple(file.path for file in inputs if file.role == "reference")
    wish = Request(
        prompt=PROMPT, negative=NEGATIVE, width=row.video.width, height=row.video.height, frames=row.video.frames,
        steps=STEPS, precision="bf16", **paths,
    )  # fmt: skip

    def counted(_text: str) -> int:
        return row.sizes.dit.text_len

    plan = make_plan(wish, model, device, counted, inputs)
    if plan.boundary is not None:
        between = sum(step.timestep for step in plan.steps) / STEPS / 1000
        plan = make_plan(wish.model_copy(update={"boundary": between}), model, device, counted, inputs)
    if plan.video != row.video or {step.passes for step in plan.steps} != {2}:
        raise AssertionError(f"not the row that was meant: {plan.video}, {plan.steps}")
    return plan


@contextmanager
def without_numbers() -> Iterator[None]:
    """Within the body the pipeline runs on the meta device: whoever looks at numbers is told some, and there is no
    autocast, which that device does not know."""

    def two_times(timestep: Tensor, *, return_inverse: bool) -> tuple[Tensor, Tensor]:
        assert return_inverse
        return timestep.new_empty(2), torch.empty_like(timestep, dtype=torch.int64)

    def black(video: Tensor) -> np.ndarray[Any, Any]:
        return np.zeros((*video.shape[1:], 3), np.uint8)

    with (
        mock.patch.object(torch, "unique", two_times),
        mock.patch.object(torch, "is_autocast_enabled", return_value=False),
        mock.patch.object(torch, "autocast", return_value=nullcontext()),
        mock.patch.object(denoise_stage, "check_finite", return_value=None),
        mock.patch.object(decode_stage, "to_rgb", black),
    ):
        yield


def measure(row: Row, device: torch.device, described: DeviceDescription, *, keep_both: bool = False) -> dict[str, Any]:
    """Render a row and record what it took."""
    pictures, inputs = pictures_of(row)
    sizes = row.sizes
    parameters = {"dit": parameters_of(lambda: WanDiT(sizes.dit)), "vae": parameters_of(lambda: WanVae(sizes.vae))}
    parameters["text_encoder"] = parameters_of(lambda: Umt5Encoder(sizes.text))
    if sizes.dit.image_dim is not None:
        parameters["image_encoder"] = parameters_of(lambda: ClipEncoder(sizes.clip))
    plan = planned(row, described, inputs, parameters)
    meter = Meter(device)
    seconds = dict.fromkeys(("load", "encode", "denoise", "decode"), 0.0)
    frames = 0
    for event in render(plan, RandomWeights(row, device, meter, plan.speed, keep_both=keep_both), pictures):
        if isinstance(event, Progress):
            meter.mark(event.stage)
            seconds[event.stage] += event.seconds
        elif isinstance(event, np.ndarray):
            frames += len(event)
    if frames != row.video.frames:
        raise AssertionError(f"{frames} frames came out, not {row.video.frames}")
    return {
        "variant": row.variant,
        "operation": plan.operation,
        "parameters": parameters,
        "tokens": row.tokens,
        "steps": [step.model_dump() for step in plan.steps],
        "speed": plan.speed.model_dump(),
        "plan": {"solver": plan.solver, "shift": plan.shift, "boundary": plan.boundary},
        "planned_peak_gib": round(plan.memory.peak / GIB, 3),
        "experts_in_memory": len(row.experts) if keep_both else 1,
        "stage_seconds": {stage: round(value, 4) for stage, value in seconds.items()},
        **meter.record(),
        **speed(row, meter.passes),
    }


def speed(row: Row, passes: Sequence[float]) -> dict[str, Any]:
    """Seconds per forward pass, and operations by them; the first pass is left out, which also chooses algorithms."""
    operations = forward_operations(row.sizes.dit, row.tokens, row.image_rows)
    middle = statistics.median(passes[1:])
    return {
        "passes": [round(value, 5) for value in passes],
        "seconds_per_forward": middle,
        "tera_operations_per_forward": operations / 1e12,
        "tera_operations_per_second": operations / 1e12 / middle,
    }


def measure_encoder(name: str, device: torch.device, *, small: bool) -> dict[str, Any]:
    """Time an encoder by itself: two texts of full length, as a plan with guidance has them, or one picture."""
    meter = Meter(device)
    row = next(row for row in chosen((), "important") if isinstance(row, Row))
    sizes = tiny(row).sizes if small else row.sizes
    network: nn.Module
    if name == "umt5-xxl":
        network = text = text_encoder(sizes.text, device)
        ids = [1 + index % (sizes.text.vocab - 1) for index in range(sizes.text.text_len)]

        def run() -> Tensor:
            return encode(PROMPT, NEGATIVE, lambda _: ids, text).text
    else:
        network = clip = image_encoder(sizes.clip, device)
        picture = np.random.default_rng(0).integers(0, 256, (*SHOWN, 3), dtype=np.uint8)

        def run() -> Tensor:
            return look([picture], clip)

    meter.mark("load")
    seconds = []
    for _ in range(1 + REPEATS):
        start = meter.now()
        result = run()
        seconds.append(meter.now() - start)
    if device.type != "meta" and not bool(torch.isfinite(result).all()):
        raise AssertionError(f"{name} gave numbers that are not finite")
    meter.mark("encode")
    count = sum(parameter.numel() for parameter in network.parameters())
    return {
        "parameters": {name: count}, "rows": len(result), "passes": seconds,
        "seconds_per_forward": statistics.median(seconds[1:]), **meter.record(),
    }  # fmt: skip


class Record:
    """A run's file: what ran where, and a record per row, rewritten whole after every row."""

    def __init__(self, path: Path | None, mode: str, hardware: str) -> None:
        self._path = path
        self.content: dict[str, Any] = {
            "mode": mode, "hardware": hardware, "versions": versions(), "date": today(), "commit": commit(), "rows": {},
        }  # fmt: skip

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Keep a row, and show it as one line of JSON."""
        self.content["rows"][key] = row
        print(json.dumps({"row": key, **{name: value for name, value in row.items() if name != "steps"}}), flush=True)
        if self._path is not None:
            part = self._path.with_name(self._path.name + ".part")
            part.write_text(json.dumps(self.content, indent=1) + "\n")
            part.replace(self._path)


class Pace:
    """How much longer rows take than they were expected to; never shorter, so that a budget is kept."""

    def __init__(self) -> None:
        self._expected = self._taken = 0.0

    @property
    def factor(self) -> float:
        """What to multiply an expectation by: 1 or more."""
        return max(1.0, self._taken / self._expected) if self._expected else 1.0

    def add(self, expected: float, taken: float) -> None:
        """A row took ``taken`` seconds."""
        self._expected += expected
        self._taken += taken


def attempt(work: Callable[[], dict[str, Any]], device: torch.device) -> dict[str, Any]:
    """The record of a row, or of how it failed."""
    start = time.perf_counter()
    try:
        with torch.no_grad():
            found = {"status": "done", **work()}
    except Exception as error:  # one row must not cost the others
        found = {"status": "failed", "error": f"{type(error).__name__}: {error}"[:2000]}
        traceback.print_exc()
        del error
    free(device)
    return {**found, "wall_seconds": round(time.perf_counter() - start, 3)}


def run(options: argparse.Namespace) -> int:
    """Measure what was asked for; the number of rows that failed."""
    device, described = place(options)
    mode = "dry" if options.dry else "smoke" if options.smoke else "true"
    record = Record(options.json, mode, described.name)
    start, failed = time.perf_counter(), 0
    pace = Pace()
    for row in chosen(options.only, options.order):
        key = row if isinstance(row, str) else row.key
        guess = ENCODER_SECONDS if isinstance(row, str) else seconds_expected(row)
        expected = guess * pace.factor
        if options.budget is not None and time.perf_counter() - start + expected > options.budget:
            record.add(key, {"status": "skipped", "expected_seconds": round(expected, 1)})
            continue
        found = attempt(work_of(row, device, described, options), device)
        failed += found["status"] == "failed"
        if found["status"] == "done":
            pace.add(guess, found["wall_seconds"])
        record.add(key, {**found, "expected_seconds": round(expected, 1)})
    return failed


def work_of(
    row: Row | str, device: torch.device, described: DeviceDescription, options: argparse.Namespace
) -> Callable[[], dict[str, Any]]:
    """What measures a row or an encoder."""
    if isinstance(row, str):
        return lambda: measure_encoder(row, device, small=options.smoke)
    sized = tiny(row) if options.smoke else row
    return lambda: measure(sized, device, described, keep_both=options.experts == "both")


def place(options: argparse.Namespace) -> tuple[torch.device, DeviceDescription]:
    """Where to run, as torch and as the planner know it."""
    if options.dry:
        return torch.device("meta"), H200
    if options.smoke:
        return torch.device("cpu"), DeviceDescription(kind="cpu", name=platform.machine(), memory_bytes=0)
    device = torch.device(options.device)
    torch.cuda.set_device(device)
    dtype_of("bf16", device)
    found = torch.cuda.get_device_properties(device)
    return device, DeviceDescription(
        kind="cuda", name=found.name, memory_bytes=found.total_memory, index=device.index or 0
    )


def merge(paths: Sequence[Path], stated: str | None, folder: Path | None = None) -> list[Path]:
    """Write the claims of runs at true size, one file per kind of GPU; of a row that was measured twice the later.

    Rows that another run of the same day measured stay.

    Args:
        paths: Files of runs.
        stated: Commit, for runs that took place where there is no git.
        folder: Where to write; None: where all claims are.

    Raises:
        ValueError: a file is of a trial, or runs of one kind of GPU differ in date, commit or versions.
    """
    runs: dict[str, tuple[dict[str, Any], dict[str, Measured]]] = {}
    for path in paths:
        content = json.loads(path.read_text())
        if content["mode"] != "true":
            raise ValueError(f"{path}: a {content['mode']} run measures nothing")
        known = {"versions": content["versions"], "date": content["date"], "commit": stated or content["commit"]}
        facts, numbers = runs.setdefault(content["hardware"], (known, {}))
        if facts != known:
            raise ValueError(f"{path}: {known} are not those of the runs before it, {facts}")
        for key, row in content["rows"].items():
            if row["status"] == "done":
                numbers.update({number.id: number for number in numbers_of(key, row)})
    where = {} if folder is None else {"folder": folder}
    return [
        write("true_size", numbers.values(), hardware=hardware, known=known, keep=True, **where)
        for hardware, (known, numbers) in runs.items()
        if numbers
    ]


def numbers_of(key: str, row: dict[str, Any]) -> Iterator[Measured]:
    """What a row claims."""
    name, peaks, stages = f"true_size.{key}", row["peak_gib"], row.get("stage_seconds", {})
    yield Measured(f"{name}.seconds_per_forward", round(row["seconds_per_forward"], 5), "s", higher_is_better=False)
    yield Measured(f"{name}.peak_gib", max(peaks.values()), "GiB", higher_is_better=False)
    for stage in ("denoise", "decode", "encode"):
        if stage in peaks:
            yield Measured(f"{name}.peak_{stage}_gib", peaks[stage], "GiB", higher_is_better=False)
    for stage in ("encode", "decode"):
        if stage in stages:
            yield Measured(f"{name}.{stage}_seconds", round(stages[stage], 3), "s", higher_is_better=False)
    if "tera_operations_per_second" in row:
        yield Measured(f"{name}.speed", round(row["tera_operations_per_second"], 1), "TFLOP/s")
    if "speed" in row:
        yield Measured(f"{name}.fused", float(row["speed"]["profile"] == "exact"), "")
    parameters = row["parameters"]
    yield Measured(f"{name}.parameters", parameters.get("dit", max(parameters.values())), "")


def main() -> int:
    """Measure, or merge what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file of the run, rewritten after every row")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="rows or encoders")
    parser.add_argument("--budget", type=float, help="seconds; a row that is expected to take longer is not begun")
    parser.add_argument("--order", choices=("important", "cheap-first"), default="important")
    parser.add_argument("--device", default="cuda:0", help="cuda:N")
    parser.add_argument("--experts", choices=("one", "both"), default="one", help="how many are in memory at once")
    parser.add_argument("--smoke", action="store_true", help="tiny, on the CPU")
    parser.add_argument("--dry", action="store_true", help="shapes only")
    parser.add_argument("--merge", nargs="+", type=Path, metavar="FILE", help="write claims of runs")
    parser.add_argument("--commit", help="with --merge: of runs that took place where there is no git")
    options = parser.parse_args()
    if options.merge:
        for path in merge(options.merge, options.commit):
            report(path)
        return 0
    if options.dry:
        with without_numbers():
            return run(options)
    with repeatable(torch.get_num_threads()):
        return run(options)


if __name__ == "__main__":
    sys.exit(main())
