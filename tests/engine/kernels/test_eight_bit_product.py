"""Products in eight bits: what is rounded, and what that costs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filmgate.engine.kernels.eight_bit_product import (
    E4M3,
    E4M3_MAX,
    Rounded,
    eight_bit_product,
    eight_bit_product_reference,
    residual_norm_rounded,
    rounded_rows,
    rounded_rows_reference,
    rounded_weight,
)
from filmgate.engine.kernels.gelu import gelu_tanh
from filmgate.engine.kernels.residual_norm import Modulation, residual_norm


def relative(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(-20, 20), rows=st.integers(1, 5), columns=st.sampled_from([16, 33]))
def test_rows_of_any_size_keep_their_direction(scale, rows, columns):
    x = torch.randn(1, rows, columns, generator=torch.Generator().manual_seed(rows)) * 2.0**scale
    rounded = rounded_rows(x)
    assert rounded.numbers.dtype == E4M3
    assert relative(rounded.wide(), x) < 0.04
    assert float(rounded.numbers.float().abs().max()) == E4M3_MAX
    assert torch.isfinite(rounded.wide()).all()


def test_a_row_of_nothing_stays_nothing():
    assert torch.equal(rounded_rows(torch.zeros(1, 2, 16)).wide(), torch.zeros(1, 2, 16))


def test_heads_become_rows_and_gelu_comes_first():
    x = torch.randn(2, 3, 4, 8)
    assert torch.equal(rounded_rows(x, heads=True).wide(), rounded_rows(x.flatten(2)).wide())
    rows = x.flatten(2)
    assert torch.equal(rounded_rows(rows, gelu=True).wide(), rounded_rows(gelu_tanh(rows)).wide())


def test_behind_a_norm_the_rows_are_those_of_the_norm():
    x, update = torch.randn(2, 5, 32), torch.randn(2, 5, 32)
    modulation = Modulation(*torch.randn(3, 2, 32))
    summed, rounded = residual_norm_rounded(x, update, modulation, 1e-6)
    expected, normed = residual_norm(x, update, modulation, 1e-6, torch.float32)
    assert torch.equal(summed, expected)
    assert torch.equal(rounded.wide(), rounded_rows(normed).wide())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_that_of_the_rounded_factors(dtype):
    x, weight, bias = torch.randn(2, 7, 64), torch.randn(48, 64), torch.randn(48, dtype=dtype)
    rows, columns = rounded_rows(x), rounded_weight(weight)
    found = eight_bit_product(rows, columns, bias, dtype)
    exact = rows.wide().double() @ columns.wide().double().t() + bias.double()
    assert found.shape == (2, 7, 48)
    assert found.dtype == dtype
    assert relative(found, exact) < (1e-6 if dtype == torch.float32 else 4e-3)
    assert 0.02 < relative(found, x @ weight.t() + bias) < 0.05


def test_torch_means_the_same_by_its_scaled_product():
    rows, columns = rounded_rows(torch.randn(1, 32, 64)), rounded_weight(torch.randn(48, 64))
    flat = Rounded(rows.numbers[0], rows.scale[0])
    try:
        torchs = torch._scaled_mm(
            flat.numbers, columns.numbers.t(), scale_a=flat.scale, scale_b=columns.scale.t(), out_dtype=torch.float32
        )
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"this torch has no such product on a CPU: {error}")
    torch.testing.assert_close(torchs, eight_bit_product_reference(flat, columns, None, torch.float32))


@pytest.mark.gpu
@pytest.mark.parametrize("width", [5120, 1536, 144])
def test_the_kernels_are_their_references(width):
    draw = torch.Generator("cuda").manual_seed(0)
    x = torch.randn(2, 37, width, device="cuda", generator=draw)
    update = torch.randn(2, 37, width, device="cuda", generator=draw).bfloat16()
    modulation = Modulation(*torch.randn(3, 2, width, device="cuda", generator=draw))
    summed, rounded = residual_norm_rounded(x, update, modulation, 1e-6)
    plain, normed = residual_norm(x, update, modulation, 1e-6, torch.float32)
    assert relative(summed, plain) < 1e-6
    assert relative(rounded.wide(), normed) < 0.04
    expected = rounded_rows_reference(normed)
    assert float((rounded.numbers.float() != expected.numbers.float()).float().mean()) < 1e-3
    for options in ({}, {"gelu": True}):
        found, expected = rounded_rows(update, **options), rounded_rows_reference(update, **options)
        torch.testing.assert_close(found.scale, expected.scale)
        assert float((found.numbers.float() != expected.numbers.float()).float().mean()) < 2e-3
    heads = update.view(2, 37, -1, 16).transpose(1, 2).contiguous().transpose(1, 2)
    assert relative(rounded_rows(heads, heads=True).wide(), rounded_rows(update).wide()) < 1e-6
    weight = rounded_weight(torch.randn(64, width, device="cuda", generator=draw))
    rows = rounded_rows(update)
    found = eight_bit_product(rows, weight, None, torch.bfloat16)
    flat = Rounded(rows.numbers.flatten(0, 1), rows.scale.flatten(0, 1))
    exact = eight_bit_product_reference(flat, weight, None, torch.float32).view_as(found)
    assert relative(found, exact) < 6e-3
