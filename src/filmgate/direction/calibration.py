"""What a device has shown when it made a video, and what that says of the next one."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import NamedTuple

from pydantic import Field

from filmgate.spec.estimates import Basis
from filmgate.spec.model import Precision
from filmgate.spec.residency import ResidencyPlan, WeightFormat
from filmgate.spec.shape import Frozen, VideoShape
from filmgate.spec.speed import SpeedPlan


class Setting(Frozen):
    """What a measurement is of. Two that are equal take equally long; ``versions`` are those of the packages that
    compute, ``model`` and ``coder`` (the VAE) are architectures and not files."""

    device: str
    versions: str
    model: str
    coder: str
    video: VideoShape
    precision: Precision
    residency: ResidencyPlan
    speed: SpeedPlan = SpeedPlan()


class Measured(Frozen):
    """Seconds of one forward pass for one text and of decoding, beside what was expected of them without any
    measurement; 0: not measured."""

    setting: Setting
    forward: float = Field(gt=0)
    expected_forward: float = Field(gt=0)
    decode: float = 0.0
    expected_decode: float = 0.0


class Correction(NamedTuple):
    """Factors on what is expected of the transformer's work, of the copies beside it and of the VAE, and what they rest
    on."""

    forward: float = 1.0
    copies: float = 1.0
    decode: float = 1.0
    basis: Basis = "analytic"


NOTHING_MEASURED = Correction()


class Machine(NamedTuple):
    """What is known of a machine beside its device: bytes of its own memory (0: unknown), what was measured, and bytes
    of the device's memory that nobody else uses (0: unknown, all of it counts)."""

    host_memory: int = 0
    measured: Sequence[Measured] = ()
    versions: str = ""
    device_free: int = 0


UNKNOWN_MACHINE = Machine()
_WIDE: WeightFormat = "as_computed"


def correction_for(setting: Setting, expected: float, measured: Sequence[Measured]) -> Correction:
    """What measurements of the same device, versions and precision say of a setting.

    Of several of one setting the fastest counts, of its passes and of its decoding: whatever else a machine is busy
    with can only add time, so that the shortest is the nearest to what the work itself takes.

    One of the same setting replaces the estimate. Else the one whose forward pass is nearest in length counts, the same
    model first. What was streamed says nothing of what is not, since copying may be what took long; the other way
    round it says how long the work takes beside the copies. Weights in few bits are widened while they work, which no
    estimate counts: they say nothing of others, and wide ones stand in for them where they were never measured.

    Args:
        setting: What is planned.
        expected: Seconds of its forward pass without any measurement.
        measured: All that is known.
    """
    alike = _fastest([one for one in measured if _alike(one.setting, setting)])
    kept = [one for one in alike if one.setting.residency.weights == setting.residency.weights]
    alike = kept or [one for one in alike if one.setting.residency.weights == _WIDE]
    ways = [one for one in alike if one.setting.residency.mode == "streamed"]
    streamed = [one for one in ways if one.setting.residency.host == setting.residency.host]
    still = [one for one in alike if one not in ways]
    alike = streamed if setting.residency.mode == "streamed" and streamed else still
    if not alike:
        return NOTHING_MEASURED
    same = [one for one in alike if one.setting == setting]
    best = same[0] if same else min(alike, key=lambda one: _distance(one, setting, expected))
    coded = [one for one in (best, *reversed(alike)) if one.setting.coder == setting.coder]
    decoded = [one for one in coded if one.decode > 0 and one.expected_decode > 0]
    factor = best.forward / best.expected_forward
    return Correction(
        forward=factor,
        copies=factor if best.setting.residency.mode == "streamed" else 1.0,
        decode=decoded[0].decode / decoded[0].expected_decode if decoded else 1.0,
        basis="measured" if same else "calibrated",
    )


def _fastest(measured: Sequence[Measured]) -> list[Measured]:
    """One for each setting, in the order of their newest: the shortest pass and the shortest decoding, which may come
    from two videos, each beside what was expected of it."""
    settings: list[list[Measured]] = []
    for one in reversed(measured):
        group = next((group for group in settings if group[0].setting == one.setting), None)
        if group is None:
            settings.append([one])
        else:
            group.append(one)
    return [_shortest(group) for group in reversed(settings)]


def _shortest(group: Sequence[Measured]) -> Measured:
    quick = min(group, key=lambda one: one.forward)
    decoded = [one for one in group if one.decode > 0 and one.expected_decode > 0]
    if not decoded:
        return quick
    coded = min(decoded, key=lambda one: one.decode)
    return quick.model_copy(update={"decode": coded.decode, "expected_decode": coded.expected_decode})


def _alike(one: Setting, other: Setting) -> bool:
    return (one.device, one.versions, one.precision) == (other.device, other.versions, other.precision)


def _distance(one: Measured, setting: Setting, expected: float) -> tuple[bool, float]:
    return one.setting.model != setting.model, abs(log(one.expected_forward / expected))
