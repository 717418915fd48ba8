"""Attention: the fast form against the written-out one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filmgate.engine.kernels.attention import attention_reference, sdpa


@settings(max_examples=20, deadline=None)
@given(
    batch=st.integers(1, 2),
    queries=st.integers(1, 9),
    keys=st.integers(1, 9),
    heads=st.integers(1, 3),
    width=st.sampled_from([8, 12, 32]),
    scale=st.sampled_from([None, 1.0, 0.3]),
    biased=st.booleans(),
)
def test_sdpa_equals_the_written_out_softmax(
    batch: int, queries: int, keys: int, heads: int, width: int, scale: float | None, biased: bool
) -> None:
    generator = torch.Generator().manual_seed(queries * 10 + keys)
    q = torch.randn(batch, queries, heads, width, generator=generator)
    k, v = torch.randn(2, batch, keys, heads, width, generator=generator)
    bias = torch.randn(1, heads, queries, keys, generator=generator) if biased else None
    found = sdpa(q, k, v, bias=bias, scale=scale)
    assert found.shape == q.shape
    torch.testing.assert_close(found, attention_reference(q, k, v, bias=bias, scale=scale), atol=2e-6, rtol=1e-5)


def test_a_single_key_returns_its_value() -> None:
    q, (k, v) = torch.randn(1, 5, 2, 8), torch.randn(2, 1, 1, 2, 8)
    torch.testing.assert_close(sdpa(q, k, v), v.expand(1, 5, 2, 8))


def test_the_default_scale_is_one_over_the_root_of_the_head_dimension() -> None:
    q, k, v = torch.randn(3, 1, 6, 2, 16)
    torch.testing.assert_close(sdpa(q, k, v), sdpa(q, k, v, scale=0.25))
    assert not torch.allclose(sdpa(q, k, v), sdpa(q, k, v, scale=1.0), atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_dtype_of_the_query_is_kept(dtype: torch.dtype) -> None:
    q, k, v = torch.randn(3, 1, 6, 2, 16, dtype=dtype)
    assert sdpa(q, k, v).dtype == dtype
