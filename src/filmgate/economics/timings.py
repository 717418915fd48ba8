"""How long an attempt takes and how much a device draws: what others timed, and else what the planner counts.

The rows lie in ``timings.toml``. Measurements of one's own come before both, see
:mod:`~filmgate.economics.takes`.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from filmgate.spec.errors import FilmgateError, InvalidRequest, UnknownName

if TYPE_CHECKING:
    from filmgate.spec import Plan

AGREED = 0.20
"""Share by which an observation and the planner may differ before that is told."""


@dataclass(frozen=True)
class Timed:
    """One observation: ``seconds`` from the prompt to the file, weights being loaded, on ``gpus`` devices together.

    ``setup`` is empty for the model as published. ``peak_gb`` is what each device held (10^9 bytes), where known.
    ``as_of`` is the day on which it was published, where known.
    """

    model: str
    resolution: str
    frames: int
    device: str
    gpus: int
    seconds: float
    evidence: str
    source: str
    setup: str = ""
    peak_gb: float | None = None
    as_of: str | None = None


@dataclass(frozen=True)
class Power:
    """Watts that a device draws while it works; ``low`` and ``high`` where they were seen."""

    device: str
    watts: float
    evidence: str
    source: str
    low: float | None = None
    high: float | None = None


class Duration(NamedTuple):
    """Seconds of an attempt, and of reading the weights, if known; what that rests on, in words.

    ``row`` is the observation that counts, None: the planner's estimate does. ``planned`` is what the planner counts
    for the same, None: it cannot say.
    """

    seconds: float
    load: float
    basis: str
    row: Timed | None = None
    planned: float | None = None

    @property
    def disagreement(self) -> str:
        """What the planner counts instead, in words, where that is more than :data:`AGREED` off; else empty."""
        if self.row is None or self.planned is None or abs(self.planned / self.seconds - 1) <= AGREED:
            return ""
        share = self.planned / self.seconds - 1
        return f"the planner counts {self.planned:.0f} s, {abs(share):.0%} {'more' if share > 0 else 'less'}"


@cache
def timed_rows() -> tuple[Timed, ...]:
    """Every observation that comes with Filmgate."""
    return tuple(Timed(**row) for row in _table()["time"])


@cache
def power_rows() -> tuple[Power, ...]:
    """What devices draw."""
    return tuple(Power(**row) for row in _table()["power"])


def _table() -> dict[str, list[dict[str, Any]]]:
    text = files("filmgate.economics").joinpath("timings.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def power_of(device: str) -> Power:
    """What a device draws.

    Raises:
        UnknownName: that is not known.
    """
    for row in power_rows():
        if row.device == device:
            return row
    raise UnknownName("device", device, [row.device for row in power_rows()], noun="device of known power")


def timed(model: str, device: str, gpus: int, resolution: str, setup: str = "") -> Timed | None:
    """The observation of a model on devices, if there is one."""
    wanted = (model, setup, device, gpus, resolution)
    found = (row for row in timed_rows() if (row.model, row.setup, row.device, row.gpus, row.resolution) == wanted)
    return next(found, None)


def devices_in(text: str) -> tuple[str, str]:
    """A device profile and how many of them, of ``h100x8`` or ``NVIDIA H100x8``; names of profiles may end like that
    themselves, and ``*`` stands for any."""
    several = re.fullmatch(r"(.+?)\s*x\s*([1-9]\d{0,2}|\*)", text)
    if several is None or _called(text) is not None:
        return _called(text) or text, "1"
    return _called(several[1]) or several[1], several[2]


def _called(text: str) -> str | None:
    """The name of a profile, however it is written; None: there is none."""
    from filmgate.direction.devices import profile_named

    try:
        return profile_named(text).name
    except UnknownName:
        return None


def frames_of(model: str, seconds: float) -> int:
    """Frames of a published model's video of about so many seconds.

    Raises:
        UnknownName: there is no such model.
    """
    from filmgate.direction.architectures import describe_published
    from filmgate.direction.presets import PRESETS

    compression = describe_published(model).compression
    return compression.nearest_frames(round(seconds * PRESETS[model].fps))


def duration_of(model: str, device: str, gpus: int, resolution: str, seconds: float, setup: str = "") -> Duration:
    """How long an attempt takes.

    What was timed for this very model, device and size counts, scaled by the planner where the video is longer or
    shorter; without that the planner's own estimate, which knows one device.

    Args:
        model: A published model.
        device: A device profile.
        gpus: That work on an attempt together.
        resolution: ``480p``, ``720p``, ...
        seconds: Length of the video.
        setup: How it runs, where not as published: what a row of ``timings.toml`` says, or a few-step preset.

    Raises:
        UnknownName: there is no such model, device or setup.
        InvalidRequest: nobody timed it and the planner cannot say either; says why.
    """
    frames = frames_of(model, seconds)
    if timed(model, device, gpus, resolution, setup) is not None:
        return duration_known(model, device, gpus, resolution, frames, setup)
    if gpus > 1:
        raise InvalidRequest(
            "option", f"nobody timed {model} at {resolution} on {gpus} {device}, and the planner knows one device",
            allowed=_known(model), nearest="seconds of your own, with --set NAME.attempt.generate=SECONDS",
        )  # fmt: skip
    planned = plan_of(model, device, resolution, frames, _preset_named(setup, model))
    return duration_known(model, device, gpus, resolution, frames, setup, planned)


def duration_known(
    model: str, device: str, gpus: int, resolution: str, frames: int, setup: str = "", planned: Plan | None = None
) -> Duration:
    """How long an attempt takes, by the best that is known: every command that tells seconds asks here.

    A plan that rests on what this very machine has shown counts first, then what others timed, then any plan.

    Args:
        model: A published model.
        device: A device profile.
        gpus: That work on an attempt together.
        resolution: ``480p``, ``720p``, ...
        frames: Of the video.
        setup: How it runs, where not as published.
        planned: A plan for one device, where one was made already; else it is made where the planner can.

    Raises:
        InvalidRequest: nobody timed it, and the planner cannot say either (UnknownName: a name is unknown).
    """
    row = timed(model, device, gpus, resolution, setup)
    if planned is not None and (row is None or planned.times.basis != "analytic"):
        words = {"analytic": "counted by the planner, not measured", "calibrated": "calibrated on this machine",
                 "measured": "measured on this machine"}  # fmt: skip
        return Duration(planned.seconds - planned.times.load, planned.times.load, words[planned.times.basis])
    if row is None:
        plan = plan_of(model, device, resolution, frames, _preset_named(setup, model))
        return duration_known(model, device, gpus, resolution, frames, setup, plan)
    # An observation is of the model as published, or of a setup that the planner may not know.
    counted = None if gpus > 1 else _counted(model, device, resolution, frames, setup, planned)
    seconds, basis = row.seconds, f"timed by others ({row.source})"
    if row.frames != frames:
        seconds *= _planned(model, device, resolution, frames) / _planned(model, device, resolution, row.frames)
        basis = f"timed by others for {row.frames} frames ({row.source}), scaled to {frames} by the planner"
    found = Duration(seconds, 0.0 if planned is None else planned.times.load, basis, row, counted)
    return found._replace(basis=f"{basis}; {found.disagreement}") if found.disagreement else found


def _counted(model: str, device: str, resolution: str, frames: int, setup: str, planned: Plan | None) -> float | None:
    """Seconds without reading weights that the planner counts; None: it knows no such setup, or it does not fit."""
    if planned is None:
        try:
            planned = plan_of(model, device, resolution, frames, _preset_named(setup, model))
        except FilmgateError:
            return None
    return planned.seconds - planned.times.load


def load_seconds(model: str, device: str, resolution: str) -> float:
    """Seconds of reading a model's weights, by the planner; 0 where it cannot say."""
    try:
        return plan_of(model, device, resolution, frames_of(model, 5.0), None).times.load
    except FilmgateError:
        return 0.0


