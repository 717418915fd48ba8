"""From a Wan 2.1 setup to Wan 2.2: which settings change, into what, and why.

What a person decides is kept (prompt, size, length in seconds, number of steps where it was not the default). What
belongs to the weights is replaced, because it means something else there: shift, guidance, boundary, frames per second.
Every setting is in the ledger with its value before and after; nothing is replaced in silence.

Source: the configurations of Wan-Video/Wan2.1 and Wan-Video/Wan2.2, as in :mod:`~filmgate.direction.presets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from filmgate.direction.architectures import describe_published
from filmgate.direction.distilled import DISTILLED
from filmgate.direction.interchange.report import Entry, Fate, Imported, Ledger, differing
from filmgate.direction.interchange.settings import Settings, settings_of, variant_of
from filmgate.direction.loras import FEW_STEPS
from filmgate.direction.presets import PRESETS, shift_at
from filmgate.direction.published import PUBLISHED
from filmgate.direction.sizes import fill_area
from filmgate.direction.tasks import able_models, operation_of
from filmgate.direction.upgrade_advice import Advice, advice_on
from filmgate.spec.adapters import LoraChoice
from filmgate.spec.errors import InvalidRequest, UnknownName
from filmgate.spec.model import Operation, Preset
from filmgate.spec.request import Request
from filmgate.spec.shape import Frozen

SUCCESSORS: Mapping[str, str] = MappingProxyType(
    {
        "wan2.1-t2v-1.3b": "wan2.2-ti2v-5b",
        "wan2.1-t2v-14b": "wan2.2-t2v-a14b",
        "wan2.1-t2i-14b": "wan2.2-t2v-a14b",
        "wan2.1-i2v-14b": "wan2.2-i2v-a14b",
        "wan2.1-i2v-14b-480p": "wan2.2-i2v-a14b",
        "wan2.1-i2v-14b-720p": "wan2.2-i2v-a14b",
        "wan2.1-flf2v-14b": "wan2.2-i2v-a14b",
        "wan2.1-vace-1.3b": "wan2.2-vace-a14b",
        "wan2.1-vace-14b": "wan2.2-vace-a14b",
        "wan2.1-camera-1.3b": "wan2.2-camera-5b",
        "wan2.1-camera-14b": "wan2.2-camera-a14b",
    }
)
"""The model of Wan 2.2 that does what one of Wan 2.1 did; for the small ones the smallest that there is."""
_FEW = 8
"""Steps up to which a run without guidance is one of distilled weights."""
_NEAR = 1.08
"""Proportions that differ by no more are taken for those of a listed size."""
_KEPT = (
    "prompt", "solver", "image", "last_image", "video", "strength", "mask", "keep", "references", "control_scale",
    "camera", "precision", "device", "memory", "weights", "text_encoder", "vae_tile", "profile", "attention",
    "vae_precision", "guidance_method",
)  # fmt: skip
"""Fields of a request that mean the same for both generations."""
_WORDS = ("prompt", "negative", "model", "image", "last_image", "video", "mask", "camera")


class Upgrade(Frozen):
    """A setup of Wan 2.2 in place of one of Wan 2.1.

    ``request`` is ready to be planned, or to be exported to another tool. ``entries`` has every setting, ``advice``
    what no setting says. ``high_steps`` are the steps of the high-noise expert, of ``steps``; None for one transformer.
    Where the setup was one of Wan 2.2 already, ``source`` and ``target`` are the same and nothing was changed.
    """

    dialect: str
    source: str
    target: str
    request: Request
    steps: int
    high_steps: int | None
    gigabytes_before: int | None
    gigabytes: int | None
    read: tuple[Entry, ...]
    entries: tuple[Entry, ...]
    advice: tuple[Advice, ...]

    @property
    def changed(self) -> tuple[Entry, ...]:
        """Settings that do not stay as they were."""
        return tuple(entry for entry in self.entries if entry.fate != "kept")

    @property
    def to_check(self) -> tuple[Entry, ...]:
        """Settings that are only approximated or dropped, here or when the setup was read."""
        return differing((*self.read, *self.entries))


def upgrade(imported: Imported, variant: str | None = None, target: str | None = None) -> Upgrade:
    """What a setup becomes with Wan 2.2.

    Args:
        imported: The setup, as another tool's settings were read.
        variant: The published model that it is for, where neither settings nor name say it.
        target: The published model of Wan 2.2 to go to; None: the successor.

    Raises:
        InvalidRequest: the model is not told, or the target cannot do what the setup does (UnknownName: no such model).
    """
    request = imported.request
    source = _source(imported, variant)
    if source.startswith("wan2.2"):
        return _already(imported, source)
    settings, operation = settings_of(request, source), operation_of(request, request.frames or 0)
    goal = _target(source, target, operation)
    few = _few_step(request, settings, goal)
    ledger, preset = Ledger(), PRESETS[goal]
    if few is not None:
        preset = DISTILLED[few].on(preset)
    fields = {
        **_identity(request, source, goal, ledger),
        **_extent(request, settings, goal, ledger),
        **_sampling(request, settings, goal, preset, few, ledger),
        **_adapters(request, source, goal, ledger),
    }
    made = Request(**{**_carried(request, ledger), **fields})
    final = settings_of(made, goal)
    return Upgrade(
        dialect=imported.dialect,
        source=source,
        target=goal,
        request=made,
        steps=final.steps,
        high_steps=_high_steps(final, few),
        gigabytes_before=PUBLISHED[source].gigabytes if source in PUBLISHED else None,
        gigabytes=PUBLISHED[goal].gigabytes if goal in PUBLISHED else None,
        read=imported.entries,
        entries=ledger.entries,
        advice=advice_on(source, goal, imported.dialect, few, loras=bool(request.lora + request.lora_high)),
    )


def _source(imported: Imported, variant: str | None) -> str:
    named = variant or imported.variant or variant_of(imported.request.model or "")
    if named is None:
        what = f"{imported.request.model!r:.80} does not say which published model it is"
        raise InvalidRequest("variant", what, allowed=", ".join(SUCCESSORS))
    if named not in PRESETS:
        raise UnknownName("variant", named, PRESETS)
    if named not in SUCCESSORS and not named.startswith("wan2.2"):
        raise InvalidRequest("variant", f"{named} has no successor that runs here", allowed=", ".join(SUCCESSORS))
    return named


def _target(source: str, wanted: str | None, operation: Operation) -> str:
    able = [name for name in able_models(operation) if name.startswith("wan2.2")]
    if wanted is None:
        return SUCCESSORS[source]
    if wanted not in PUBLISHED or not wanted.startswith("wan2.2"):
        raise UnknownName("to", wanted, [name for name in PUBLISHED if name.startswith("wan2.2")], noun="model")
    if wanted not in able:
        raise InvalidRequest("to", f"{wanted} cannot do what the setup does", allowed=", ".join(able), nearest=able[0])
    return wanted


def _already(imported: Imported, source: str) -> Upgrade:
    """A setup that is one of Wan 2.2: kept as it is, with what differs from the published settings."""
    settings = settings_of(imported.request, source)
    ledger, preset = Ledger(), PRESETS[source]
    few = imported.request.distilled
    usual = preset if few is None else DISTILLED[few].on(preset)
    shift = shift_at(source, usual, (settings.width, settings.height)) if few is None else usual.shift
    published = {
        "shift": shift,
        **{name: getattr(usual, name) for name in ("guidance_high", "guidance_low", "boundary")},
    }
    for name, value in published.items():
        own = getattr(settings, name)
        if own == value:
            ledger.kept(name, own)
        else:
            ledger.note(name, "approximated", own, own, f"not the published {value:g}; left as it is")
    return Upgrade(
        dialect=imported.dialect, source=source, target=source, request=imported.request, steps=settings.steps,
        high_steps=_high_steps(settings, few), gigabytes_before=None,
        gigabytes=PUBLISHED[source].gigabytes if source in PUBLISHED else None, read=imported.entries,
        entries=ledger.entries, advice=advice_on(source, source, imported.dialect, few, loras=False),
    )  # fmt: skip


def _high_steps(settings: Settings, few: str | None) -> int | None:
    if settings.boundary is None:
        return None
    if few is None:
        return settings.high_steps
    levels = DISTILLED[few].sigmas(settings.steps, settings.shift)[:-1]
    return sum(level >= settings.boundary for level in levels)


def _few_step(request: Request, settings: Settings, goal: str) -> str | None:
    """The few-step preset of the target that stands for the distilled weights of the setup, if it is one of such."""
    unguided = settings.steps <= _FEW and settings.guidance_high == settings.guidance_low == 1.0
    if request.distilled is None and not unguided:
        return None
    wanted = "lightning-flf2v" if request.last_image is not None else request.distilled or "lightning"
    fitting = [name for name, few in DISTILLED.items() if goal.startswith(few.made_for) and not few.undistilled]
    return wanted if wanted in fitting else fitting[0] if fitting else None


def _identity(request: Request, source: str, goal: str, ledger: Ledger) -> dict[str, Any]:
    """The model, by the id that it has once it was fetched."""
    reason = "the successor" if SUCCESSORS[source] == goal else "as asked for"
    if source.endswith("1.3b"):
        reason += "; Wan 2.2 has no model as small"
    ledger.note("model", "translated", request.model or source, goal, reason)
    return {"model": goal}


def _extent(request: Request, settings: Settings, goal: str, ledger: Ledger) -> dict[str, Any]:
    """Size, and frames that last as long at the frame rate of the new model."""
    preset = PRESETS[goal]
    frames, fps = settings.frames, settings.fps
    ledger.note(
        "fps", "kept" if fps == preset.fps else "translated", fps, preset.fps,
        "" if fps == preset.fps else "what the model was trained at",
    )  # fmt: skip
    after = frames
    # A file that is painted over, or masked, has as many frames as it has.
    if frames > 1 and fps != preset.fps and request.video is None and request.mask is None:
        after = describe_published(goal).compression.nearest_frames(round((frames - 1) * preset.fps / fps) + 1)
    reason = "" if after == frames else f"{frames / fps:.2f} s before, {after / preset.fps:.2f} s after"
    ledger.note("frames", "kept" if after == frames else "translated", frames, after, reason)
    return {"frames": after, "fps": preset.fps, **_size(request, settings, goal, preset, ledger)}


def _size(request: Request, settings: Settings, goal: str, preset: Preset, ledger: Ledger) -> dict[str, Any]:
    """Sides, or an area where a picture gives the proportions."""
    unset: dict[str, Any] = {"width": None, "height": None, "area": None}
    areas = {width * height for width, height in preset.sizes}
    if request.area is not None:
        area = request.area if request.area in areas else min(areas, key=lambda one: abs(one - (request.area or 0)))
        reason = "" if area == request.area else f"the area that {goal} was made for"
        ledger.note("area", "kept" if area == request.area else "approximated", request.area, area, reason)
        return unset | {"area": area}
    size = (settings.width, settings.height)
    shape = describe_published(goal).compression
    fits = size in preset.sizes or (shape.multiple == 16 and not any(side % 16 for side in size))
    after = (
        size if fits else _near(size, preset.sizes) or fill_area(size, preset.sizes[0][0] * preset.sizes[0][1], shape)
    )
    before, now = f"{size[0]}x{size[1]}", f"{after[0]}x{after[1]}"
    reason = "" if fits else f"{goal} was made for an area of {preset.sizes[0][0]}x{preset.sizes[0][1]}"
    ledger.note("size", "kept" if fits else "approximated", before, now, reason)
    return unset | {"width": after[0], "height": after[1]}


def _near(size: tuple[int, int], listed: tuple[tuple[int, int], ...]) -> tuple[int, int] | None:
    """A listed size of nearly the same proportions."""
    ratio = size[0] / size[1]
    close = [one for one in listed if max(ratio * one[1] / one[0], one[0] / one[1] / ratio) <= _NEAR]
    return min(close, key=lambda one: abs(one[0] * one[1] - size[0] * size[1]), default=None)


def _sampling(
    request: Request, settings: Settings, goal: str, preset: Preset, few: str | None, ledger: Ledger
) -> dict[str, Any]:
    """Steps, schedule, guidance, negative prompt. ``preset`` is the target's, with few steps where those are meant."""
    fields: dict[str, Any] = {"distilled": few, "guidance_interval": None}
    if few is not None:
        fields["solver"] = preset.solver
    old = PRESETS[settings.variant]
    chosen = settings.steps != old.steps and few is None and settings.steps > _FEW
    steps = settings.steps if chosen else preset.steps
    reason = f"chosen before; published are {preset.steps}" if chosen and steps != preset.steps else "as published"
    ledger.note("steps", "kept" if steps == settings.steps else "translated", settings.steps, steps, reason)
    shift = preset.shift if few else shift_at(goal, preset, (settings.width, settings.height))
    why = "belongs to the weights: it decides how many steps are spent on composition"
    ledger.note("shift", "kept" if shift == settings.shift else "translated", settings.shift, shift, why)
    pair = f"high {preset.guidance_high:g}, low {preset.guidance_low:g}"
    if preset.boundary is None:
        pair = f"{preset.guidance_low:g}"
    same = settings.guidance_low == preset.guidance_low == preset.guidance_high
    ledger.note(
        "guidance", "kept" if same else "translated", f"{settings.guidance_low:g}", pair, "as published for the weights"
    )
    if preset.boundary is not None:
        ledger.note(
            "boundary", "translated", None, preset.boundary, "new: below this noise level the other expert paints"
        )
    if few is not None:
        ledger.note(
            "distilled", "translated", request.distilled or "few steps without guidance", few, "few-step preset"
        )
    elif request.distilled is not None or settings.steps <= _FEW:
        ledger.dropped("distilled", request.distilled or f"{settings.steps} steps", f"no few-step preset is for {goal}")
    if request.guidance_interval is not None:
        ledger.dropped("guidance_interval", request.guidance_interval, "was found for other weights and another shift")
    default = request.negative is None or request.negative == old.negative
    negative = preset.negative if default else request.negative
    fate: Fate = "kept" if negative == settings.negative else "translated"
    ledger.note("negative", fate, settings.negative, negative, "the published one of the new model" if default else "")
    if request.seed is not None:
        why = "the same number, another video: the weights are others"
        ledger.note("seed", "approximated", request.seed, request.seed, why)
    fields |= {"steps": steps, "shift": shift, "negative": negative, "boundary": preset.boundary, "seed": request.seed}
    return fields | {"guidance_high": preset.guidance_high, "guidance_low": preset.guidance_low}


