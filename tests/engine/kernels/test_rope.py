"""Rotary embedding: the axes' shares, exact angles, and what a rotation must preserve."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filmgate.engine.kernels.rope import apply_rope, apply_rope_reference, axis_widths, rope_table


@pytest.mark.parametrize(("head_dim", "widths"), [(128, (44, 42, 42)), (64, (24, 20, 20)), (32, (12, 10, 10))])
def test_time_gets_what_height_and_width_leave(head_dim: int, widths: tuple[int, int, int]) -> None:
    assert axis_widths(head_dim) == widths


@settings(max_examples=30, deadline=None)
@given(data=st.data(), grid=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)))
def test_the_table_holds_the_defined_angle_of_each_token_and_pair(
    data: st.DataObject, grid: tuple[int, int, int]
) -> None:
    head_dim = data.draw(st.sampled_from([32, 64, 128]))
    position = tuple(data.draw(st.integers(0, length - 1)) for length in grid)
    axis = data.draw(st.integers(0, 2))
    widths = axis_widths(head_dim)
    j = data.draw(st.integers(0, widths[axis] // 2 - 1))
    angle = position[axis] * 10_000 ** (-2 * j / widths[axis])
    token = (position[0] * grid[1] + position[1]) * grid[2] + position[2]
    pair = sum(widths[:axis]) // 2 + j
    cos, sin = rope_table(grid, head_dim)
    assert cos.shape == sin.shape == (math.prod(grid), head_dim // 2)
    assert cos.dtype == torch.float32
    assert cos[token, pair].item() == pytest.approx(math.cos(angle), abs=1e-7)
    assert sin[token, pair].item() == pytest.approx(math.sin(angle), abs=1e-7)


def test_late_positions_keep_full_precision() -> None:
    cos, _ = rope_table((1024, 1, 1), 128)
    assert cos[1023, 1].item() == pytest.approx(math.cos(1023 * 10_000 ** (-2 / 44)), abs=1e-7)


def test_neighbouring_elements_form_a_pair() -> None:
    x = torch.arange(8.0).view(1, 1, 1, 8)
    angles = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    found = apply_rope(x, angles.cos(), angles.sin())[0, 0, 0]
    for pair in range(4):
        a, b, angle = 2.0 * pair, 2.0 * pair + 1, angles[0, pair].item()
        assert found[2 * pair].item() == pytest.approx(a * math.cos(angle) - b * math.sin(angle), abs=1e-6)
        assert found[2 * pair + 1].item() == pytest.approx(a * math.sin(angle) + b * math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_complex_form_equals_the_real_form_and_returns_fp32(dtype: torch.dtype) -> None:
    x = torch.randn(2, 24, 3, 32, dtype=dtype)
    table = rope_table((2, 3, 4), 32)
    found = apply_rope(x, *table)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, apply_rope_reference(x, *table), atol=1e-6, rtol=0)


def test_an_input_that_is_not_contiguous_is_accepted() -> None:
    x = torch.randn(1, 4, 12, 33)[..., 1:].transpose(1, 2)
    table = rope_table((1, 3, 4), 32)
    torch.testing.assert_close(apply_rope(x, *table), apply_rope_reference(x, *table), atol=1e-6, rtol=0)


def test_scores_depend_only_on_how_far_apart_two_tokens_are() -> None:
    q, k = torch.randn(2, 1, 1, 1, 64)
    grid = (4, 5, 6)
    cos, sin = rope_table(grid, 64)
    turned_q, turned_k = (apply_rope(x.expand(1, cos.shape[0], 1, 64), cos, sin)[0, :, 0] for x in (q, k))
    scores = (turned_q @ turned_k.T).view(*grid, *grid)
    torch.testing.assert_close(scores[0, 1, 2, 1, 3, 3], scores[2, 2, 4, 3, 4, 5], atol=2e-5, rtol=1e-5)
    assert abs(scores[0, 1, 2, 1, 3, 3] - scores[0, 1, 2, 1, 3, 4]) > 1e-4
    torch.testing.assert_close(turned_q.norm(dim=-1), q.norm().expand(turned_q.shape[0]))