def _planned(model: str, device: str, resolution: str, frames: int) -> float:
    planned = plan_of(model, device, resolution, frames, None)
    return planned.seconds - planned.times.load


def plan_of(model: str, device: str, resolution: str, frames: int, preset: str | None) -> Plan:
    """The plan of a published model's video on one device of a kind, with a few-step preset or as published.

    Raises:
        UnknownName: there is no such model or device.
        InvalidRequest: the size is none of the model's, or it does not fit the device.
    """
    from filmgate.direction.architectures import describe_published
    from filmgate.direction.devices import profile_named
    from filmgate.direction.planner import plan
    from filmgate.spec import InputFile, InputRole, Request

    described = describe_published(model)
    width, height = _size(model, resolution)
    needed: dict[str, tuple[InputRole, ...]] = {"i2v": ("image",), "flf2v": ("image", "last_image")}
    roles = needed.get(described.task, ())
    inputs = [InputFile(role=role, path=role, sha256="", width=width, height=height) for role in roles]
    request = Request(
        prompt="a video", width=width, height=height, frames=frames, distilled=preset,
        image="image" if "image" in roles else None, last_image="last_image" if "last_image" in roles else None,
    )  # fmt: skip
    return plan(request, described, profile_named(device).description, lambda text: len(text.split()) + 1, inputs)


def size_name(lines: int) -> str:
    """How a size is called by the shorter side: ``720p``; 704 lines, to which a model rounds them, count as 720."""
    return "720p" if lines == 704 else f"{lines}p"


def _size(model: str, resolution: str) -> tuple[int, int]:
    """Width and height by which a model's size of ``720p`` is meant."""
    from filmgate.direction.presets import PRESETS

    sizes = {size_name(height): (width, height) for width, height in PRESETS[model].sizes if width > height}
    if resolution not in sizes:
        raise UnknownName("resolution", resolution, sizes, noun=f"size of {model}")
    return sizes[resolution]


def _preset_named(setup: str, model: str) -> str | None:
    """A few-step preset by the name of a setup."""
    from filmgate.direction.distilled import DISTILLED

    if not setup:
        return None
    if setup in DISTILLED:
        return setup
    known = {row.setup for row in timed_rows() if row.model == model and row.setup} | set(DISTILLED)
    raise UnknownName("option", setup, known, noun=f"setup of {model}")


def _known(model: str) -> str:
    """Devices on which a model was timed, in words."""
    found = [f"{row.gpus} {row.device} at {row.resolution}" for row in timed_rows() if row.model == model]
    return ", ".join(dict.fromkeys(found)) or "one device"
