"""The order of tokens by cells: a permutation, without jumps, whose blocks are compact."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filmgate.engine.kernels.token_order import block_places, token_order
from filmgate.spec import InvalidRequest

SIZES = st.integers(1, 9)


def places_in(grid, order):
    axes = torch.meshgrid(*(torch.arange(length) for length in grid), indexing="ij")
    return torch.stack(axes, -1).view(-1, 3)[order.places]


@settings(max_examples=50, deadline=None)
@given(grid=st.tuples(SIZES, SIZES, SIZES), cell=st.tuples(SIZES, SIZES))
def test_every_token_comes_once_and_the_way_back_is_exact(grid, cell):
    order = token_order(grid, cell)
    tokens = torch.randn(grid[0] * grid[1] * grid[2], 2)
    assert torch.equal(order.places.sort().values, torch.arange(len(tokens)))
    assert torch.equal(tokens[order.places][order.back], tokens)


@settings(max_examples=50, deadline=None)
@given(grid=st.tuples(SIZES, SIZES, SIZES), cell=st.tuples(SIZES, SIZES))
def test_the_list_never_jumps_farther_than_across_two_cells(grid, cell):
    path = places_in(grid, token_order(grid, cell))
    steps = (path[1:] - path[:-1]).abs()
    tallest, widest = (side // max(1, round(side / wanted)) + 1 for side, wanted in zip(grid[1:], cell, strict=True))
    assert steps.numel() == 0 or steps[:, 0].max() <= 1
    assert steps.numel() == 0 or steps[:, 1].max() < 2 * tallest
    assert steps.numel() == 0 or steps[:, 2].max() < 2 * widest


@pytest.mark.parametrize("grid", [(21, 45, 80), (21, 30, 52), (31, 22, 40)], ids=str)
def test_blocks_of_true_sizes_are_compact(grid):
    """By cells the tokens of a block lie within a box of about four frames, not along a line."""

    def size(order):
        boxes = [places.amax(0) - places.amin(0) + 1 for places in places_in(grid, order).split(128)]
        return torch.stack(boxes).float().mean(0)

    frames, rows, columns = size(token_order(grid)).tolist()
    assert 3 < frames < 5
    assert rows < 9
    assert columns < 10
    by_frame = token_order(grid, (grid[1], grid[2]))
    assert size(by_frame)[2] > 0.9 * grid[2]


def test_a_cell_as_large_as_the_picture_is_the_order_frame_by_frame():
    assert torch.equal(token_order((3, 4, 5), (4, 5)).places, torch.arange(60))


def test_blocks_lie_at_the_mean_of_their_tokens():
    grid = (2, 3, 4)
    order = token_order(grid, (2, 2))
    places = places_in(grid, order).float()
    expected = torch.stack([part.mean(0) for part in places.split(5)])
    torch.testing.assert_close(block_places(grid, 5, order), expected)


def test_sizes_below_one_are_refused():
    with pytest.raises(InvalidRequest, match="at least 1"):
        token_order((2, 3, 4), (0, 2))
