"""Our own engine, on a device of this machine."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from filmgate.backends.hardware import describe_device, hardware_line
from filmgate.backends.recording import Frames, Origin, perform, versions_of
from filmgate.engine.checkpoints.hashes import weight_records
from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.residency import OneAtATime
from filmgate.engine.runtime.place import choose_device, dtype_of, repeatable
from filmgate.spec import Capabilities, DeviceDescription, Event, Plan, Preview, Progress


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
        with repeatable(threads_for(plan.device)):
            yield from render(plan, OneAtATime(plan.model, device, plan.precision))

    def _origin(self, plan: Plan) -> Origin:
        """Of the machine as it is, which may be another than the plan was made on."""
        return Origin(
            weights=weight_records(plan.model, self._cache),
            versions=versions_of("torch", "numpy", "tokenizers", "av"),
            hardware=hardware_line(describe_device(device_name(plan.device))),
        )


def device_name(device: DeviceDescription) -> str:
    """What torch and the command line call a device."""
    return f"cuda:{device.index}" if device.kind == "cuda" else device.kind


def threads_for(device: DeviceDescription) -> int:
    """Threads on the CPU: as many as the plan's own machine used, so that a repetition sums in the same order, but not
    more than this one has cores."""
    cores = describe_device("cpu").cores
    return min(device.cores, cores) if device.kind == "cpu" else cores
