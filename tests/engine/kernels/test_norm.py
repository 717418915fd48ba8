"""Normalisation: formulas in fp64, and what must stay in fp32."""

from __future__ import annotations

import pytest
import torch

from filmgate.engine.kernels.norm import layer_norm, layer_norm_modulate, layer_norm_modulate_reference, rms_norm


def test_rms_norm_is_its_formula() -> None:
    x, weight = torch.randn(2, 5, 48), torch.randn(48)
    exact = x.double() / (x.double().square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight
    torch.testing.assert_close(rms_norm(x, weight, 1e-6).double(), exact, atol=1e-6, rtol=1e-6)


def test_rms_norm_of_small_vectors_is_damped_by_eps() -> None:
    x = torch.full((1, 16), 1e-3)
    torch.testing.assert_close(rms_norm(x, torch.ones(16), 1e-6), torch.full((1, 16), 0.5**0.5))


def test_rms_norm_rounds_to_the_input_dtype_before_the_weight() -> None:
    x, weight = torch.randn(4, 64, dtype=torch.bfloat16), 1 + 0.2 * torch.randn(64)
    found = rms_norm(x, weight, 1e-6)
    wide = x.float()
    rounded = (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).bfloat16()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, rounded.float() * weight, atol=0, rtol=0)


def test_rms_norm_survives_large_half_precision_values() -> None:
    x = torch.full((1, 8), 60_000.0, dtype=torch.float16)
    torch.testing.assert_close(rms_norm(x, torch.ones(8, dtype=torch.float16), 1e-6), torch.ones(1, 8).half())


def test_layer_norm_is_computed_in_fp32() -> None:
    x = (100 + torch.randn(3, 32)).bfloat16()
    found = layer_norm(x, torch.ones(32, dtype=torch.bfloat16), None, 1e-6)
    wide = x.double()
    exact = (wide - wide.mean(-1, keepdim=True)) / (wide.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (2, 1), (1, 5), (2, 5)])
def test_modulation_one_for_all_tokens_or_one_each(batch: int, rows: int) -> None:
    x = torch.randn(batch, 5, 24)
    shift, scale = torch.randn(2, batch, rows, 24)
    found = layer_norm_modulate(x, shift, scale, 1e-6)
    torch.testing.assert_close(found, layer_norm_modulate_reference(x, shift, scale, 1e-6), atol=3e-6, rtol=1e-5)


def test_modulation_of_half_precision_tokens_is_fp32() -> None:
    x = torch.randn(1, 5, 24, dtype=torch.bfloat16)
    assert layer_norm_modulate(x, torch.zeros(1, 1, 24), torch.zeros(1, 1, 24), 1e-6).dtype == torch.float32
