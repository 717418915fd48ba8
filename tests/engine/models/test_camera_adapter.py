"""The camera's adapter: against plain sums, its place in the transformer, and how it is known by its tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.engine.models.test_dit import randomise
from torch import Tensor

from filmgate.engine.models.camera_adapter import CameraAdapter
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.spec.errors import InvalidRequest, WrongShape

SETTINGS: dict[str, Any] = {"dim": 48, "ffn_dim": 64, "num_heads": 2, "num_layers": 2, "text_dim": 32, "text_len": 24}
SCALE = 2


def tiny(**changes: Any) -> WanDiT:
    return randomise(WanDiT(DitConfig(**{**SETTINGS, "camera_scale": SCALE, **changes})), 7)


def tiny_inputs(batch: int = 1, scale: int = SCALE) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, 16, 2, 4, 6, generator=generator)
    rays = torch.randn(batch, 24, 2, 4 * scale, 6 * scale, generator=generator)
    return x, torch.tensor([937.0, 12.0])[:batch], torch.randn(batch, 9, 32, generator=generator), rays


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int) -> np.ndarray:
    """[C, H, W] through a convolution, one output at a time."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    kernel = weight.shape[-1]
    rows, columns = ((side - kernel) // stride + 1 for side in x.shape[1:])
    result = np.empty((len(weight), rows, columns))
    for i in range(rows):
        for j in range(columns):
            window = x[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            result[:, i, j] = np.tensordot(weight, window, 3) + bias
    return result


@pytest.mark.parametrize("blocks", [1, 2])
@torch.inference_mode()
def test_it_is_unshuffled_convolved_and_refined_frame_by_frame(blocks: int) -> None:
    torch.manual_seed(1)
    adapter = CameraAdapter(5, SCALE, blocks).double()
    rays = torch.randn(2, 24, 3, 8, 12, dtype=torch.float64)
    tokens = adapter(rays)
    assert tokens.shape == (2, 3 * 2 * 3, 5)
    state = {name: tensor.numpy() for name, tensor in adapter.state_dict().items()}
    for b in range(2):
        for t in range(3):
            frame = rays[b, :, t].numpy()
            # Pixel (s·y + p, s·x + q) of channel c is channel (c·s + p)·s + q at (y, x).
            unfolded = np.array([frame[c, p::2, q::2] for c in range(24) for p in range(2) for q in range(2)])
            y = convolved(unfolded, state["conv.weight"], state["conv.bias"], 2, 0)
            for n in range(blocks):
                name = f"residual_blocks.{n}.conv"
                inner = convolved(y, state[f"{name}1.weight"], state[f"{name}1.bias"], 1, 1)
                y = y + convolved(np.maximum(inner, 0), state[f"{name}2.weight"], state[f"{name}2.bias"], 1, 1)
            expected = y.reshape(5, -1).T
            assert np.abs(tokens[b, t * 6 : (t + 1) * 6].numpy() - expected).max() < 1e-12


@torch.inference_mode()
def test_it_is_added_to_the_tokens_of_the_patches() -> None:
    model = tiny()
    plain = WanDiT(DitConfig(**SETTINGS))
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("control_adapter")})
    *inputs, rays = tiny_inputs(2)
    added = model.control_adapter(rays)
    plain.patch_embedding.register_forward_hook(lambda _module, _inputs, tokens: tokens + added)
    assert torch.equal(model(*inputs, control=rays), plain(*inputs))


@torch.inference_mode()
def test_rays_matter_and_an_adapter_of_zeros_does_not() -> None:
    model = tiny()
    *inputs, rays = tiny_inputs()
    found = model(*inputs, control=rays)
    assert (model(*inputs, control=rays.flip(2)) - found).norm() / found.norm() > 0.01
    for parameter in model.control_adapter.parameters():
        parameter.zero_()
    plain = WanDiT(DitConfig(**SETTINGS))
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("control_adapter")})
    assert torch.equal(model(*inputs, control=rays), plain(*inputs))


def test_every_parameter_gets_a_gradient() -> None:
    model = tiny(camera_blocks=2)
    *inputs, rays = tiny_inputs(2)
    model(*inputs, control=rays).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@torch.inference_mode()
def test_half_precision_weights_take_rays_of_any_dtype() -> None:
    model = tiny()
    *inputs, rays = tiny_inputs()
    expected = model(*inputs, control=rays)
    model.control_adapter.bfloat16()
    assert (model(*inputs, control=rays) - expected).norm() / expected.norm() < 0.01


# VideoX-Fun's adapters have 52, 503 and 245 million parameters.
@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (
            {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30, "in_dim": 32, "image_dim": 1280},
            52,
        ),
        ({"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, "in_dim": 36}, 503),
        ({"dim": 3072, "ffn_dim": 14336, "num_heads": 24, "num_layers": 30, "in_dim": 100, "out_dim": 48}, 245),
    ],
)
def test_the_released_models_are_known_by_their_tensors(config: dict[str, int], millions: int) -> None:
    scale = 16 if "out_dim" in config else 8
    wanted = DitConfig(**config, camera_scale=scale)
    with torch.device("meta"):
        state = WanDiT(wanted).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert DitConfig.from_tensors(shapes) == wanted
    found = {name: tensor.numel() for name, tensor in state.items() if name.startswith("control_adapter")}
    assert set(found) == {
        f"control_adapter.{layer}.{kind}"
        for layer in ("conv", "residual_blocks.0.conv1", "residual_blocks.0.conv2")
        for kind in ("weight", "bias")
    }
    assert round(sum(found.values()) / 1e6) == millions
    assert shapes["control_adapter.conv.weight"] == (config["dim"], 24 * scale**2, 2, 2)


@pytest.mark.parametrize("channels", [0, 12, 48, 24 * 64 + 1])
def test_another_adapter_is_refused(channels: int) -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in tiny().state_dict().items()}
    shapes["control_adapter.conv.weight"] = (48, channels, 2, 2)
    with pytest.raises(WrongShape, match="camera's rays"):
        DitConfig.from_tensors(shapes, num_heads=2)


@pytest.mark.parametrize("cut", [None, (slice(None), slice(23)), (..., slice(6)), (slice(None), slice(None), [0])])
def test_rays_that_do_not_fit_are_refused(cut: Any) -> None:
    *inputs, rays = tiny_inputs()
    with pytest.raises(InvalidRequest, match=r"24, 2, 8, 12") as caught:
        tiny()(*inputs, control=None if cut is None else rays[cut])
    assert caught.value.field == "control"


@pytest.mark.parametrize("changes", [{"camera_scale": 0}, {"camera_blocks": 0}])
def test_impossible_adapters_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DitConfig(**{**SETTINGS, "camera_scale": 8, **changes})
    assert caught.value.field == next(iter(changes))
