"""Descriptions of the published models without their files: enough to plan with before anything is downloaded.

Widths, blocks and channels are those of the published config.json files of Wan-AI and of Alibaba PAI (Wan2.1-Fun-V1.1,
Wan2.2-Fun, Wan2.2-VACE-Fun). Parameters are counted from them, layer by layer, as the original code builds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from filmgate.direction.presets import PRESETS
from filmgate.spec.errors import UnknownName
from filmgate.spec.model import DitDimensions, ExpertDescription, ExpertName, ModelDescription
from filmgate.spec.shape import Compression

_PATCH = 4
"""Latents of a patch: 1·2·2."""
_IMAGE_DIM, _IMAGE_ROWS = 1280, 257
_VACE_CHANNELS = 96
_RAY_CHANNELS = 24
_KEPT_BYTES, _WIDE = 2, 4
"""Bytes of a weight in the descriptions: half precision."""
_TEXT_ENCODER = 5_680_910_336
_IMAGE_ENCODER = 611_086_080


class _Size(NamedTuple):
    dim: int
    ffn_dim: int
    heads: int
    layers: int


class _Kind(NamedTuple):
    """What a model reads beside its latents, by channels, and the branches that it has for it."""

    in_channels: int = 16
    out_channels: int = 16
    image: bool = False
    both_ends: bool = False
    branch_layers: int = 0
    rays: int = 0
    """Side of the squares of pixels that rays are gathered from; 0: no rays."""


_SIZES: Mapping[str, _Size] = MappingProxyType(
    {
        "1.3b": _Size(1536, 8960, 12, 30),
        "14b": _Size(5120, 13824, 40, 40),
        "5b": _Size(3072, 14336, 24, 30),
    }
)
_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "wan2.1-t2v-1.3b": _Kind(),
        "wan2.1-t2v-14b": _Kind(),
        "wan2.1-i2v-14b-480p": _Kind(36, image=True),
        "wan2.1-i2v-14b-720p": _Kind(36, image=True),
        "wan2.1-flf2v-14b": _Kind(36, image=True, both_ends=True),
        "wan2.1-vace-1.3b": _Kind(branch_layers=15),
        "wan2.1-vace-14b": _Kind(branch_layers=8),
        "wan2.1-camera-1.3b": _Kind(32, image=True, rays=8),
        "wan2.1-camera-14b": _Kind(32, image=True, rays=8),
        "wan2.2-t2v-a14b": _Kind(),
        "wan2.2-i2v-a14b": _Kind(36),
        "wan2.2-ti2v-5b": _Kind(48, 48),
        "wan2.2-camera-a14b": _Kind(36, rays=8),
        "wan2.2-camera-5b": _Kind(100, 48, rays=16),
        "wan2.2-vace-a14b": _Kind(branch_layers=8),
    }
)
DESCRIBED: tuple[str, ...] = tuple(_KINDS)
"""Variants that :func:`describe_published` knows, the older generation first."""


def describe_published(variant: str, weight_bytes: int = _KEPT_BYTES) -> ModelDescription:
    """The model that was published as ``variant``, at no place on disk.

    Args:
        variant: Its name.
        weight_bytes: Of each weight of its transformers: 2, half precision, or as they were published.

    Raises:
        UnknownName: there is none.
    """
    if variant not in _KINDS:
        raise UnknownName("model", variant, DESCRIBED)
    kind = _KINDS[variant]
    family, task, name, *_ = variant.split("-")
    size = _SIZES[name.removeprefix("a")]
    parameters = _parameters(size, kind)
    names: tuple[ExpertName, ...] = ("high_noise", "low_noise") if PRESETS[variant].boundary else ("dense",)
    small = kind.out_channels == 48
    coder = 704_688_668 if small else 126_892_531
    seen = _IMAGE_ENCODER if kind.image else 0
    return ModelDescription.model_validate(
        {
            "id": variant, "title": variant, "variant": variant, "family": family, "task": task, "path": "",
            "dit": DitDimensions(
                dim=size.dim, ffn_dim=size.ffn_dim, heads=size.heads, layers=size.layers,
                in_channels=kind.in_channels, out_channels=kind.out_channels,
                image_dim=_IMAGE_DIM if kind.image else None, branch_layers=kind.branch_layers,
            ),
            "compression": Compression(spatial=16, channels=48) if small else Compression(),
            "experts": tuple(
                ExpertDescription(
                    name=name, path=name, parameters=parameters, bytes=weight_bytes * parameters,
                    dtype="float32" if weight_bytes == _WIDE else "bfloat16",
                )
                for name in names
            ),
            "text_encoder_parameters": _TEXT_ENCODER, "text_encoder_bytes": _KEPT_BYTES * _TEXT_ENCODER,
            "vae_parameters": coder, "vae_bytes": 4 * coder,
            "image_encoder_parameters": seen, "image_encoder_bytes": _KEPT_BYTES * seen,
        }
    )  # fmt: skip


def _parameters(size: _Size, kind: _Kind) -> int:
    """Parameters of one transformer."""
    d, f = size.dim, size.ffn_dim
    attention = 4 * (d * d + d) + 2 * d
    block = 2 * attention + 2 * d + (2 * d * f + f + d) + 6 * d
    seen = 2 * (d * d + d) + d if kind.image else 0
    text, frequencies = 4096, 256
    outside = kind.in_channels * _PATCH * d + d
    outside += text * d + d + d * d + d
    outside += frequencies * d + d + d * d + d + 6 * (d * d + d)
    outside += d * kind.out_channels * _PATCH + kind.out_channels * _PATCH + 2 * d
    if kind.image:
        outside += 2 * _IMAGE_DIM + _IMAGE_DIM**2 + _IMAGE_DIM + _IMAGE_DIM * d + d + 2 * d
        outside += 2 * _IMAGE_ROWS * _IMAGE_DIM if kind.both_ends else 0
    branch = 0
    if kind.branch_layers:
        branch = kind.branch_layers * (block + d * d + d) + d * d + d + _VACE_CHANNELS * _PATCH * d + d
    if kind.rays:
        branch += _RAY_CHANNELS * kind.rays**2 * _PATCH * d + d + 2 * (9 * d * d + d)
    return size.layers * (block + seen) + outside + branch
