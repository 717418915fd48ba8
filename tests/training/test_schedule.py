"""Training schedules, averages and the Muon optimiser."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from filmgate.spec.errors import InvalidRequest
from filmgate.training.averaging import Average
from filmgate.training.muon import Muon, orthogonalise
from filmgate.training.schedule import Clock, Session


@pytest.mark.parametrize(
    "sitting", [(0, 0, 1), (-3, 0, 1), (10, 0.9, 0.2), (10, -0.1, 1), (10, 0, 1.5), (10, 0.5, 0.5)]
)
def test_what_is_no_sitting_is_refused(sitting: tuple[float, float, float]) -> None:
    with pytest.raises(InvalidRequest, match=r"no time|no part of a schedule"):
        Session(*sitting)


def test_rate_warms_up_holds_and_falls() -> None:
    session = Session(10, decay=0.5, floor=0.02, warm_up_steps=10)
    assert session.rate(0.0, 0) == pytest.approx(0.1)
    assert session.rate(0.4, 100) == 1.0
    assert session.rate(0.75, 100) == pytest.approx(0.5)
    assert session.rate(1.0, 100) == pytest.approx(0.02)


@given(st.floats(0, 1), st.integers(0, 10_000))
def test_rate_is_a_share(progress: float, step: int) -> None:
    assert 0 < Session(1).rate(progress, step) <= 1


def test_clock_moves_through_its_part_of_the_whole() -> None:
    clock = Clock(Session(10, start=0.4, stop=0.8))
    clock.began -= 5
    assert clock.progress == pytest.approx(0.6, abs=0.01)
    clock.forgive(5)
    assert clock.progress == pytest.approx(0.4, abs=0.01)
    clock.began -= 11
    assert clock.finished
    assert clock.progress == pytest.approx(0.8)


def test_average_follows_slowly() -> None:
    layer = nn.Linear(2, 2)
    average = Average(layer, 0.9)
    start = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1
    for _ in range(200):
        average.update(layer)
    assert torch.allclose(average.state()["weight"], start + 1, atol=1e-3)


def test_orthogonalised_matrices_have_unit_singular_values() -> None:
    matrices = torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.min() > 0.5
    assert values.max() < 1.4


def test_muon_step_has_the_scale_of_adam() -> None:
    weight = nn.Parameter(torch.zeros(64, 32, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    Muon([weight], lr=1.0).step()
    assert 0.1 < weight.detach().square().mean().sqrt() < 0.4


def test_muon_descends() -> None:
    torch.manual_seed(0)
    target = torch.randn(8, 8)
    weight = nn.Parameter(torch.zeros(8, 8))
    optimiser = Muon([weight], lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (weight - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.3 * target.square().mean()
