"""Sampling defaults of the published models, as data.

Source: the configurations and command lines of Wan-Video/Wan2.1 and Wan-Video/Wan2.2; for the models along a camera's
path and for Wan 2.2 VACE, which Alibaba PAI trained, the examples of aigc-apps/VideoX-Fun. The originals'
``sample_guide_scale`` is (low, high); here both have names. Diffusers ships other shifts (3 instead of 12 for
T2V-A14B), which moves more than half of the high-noise expert's steps to the other one.

Sizes are (width, height). Those of image-conditioned models only fix an area; the picture fixes the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from filmgate.spec.errors import InvalidRequest
from filmgate.spec.model import ModelDescription, Operation, Preset

# The commas are full-width (U+FF0C): the text encoder was trained on these very tokens.
NEGATIVE = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走"
)
"""Default negative prompt of all models but those below."""
NEGATIVE_I2V_21 = "镜头晃动，" + NEGATIVE
NEGATIVE_FLF2V = "镜头切换，镜头晃动，" + NEGATIVE
NEGATIVE_S2V = (
    "画面模糊，最差质量，画面模糊，细节模糊不清，情绪激动剧烈，手快速抖动，字幕，丑陋的，残缺的，多余的手指，"
    "画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，杂乱的背景，三条腿，"
    "背景人很多，倒着走"
)

LANDSCAPE_720, PORTRAIT_720 = (1280, 720), (720, 1280)
LANDSCAPE_480, PORTRAIT_480 = (832, 480), (480, 832)
_SMALL = (LANDSCAPE_480, PORTRAIT_480)
_ALL = (LANDSCAPE_720, PORTRAIT_720, *_SMALL)
_704 = ((1280, 704), (704, 1280))
_AREA_720, _AREA_704, _AREA_480 = 1280 * 720, 1280 * 704, 832 * 480


def _preset(*, guidance: float | None = None, **changes: Any) -> Preset:
    """The values that most models share, with changes; ``guidance`` is one scale for both experts."""
    fields: dict[str, Any] = {
        "sizes": _ALL, "frames": 81, "fps": 16, "steps": 50, "shift": 5.0, "guidance_high": 5.0, "guidance_low": 5.0,
        "negative": NEGATIVE,
    }  # fmt: skip
    if guidance is not None:
        fields.update(guidance_high=guidance, guidance_low=guidance)
    return Preset(**{**fields, **changes})


# What VideoX-Fun's examples say of Wan 2.2 differs between its models; docs/parity.md has the choices and their places.
_CAMERA: dict[str, Any] = {"sizes": (*_SMALL, *_ALL[:2]), "guidance": 6.0, "max_area": _AREA_480}
_I2V_21: dict[str, Any] = {"steps": 40, "negative": NEGATIVE_I2V_21, "max_area": _AREA_720}

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "wan2.1-t2v-1.3b": _preset(sizes=_SMALL),
        "wan2.1-t2v-14b": _preset(),
        "wan2.1-t2i-14b": _preset(sizes=(*_ALL, (1024, 1024)), frames=1),
        "wan2.1-i2v-14b": _preset(**_I2V_21),
        "wan2.1-i2v-14b-480p": _preset(**_I2V_21 | {"sizes": _SMALL, "shift": 3.0, "max_area": _AREA_480}),
        "wan2.1-i2v-14b-720p": _preset(**_I2V_21),
        "wan2.1-flf2v-14b": _preset(shift=16.0, negative=NEGATIVE_FLF2V, max_area=_AREA_720),
        "wan2.1-vace-1.3b": _preset(sizes=_SMALL, shift=16.0),
        "wan2.1-vace-14b": _preset(shift=16.0),
        "wan2.1-camera-1.3b": _preset(**_CAMERA),
        "wan2.1-camera-14b": _preset(**_CAMERA),
        "wan2.2-t2v-a14b": _preset(steps=40, shift=12.0, guidance_high=4.0, guidance_low=3.0, boundary=0.875),
        "wan2.2-i2v-a14b": _preset(steps=40, guidance=3.5, boundary=0.9, max_area=_AREA_720),
        "wan2.2-ti2v-5b": _preset(sizes=_704, frames=121, fps=24, max_area=_AREA_704),
        "wan2.2-camera-a14b": _preset(**_CAMERA, boundary=0.9),
        "wan2.2-camera-5b": _preset(**_CAMERA | {"sizes": _704, "max_area": _AREA_704}, fps=24),
        "wan2.2-vace-a14b": _preset(shift=12.0, boundary=0.875),
        "wan2.2-s2v-14b": _preset(
            sizes=(*_ALL, (1024, 704), (704, 1024), *_704), frames=80, steps=40, shift=3.0, guidance=4.5,
            negative=NEGATIVE_S2V, max_area=_AREA_720,
        ),
        "wan2.2-animate-14b": _preset(
            sizes=_ALL[:2], frames=77, fps=30, steps=20, guidance=1.0, solver="dpmpp_2m", max_area=_AREA_720
        ),
    }
)  # fmt: skip
"""By the public name of the architecture (``ModelDescription.variant``)."""

_SMALL_SHIFT: Mapping[str, float] = MappingProxyType(
    dict.fromkeys(
        (
            "wan2.1-i2v-14b",
            "wan2.1-i2v-14b-720p",
            "wan2.1-camera-1.3b",
            "wan2.1-camera-14b",
            "wan2.2-camera-a14b",
        ),
        3.0,
    )
)
"""Models whose shift depends on the size: the value up to the area of 832×480. The originals choose it by the size that
was asked for, which for these models is an area; a picture's proportions leave at most that area."""


def preset_of(model: ModelDescription, operation: Operation | None = None) -> tuple[Preset, str | None]:
    """The defaults of a model, and the name of the published model that they were borrowed from, if they were.

    A model's own preset (its generation.json) counts first, then that of its variant for the operation, then that of
    its variant. A model of an unpublished size borrows from its family and task.

    Raises:
        InvalidRequest: nothing like it was published.
    """
    own = model.preset or _for_pictures(model.variant, operation) or PRESETS.get(model.variant)
    if own is not None:
        return own, None
    pair = len(model.experts) > 1
    for name, preset in PRESETS.items():
        family, task, *_ = name.split("-")
        if (family, task, preset.boundary is not None) == (model.family, model.task, pair):
            return preset, name
    raise InvalidRequest(
        "model", f"{model.id} has no sampling defaults, and no published model is like it",
        allowed="a model directory whose generation.json has a preset",
    )  # fmt: skip


def _for_pictures(variant: str, operation: Operation | None) -> Preset | None:
    """Defaults of a text-to-video model that makes one picture, where it has such."""
    return PRESETS.get(variant.replace("-t2v-", "-t2i-")) if operation == "t2i" and "-t2v-" in variant else None


def shift_at(variant: str, preset: Preset, size: tuple[int, int]) -> float:
    """Default shift of a model at a size (width, height)."""
    small = size[0] * size[1] <= _AREA_480
    return _SMALL_SHIFT.get(variant, preset.shift) if small else preset.shift
