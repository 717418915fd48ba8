"""The fast GELU against PyTorch's, with and without gradients, and far out where a naive form overflows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from filmgate.engine.kernels.gelu import gelu_tanh


def test_the_sigmoid_form_is_the_tanh_form() -> None:
    x = torch.cat([torch.linspace(-12, 12, 20_001), torch.tensor([-1e4, -60.0, 0.0, 60.0, 1e4])])
    with torch.inference_mode():
        found = gelu_tanh(x)
    exact = F.gelu(x.double(), approximate="tanh")
    assert ((found - exact).abs() / (1 + exact.abs())).max() <= 5e-7
    assert torch.isfinite(found).all()


def test_it_is_not_the_error_function_form() -> None:
    x = torch.linspace(-3, 3, 100)
    with torch.inference_mode():
        assert (gelu_tanh(x) - F.gelu(x)).abs().max() > 1e-4


def test_the_input_is_left_alone() -> None:
    x = torch.randn(8)
    before = x.clone()
    with torch.inference_mode():
        gelu_tanh(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_pytorchs(dtype: torch.dtype) -> None:
    x, y = (torch.linspace(-4, 4, 33, dtype=dtype).requires_grad_() for _ in range(2))
    (found,) = torch.autograd.grad(gelu_tanh(x).sum(), x)
    (expected,) = torch.autograd.grad(F.gelu(y, approximate="tanh").sum(), y)
    torch.testing.assert_close(found, expected)
