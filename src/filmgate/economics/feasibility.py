"""Which model fits which device, in which form, and how long a clip takes. The planner is asked: there is one truth.

A clip is what a model makes in one go, about five seconds. A longer video is several clips.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from filmgate.direction.architectures import DESCRIBED, describe_published
from filmgate.direction.calibration import Machine, Measured
from filmgate.direction.devices import AS_OF, profile_named, profile_of
from filmgate.direction.distilled import DISTILLED
from filmgate.direction.fit import mode_name
from filmgate.direction.planner import plan
from filmgate.direction.presets import PRESETS
from filmgate.direction.published import PUBLISHED
from filmgate.direction.tasks import abilities, abilities_named
from filmgate.economics.machine import MachineFacts
from filmgate.economics.needs import Needs
from filmgate.economics.timings import Duration, duration_known, size_name, timed
from filmgate.spec.errors import InvalidRequest
from filmgate.spec.estimates import Basis
from filmgate.spec.inputs import InputFile
from filmgate.spec.model import DeviceDescription, ModelDescription, Precision, Preset
from filmgate.spec.plan import Plan
from filmgate.spec.request import Request
from filmgate.spec.residency import WeightFormat
from filmgate.spec.shape import Frozen

Form = Literal["stock", "few_steps"]
"""As published, or with the distilled weights of a few-step preset."""
Native = Literal["exact", "larger", "smaller"]
"""Whether a model paints at the resolution that is needed, at a larger or at a smaller one."""
SpeedBasis = Basis | Literal["published"]
"""As a plan's, or what others timed for this model, device and size."""
HERE = "here"
GIGA = 10**9
SCREEN = 2 * 10**9
"""Bytes of a card that a desktop holds."""
_AREAS = {"480p": 832 * 480, "720p": 1280 * 720, "1080p": 1920 * 1080}
_SAME = 0.9
"""Areas that differ by less are the same resolution: 1280×704 is 720p."""
_ONE_CLIP = 1.05
"""A clip may be this much shorter than what was asked for: models make 5.04 or 5.06 s."""
_WORTH = 1.1
"""Weights in fewer bits change the picture a little: they must be this much faster, or all that fits."""
_FEW_PREFERRED = ("lightning", "fastwan", "lightning-flf2v", "turbowan-t2v", "turbowan-i2v")
_PROMPT = "a"
_PROMPT_TOKENS = 160
"""Tokens of an expanded prompt: public expansions have 128 words on average."""
_PICTURE = "0" * 64


class Place(Frozen):
    """Where a model may run: a kind of device and how many there are, 0: as many as are rented or bought.

    ``host_bytes`` and ``disk_bytes`` are what the machine has for it, 0: enough.
    """

    name: str
    title: str
    device: DeviceDescription
    count: int = 0
    host_bytes: int = 0
    disk_bytes: int = 0

    @property
    def here(self) -> bool:
        """Whether it is this machine."""
        return self.name == HERE


class Setup(Frozen):
    """A model in one form on one device.

    ``able``: it can do the kind of video that is needed. ``seconds`` are those of one clip, reading the weights
    included, which take ``load_seconds``; ``forwards`` are passes of the transformer for one text each. Bytes are those
    of the device at the worst moment (what the driver keeps included), of the machine's own memory, and on disk as
    published.
    ``memory_mode`` says where networks lie meanwhile. What does not fit has no seconds; ``reason`` says what would.
    ``seconds_from`` says in words what the seconds rest on, and where the planner disagrees with an observation.
    """

    model: str
    form: Form
    place: str
    able: bool
    native: Native
    fits: bool
    reason: str
    size: str = ""
    frames: int = 0
    fps: int = 0
    steps: int = 0
    distilled: str | None = None
    weights: WeightFormat = "as_computed"
    precision: Precision = "bf16"
    memory_mode: str = ""
    seconds: float = 0.0
    load_seconds: float = 0.0
    forwards: int = 0
    device_bytes: int = 0
    host_bytes: int = 0
    disk_gigabytes: int = 0
    basis: SpeedBasis = "analytic"
    seconds_from: str = ""
    speed_source: str = ""
    speed_as_of: str | None = None

    @property
    def offloaded(self) -> bool:
        """Whether blocks come from the host while they are needed."""
        return self.memory_mode.startswith("streamed")


def clips_of(seconds: float, preset: Preset) -> int:
    """How many clips a video of ``seconds`` is."""
    return max(1, math.ceil(seconds / (preset.frames / preset.fps * _ONE_CLIP)))


def place_of_card(name: str, *, desktop: bool = False) -> Place:
    """A card that is not here, by the name of its profile."""
    device = profile_named(name).description
    if desktop and device.kind == "cuda":
        device = device.model_copy(update={"memory_bytes": max(0, device.memory_bytes - SCREEN)})
    return Place(name=name, title=device.name, device=device)


