"""The convolutions of the VAE: the fast path against the reference, and the reference against the definition."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from filmgate.engine.kernels.conv import (
    causal_conv3d,
    causal_conv3d_by_planes,
    causal_conv3d_reference,
    doubled,
    doubled_conv2d,
    doubled_conv2d_by_phases,
    doubled_conv2d_reference,
)

BOUND = 3e-6
"""Largest difference between two orders of summation in fp32, as a share of the largest output."""


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return ((found.double() - expected.double()).abs().max() / expected.double().abs().max()).item()


@st.composite
def convolutions(draw):
    frames, kernel = draw(st.integers(1, 7)), draw(st.sampled_from([(3, 3, 3), (3, 1, 1), (1, 1, 1), (1, 3, 3)]))
    batch, height, width = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(st.integers(1, 9))
    channels_in, channels_out = draw(st.integers(1, 40)), draw(st.integers(1, 20))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    x = random(batch, channels_in, frames, height, width)
    if draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last_3d)
    with_context = draw(st.booleans()) and kernel[0] > 1
    context = random(batch, channels_in, 2, height, width) if with_context else None
    bias = random(channels_out) if draw(st.booleans()) else None
    return x, random(channels_out, channels_in, *kernel), bias, context


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_planes_equal_the_reference_within_the_bound(case):
    exact = causal_conv3d_reference(*(None if t is None else t.double() for t in case))
    # Few outputs may all be small sums of large terms.
    terms = causal_conv3d_reference(*(None if t is None else t.double().abs() for t in case)).max()
    bound = BOUND * max(1.0, (terms / exact.abs().max()).item() / 8)
    with torch.no_grad():
        quiet = causal_conv3d_by_planes(*case)
    assert relative(quiet, exact) <= bound
    assert torch.equal(causal_conv3d_by_planes(*case), quiet)  # with and without room for a gradient
    assert relative(causal_conv3d_reference(*case), exact) <= bound


@pytest.mark.parametrize("convolve", [causal_conv3d_by_planes, causal_conv3d_reference])
def test_no_frame_sees_a_later_one(convolve):
    x, weight = torch.randn(1, 3, 6, 4, 5), torch.randn(2, 3, 3, 3, 3)
    changed = x.clone()
    changed[:, :, 4:] += 1
    before, after = convolve(x, weight, None), convolve(changed, weight, None)
    # The algorithm pairs frames, so that frames that share a pair with a later one may differ by rounding.
    assert relative(after[:, :, :4], before[:, :, :4]) <= BOUND
    assert relative(after[:, :, 4:], before[:, :, 4:]) > 0.01


@pytest.mark.parametrize("convolve", [causal_conv3d_by_planes, causal_conv3d_reference])
def test_context_is_what_was_cut_off(convolve):
    x, weight, bias = torch.randn(2, 5, 9, 4, 6), torch.randn(4, 5, 3, 3, 3), torch.randn(4)
    whole = convolve(x, weight, bias)
    for cut in range(2, 9):
        tail = convolve(x[:, :, cut:], weight, bias, x[:, :, cut - 2 : cut])
        assert relative(tail, whole[:, :, cut:]) <= BOUND


def test_time_is_padded_with_zeros_and_space_on_both_sides():
    x, weight = torch.ones(1, 1, 3, 3, 3), torch.ones(1, 1, 3, 3, 3)
    y = causal_conv3d(x, weight, None)[0, 0]
    assert y[:, 1, 1].tolist() == [9, 18, 27]
    assert y[2].tolist() == [[12, 18, 12], [18, 27, 18], [12, 18, 12]]


def test_gradients_flow_through_the_fast_path():
    x, weight = torch.randn(1, 4, 5, 4, 4, requires_grad=True), torch.randn(3, 4, 3, 3, 3, requires_grad=True)
    bias = torch.randn(3, requires_grad=True)
    fast = torch.autograd.grad(causal_conv3d_by_planes(x, weight, bias).square().sum(), (x, weight, bias))
    slow = torch.autograd.grad(causal_conv3d_reference(x, weight, bias).square().sum(), (x, weight, bias))
    for found, expected in zip(fast, slow, strict=True):
        assert relative(found, expected) <= 10 * BOUND


def test_the_path_is_chosen_by_the_tensors_alone(monkeypatch):
    taken = []
    monkeypatch.setattr(
        "filmgate.engine.kernels.conv.causal_conv3d_by_planes", lambda x, *_: taken.append(x.dtype) or x
    )
    x, weight = torch.randn(1, 2, 3, 4, 4), torch.randn(2, 2, 3, 3, 3)
    causal_conv3d(x, weight, None)
    assert taken == [torch.float32]
    causal_conv3d(x.bfloat16(), weight.bfloat16(), None)
    causal_conv3d(x.double(), weight.double(), None)
    causal_conv3d(x.to("meta"), weight.to("meta"), None)
    with torch.autocast("cpu", torch.bfloat16):
        causal_conv3d(x, weight, None)
    assert taken == [torch.float32]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 20), st.integers(1, 12), st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_phases_equal_the_reference_within_the_bound(batch, channels_in, channels_out, height, width, biased):
    x, weight = torch.randn(batch, channels_in, height, width), torch.randn(channels_out, channels_in, 3, 3)
    bias = torch.randn(channels_out) if biased else None
    exact = doubled_conv2d_reference(x.double(), weight.double(), None if bias is None else bias.double())
    assert relative(doubled_conv2d_by_phases(x, weight, bias), exact) <= BOUND
    assert relative(doubled_conv2d(x, weight, bias), exact) <= BOUND


def test_doubling_repeats_pixels():
    x = torch.arange(4.0).view(1, 1, 2, 2)
    identity = F.pad(torch.ones(1, 1, 1, 1), (1, 1, 1, 1))
    rows = doubled_conv2d(x, identity, None)[0, 0].tolist()
    assert rows == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [3, 96, 384])
@torch.no_grad()
def test_the_kernel_doubles_as_torch_does(channels):
    x = torch.randn(2, channels, 5, 7, device="cuda").bfloat16()
    expected = F.interpolate(x, scale_factor=2.0, mode="nearest-exact")
    assert torch.equal(doubled(x), expected), "channels apart: as ever"
    y = doubled(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, expected)
