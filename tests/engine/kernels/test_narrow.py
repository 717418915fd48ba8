"""Weights in few bits: the errors that are promised, and the corners of the formats."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from filmgate.engine.kernels.narrow import GROUP, INT4, NARROWERS, PLAIN, Narrow, widened, widened_reference

ERRORS = {"bf16": 0.0017, "fp8": 0.027, "int8": 0.0095, "int4": 0.1}
"""Relative, root mean square, of normal deviates."""
BYTES = {"bf16": 2, "fp8": 1 + 4 / 512, "int8": 1 + 4 / 512, "int4": 0.5 + 2 / GROUP}


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(96, 512, generator=torch.Generator().manual_seed(0)) * 0.03


@pytest.mark.parametrize("name", NARROWERS)
def test_the_error_is_as_promised(name: str, weight: torch.Tensor) -> None:
    narrow = NARROWERS[name](weight)
    error = float((widened(narrow, torch.float32) - weight).norm() / weight.norm())
    assert 0.75 * ERRORS[name] < error < ERRORS[name]
    assert narrow.nbytes == BYTES[name] * weight.numel()


@pytest.mark.parametrize("name", NARROWERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_part_at_a_time_is_all_at_once(name, dtype, weight, monkeypatch) -> None:
    narrow = NARROWERS[name](weight)
    monkeypatch.setattr("filmgate.engine.kernels.narrow._ELEMENTS_AT_ONCE", 7 * 512)
    found = widened(narrow, dtype)
    assert found.dtype == dtype
    assert torch.equal(found, widened_reference(narrow).to(dtype))


@pytest.mark.parametrize("name", NARROWERS)
def test_zeros_outliers_and_odd_widths(name: str) -> None:
    weight = torch.randn(5, 70, generator=torch.Generator().manual_seed(1))
    weight[0], weight[1, 3], weight[2] = 0, 1e4, weight[2] * 1e-6
    found = widened(NARROWERS[name](weight), torch.float32)
    assert found.shape == weight.shape
    assert torch.equal(found[0], torch.zeros(70))
    assert torch.isfinite(found).all()
    # A row keeps its scale whatever the others are.
    assert float((found[2] - weight[2]).norm() / weight[2].norm()) < 0.13
    torch.testing.assert_close(found[1, 3], weight[1, 3], rtol=0.005, atol=0)


def test_what_fits_a_format_is_kept_exactly() -> None:
    whole = torch.arange(-127, 128).float().repeat(2, 1)
    assert torch.equal(widened(NARROWERS["int8"](whole), torch.float32), whole)
    fp8 = torch.tensor([[448.0, 1.5, -0.875, 0.0]])
    assert torch.equal(widened(NARROWERS["fp8"](fp8), torch.float32), fp8)
    fours = torch.tensor([[-8.0, *range(-7, 8)] * 4])
    assert torch.equal(widened(NARROWERS["int4"](fours), torch.float32), fours)


def test_one_number_may_scale_a_whole_weight() -> None:
    numbers = torch.randn(4, 8).to(torch.float8_e4m3fn)
    found = widened(Narrow(PLAIN, 8, numbers, torch.tensor(0.3)), torch.float32)
    assert torch.equal(found, numbers.float() * torch.tensor(0.3))
    assert torch.equal(widened(Narrow(PLAIN, 8, numbers), torch.float32), numbers.float())


@pytest.mark.parametrize("name", ["Q8_0", "Q4_0"])
def test_blocks_of_a_file_are_rows(name: str) -> None:
    kind = GGMLQuantizationType[name]
    packed = quantize(np.random.default_rng(1).normal(size=(6, 64)).astype(np.float32), kind)
    found = widened(Narrow(name, 64, torch.from_numpy(packed)), torch.float32)
    assert np.array_equal(found.numpy(), dequantize(packed, kind))


def test_layouts_have_names_of_their_own() -> None:
    assert NARROWERS["int4"](torch.ones(1, 64)).layout == INT4
    assert {NARROWERS[name](torch.ones(1, 64)).layout for name in ("bf16", "fp8", "int8")} == {PLAIN}
