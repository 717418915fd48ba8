"""What this machine has shown when it made videos, remembered between runs so that plans can go by it.

The file is a list of :class:`~filmgate.direction.calibration.Measured`, the newest last. Several of one setting are
kept, of which a plan takes the fastest, so that one video made while the machine had other work spoils no plan. Only
the last few are: where the machine has become slower for good, plans follow.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Generator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from filmgate.backends.hardware import host_memory
from filmgate.direction.calibration import Machine, Measured
from filmgate.direction.estimate import estimate_seconds
from filmgate.direction.fit import setting_of
from filmgate.direction.workload import workload_of
from filmgate.media.publish import write_bytes
from filmgate.spec import Done, Event, OutputError, Plan, TimeEstimate, Timings

FILE = "measured.json"
_MOST = 400
"""Measurements that are kept."""
_EACH = 5
"""Those of one setting."""
_COMPUTING = (
    "filmgate", "torch", "triton", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cudnn-frontend", "flash-attn-4",
)  # fmt: skip
_MEASUREMENTS = TypeAdapter(tuple[Measured, ...])


def this_machine(cache: Path, host_bytes: int | None = None, device_free: int = 0) -> Machine:
    """What is known of this machine beside its devices.

    Args:
        cache: Where measurements lie.
        host_bytes: Memory to plan with in place of what the machine has.
        device_free: What is free of the device's memory; 0: not known.
    """
    seen = read_measurements(cache)
    memory = host_memory() if host_bytes is None else host_bytes
    return Machine(memory, seen, computing_versions() if seen else "", device_free)


def read_measurements(cache: Path) -> tuple[Measured, ...]:
    """All that were remembered; none where there is no such file, or it is of another version of Filmgate. A plan says
    what its estimates rest on, so that this is no secret."""
    try:
        return _MEASUREMENTS.validate_json((cache / FILE).read_bytes())
    except (OSError, ValidationError):
        return ()


def remember(cache: Path, measured: Measured) -> None:
    """Add a measurement, beside the last few of the same setting.

    Raises:
        OutputError: the cache cannot be written.
    """
    known = read_measurements(cache)
    same = [one for one in known if one.setting == measured.setting]
    dropped = {id(one) for one in same[: max(0, len(same) + 1 - _EACH)]}
    kept = [*(one for one in known if id(one) not in dropped), measured][-_MOST:]
    text = json.dumps([one.model_dump(mode="json") for one in kept], indent=1, ensure_ascii=False)
    cache.mkdir(parents=True, exist_ok=True)
    write_bytes(cache / FILE, f"{text}\n".encode())


def remembered(events: Generator[Event, None, None], cache: Path | None) -> Generator[Event, None, None]:
    """Events as they come; what the video took is remembered in ``cache``, if there is one, before Done is told.

    A cache that cannot be written does not spoil a video that is finished.
    """
    try:
        for event in events:
            if cache is not None and isinstance(event, Done) and event.take.timings is not None:
                with suppress(OutputError, OSError):
                    remember(cache, measured_by(event.take.plan, event.take.timings))
            yield event
    finally:
        events.close()


def measured_by(plan: Plan, timings: Timings) -> Measured:
    """What a video shows. The first step warms up caches and clocks, so that it counts only where it is alone."""
    made = [plan.passes_of(index) for index in range(len(plan.steps))]
    passes = [seconds / count for seconds, count in zip(timings.steps, made, strict=True) if count]
    load, expected = workload_of(plan), expected_of(plan)
    return Measured(
        setting=setting_of(load, plan.residency, Machine(versions=computing_versions())),
        forward=statistics.median(passes[1:] or passes),
        expected_forward=expected.forward,
        decode=timings.decode,
        expected_decode=expected.decode,
    )


def expected_of(plan: Plan) -> TimeEstimate:
    """Seconds of a plan without any measurement."""
    return estimate_seconds(workload_of(plan), plan.residency)


def computing_versions() -> str:
    """Versions of the packages that decide how long a computation takes, and how it rounds: ``filmgate 0.1, torch
    2.11``. cuDNN is told where it is a package of its own, as torch's builds for Linux have it."""
    found = []
    for package in _COMPUTING:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
