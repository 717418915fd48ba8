"""Which way to place the networks fits a device, and what would fit where none does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from filmgate.direction.calibration import Correction, Machine, Setting, correction_for
from filmgate.direction.devices import speed_of
from filmgate.direction.estimate import (
    copy_seconds,
    estimate_seconds,
    forward_seconds,
    linked_seconds,
    together_seconds,
)
from filmgate.direction.memory import beside_torch, estimate_memory, transformer_of
from filmgate.direction.residency import narrow_formats
from filmgate.direction.workload import Workload
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.estimates import MemoryEstimate, ResidencyOption, TimeEstimate
from filmgate.spec.layout import Layout
from filmgate.spec.model import Precision, Preset
from filmgate.spec.residency import MemoryMode, ResidencyPlan
from filmgate.spec.shape import VideoShape
from filmgate.spec.speed import SpeedPlan
from filmgate.spec.units import size_text

_SPARE = 1.03
"""What torch reserves is more than what it allocates."""
_TILES = (512, 256)
"""Sides of tiles that are tried where whole frames do not fit."""
_EQUAL = 1.01
"""Within one per cent two ways take equally long."""
_HIDDEN = 0.8
"""Copies that take this part of the work's time or less are hidden behind it, whatever comes between."""
_PREFERRED: tuple[MemoryMode, ...] = ("one_expert", "resident", "sharded", "streamed")
"""Of ways that are equally fast: little memory and nothing that moves."""


class Fit(NamedTuple):
    """The way that was chosen, everything that was weighed, and what a person should know."""

    residency: ResidencyPlan
    options: tuple[ResidencyOption, ...]
    memory: MemoryEstimate
    times: TimeEstimate
    warnings: tuple[str, ...] = ()


class Asked(NamedTuple):
    """What a request says about memory: its own mode, or None; and the rest of its wishes."""

    mode: MemoryMode | None
    wishes: ResidencyPlan
    placed: bool = False
    """Whether a place for the text encoder was asked for."""
    tiled: bool = False
    """Whether tiles, or whole frames, were asked for."""


def choose(load: Workload, asked: Asked, machine: Machine, preset: Preset) -> Fit:
    """Place the networks of a workload, in what is free of the device's memory where that is known.

    The fastest way that fits is taken, and of equally fast ones the first of :data:`_PREFERRED`. Tiles change the
    picture a little, so that they are tried only where whole frames do not fit.

    Raises:
        InvalidRequest: nothing fits; says what would.
    """
    if machine.device_free:
        there = min(machine.device_free, load.device.memory_bytes or machine.device_free)
        load = load._replace(device=load.device.model_copy(update={"memory_bytes": there}))
    if load.device.kind == "cpu" and load.layout.ranks > 1:  # its memory is what processes have together
        each = load.device.memory_bytes // load.layout.ranks
        load = load._replace(device=load.device.model_copy(update={"memory_bytes": each}))
    options = _weighed(load, asked, machine)
    chosen = _best(options)
    warnings: tuple[str, ...] = ()
    if chosen is None:
        chosen = _tightest(load, options, machine)
        if chosen is None:
            raise _refusal(load, asked, machine, preset, options)
        need, size = size_text(chosen.device_bytes), size_text(load.device.memory_bytes)
        free = " that are free" if machine.device_free else ""
        warnings = (f"it needs about {need} of the {size}{free} of {load.device.name}: it may not fit",)
    told = tuple(_told(option, chosen, options) for option in options)
    correction = _correction(load, chosen.residency, machine)
    return Fit(
        residency=chosen.residency,
        options=told,
        memory=estimate_memory(load, chosen.residency),
        times=estimate_seconds(load, chosen.residency, correction),
        warnings=warnings,
    )


def setting_of(load: Workload, residency: ResidencyPlan, machine: Machine) -> Setting:
    """What a measurement of this workload would be of. Whether the other networks stay on the device makes no pass and
    no decoding longer, so that ways that differ in that alone are one setting: chance decides nothing between them."""
    dit = load.model.dit
    settled = residency.model_copy(update={"text_encoder": "freed"})
    if residency.mode == "resident":
        settled = settled.model_copy(update={"mode": "one_expert"})
    return Setting(
        device=load.device.name if load.device.kind != "cpu" else f"{load.device.name}, {load.device.cores} cores",
        versions=machine.versions,
        model=f"{load.model.task} {dit.dim}x{dit.ffn_dim}x{dit.layers}+{dit.branch_layers} {load.model.compression}",
        coder=f"{load.model.compression} {load.model.vae_parameters or load.model.vae_bytes}{_narrow(load.speed)}",
        video=load.video,
        precision=load.precision,
        residency=settled,
        speed=load.speed,
    )


