"""Guidance: the formula, and scales that cannot be confused."""

import pytest
import torch

from filmgate.engine.sampling.guidance import Guidance, guided
from filmgate.spec import InvalidRequest


def test_the_formula():
    conditional, unconditional = torch.tensor([3.0, -1.0]), torch.tensor([1.0, 1.0])
    assert guided(conditional, unconditional, 0.0).tolist() == [1.0, 1.0]
    assert guided(conditional, unconditional, 1.0).tolist() == [3.0, -1.0]
    assert guided(conditional, unconditional, 4.0).tolist() == [9.0, -7.0]


def test_it_is_arithmetic_on_anything():
    assert guided(3.0, 1.0, 2.0) == 5.0


def test_scales_have_names():
    guidance = Guidance(high=4.0, low=3.0)
    assert [guidance.scale(name) for name in ("high_noise", "low_noise", "dense")] == [4.0, 3.0, 3.0]
    with pytest.raises(TypeError):
        Guidance(3.0, 4.0)


@pytest.mark.parametrize("name", ["high", "low"])
@pytest.mark.parametrize("scale", [-0.5, float("nan"), float("inf")])
def test_a_scale_is_a_number_from_zero(name, scale):
    with pytest.raises(InvalidRequest, match=f"guidance_{name}: .* is not a scale. Allowed: 0 or more") as error:
        Guidance(**{"high": 1.0, "low": 1.0, name: scale})
    assert error.value.field == f"guidance_{name}"
