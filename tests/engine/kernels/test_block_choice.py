"""The choice of blocks: budgets are kept, near ones always read, and data and place both count."""

import pytest
import torch
from tests.engine.kernels.block_cases import BLOCK, GRID, HEADS, LENGTH, local_qkv, random_qkv, relative

from filmgate.engine.kernels.attention import attention_reference
from filmgate.engine.kernels.block_attention import block_attention, blocks_of
from filmgate.engine.kernels.block_choice import ChoiceRule, Geometry, choose_blocks, head_counts, kept_best
from filmgate.engine.kernels.skipped_blocks import kept_mask
from filmgate.engine.kernels.token_order import block_places, token_order
from filmgate.spec import InvalidRequest

COUNT = blocks_of(LENGTH, BLOCK)


def geometry_of(rule):
    return Geometry.of(block_places(GRID, BLOCK, token_order(GRID, (3, 3))), rule)


def masks(kept):
    whole = torch.zeros(HEADS, COUNT, COUNT, dtype=torch.bool)
    for group in kept.groups:
        whole[slice(None) if group.heads is None else group.heads] = kept_mask(group.index, len(group.index))[0].bool()
    return whole


@pytest.mark.parametrize("per_head", [False, True])
@pytest.mark.parametrize("budget", [0.05, 0.3, 0.5, 0.9, 1.0])
def test_no_more_is_read_than_the_budget_allows(budget, per_head):
    q, k, _ = random_qkv()
    rule = ChoiceRule(budget, per_head=per_head)
    kept = choose_blocks(q * torch.tensor([0.1, 1.0, 4.0])[:, None], k, geometry_of(rule), rule, BLOCK)
    assert kept.part <= max(rule.near, round(budget * COUNT)) / COUNT + 1e-9
    assert kept.part > 0.6 * budget
    for group in kept.groups:
        assert group.index.dtype == torch.int32
        assert (group.index.diff(dim=-1) > 0).all(), "lists ascend, and have nothing twice"
        assert 0 <= int(group.index.min()) <= int(group.index.max()) < COUNT


def test_own_and_nearest_blocks_are_always_read():
    q, k, _ = random_qkv()
    rule = ChoiceRule(0.4, near=3)
    geometry = geometry_of(rule)
    assert (geometry.near.sum(-1) == 3).all()
    assert geometry.near.diagonal().all()
    assert masks(choose_blocks(q, k, geometry, rule, BLOCK))[:, geometry.near].all()


def test_the_place_alone_takes_what_is_nearest():
    q, k, _ = random_qkv()
    rule = ChoiceRule(0.5, pooled=0, radial=1, reach=(1.0, 1.0))
    geometry = geometry_of(rule)
    kept = masks(choose_blocks(q, k, geometry, rule, BLOCK))
    for row in range(COUNT):
        near, far = geometry.distance[row][kept[0, row]], geometry.distance[row][~kept[0, row]]
        assert near.max() <= far.min() + 1e-5


def test_the_data_find_what_is_far_away():
    """One block of keys that all queries look for is read by all, however far it is."""
    q, k, _ = random_qkv(batch=1)
    sought = torch.randn(HEADS, 16)
    q, k = q + 2 * sought, k.clone()
    k[:, :BLOCK] += 2 * sought
    rule = ChoiceRule(0.4)
    assert masks(choose_blocks(q, k, geometry_of(rule), rule, BLOCK))[:, :, 0].all()


@pytest.mark.parametrize("budget", [0.25, 0.5])
def test_blocks_chosen_by_data_lose_less_than_blocks_at_random(budget):
    q, k, v, _ = local_qkv()
    dense = attention_reference(q, k, v)
    rule = ChoiceRule(budget)
    chosen = choose_blocks(q, k, geometry_of(rule), rule, BLOCK)
    draw = torch.Generator().manual_seed(0)
    drawn = torch.rand(HEADS, COUNT, COUNT, generator=draw).masked_fill(torch.eye(COUNT, dtype=torch.bool), 2)
    chance = kept_best(drawn[None], [rule.count(COUNT)] * HEADS, BLOCK)
    errors = [relative(block_attention(q, k, v, kept, summary=False), dense) for kept in (chosen, chance)]
    assert errors[0] < 0.7 * errors[1]


def test_heads_that_spread_their_attention_read_more():
    weights = torch.zeros(4, 8, 8)
    weights[0] = 1 / 8
    weights[1:] = torch.eye(8)
    counts = head_counts(weights, 4, 1)
    assert counts[0] == 8
    assert sum(counts) <= 16
    assert head_counts(weights[1:], 4, 1) == [4, 4, 4]


def test_samples_choose_by_themselves():
    q, k, _ = random_qkv()
    rule = ChoiceRule(0.4)
    together = choose_blocks(q, k, geometry_of(rule), rule, BLOCK).groups[0].index
    apart = [
        choose_blocks(q[one], k[one], geometry_of(rule), rule, BLOCK).groups[0].index for one in (slice(1), slice(1, 2))
    ]
    assert torch.equal(together, torch.cat(apart))


@pytest.mark.parametrize("changes", [{"budget": 0.0}, {"budget": 1.2}, {"budget": 0.5, "near": 0}])
def test_rules_that_make_no_sense_are_refused(changes):
    with pytest.raises(InvalidRequest):
        ChoiceRule(**changes)