def places_of(facts: MachineFacts | None, needs: Needs, fallback: DeviceDescription | None = None) -> tuple[Place, ...]:
    """This machine, if it has a GPU, and the cards that are compared.

    Of several GPUs those that are like the first count; ``fallback`` is a device that was found in another way.
    """
    named = tuple(place_of_card(card, desktop=needs.desktop) for card in needs.cards)
    if facts is None:
        return named
    # A card whose driver does not say what it holds cannot be planned for: 0 would mean that anything fits.
    gpus = tuple(gpu for gpu in facts.gpus if gpu.memory_bytes)
    device = gpus[0].description if gpus else fallback
    if device is None or device.kind == "cpu":
        return named
    alike = [gpu for gpu in gpus if (gpu.name, gpu.memory_bytes) == (gpus[0].name, gpus[0].memory_bytes)]
    if alike:  # a plan for all must fit the fullest
        device = min((gpu.description for gpu in alike), key=lambda one: one.memory_bytes)
    here = Place(
        name=HERE, title=f"this machine ({device.name})", device=device, count=max(1, len(alike)),
        host_bytes=facts.available_bytes or facts.memory_bytes, disk_bytes=facts.disk_free_bytes,
    )  # fmt: skip
    return (here, *named)


def feasible(
    needs: Needs,
    places: Sequence[Place],
    measured: Sequence[Measured] = (),
    versions: str = "",
    variants: Sequence[str] = DESCRIBED,
) -> tuple[Setup, ...]:
    """Every published model in every form on every place, in this order.

    Args:
        needs: Kind, resolution and length count; how many does not.
        places: Where.
        measured: What this machine has shown; counts for the place that is here.
        versions: Of the packages that compute.
        variants: The published models that are asked about.
    """
    found = []
    for place in places:
        machine = Machine(place.host_bytes, measured if place.here else (), versions if place.here else "")
        for variant in variants:
            few = few_step_preset(variant, needs)
            forms = (None,) if few is None else (None, few)
            found += [_setup(variant, distilled, needs, place, machine) for distilled in forms]
    return tuple(found)


def few_step_preset(variant: str, needs: Needs) -> str | None:
    """The few-step preset that is published for a model, if one is."""
    both = needs.kind == "flf2v" and "i2v" in variant
    order = ("lightning-flf2v", *_FEW_PREFERRED) if both else _FEW_PREFERRED
    return next((name for name in order if variant.startswith(DISTILLED[name].made_for)
                 and (both or name != "lightning-flf2v" or "flf2v" in variant)), None)  # fmt: skip


def least_memory(setup: Setup, needs: Needs, place: Place) -> int:
    """The smallest memory of a device, in bytes, on which a setup's model fits in its form, to 0.25 GB."""
    low, high = 0, max(place.device.memory_bytes, setup.device_bytes)
    while high - low > GIGA // 4:
        middle = (low + high) // 2
        smaller = place.model_copy(update={"device": place.device.model_copy(update={"memory_bytes": middle})})
        tried = _setup(setup.model, setup.distilled, needs, smaller, Machine(place.host_bytes))
        low, high = (low, middle) if tried.fits else (middle, high)
    return high


def _setup(variant: str, distilled: str | None, needs: Needs, place: Place, machine: Machine) -> Setup:
    """The better of a model's weights as they are computed with, and in eight bits."""
    model, preset = describe_published(variant), PRESETS[variant]
    size, native = _size(preset, needs.resolution)
    profile = profile_of(place.device)
    common: dict[str, object] = {
        "model": variant, "form": "stock" if distilled is None else "few_steps", "place": place.name,
        "able": needs.kind in abilities(model.task, model.family), "native": native, "distilled": distilled,
        "disk_gigabytes": PUBLISHED[variant].gigabytes, "size": f"{size[0]}x{size[1]}", "fps": preset.fps,
        "speed_source": profile.source, "speed_as_of": AS_OF.get(profile.source),
    }  # fmt: skip
    frames = _frames(needs.seconds, preset, model)
    plans: list[Plan] = []
    refusal = ""
    for weights in ("as_computed", "fp8"):
        if plans and plans[0].residency.mode != "streamed":
            break  # fewer bits are copied faster, and compute as the others do
        request, files = _request(model, needs, size, frames, distilled, weights)
        try:
            plans.append(plan(request, model, place.device, _count, files, (), machine))
        except InvalidRequest as error:
            refusal = refusal or error.what.partition(": ")[2]
    if not plans:
        return Setup.model_validate({**common, "fits": False, "frames": frames, "reason": refusal})
    fewer = len(plans) > 1 and plans[0].seconds > _WORTH * plans[1].seconds
    setup_name, lines = distilled or "", size_name(min(size))
    # What was timed as published is not exchanged for what is only counted.
    if fewer and plans[0].residency.weights == "as_computed" and timed(variant, profile.name, 1, lines, setup_name):
        fewer = False
    chosen = plans[1] if fewer else plans[0]
    needed = PUBLISHED[variant].gigabytes * GIGA
    if place.disk_bytes and needed > place.disk_bytes:
        lacking = f"needs {PUBLISHED[variant].gigabytes} GB of disk, and {place.disk_bytes / GIGA:.0f} GB are free"
        return Setup.model_validate({**common, "fits": False, "frames": frames, "reason": lacking})
    in_bits = "" if chosen.residency.weights == "as_computed" else chosen.residency.weights
    setup_name = "-".join(part for part in (setup_name, in_bits) if part)
    took = duration_known(variant, profile.name, 1, lines, chosen.video.frames, setup_name, chosen)
    return Setup.model_validate({**common, **_facts(chosen), **_times(took)})


