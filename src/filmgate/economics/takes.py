"""Takes that were really made, as measurements: seconds, energy and hardware in place of assumptions.

A manifest says what a video took. Takes of one model, size, number of steps and device belong together; what is
reckoned with is their median.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filmgate.economics.options import Attempt, Machine, Option, Quality, Scenario, Workload
from filmgate.economics.prices import PriceList
from filmgate.economics.scenario import assumed_review
from filmgate.economics.timings import frames_of, power_of, size_name
from filmgate.spec.errors import FilmgateError, InvalidRequest, UnknownName
from filmgate.spec.take import Take

_CPU_WATTS = 150.0
"""Of a machine without a GPU, as of one beside a card."""


@dataclass(frozen=True)
class Measured:
    """Takes that belong together.

    Attributes:
        model: Id of the model; that of a published one where it has its dimensions.
        device: Device profile; ``cpu`` for a processor, empty for a GPU without a profile.
        hardware: The machine as the takes say it.
        width, height, frames, steps: Of the videos.
        count: Takes.
        seconds: Median time of a take, reading the weights left out.
        load: Median time of reading the weights.
        energy: Median joules that the GPU drew; None where no take knows.
        files: Of the manifests.
    """

    model: str
    device: str
    hardware: str
    width: int
    height: int
    frames: int
    steps: int
    count: int
    seconds: float
    load: float
    energy: float | None
    files: tuple[str, ...]

    @property
    def watts(self) -> float | None:
        """What the GPU drew on average, reading the weights included."""
        return None if self.energy is None else self.energy / (self.seconds + self.load)

    @property
    def title(self) -> str:
        """``wan2.2-ti2v-5b, 1280x704x121, 50 steps on NVIDIA ...``."""
        return f"{self.model}, {self.width}x{self.height}x{self.frames}, {self.steps} steps, on {self.hardware}"


def read_takes(folder: Path) -> tuple[list[Measured], list[str]]:
    """The takes whose manifests lie in a folder or below it, grouped, and a sentence for each that says too little.

    Raises:
        InvalidRequest: there is no such folder, or no manifest with timings in it.
    """
    if not folder.is_dir():
        raise InvalidRequest("from", f"{folder} is not a directory", allowed="a directory with manifests of takes")
    found, unusable = [], []
    for path in sorted(folder.rglob("*.json")):
        take = _take(path)
        if take is None:
            continue
        if take.timings is None:
            unusable.append(f"{path} says nothing of its time")
        else:
            found.append((path, take))
    if not found:
        said = f"; {unusable[0]}" if unusable else ""
        raise InvalidRequest("from", f"there is no manifest of a take in {folder}{said}",
                             allowed="manifests that `filmgate generate` wrote beside its videos")  # fmt: skip
    return group(found), unusable


def _take(path: Path) -> Take | None:
    """The take of a manifest; None for any other JSON."""
    from pydantic import ValidationError

    try:
        return Take.model_validate_json(path.read_bytes())
    except (ValidationError, OSError):
        return None


def group(takes: Iterable[tuple[Path, Take]]) -> list[Measured]:
    """Takes with timings, those that belong together as one, in the order of their first file."""
    groups: dict[tuple[str, str, str, int, int, int, int], list[tuple[Path, Take]]] = defaultdict(list)
    for path, take in takes:
        plan = take.plan
        key = (model_of(take), _device(take), take.hardware, plan.video.width, plan.video.height, plan.video.frames,
               len(plan.steps))  # fmt: skip
        groups[key].append((path, take))
    return [_measured(key, members) for key, members in groups.items()]


def _measured(key: tuple[str, str, str, int, int, int, int], members: Sequence[tuple[Path, Take]]) -> Measured:
    timings = [take.timings for _, take in members if take.timings is not None]
    drawn = [take.energy_joules for _, take in members if take.energy_joules is not None]
    return Measured(
        *key,
        count=len(members),
        seconds=statistics.median(one.total - one.load for one in timings),
        load=statistics.median(one.load for one in timings),
        energy=statistics.median(drawn) if drawn else None,
        files=tuple(str(path) for path, _ in members),
    )


def model_of(take: Take) -> str:
    """The published model whose dimensions a take's model has, with its few-step preset, or the model's own id."""
    from filmgate.direction.architectures import DESCRIBED, describe_published

    model, setup = take.plan.model, take.plan.distilled
    name = model.id
    if model.variant in DESCRIBED and describe_published(model.variant).dit == model.dit:
        name = model.variant
    return f"{name}+{setup}" if setup else name


def _device(take: Take) -> str:
    from filmgate.direction.devices import profile_of

    device = take.plan.device
    return "cpu" if device.kind == "cpu" else profile_of(device).name


def with_measurements(scenario: Scenario, measured: Sequence[Measured]) -> Scenario:
    """The scenario with measured seconds and watts in the options that they are of: the same model, run as published,
    on one device of the same kind, for videos of the scenario's size and length."""
    return replace(
        scenario, options=tuple(_applied(option, measured, scenario.workload) for option in scenario.options)
    )


