"""Products in eight bits within networks, and within models on disk."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.engine.models.test_fused_block import arguments, network_of
from tests.engine.pipeline.modes import frames_of, planned_for
from tests.engine.wan_directory import DIT, SIDECAR, tiny_wan_directory

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.hashes import sha256_of
from filmgate.engine.kernels.narrow import to_fp8, to_int8
from filmgate.engine.models.eight_bit import GROUPS, eight_bit_layers, wide_blocks
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.pipeline.speed import TRANSFORMER, eight_bit_rule
from filmgate.engine.runtime.eight_bit_linear import EightBitLinear, EightBitRule, compute_in_eight_bits
from filmgate.engine.runtime.narrow_linear import put_in_place
from filmgate.engine.runtime.pace import begin_step
from filmgate.engine.runtime.prepare import Choices, prepare
from filmgate.spec import AccelerationPlan, AccelerationUse, EightBit, InvalidRequest, LoraUse, ResidencyPlan

SIZE = replace(DIT, dim=64, ffn_dim=96, num_heads=2, num_layers=4)
RESIDENT = ResidencyPlan(mode="resident")
CPU = torch.device("cpu")


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def in_eight_bits(**when):
    return Choices(eight_bit=eight_bit_rule(SIZE, [EightBit(**when)]))


@torch.no_grad()
def velocity(network):
    return network(**arguments(SIZE, "cpu"))


def test_the_model_says_which_layers_may():
    names = eight_bit_layers(SIZE)
    network = network_of(SIZE, "cpu")
    assert wide_blocks(SIZE) == (0, 3)
    assert {name.split(".")[1] for name in names} == {"1", "2"}
    assert all(isinstance(network.get_submodule(name), torch.nn.Linear) for name in names)
    assert len(eight_bit_layers(SIZE, all_blocks=True)) == 2 * len(names) == 4 * sum(map(len, GROUPS.values()))
    assert not [name for name in names if "cross_attn.k" in name or "cross_attn.v" in name]


@pytest.mark.parametrize("fused", [False, True])
def test_a_network_loses_a_few_per_cent(fused):
    network = network_of(SIZE, "cpu")
    plain = velocity(network)
    choices = replace(in_eight_bits(), forward=fused_block if fused else None)
    layers = prepare(network, choices, TRANSFORMER).eight_bit
    assert len(layers) == len(eight_bit_layers(SIZE))
    assert 1e-4 < relative(velocity(network), plain) < 0.05


def test_fused_and_plain_round_the_same_numbers():
    plain, fused = network_of(SIZE, "cpu"), network_of(SIZE, "cpu")
    prepare(plain, in_eight_bits(), TRANSFORMER)
    prepare(fused, replace(in_eight_bits(), forward=fused_block), TRANSFORMER)
    # The order of fp32 sums decides some roundings.
    assert relative(velocity(fused), velocity(plain)) < 2e-3


@pytest.mark.parametrize("group", GROUPS)
def test_groups_may_be_narrow_by_themselves(group):
    """Also within a fused block: where one reader of a row is wide, all get it wide."""
    network = network_of(SIZE, "cpu")
    plain = velocity(network)
    (name, *_) = eight_bit_layers(SIZE, [group])
    choices = Choices(forward=fused_block, eight_bit=EightBitRule((name,)))
    assert len(prepare(network, choices, TRANSFORMER).eight_bit) == 1
    assert 1e-6 < relative(velocity(network), plain) < 0.05


def test_steps_that_are_protected_are_wide():
    network = network_of(SIZE, "cpu")
    plain = velocity(network)
    prepare(network, in_eight_bits(protected=0.25, last=1), TRANSFORMER)
    wide = []
    for step in range(8):
        begin_step(network, step, 8)
        wide.append(torch.equal(velocity(network), plain))
    assert wide == [True, True, False, False, False, False, False, True]


def test_without_the_original_there_is_no_way_back():
    (layer,) = compute_in_eight_bits(network_of(SIZE, "cpu"), EightBitRule(("blocks.1.ffn.0",)))
    with pytest.raises(InvalidRequest, match="not kept"):
        layer.widen(True)


def test_weights_that_are_in_eight_bits_already_are_taken_as_they_are():
    network = network_of(SIZE, "cpu")
    weight = network.blocks[1].ffn[0].weight.detach()
    narrow = put_in_place(network, "blocks.1.ffn.0", to_fp8(weight), torch.float32)
    put_in_place(network, "blocks.2.ffn.0", to_int8(network.blocks[2].ffn[0].weight.detach()), torch.float32)
    made = compute_in_eight_bits(network, EightBitRule(("blocks.1.ffn.0", "blocks.2.ffn.0")))
    assert len(made) == 1, "int8 stays as it is"
    assert made[0].numbers is narrow.numbers
    assert torch.equal(made[0].weight, narrow.weight)


def test_layers_with_hooks_and_odd_sides_stay():
    network = network_of(SIZE, "cpu")
    network.blocks[1].ffn[0].register_forward_hook(lambda _module, _inputs, output: output)
    assert compute_in_eight_bits(network, EightBitRule(("blocks.1.ffn.0",))) == []
    odd = torch.nn.Sequential(torch.nn.Linear(24, 16))
    assert compute_in_eight_bits(odd, EightBitRule(("0",))) == []


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return describe(tiny_wan_directory(tmp_path_factory.mktemp("models") / "eight", dit=SIZE, sidecar=SIDECAR))


def recipe(*uses):
    return tuple(AccelerationUse(expert="high_noise", acceleration=use) for use in uses)


def narrow_layers(network):
    return sum(isinstance(part, EightBitLinear) for part in network.modules())


def test_an_expert_is_made_as_its_recipe_says_and_the_other_is_not(model):
    networks = OnDemand(model, CPU, "fp32", residency=RESIDENT, recipe=recipe(EightBit()))
    high, low = networks.transformer("high_noise"), networks.transformer("low_noise")
    assert narrow_layers(high) == len(eight_bit_layers(SIZE))
    assert narrow_layers(low) == 0
    assert networks.transformer("high_noise") is high
    assert narrow_layers(high) == len(eight_bit_layers(SIZE))


def test_streamed_weights_are_refused(model):
    with pytest.raises(InvalidRequest, match="streamed"):
        OnDemand(model, CPU, "fp32", residency=ResidencyPlan(mode="streamed"), recipe=recipe(EightBit()))
    OnDemand(model, CPU, "fp32", residency=ResidencyPlan(mode="streamed"), recipe=recipe(EightBit(linear=False)))


def test_loras_come_before_weights_are_rounded(model, tmp_path):
    """An expert that was asked for without its LoRA is loaded anew when it is wanted with it."""
    path = tmp_path / "one.safetensors"
    save_file({
        "blocks.1.ffn.0.lora_down.weight": torch.ones(2, SIZE.dim) * 0.1,
        "blocks.1.ffn.0.lora_up.weight": torch.ones(SIZE.ffn_dim, 2) * 0.1,
    }, path)  # fmt: skip
    use = LoraUse(path=str(path), sha256=sha256_of(path), expert="high_noise", strength=1.0)
    networks = OnDemand(model, CPU, "fp32", (use,), RESIDENT, recipe=recipe(EightBit()))
    bare = networks.transformer("high_noise", adapted=False)
    before = bare.blocks[1].ffn[0].weight.clone()
    adapted = networks.transformer("high_noise")
    assert adapted is not bare
    layer = adapted.blocks[1].ffn[0]
    assert isinstance(layer, EightBitLinear)
    torch.testing.assert_close(layer.weight - before, torch.full_like(before, 0.02), atol=0.03, rtol=0)
    assert float((layer.weight - before).mean()) == pytest.approx(0.02, rel=0.1)
    assert networks.transformer("high_noise") is adapted


def test_a_plan_with_a_recipe_is_carried_out_and_repeats(model):
    exact = planned_for(model, steps=4)
    uses = tuple(
        AccelerationUse(expert=name, acceleration=EightBit(protected=0.25)) for name in ("high_noise", "low_noise")
    )
    light = exact.model_copy(update={"acceleration": AccelerationPlan(profile="fast", recipe=uses)})
    assert light.fingerprint != exact.fingerprint
    before, after, again = (
        frames_of(OnDemand(model, CPU, "fp32", residency=RESIDENT, recipe=plan.acceleration.recipe), plan)
        for plan in (exact, light, light)
    )
    assert np.array_equal(after, again)
    assert not np.array_equal(before, after)
    assert np.abs(before.astype(int) - after).mean() < 8
