"""Normalised and rotated queries and keys, against the operations that they are made of."""

import pytest
import torch
from tests.engine.pipeline.modes import DEVICES

from filmgate.engine.kernels.head_norm import norm_heads, norm_heads_reference
from filmgate.engine.kernels.norm import rms_norm
from filmgate.engine.kernels.rope import apply_rope, rope_table

GRID = (2, 3, 2)


def drawn(device, *shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).to(device, dtype)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("heads", [(4, 24), (3, 64), (40, 128)])
@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_its_parts(device, heads, rotated, dtype):
    dim = heads[0] * heads[1]
    x, weight = drawn(device, 2, 12, dim, dtype=dtype), 1 + 0.1 * drawn(device, dim)
    rope = rope_table(GRID, heads[1], device) if rotated else None
    found = norm_heads(x, weight, 1e-6, heads, rope)
    split = rms_norm(x, weight, 1e-6).unflatten(-1, heads)
    expected = (apply_rope(split, *rope) if rotated else split).to(dtype)
    bound = 2e-6 if dtype is torch.float32 else 0.008  # one rounding of bf16, where sums end beside one
    assert found.shape == (2, 12, *heads)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected.float(), atol=bound, rtol=bound)


@pytest.mark.parametrize("device", DEVICES)
def test_weights_in_half_precision_round_their_product(device):
    x, weight = (drawn(device, *shape, dtype=torch.bfloat16) for shape in ((1, 12, 96), (96,)))
    found = norm_heads(x, weight, 1e-6, (4, 24))
    expected = norm_heads_reference(x.cpu(), weight.cpu(), 1e-6, (4, 24))
    torch.testing.assert_close(found.cpu().float(), expected.float(), atol=0.008, rtol=0.008)


def test_shapes_alone():
    x = torch.empty(1, 12, 96, device="meta", dtype=torch.bfloat16)
    found = norm_heads(x, torch.empty(96, device="meta"), 1e-6, (4, 24))
    assert (found.shape, found.dtype) == ((1, 12, 4, 24), torch.bfloat16)
