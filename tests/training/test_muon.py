"""Muon: the update is nearly orthogonal, has Adam's size, and does not depend on how weights are batched."""

import pytest
import torch
from torch import nn

from filmgate.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 8), (8, 20), (20, 8)])
def test_singular_values_become_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_the_first_update_has_the_size_of_adams() -> None:
    weight = nn.Parameter(torch.zeros(64, 64))
    weight.grad = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)) * 1e-3
    Muon([weight], lr=1.0).step()
    assert weight.detach().pow(2).mean().sqrt().item() == pytest.approx(0.2, rel=0.15)


def test_batching_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    start = [torch.randn(6, 4, 3, 3, generator=generator), torch.randn(6, 36, generator=generator)]
    gradients = [torch.randn(t.shape, generator=generator) for t in start]

    def after(groups: list[list[int]]) -> list[torch.Tensor]:
        weights = [nn.Parameter(t.clone()) for t in start]
        optimisers = [Muon([weights[i] for i in group], lr=0.1, weight_decay=0.1) for group in groups]
        for _ in range(3):
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient.clone()
            for optimiser in optimisers:
                optimiser.step()
        return [w.detach() for w in weights]

    for together, alone in zip(after([[0, 1]]), after([[0], [1]]), strict=True):
        assert torch.allclose(together, alone, atol=1e-2)
        assert not torch.equal(together, torch.zeros_like(together))


def test_weights_without_gradient_stay() -> None:
    weight = nn.Parameter(torch.ones(4, 4))
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(weight.detach(), torch.ones(4, 4))
