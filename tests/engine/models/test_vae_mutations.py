"""A test of the tests: the quiet mistakes in a port of the VAEs move the very numbers that the golden vectors publish.

``test_vae`` holds the correct model to those numbers within 1.5e-5; here each mistake must move one by far more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from tests.engine.golden_fill import fill_parameters, fingerprint, golden_tensor
from torch import Tensor, nn

from filmgate.engine.kernels.conv import causal_conv3d
from filmgate.engine.models import vae as vae_module
from filmgate.engine.models import vae_layers
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig

Patch = pytest.MonkeyPatch
NOTICED = 1e-3


def config_of(kind: str) -> VaeConfig:
    z_dim = 4 if kind == "2.1" else 6
    fields: dict[str, Any] = {} if kind == "2.1" else {"decoder_dim": 12, "patch": 2, "level_shortcuts": True}
    return VaeConfig(dim=8, z_dim=z_dim, latents_mean=(0.0,) * z_dim, latents_std=(1.0,) * z_dim, **fields)


@torch.inference_mode()
def published_numbers(model: WanVae, action: str) -> list[float]:
    if action == "encode":
        output = model.encode_sequence(golden_tensor("video", (1, 3, 9, 32, 64)))[0]
    else:
        side = model.config.spatial_factor
        output = model.decode_sequence(golden_tensor("latent", (1, model.config.z_dim, 3, 32 // side, 64 // side)))
    moments, values = fingerprint(output)
    return [*moments, *values]


def first_frame_repeated(patch: Patch, model: WanVae) -> None:
    """Time is padded with zeros, not with copies of the first frame."""
    original = causal_conv3d

    def padded(x: Tensor, weight: Tensor, bias: Tensor | None, context: Tensor | None = None) -> Tensor:
        reach = weight.shape[2] - 1
        if context is None and reach:
            context = x[:, :, :1].expand(-1, -1, reach, -1, -1)
        return original(x, weight, bias, context)

    patch.setattr(vae_layers, "causal_conv3d", padded)


def history_holds_the_first_frame(patch: Patch, model: WanVae) -> None:
    """The temporal upsampling never sees the first frame."""

    def doubled(self: Any, time_conv: Any, x: Tensor, memory: Any) -> tuple[Tensor, Any]:
        pairs = time_conv(x, vae_layers.WHOLE)[0][:, :, 1:]
        return torch.cat([x[:, :, :1], rearrange(pairs, "b (two c) t h w -> b c (t two) h w", two=2)], 2), memory

    patch.setattr(vae_layers.Upsample, "_double_time", doubled)


def later_half_first(patch: Patch, model: WanVae) -> None:
    """Of the doubled channels the first half is the earlier frame."""
    for layer in model.modules():
        if isinstance(layer, vae_layers.Upsample) and layer.time_conv is not None:
            convolution = layer.time_conv
            for parameter in (convolution.weight, convolution.bias):
                parameter.data = parameter.data.roll(len(parameter) // 2, 0)


def padding_above_and_left(patch: Patch, model: WanVae) -> None:
    """Before a stride of two the padding is below and right."""
    for layer in model.modules():
        if isinstance(layer, vae_layers.Downsample):
            layer.resample[0] = nn.ZeroPad2d((1, 0, 1, 0))


def smooth_upsampling(patch: Patch, model: WanVae) -> None:
    """Pixels are doubled, not interpolated."""

    def smooth(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.conv2d(F.interpolate(x, scale_factor=2, mode="bilinear"), weight, bias, padding=1)

    patch.setattr(vae_layers, "doubled_conv2d", smooth)


def rows_before_columns(patch: Patch, model: WanVae) -> None:
    """In Wan 2.2's patches the column is the slower offset."""
    patch.setattr(
        vae_module,
        "rearrange",
        lambda x, pattern, /, **sizes: rearrange(x, pattern.replace("(c r q)", "(c q r)"), **sizes),
    )


def shortcut_padded_at_the_end(patch: Patch, model: WanVae) -> None:
    """The encoder's shortcuts are padded before the first frame."""

    def pad(x: Tensor, sides: tuple[int, ...], *rest: Any) -> Tensor:
        return F.pad(x, (*sides[:4], sides[5], sides[4]), *rest)

    class Functional:
        def __getattr__(self, name: str) -> Any:
            return pad if name == "pad" else getattr(F, name)

    patch.setattr(vae_layers, "F", Functional())


MISTAKES: tuple[tuple[Callable[[Patch, WanVae], None], str, str], ...] = (
    (first_frame_repeated, "2.1", "encode"),
    (first_frame_repeated, "2.1", "decode"),
    (first_frame_repeated, "2.2", "decode"),
    (history_holds_the_first_frame, "2.1", "decode"),
    (history_holds_the_first_frame, "2.2", "decode"),
    (later_half_first, "2.1", "decode"),
    (later_half_first, "2.2", "decode"),
    (padding_above_and_left, "2.1", "encode"),
    (padding_above_and_left, "2.2", "encode"),
    (smooth_upsampling, "2.1", "decode"),
    (smooth_upsampling, "2.2", "decode"),
    (rows_before_columns, "2.2", "encode"),
    (rows_before_columns, "2.2", "decode"),
    (shortcut_padded_at_the_end, "2.2", "encode"),
)


@pytest.mark.parametrize(("mistake", "kind", "action"), MISTAKES, ids=lambda value: getattr(value, "__name__", value))
def test_the_golden_vae_notices(
    mistake: Callable[[Patch, WanVae], None], kind: str, action: str, monkeypatch: Patch
) -> None:
    model = WanVae(config_of(kind))
    fill_parameters(model)
    expected = published_numbers(model, action)
    mistake(monkeypatch, model)
    found = published_numbers(model, action)
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) > NOTICED