def _adapters(request: Request, source: str, goal: str, ledger: Ledger) -> dict[str, Any]:
    """LoRAs: carried over where they can be laid onto the new weights, dropped where they cannot."""
    kept: list[LoraChoice] = []
    old, new = describe_published(_described(source)).dit, describe_published(goal).dit
    fits = (old.dim, old.ffn_dim, old.layers) == (new.dim, new.ffn_dim, new.layers)
    for lora in (*request.lora, *request.lora_high, *request.lora_low):
        if any(word in lora.path.lower() for word in FEW_STEPS):
            ledger.dropped("lora", lora.path, "distils Wan 2.1 by its name; Wan 2.2 has its own, one for each expert")
        elif not fits:
            what = f"{old.layers} blocks of width {old.dim}, and {goal} has {new.layers} of {new.dim}"
            ledger.dropped("lora", lora.path, f"was trained for {what}: it cannot be loaded, train it again")
        else:
            kept.append(lora)
            what = "fits both experts by its shapes, and was trained for other weights"
            ledger.note("lora", "approximated", f"{lora.path} at {lora.strength:g}", "both experts", what)
    return {"lora": tuple(kept), "lora_high": (), "lora_low": ()}


def _described(variant: str) -> str:
    """The variant by which a transformer is described: one model has several presets."""
    return {"wan2.1-t2i-14b": "wan2.1-t2v-14b", "wan2.1-i2v-14b": "wan2.1-i2v-14b-720p"}.get(variant, variant)


def _carried(request: Request, ledger: Ledger) -> dict[str, Any]:
    """What means the same for both generations."""
    carried = {name: getattr(request, name) for name in _KEPT}
    for name, value in carried.items():
        if value not in (None, ()):
            ledger.kept(name, value)
    return carried
