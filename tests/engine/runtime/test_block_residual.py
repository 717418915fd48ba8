"""What blocks add is noted or replaced while a body runs, and at no other time."""

import weakref

import pytest
import torch
from tests.engine.pipeline.networks import DIT

from filmgate.engine.models.dit import WanDiT
from filmgate.engine.runtime.block_residual import added, noted


@pytest.fixture
def network():
    torch.manual_seed(0)
    made = WanDiT(DIT).eval().requires_grad_(False)
    for parameter in made.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.15)
    return made


def velocity(network, texts=1):
    torch.manual_seed(1)
    x, context = torch.randn(1, 16, 2, 4, 6), torch.randn(texts, 5, DIT.text_dim)
    return network(x, torch.tensor([700.0]), text_cache=network.text_keys_values(context))


def test_what_was_noted_gives_the_same_velocity(network):
    seen = []
    plain = velocity(network, texts=2)
    with noted(network, seen.append):
        assert torch.equal(velocity(network, texts=2), plain)
    [residual] = seen
    assert residual.shape == (2, 2 * 2 * 3, DIT.dim)
    with added(network, lambda _texts: residual):
        torch.testing.assert_close(velocity(network, texts=2), plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(velocity(network, texts=2), plain)
    assert len(seen) == 1


def test_no_block_works_where_a_residual_is_added(network):
    calls = []
    network.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    with added(network, lambda texts: torch.zeros(len(texts[0][0][0]), 12, DIT.dim)):
        assert velocity(network, texts=2).shape[0] == 2
    assert not calls


def test_it_ends_with_an_error_too(network):
    plain = velocity(network)
    with pytest.raises(ZeroDivisionError), added(network, lambda _texts: 1 / 0):
        velocity(network)
    assert torch.equal(velocity(network), plain)
    assert "through_blocks" not in vars(network)


def test_nothing_keeps_a_network_alive():
    other = WanDiT(DIT)
    with noted(other, lambda _residual: None):
        pass
    gone = weakref.ref(other)
    del other
    assert gone() is None
