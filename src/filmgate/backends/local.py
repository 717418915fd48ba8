"""Our own engine, on a device of this machine."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from filmgate.backends.hardware import describe_device, hardware_line
from filmgate.backends.recording import Frames, Origin, perform, versions_of
from filmgate.camera.poses import read_poses
from filmgate.direction.controls import inner_size
from filmgate.engine.checkpoints.hashes import weight_records
from filmgate.engine.checkpoints.lora_use import check_unchanged
from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.residency import OneAtATime
from filmgate.engine.pipeline.values import Pictures
from filmgate.engine.runtime.place import choose_device, dtype_of, repeatable
from filmgate.media.inputs import read_clip, verified
from filmgate.media.pictures import Picture, cover, read_picture
from filmgate.spec import Capabilities, DeviceDescription, Event, InputRole, Plan, Preview, Progress


class LocalBackend:
    """Loads the networks of a plan one at a time and runs them where the plan says.

    The same plan, weights, machine and versions give the same frames, bit by bit.

    Args:
        workspace: Where its files go.
        cache: Where hashes of weights are remembered; None: they are computed every time.
    """

    def __init__(self, workspace: Path, cache: Path | None = None) -> None:
        self._workspace = workspace
        self._cache = cache

    def capabilities(self) -> Capabilities:
        """The device that is used where a request names none."""
        return Capabilities(backend="local", device=describe_device())

    def render(self, plan: Plan) -> Generator[Event, None, None]:
        """See :class:`~filmgate.backends.backend.Backend`."""
        return perform(plan, self._workspace, self._work(plan), lambda: self._origin(plan))

    def _work(self, plan: Plan) -> Generator[Progress | Preview | Frames, None, None]:
        device = choose_device(device_name(plan.device))
        dtype_of(plan.precision, device)
        pictures = read_inputs(plan)
        check_unchanged(plan.loras, self._cache)
        with repeatable(threads_for(plan.device)):
            yield from render(plan, OneAtATime(plan.model, device, plan.precision, plan.loras), pictures)

    def _origin(self, plan: Plan) -> Origin:
        """Of the machine as it is, which may be another than the plan was made on."""
        return Origin(
            weights=weight_records(plan.model, self._cache),
            versions=versions_of("torch", "numpy", "tokenizers", "av"),
            hardware=hardware_line(describe_device(device_name(plan.device))),
        )


def read_inputs(plan: Plan) -> Pictures:
    """The pictures of a plan's inputs, as the engine takes them.

    Raises:
        InvalidRequest: a file is gone, is another than when the plan was made, or is too short.
        DamagedFile: it cannot be read.
    """
    path = plan.input("camera")
    return Pictures(
        image=_still(plan, "image"),
        last_image=_still(plan, "last_image"),
        video=_clip(plan),
        mask=_mask(plan),
        references=tuple(read_picture(verified(file)) for file in plan.inputs if file.role == "reference"),
        path=None if path is None else read_poses(verified(path)),
    )


def _clip(plan: Plan) -> NDArray[np.uint8] | None:
    """The video among the inputs: as long and large as the result, or as the part of it that is kept."""
    video, shape = plan.input("video"), plan.video
    if video is None:
        return None
    frames = video.frames_at(plan.fps) if plan.keep in ("start", "end") else shape.frames
    size = inner_size((video.width, video.height), shape) if plan.keep == "inside" else (shape.width, shape.height)
    return read_clip(verified(video), fps=plan.fps, frames=frames, width=size[0], height=size[1])


def _mask(plan: Plan) -> NDArray[np.uint8] | None:
    """The mask among the inputs, [F, h, w] with F = 1 for a picture. It is grey: one colour is enough."""
    mask, shape = plan.input("mask"), plan.video
    if mask is None:
        return None
    if mask.fps is None:
        return cover(read_picture(verified(mask)), shape.width, shape.height)[None, ..., 0]
    clip = read_clip(verified(mask), fps=plan.fps, frames=shape.frames, width=shape.width, height=shape.height)
    return clip[..., 0]


def _still(plan: Plan, role: InputRole) -> Picture | None:
    file = plan.input(role)
    return None if file is None else read_picture(verified(file))


def device_name(device: DeviceDescription) -> str:
    """What torch and the command line call a device."""
    return f"cuda:{device.index}" if device.kind == "cuda" else device.kind


def threads_for(device: DeviceDescription) -> int:
    """Threads on the CPU: as many as the plan's own machine used, so that a repetition sums in the same order, but not
    more than this one has cores."""
    cores = describe_device("cpu").cores
    return min(device.cores, cores) if device.kind == "cpu" else cores