def _applied(option: Option, measured: Sequence[Measured], workload: Workload) -> Option:
    one = next((one for one in measured if _is_of(one, option, workload)), None)
    if one is None:
        return option
    attempt, machine = replace(option.attempt, generate=one.seconds, load=one.load), option.machine
    if machine is not None and one.watts is not None:
        machine = replace(machine, gpu_watts=one.watts)
    return replace(option, attempt=attempt, machine=machine, basis=basis_of(one))


def _is_of(one: Measured, option: Option, workload: Workload) -> bool:
    from filmgate.direction.presets import PRESETS

    if (one.model, one.device) != (option.model, option.device) or option.gpus != 1:
        return False
    published = PRESETS.get(one.model)
    lines = min(one.width, one.height)
    return (
        (published is None or one.steps == published.steps)
        and workload.resolution == size_name(lines)
        and one.frames == frames_of(one.model.partition("+")[0], workload.seconds)
    )


def another_video(one: Measured, workload: Workload) -> str:
    """How the videos of a measurement differ from those that are wanted; empty where they do not."""
    from filmgate.direction.architectures import DESCRIBED

    model = one.model.partition("+")[0]
    wanted = frames_of(model, workload.seconds) if model in DESCRIBED else one.frames
    if workload.resolution == size_name(min(one.width, one.height)) and one.frames == wanted:
        return ""
    return (
        f"of {one.width}x{one.height} and {one.frames} frames, not of {workload.resolution} and {workload.seconds:g} s"
    )


def basis_of(one: Measured) -> str:
    """What seconds of a measurement rest on."""
    takes = f"{one.count} take{'s' if one.count > 1 else ''}"
    energy = "" if one.watts is None else f", {one.watts:.0f} W"
    return f"measured on {takes} ({one.width}x{one.height}x{one.frames}, {one.steps} steps{energy})"


def measured_options(
    measured: Sequence[Measured], prices: PriceList, workload: Workload, taken: Iterable[str] = ()
) -> list[Option]:
    """The measurements as options of one's own: the machine that made them, bought, or, where no price of it is known,
    there already. Names are ``measured``, ``measured-2``, ..., none of ``taken``."""
    names = _names(set(taken))
    return [replace(_option(next(names), one, prices), unlike=another_video(one, workload)) for one in measured]


def _names(taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        name = "measured" if number == 1 else f"measured-{number}"
        if name not in taken:
            yield name


def _option(name: str, one: Measured, prices: PriceList) -> Option:
    """An option of takes. What nobody measured of the power is the manufacturer's limit."""
    energy = prices.one("kwh", subject="electricity")
    price, gpus, ids, owned, said = 0.0, 1.0, [energy.id], 1.0, ""
    try:
        hardware = prices.one("hardware", subject=one.device)
        price, gpus, owned = prices.amount(hardware), float(hardware.gpus), 0.0
        ids.insert(0, hardware.id)
    except UnknownName:
        said = "; no price of this machine is known: it counts as there already, see --set PATH=VALUE"
    machine = Machine(price=price, gpus=gpus, owned=owned, gpu_watts=_watts(one), kwh=prices.amount(energy),
                      host_watts=_CPU_WATTS)  # fmt: skip
    return Option(
        name=name, kind="local", model=one.model, device=one.device or "gpu", machine=machine, prices=tuple(ids),
        attempt=Attempt(generate=one.seconds, load=one.load), quality=Quality(review=assumed_review(one.model)),
        basis=basis_of(one) + said,
    )  # fmt: skip


def _watts(one: Measured) -> float:
    if one.watts is not None:
        return one.watts
    if one.device == "cpu":
        return 0.0
    try:
        return power_of(one.device).watts
    except FilmgateError:
        raise InvalidRequest(
            "from", f"the takes on {one.hardware} do not say what the GPU drew, and its power is not known",
            allowed="takes with energy_joules (made one by one, on a GPU that counts what it draws)",
        ) from None  # fmt: skip
