"""A LoRA beside a frozen transformer: what it adds, what it learns, and that it leaves the network as it was."""

import copy

import pytest
import torch
from tests.engine.lora_cases import CONFIG, inputs, merged_by_hand, random_dit, run

from filmgate.engine.kernels.narrow import PLAIN, Narrow
from filmgate.engine.models.dit_shapes import tensor_shapes
from filmgate.engine.runtime.narrow_linear import put_in_place
from filmgate.training.lora.adapter import Adapter, arithmetic_of, recomputed
from filmgate.training.lora.targets import choose_layers

LAYERS = choose_layers(tensor_shapes(CONFIG), ("all",))
SCALE = 1.5


def adapter(network=None, *, filled=True, dropout=0.0, layers=LAYERS):
    made = Adapter(layers, 3, SCALE, dropout=dropout, seed=4)
    if filled:
        generator = torch.Generator().manual_seed(1)
        for up in made.up:
            up.data.copy_(torch.randn(up.shape, generator=generator) * 0.2)
    if network is not None:
        made.attach(network)
    return made


def test_at_first_it_changes_nothing_and_down_is_kaiming():
    network = random_dit()
    before = run(network)
    made = adapter(network, filled=False)
    assert torch.equal(run(network), before)
    for down, (_, columns) in zip(made.down, LAYERS.values(), strict=True):
        assert 0.5 * columns**-0.5 < down.abs().max() <= columns**-0.5
    again = Adapter(LAYERS, 3, SCALE, seed=4)
    assert all(torch.equal(a, b) for a, b in zip(made.down, again.down, strict=True))


def test_beside_is_merged():
    network = random_dit()
    made = adapter(network)
    expected = run(merged_by_hand(network, made.factors(), SCALE))
    torch.testing.assert_close(run(network), expected, atol=1e-5, rtol=1e-4)
    assert (expected - run(random_dit())).abs().max() > 0.1


def gradients(network, parameters):
    x, timestep, text = inputs()
    network(x, timestep, text).square().mean().backward()
    return [p.grad.clone() for p in parameters]


def test_its_gradients_are_those_of_the_merged_weights():
    network = random_dit()
    made = adapter(network)
    found = gradients(network, made.up)
    merged = merged_by_hand(network, made.factors(), SCALE)
    weights = [merged.get_parameter(f"{name}.weight").requires_grad_() for name in made.names]
    for up, weight, down in zip(found, gradients(merged, weights), made.down, strict=True):
        torch.testing.assert_close(up, SCALE * weight @ down.T, atol=1e-5, rtol=1e-3)
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_blocks_that_are_computed_again_give_the_same_gradients(dropout):
    network = random_dit()
    made = adapter(network, dropout=dropout)
    torch.manual_seed(3)
    kept = gradients(network, [*made.up, *made.down])
    made.zero_grad()
    with recomputed(network):
        torch.manual_seed(3)
        again = gradients(network, [*made.up, *made.down])
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))
    assert "forward" not in vars(network.blocks[0])


def test_dropout_is_for_training_only():
    network = random_dit()
    made = adapter(network, dropout=0.5)
    torch.manual_seed(0)
    noisy = run(network)
    with made.using(None):
        quiet = run(network)
    assert not torch.allclose(noisy, quiet, atol=1e-3)
    torch.testing.assert_close(quiet, run(merged_by_hand(network, made.factors(), SCALE)), atol=1e-5, rtol=1e-4)


def test_other_factors_are_used_for_a_while():
    network = random_dit()
    base = run(network)
    made = adapter(network)
    mine = run(network)
    others = {name: value * 0.5 for name, value in made.named_parameters()}
    with made.using(others):
        assert not torch.allclose(run(network), mine, atol=1e-3)
    with made.using(None, enabled=False):
        assert torch.equal(run(network), base)
    assert torch.equal(run(network), mine)
    made.detach()
    assert torch.equal(run(network), base)


def test_weights_in_few_bits_stay_and_the_change_stands_beside():
    layers = {name: shape for name, shape in LAYERS.items() if name.endswith("ffn.0")}
    network = random_dit(dtype=torch.bfloat16)
    for name in layers:
        numbers = network.get_parameter(f"{name}.weight").to(torch.float8_e4m3fn)
        put_in_place(network, name, Narrow(PLAIN, numbers.shape[1], numbers, None), torch.bfloat16)
        assert arithmetic_of(network.get_submodule(name)) == torch.bfloat16
    base = run(network)
    made = adapter(network, layers=layers)
    assert (run(network) - base).abs().max() > 0.01
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in made.up if gradients(network, made.up))
    assert network.get_submodule(next(iter(layers))).numbers.dtype == torch.float8_e4m3fn


def test_a_network_in_bf16_keeps_its_residual_stream_in_fp32():
    network = copy.deepcopy(random_dit()).to(torch.bfloat16)
    seen = []
    network.blocks[0].register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    adapter(network)
    assert run(network).dtype == torch.float32
    assert seen == [torch.float32]