def _narrow(speed: SpeedPlan) -> str:
    return "" if speed.vae_precision == "fp32" else f" {speed.vae_precision}"


def _correction(load: Workload, residency: ResidencyPlan, machine: Machine) -> Correction:
    if not machine.measured:
        return Correction()
    expected = forward_seconds(load._replace(layout=Layout()), residency)
    found = correction_for(setting_of(load, residency, machine), expected, machine.measured)
    # What is remembered are videos of one device.
    shared = load.layout.ranks > 1 and found.basis == "measured"
    return found._replace(basis="calibrated") if shared else found


def _weighed(load: Workload, asked: Asked, machine: Machine) -> tuple[ResidencyOption, ...]:
    """Every way that may be taken, in order of what it keeps on the device; with tiles if nothing fits without."""
    options = tuple(_option(load, way, machine) for way in _ways(load, asked, machine))
    if asked.tiled or any(option.fits for option in options):
        return options
    for tile in _TILES:
        if tile >= max(load.video.height, load.video.width):
            continue
        wishes = asked.wishes.model_copy(update={"vae_tile": tile})
        tiled = tuple(_option(load, way, machine) for way in _ways(load, asked._replace(wishes=wishes), machine))
        options += tiled
        if any(option.fits for option in tiled):
            break
    return options


def _ways(load: Workload, asked: Asked, machine: Machine) -> Iterator[ResidencyPlan]:
    every: tuple[MemoryMode, ...] = ("resident", "one_expert", "sharded", "streamed")
    possible = tuple(mode for mode in every if mode != "sharded" or load.layout.ranks > 1)
    modes = (asked.mode,) if asked.mode is not None else possible
    for mode in modes:
        way = asked.wishes.model_copy(update={"mode": mode})
        if not asked.placed:
            way = way.model_copy(update={"text_encoder": "device" if mode == "resident" else "freed"})
        if mode == "resident" and not asked.placed and not _option(load, way, machine).fits:
            way = way.model_copy(update={"text_encoder": "freed"})
        if mode == "streamed":
            way = _streaming(load, way, machine)
        elif mode == "sharded":
            way = _keeping(load, way, lambda way: linked_seconds(load, way))
        yield way


def _streaming(load: Workload, way: ResidencyPlan, machine: Machine) -> ResidencyPlan:
    """Stream from page-locked memory if the host has enough of it; keep as many blocks as it takes to hide the copies
    of the others behind the work, if there is room for them. A device that shares the host's memory saves some only if
    blocks stay in their file."""
    pinned = way.model_copy(update={"host": "pinned"})
    shared = load.device.kind != "cuda"
    if shared or (machine.host_memory and estimate_memory(load, pinned).host > machine.host_memory):
        way = way.model_copy(update={"host": "mapped"})
    speed = speed_of(load.device, load.precision)
    return _keeping(load, way, lambda way: copy_seconds(load, way, speed))


def _keeping(load: Workload, way: ResidencyPlan, moving: Callable[[ResidencyPlan], float]) -> ResidencyPlan:
    """A way that keeps as many blocks on the device as it takes to hide what moves, which takes ``moving`` seconds a
    pass, if there is room for them."""
    if not load.device.memory_bytes:
        return way
    # Two buffers are there in any case; with all blocks but two kept there would be nothing to move.
    most = max(0, transformer_of(load, way.weights).blocks - 3)
    compute = together_seconds(load)
    kept = 0
    while kept < most:
        if moving(way.model_copy(update={"kept_blocks": kept})) <= _HIDDEN * compute:
            break
        more = way.model_copy(update={"kept_blocks": kept + 1})
        if _device_bytes(load, more) > load.device.memory_bytes:
            break
        kept += 1
    return way.model_copy(update={"kept_blocks": kept})


def _device_bytes(load: Workload, residency: ResidencyPlan) -> int:
    peak = estimate_memory(load, residency).peak
    return round(peak * (_SPARE if load.device.kind == "cuda" else 1)) + beside_torch(load)


