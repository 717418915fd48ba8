"""Attention to parts of the keys, added up, is attention to all of them."""

import pytest
import torch

from filmgate.engine.kernels.attention import attention_reference
from filmgate.engine.kernels.partial_attention import attend_part, attend_part_reference, merged


@pytest.mark.parametrize("cuts", [(1,), (3, 4), (2, 5, 9)])
def test_parts_add_up(cuts):
    torch.manual_seed(1)
    # Scores of dozens, so that parts differ in weight by many orders of magnitude.
    q, k, v = torch.randn(2, 7, 3, 8) * 4, torch.randn(2, 11, 3, 8) * 4, torch.randn(2, 11, 3, 8)
    whole = None
    for keys, values in zip(k.tensor_split(cuts, 1), v.tensor_split(cuts, 1), strict=True):
        part = attend_part(q, keys, values)
        whole = part if whole is None else merged(whole, part)
    torch.testing.assert_close(whole.mixed, attention_reference(q, k, v), atol=2e-6, rtol=2e-6)


@pytest.mark.gpu
@pytest.mark.parametrize("length", [64, 100])
def test_the_gpus_kernel_is_the_reference(length):
    torch.manual_seed(1)
    q, k, v = (torch.randn(1, length, 4, 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    found, expected = attend_part(q, k, v), attend_part_reference(q.float(), k.float(), v.float())
    torch.testing.assert_close(found.log_sum, expected.log_sum, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.mixed.float(), expected.mixed, atol=1e-2, rtol=1e-2)