def _count(text: str) -> int:
    return _PROMPT_TOKENS if text == _PROMPT else len(text)


def _facts(chosen: Plan) -> dict[str, object]:
    option = next(option for option in chosen.options if option.residency == chosen.residency)
    return {
        "fits": True,
        "reason": chosen.warnings[-1] if not option.fits and chosen.warnings else option.reason,
        "frames": chosen.video.frames,
        "steps": len(chosen.steps),
        "weights": chosen.residency.weights,
        "precision": chosen.precision,
        "memory_mode": mode_name(chosen.residency),
        "seconds": chosen.seconds,
        "load_seconds": chosen.times.load,
        "forwards": sum(step.passes for step in chosen.steps),
        "device_bytes": option.device_bytes,
        "host_bytes": option.host_bytes,
        "basis": chosen.times.basis,
    }


def _times(took: Duration) -> dict[str, object]:
    """Seconds as they are known best; what was timed excludes reading the weights, which the planner counts."""
    told: dict[str, object] = {"seconds": took.seconds + took.load, "seconds_from": took.basis}
    if took.row is None:
        return told
    return {**told, "basis": "published", "speed_source": took.row.source, "speed_as_of": took.row.as_of}


def _size(preset: Preset, resolution: str) -> tuple[tuple[int, int], Native]:
    """The listed size that is nearest to a resolution, from above if there is one."""
    wanted = _AREAS[resolution]
    sizes = sorted(((w * h, (w, h)) for w, h in preset.sizes if w >= h), key=lambda one: one[0])
    area, size = next(((a, s) for a, s in sizes if a >= _SAME * wanted), sizes[-1])
    ratio = area / wanted
    return size, "smaller" if ratio < _SAME else "larger" if ratio > 1 / _SAME else "exact"


def _frames(seconds: float, preset: Preset, model: ModelDescription) -> int:
    """Frames of one of the clips of a video."""
    wanted = round(seconds / clips_of(seconds, preset) * preset.fps)
    return min(preset.frames, model.compression.nearest_frames(max(1, wanted) + 1))


def _request(
    model: ModelDescription,
    needs: Needs,
    size: tuple[int, int],
    frames: int,
    distilled: str | None,
    weights: WeightFormat,
) -> tuple[Request, tuple[InputFile, ...]]:
    """What a model is asked for: the kind that is needed if it can do it, else what it was made for."""
    kind = needs.kind if needs.kind in abilities(model.task, model.family) else model.task
    roles = {"i2v": ("image",), "flf2v": ("image", "last_image"), "vace": ("reference",), "camera": ("image", "camera")}
    given = roles.get(kind, ())
    files = tuple(_file(role, size, frames) for role in given)
    asked = Request(
        prompt=_PROMPT, width=size[0], height=size[1], frames=frames, distilled=distilled, weights=weights,
        references=("reference",) if "reference" in given else (),
        image="image" if "image" in given else None,
        last_image="last_image" if "last_image" in given else None,
        camera="camera" if "camera" in given else None,
    )  # fmt: skip
    return asked, files


def _file(role: str, size: tuple[int, int], frames: int) -> InputFile:
    if role == "camera":
        return InputFile(role="camera", path=role, sha256=_PICTURE, frames=frames)
    return InputFile.model_validate(
        {"role": role, "path": role, "sha256": _PICTURE, "width": size[0], "height": size[1]}
    )


def able_variants(needs: Needs) -> tuple[str, ...]:
    """Published models of Wan 2.2 that can make the kind of video that is needed."""
    named = ((variant, variant.split("-")) for variant in DESCRIBED if variant.startswith("wan2.2"))
    return tuple(variant for variant, (family, task, *_) in named if needs.kind in abilities_named(task, family))


def able_setups(setups: Sequence[Setup]) -> Iterator[Setup]:
    """Setups of Wan 2.2 that fit and can do what is needed."""
    return (one for one in setups if one.fits and one.able and one.model.startswith("wan2.2"))