def _option(load: Workload, residency: ResidencyPlan, machine: Machine) -> ResidencyOption:
    need, host = _device_bytes(load, residency), estimate_memory(load, residency).host
    lacking = []
    if load.device.memory_bytes and need > load.device.memory_bytes:
        lacking.append(f"{size_text(need - load.device.memory_bytes)} too much for the device")
    if machine.host_memory and host > machine.host_memory:
        lacking.append(f"{size_text(host - machine.host_memory)} too much for the host")
    seconds = estimate_seconds(load, residency, _correction(load, residency, machine)).total
    return ResidencyOption(
        residency=residency,
        device_bytes=need,
        host_bytes=host,
        seconds=seconds,
        fits=not lacking,
        reason=", ".join(lacking) or "fits",
    )


def _best(options: Sequence[ResidencyOption]) -> ResidencyOption | None:
    fitting = [option for option in options if option.fits]
    if not fitting:
        return None
    fastest = min(option.seconds for option in fitting)
    equal = [option for option in fitting if option.seconds <= fastest * _EQUAL]
    return min(equal, key=lambda option: _PREFERRED.index(option.residency.mode))


def _tightest(load: Workload, options: Sequence[ResidencyOption], machine: Machine) -> ResidencyOption | None:
    """The smallest way, if it would fit but for what is kept spare."""
    smallest = min(options, key=lambda option: option.device_bytes)
    enough = (smallest.device_bytes - beside_torch(load)) / _SPARE <= load.device.memory_bytes
    host = not machine.host_memory or smallest.host_bytes <= machine.host_memory
    return smallest if enough and host else None


def _told(option: ResidencyOption, chosen: ResidencyOption, options: Sequence[ResidencyOption]) -> ResidencyOption:
    """An option with why it was taken, or why not."""
    if option.residency == chosen.residency:
        fitting = sum(other.fits for other in options)
        reason = "none is faster" if fitting > 1 else "all that fits" if len(options) > 1 else "as asked"
        return option.model_copy(update={"reason": f"chosen: {reason if fitting else 'the least memory'}"})
    if not option.fits:
        return option
    if option.seconds > chosen.seconds * _EQUAL:
        return option.model_copy(update={"reason": f"fits, {option.seconds / chosen.seconds:.2f} times as long"})
    return option.model_copy(update={"reason": "fits, and is no faster"})


def _refusal(
    load: Workload, asked: Asked, machine: Machine, preset: Preset, options: Sequence[ResidencyOption]
) -> InvalidRequest:
    smallest, lacking = min(options, key=lambda option: option.device_bytes), "device"
    what = (
        f"{load.model.id} at {load.video} in {load.precision} needs at least {size_text(smallest.device_bytes)}"
        f" ({mode_name(smallest.residency)}), and {load.device.name} has {size_text(load.device.memory_bytes)}"
        f"{' free' if machine.device_free else ''}"
    )
    on_device = [option for option in options if option.device_bytes <= load.device.memory_bytes]
    if on_device:
        smallest, lacking = min(on_device, key=lambda option: option.host_bytes), "machine"
        what = (
            f"{load.model.id} at {load.video} needs {size_text(smallest.host_bytes)} of the machine's own memory"
            f" ({mode_name(smallest.residency)}), and there are {size_text(machine.host_memory)}"
        )
    if most := _most_ranks(load, asked, machine):
        return InvalidRequest(
            "gpus", f"{what}{_for_each(load, lacking)}", allowed=_up_to(load, most), nearest=str(most)
        )
    would = list(_would_fit(load, asked, machine, preset)) or list(_would_fit_together(load, asked, machine, preset))
    return InvalidRequest(
        "memory", what, allowed=", or ".join(would) if would else f"a {lacking} with more memory",
        nearest=would[0] if would else None,
    )  # fmt: skip


def _for_each(load: Workload, lacking: str) -> str:
    who = "processes" if load.device.kind == "cpu" else "GPUs"
    return f" for {'each' if lacking == 'device' else 'all'} of {load.layout.ranks} {who}"


def _up_to(load: Workload, most: int) -> str:
    """Of GPUs fewer have longer parts of the work each: not every smaller number need fit too."""
    return f"1 to {most}" if load.device.kind == "cpu" and most > 1 else str(most)


