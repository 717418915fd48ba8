"""RMS norm over channels: the definition, its precision and its fast temporaries."""

import pytest
import torch
import torch.nn.functional as F

from filmgate.engine.kernels.channel_norm import (
    HOPPER,
    biased_sum,
    channel_rms,
    channel_rms_reference,
    channel_rms_silu,
    channel_rms_silu_after,
    channel_rms_silu_reference,
    lies_for_kernels,
    width_to_read,
)
from filmgate.engine.models import vae_layers
from filmgate.engine.models.vae_layers import ResidualBlock


def definition(x, gamma):
    return F.normalize(x.double(), dim=1, eps=1e-12) * x.shape[1] ** 0.5 * gamma.double()


def test_equals_the_definition_on_videos_and_frames():
    for shape in ((2, 6, 3, 4, 5), (2, 6, 4, 5)):
        x, gamma = torch.randn(shape), torch.rand(6, *[1] * (len(shape) - 2))
        torch.testing.assert_close(channel_rms(x, gamma).double(), definition(x, gamma), rtol=0, atol=1e-6)
        expected = F.silu(definition(x, gamma))
        torch.testing.assert_close(channel_rms_silu(x, gamma).double(), expected, rtol=0, atol=1e-6)


def test_silence_stays_silent():
    x, gamma = torch.zeros(1, 4, 2, 2, 2), torch.ones(4, 1, 1, 1)
    assert channel_rms(x, gamma).eq(0).all()


def test_is_computed_in_fp32_whatever_comes_in():
    # 65504 is the largest fp16: its square is infinite there.
    x, gamma = torch.full((1, 4, 1, 1), 60000.0).half(), torch.ones(4, 1, 1)
    y = channel_rms(x, gamma)
    assert y.dtype == torch.float16
    assert y.flatten().tolist() == [1, 1, 1, 1]
    with torch.autocast("cpu", torch.bfloat16):
        narrow = torch.randn(1, 512, 4, 4).bfloat16()
        y = channel_rms(narrow, gamma.new_ones(512, 1, 1))
    assert y.dtype == torch.bfloat16
    assert (y.double() - definition(narrow, torch.ones(512, 1, 1)).bfloat16().double()).abs().max() < 0.02


def test_never_writes_into_its_input():
    x, gamma = torch.randn(1, 4, 2, 3, 3), torch.rand(4, 1, 1, 1)
    kept = x.clone()
    with torch.no_grad():
        quiet = channel_rms_silu(x, gamma)
    assert torch.equal(x, kept)
    x.requires_grad_()
    recorded = channel_rms_silu(x, gamma)
    recorded.sum().backward()
    assert x.grad is not None
    assert torch.equal(quiet, recorded.detach())


def test_what_is_read_stays_as_wide_as_it_is_where_nothing_else_was_measured():
    for channels in (96, 128):
        assert width_to_read(torch.randn(1, channels, 1, 2, 2).bfloat16()) == channels


@pytest.mark.gpu
@torch.no_grad()
def test_zeros_beside_what_is_read_change_nothing(monkeypatch):
    """On Hopper, 96 channels in half precision."""
    torch.manual_seed(0)
    block = ResidualBlock(96, 96).to("cuda", torch.bfloat16)
    x = torch.randn(1, 96, 4, 20, 24, device="cuda").bfloat16().contiguous(memory_format=torch.channels_last_3d)
    hopper = torch.cuda.get_device_capability()[0] == HOPPER
    assert (width_to_read(x), width_to_read(x.float())) == (128 if hopper else 96, 96)
    y, memory = block(x, (None, None))
    again, _ = block(x, memory)
    monkeypatch.setattr(vae_layers, "width_to_read", lambda x: x.shape[1])
    expected, memory = block(x, (None, None))
    torch.testing.assert_close(y, expected, atol=0.02, rtol=0.02)
    torch.testing.assert_close(again, block(x, memory)[0], atol=0.02, rtol=0.02)


def test_kernels_are_for_gpus():
    x = torch.randn(1, 4, 2, 3, 3).contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        assert not lies_for_kernels(x)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [3, 12, 96, 384, 1024])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.no_grad()
def test_the_kernel_is_the_reference(channels, dtype):
    x = torch.randn(1, channels, 3, 7, 5, device="cuda").to(dtype).contiguous(memory_format=torch.channels_last_3d)
    gamma = torch.rand(channels, 1, 1, 1, device="cuda")
    bound = {"atol": 0, "rtol": {torch.float32: 2e-6, torch.bfloat16: 0.01, torch.float16: 0.002}[dtype]}
    if dtype is torch.float32:
        bound["atol"] = 2e-6
    torch.testing.assert_close(channel_rms(x, gamma), channel_rms_reference(x, gamma), **bound)
    expected = channel_rms_silu_reference(x, gamma)
    torch.testing.assert_close(channel_rms_silu(x, gamma), expected, **bound)
    before = torch.randn_like(x[:, :, :2])
    assert lies_for_kernels(x)
    assert not lies_for_kernels(x.contiguous())
    bias = torch.randn(channels, device="cuda").to(dtype)
    for context, shown in ((before, before), (None, torch.zeros_like(before))):
        room = channel_rms_silu_after(x, None, gamma, context, 2)
        assert torch.equal(room[:, :, :2], shown)
        torch.testing.assert_close(room[:, :, 2:], expected, **bound)
    shifted = x + bias.view(-1, 1, 1, 1)
    room = channel_rms_silu_after(x, bias, gamma, None, 2)
    torch.testing.assert_close(room[:, :, 2:], channel_rms_silu_reference(shifted, gamma), **bound)
    assert torch.equal(channel_rms_silu_after(x, bias, gamma, None, 2, channels + 5)[:, :channels], room)
    assert torch.equal(biased_sum(x, bias, x), shifted + x)
    frames = x[:, :, 0].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(channel_rms(frames, gamma[:, 0]), channel_rms_reference(frames, gamma[:, 0]), **bound)
