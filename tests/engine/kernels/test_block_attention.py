"""Attention by blocks against masked dense attention, and its summary of what is skipped."""

import pytest
import torch
from tests.engine.kernels.block_cases import BLOCK, HEADS, LENGTH, masked_attention, random_qkv, relative, some_blocks

from filmgate.engine.kernels.attention import attention_reference
from filmgate.engine.kernels.block_attention import (
    HeadGroup,
    KeptBlocks,
    all_blocks,
    block_attention,
    block_attention_reference,
    blocks_of,
    check_block_attention,
    installed_version,
    part_reference,
)
from filmgate.engine.kernels.eight_bit_attention import eight_bit_attention, eight_bit_attention_reference
from filmgate.engine.kernels.skipped_blocks import Tokens, pooled, with_skipped
from filmgate.spec import DeviceError, InvalidRequest

COUNT = blocks_of(LENGTH, BLOCK)
assert LENGTH % BLOCK, "the last block must be a shorter one"


def test_all_blocks_are_dense_attention():
    q, k, v = random_qkv()
    kept = all_blocks(LENGTH, HEADS, BLOCK)
    assert kept.part == 1
    torch.testing.assert_close(block_attention(q, k, v, kept), attention_reference(q, k, v), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
def test_some_blocks_are_masked_attention(batch):
    q, k, v = random_qkv()
    kept = some_blocks(COUNT, 4, batch=batch)
    found = block_attention(q, k, v, kept, summary=False)
    assert relative(found, masked_attention(q, k, v, kept)) < 1e-6


def test_heads_may_read_different_numbers_of_blocks():
    q, k, v = random_qkv()
    few, many = some_blocks(COUNT, 2, heads=1), some_blocks(COUNT, 6, heads=2)
    groups = [(few, [1]), (many, [0, 2])]
    kept = KeptBlocks(tuple(HeadGroup(torch.tensor(own), lists.groups[0].index) for lists, own in groups), BLOCK)
    assert kept.part == pytest.approx((2 + 6 + 6) / (3 * COUNT))
    assert relative(block_attention(q, k, v, kept, summary=False), masked_attention(q, k, v, kept)) < 1e-6


def test_the_sum_of_exponentials_is_that_of_the_blocks_that_are_read():
    q, k, v = random_qkv(batch=1)
    part = part_reference(q, k, v, some_blocks(COUNT, COUNT).groups[0].index, BLOCK)
    scores = torch.einsum("blnd,bsnd->blns", q, k) * q.shape[-1] ** -0.5
    torch.testing.assert_close(part.log_sum, scores.logsumexp(-1), atol=1e-5, rtol=1e-5)


def test_skipped_blocks_count_as_their_means():
    """Where the keys of a block are all alike, nothing is lost whatever is skipped."""
    q, k, v = random_qkv(batch=1)
    means = pooled(k, BLOCK).transpose(1, 2).repeat_interleave(BLOCK, 1)[:, :LENGTH]
    kept = some_blocks(COUNT, 3)
    dense = attention_reference(q, means, v)
    assert relative(block_attention(q, means, v, kept), dense) < 1e-6
    assert relative(block_attention(q, means, v, kept, summary=False), dense) > 0.1


def test_a_summary_is_nearer_to_dense_attention_than_none():
    q, k, v = random_qkv(batch=1)
    kept, dense = some_blocks(COUNT, 3), attention_reference(q, k, v)
    without = relative(block_attention(q, k, v, kept, summary=False), dense)
    assert relative(block_attention(q, k, v, kept), dense) < 0.8 * without


@pytest.mark.parametrize("attend", [block_attention, eight_bit_attention])
def test_on_shapes_alone_it_is_a_shape(attend):
    q = torch.empty(1, LENGTH, HEADS, 16, device="meta")
    assert attend(q, q, q, all_blocks(LENGTH, HEADS, BLOCK)).shape == q.shape


def test_what_cannot_run_says_why():
    check_block_attention(77, torch.float32, torch.device("cpu"))
    with pytest.raises(DeviceError, match="Hopper"):
        check_block_attention(128, torch.bfloat16, torch.device("mps"))


def test_a_gpu_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    place, kind = "filmgate.engine.kernels.block_attention.installed_version", torch.bfloat16
    for found, said in ((None, "not installed"), ("1.14.0", "too old: 1.14.0")):
        monkeypatch.setattr(place, lambda found=found: found)
        with pytest.raises(DeviceError, match=said):
            check_block_attention(128, kind, torch.device("cuda"))
    monkeypatch.setattr(place, lambda: "1.32.0")
    check_block_attention(128, kind, torch.device("cuda"))
    with pytest.raises(InvalidRequest, match="heads of 128"):
        check_block_attention(64, kind, torch.device("cuda"), eight_bit=True)


@pytest.mark.gpu
@pytest.mark.parametrize("length", [128 * 9, 128 * 9 + 48], ids=["whole", "ragged"])
@pytest.mark.parametrize("kept_count", [3, 9, 10])
@pytest.mark.parametrize("summary", [False, True])
def test_the_kernels_are_their_references(length, kept_count, summary):
    if installed_version() is None:
        pytest.skip("nvidia-cudnn-frontend is not installed")
    q, k, v = random_qkv(width=128, dtype=torch.bfloat16, device="cuda", length=length)
    blocks = blocks_of(length, 128)
    index = some_blocks(blocks, min(kept_count, blocks), device="cuda").groups[0].index
    kept = KeptBlocks((HeadGroup(None, index),), 128)
    for attend, reference, bound in (
        (block_attention, block_attention_reference, 6e-3),
        # Weights are rounded against another maximum, by which each may fall to another side.
        (eight_bit_attention, eight_bit_attention_reference, 4e-2),
    ):
        found = attend(q, k, v, kept, summary=summary)
        expected = reference(*(x.cpu().float() for x in (q, k, v)), KeptBlocks((HeadGroup(None, index.cpu()),), 128),
                             summary=summary)  # fmt: skip
        assert relative(found.cpu(), expected) < bound
        assert torch.equal(attend(q, k, v, kept, summary=summary), found)


@pytest.mark.gpu
def test_the_summary_kernel_is_its_reference():
    q, k, v = random_qkv(width=128, dtype=torch.bfloat16, device="cuda", length=128 * 5 + 17)
    index = some_blocks(6, 3, device="cuda").groups[0].index
    there, here = Tokens(q, k, v), Tokens(q.cpu(), k.cpu(), v.cpu())
    expected = with_skipped(part_reference(*here, index.cpu(), 128), here, index.cpu(), 128)
    found = with_skipped(part_reference(*there, index, 128), there, index, 128)
    assert relative(found.mixed.cpu(), expected.mixed) < 6e-3
    assert float((found.log_sum.cpu() - expected.log_sum).abs().max()) < 2e-2