def _most_ranks(load: Workload, asked: Asked, machine: Machine) -> int:
    """With so many devices, fewer than it has, a workload would fit; 0: with no smaller number. Fewer processes of one
    CPU have more of its memory each, and fewer GPUs need less of the host's."""
    ranks, most = load.layout.ranks, 0
    low, high = 1, ranks - 1
    while low <= high:
        count = (low + high) // 2
        cfg = load.layout.cfg if count % load.layout.cfg == 0 else 1
        fewer = load._replace(layout=Layout(cfg=cfg, sequence=count // cfg))
        if load.device.kind == "cpu":
            each = load.device.memory_bytes * ranks // count
            fewer = fewer._replace(device=load.device.model_copy(update={"memory_bytes": each}))
        if _best(_weighed(fewer, asked, machine)) is not None:
            most, low = count, count + 1
        else:
            high = count - 1
    return most


def mode_name(residency: ResidencyPlan) -> str:
    """A way as the command line writes it: ``streamed, tiles of 256``."""
    name = residency.mode.replace("_", "-")
    if residency.moves_blocks and residency.kept_blocks:
        name += f", {residency.kept_blocks} blocks kept"
    if residency.mode == "streamed" and residency.host == "mapped":
        name += ", from disk"
    if residency.weights != "as_computed":
        name += f", {residency.weights} weights"
    return name if residency.vae_tile is None else f"{name}, tiles of {residency.vae_tile}"


def _would_fit(load: Workload, asked: Asked, machine: Machine, preset: Preset) -> Iterator[str]:
    """Options of the command line with which it would fit, the smallest change first."""

    def fits(other: Workload, wish: Asked) -> bool:
        return _best(_weighed(other, wish, machine)) is not None

    if asked.mode is not None and fits(load, asked._replace(mode=None)):
        yield "--memory auto"
    untiled = asked.wishes.model_copy(update={"vae_tile": None})
    if asked.tiled and fits(load, asked._replace(tiled=False, wishes=untiled)):
        yield "no --vae-tile"
    half: Precision = "bf16"
    if load.precision == "fp32" and fits(load._replace(precision=half), asked):
        yield "--precision bf16"
    for weights in narrow_formats(load.device):
        if fits(load, asked._replace(wishes=asked.wishes.model_copy(update={"weights": weights}))):
            yield f"--weights {weights}"
            break
    for size in _smaller_sizes(load, preset):
        if fits(load.resized(size), asked):
            yield f"--size {size.width}x{size.height}"
            break
    frames = _most_frames(load, lambda other: fits(other, asked))
    if frames:
        yield f"--frames {frames}"


def _would_fit_together(load: Workload, asked: Asked, machine: Machine, preset: Preset) -> Iterator[str]:
    """Two changes at once, where none alone is enough."""
    for weights in narrow_formats(load.device):
        wishes = asked.wishes.model_copy(update={"weights": weights})
        for size in _smaller_sizes(load, preset):
            if _best(_weighed(load.resized(size), asked._replace(wishes=wishes), machine)) is not None:
                yield f"--weights {weights} --size {size.width}x{size.height}"
                return


def _smaller_sizes(load: Workload, preset: Preset) -> Iterator[VideoShape]:
    """Sizes of less area, the largest first: those that the model was made for, then fractions of the one asked for."""
    now, unit = load.video, load.model.compression.multiple
    official = sorted(preset.sizes, key=lambda size: -size[0] * size[1])
    parts = [(now.width * part // 4, now.height * part // 4) for part in (3, 2, 1)]
    for width, height in (*official, *((w // unit * unit, h // unit * unit) for w, h in parts)):
        if width * height < now.width * now.height and min(width, height) >= unit:
            yield now.model_copy(update={"width": width, "height": height})


def _most_frames(load: Workload, fits: Callable[[Workload], bool]) -> int:
    """The longest shorter video that fits, in frames; 0: none."""
    unit = load.model.compression.temporal
    low, high = -1, (load.video.frames - 1) // unit - 1
    while low < high:
        middle = (low + high + 1) // 2
        if fits(load.resized(load.video.model_copy(update={"frames": 1 + unit * middle}))):
            low = middle
        else:
            high = middle - 1
    return 0 if low < 0 else 1 + unit * low
