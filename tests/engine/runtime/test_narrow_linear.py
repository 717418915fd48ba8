"""Layers whose weights stay in few bits compute as layers of their widened weights, and take LoRAs beside them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from filmgate.engine.kernels.narrow import NARROWERS, like, widened
from filmgate.engine.runtime.lora import Delta, apply_lora, has_side_branches
from filmgate.engine.runtime.narrow_linear import NarrowLinear, put_in_place, tensor_shapes


def module():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 16, bias=False)).requires_grad_(False)


@pytest.mark.parametrize("name", NARROWERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_computes_with_its_widened_weight(name, dtype):
    network = module().to(dtype)
    linear = network[0]
    narrow = NARROWERS[name](linear.weight)
    layer = put_in_place(network, "0", narrow, dtype)
    assert network[0] is layer
    x = torch.randn(3, 64)
    expected = F.linear(x.to(dtype), widened(narrow, dtype), linear.bias)
    assert torch.equal(layer(x), expected)
    assert torch.equal(layer.weight, widened(narrow, dtype))
    assert layer.weight.dtype == dtype


def test_a_layer_without_bias_stays_without():
    network = module()
    layer = put_in_place(network, "2", NARROWERS["int8"](network[2].weight), torch.float32)
    assert layer.bias is None
    assert set(layer.state_dict()) == {"numbers", "scale"}


@pytest.mark.parametrize("name", NARROWERS)
def test_shapes_are_known_before_there_are_numbers(name):
    narrow, empty = NARROWERS[name](torch.randn(6, 70)), like(name, 6, 70)
    assert empty.numbers.is_meta
    assert (empty.layout, empty.columns) == (narrow.layout, narrow.columns)
    assert (empty.numbers.shape, empty.numbers.dtype) == (narrow.numbers.shape, narrow.numbers.dtype)
    assert (empty.scale is None) == (narrow.scale is None)
    if narrow.scale is not None:
        assert (empty.scale.shape, empty.scale.dtype) == (narrow.scale.shape, narrow.scale.dtype)


def test_names_and_shapes_are_those_of_the_wide_module():
    network = module()
    wide = tensor_shapes(network)
    put_in_place(network, "2", NARROWERS["fp8"](network[2].weight), torch.float32)
    assert tensor_shapes(network) == wide


@pytest.mark.parametrize("name", NARROWERS)
def test_a_lora_goes_beside_and_is_taken_away(name):
    network = module()
    weight = network[0].weight.detach().clone()
    layer = put_in_place(network, "0", NARROWERS[name](weight), torch.float32)
    x = torch.randn(3, 64)
    up, down = torch.randn(32, 4), torch.randn(4, 64)
    plain = network(x)
    applied = apply_lora(network, [Delta("0.weight", 0.5, up=up, down=down)], keep=False)
    assert (applied.merged, applied.beside) == ([], ["0.weight"])
    assert has_side_branches(network)
    wide = F.linear(x, layer.weight + 0.5 * up @ down, layer.bias)
    torch.testing.assert_close(layer(x), wide, atol=1e-4, rtol=1e-4)
    assert not torch.equal(network(x), plain)


def test_the_lora_is_computed_in_the_layers_arithmetic():
    network = module().to(torch.bfloat16)
    put_in_place(network, "0", NARROWERS["int8"](network[0].weight), torch.float32)
    apply_lora(network, [Delta("0.weight", 1.0, up=torch.randn(32, 2), down=torch.randn(2, 64))])
    (branch,) = network[0]._forward_hooks.values()
    assert branch.up.dtype == torch.float32


def test_it_is_not_a_weight_that_can_be_added_to():
    network = module()
    put_in_place(network, "0", NARROWERS["fp8"](network[0].weight), torch.float32)
    assert isinstance(network[0], NarrowLinear)
    assert "0.weight" not in dict(network.named_parameters())
    with pytest.raises(AssertionError):
        put_in_place(network, "1", NARROWERS["fp8"](torch.ones(4, 4)), torch.float32)
