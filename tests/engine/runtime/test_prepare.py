"""Choices are put onto networks in one order, once; what cannot be is refused, and leaves the network alone."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest
import torch
from tests.engine.models.test_fused_block import arguments, network_of
from tests.engine.wan_directory import DIT

from filmgate.engine.kernels.attention import sdpa
from filmgate.engine.kernels.block_choice import ChoiceRule
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig
from filmgate.engine.pipeline.speed import AUTOENCODER, TRANSFORMER
from filmgate.engine.runtime.eight_bit_linear import EightBitLinear, EightBitRule
from filmgate.engine.runtime.light_attention import LightRule
from filmgate.engine.runtime.lora import Delta, apply_lora
from filmgate.engine.runtime.parallel import Group, Team
from filmgate.engine.runtime.prepare import Choices, NetworkKind, prepare
from filmgate.engine.runtime.stream import stream_blocks
from filmgate.spec import DeviceError, InvalidRequest, Layout

SIZE = replace(DIT, dim=64, ffn_dim=96, num_heads=2, num_layers=2)
LAYER = "blocks.1.ffn.0"
HALF = LightRule(choice=ChoiceRule(0.5, near=1), cell=(2, 2), block=8)
CPU = torch.device("cpu")
# A rank whose others are not there: nothing is sent while a network is prepared.
PAIR = Team(layout=Layout(sequence=2), everyone=Group((0, 1), 0, object()), heads=Group((0, 1), 0, object()))
STEPS = {
    "channels_last": Choices(channels_last=True), "attend": Choices(attend=sdpa), "light": Choices(light=HALF),
    "forward": Choices(forward=fused_block), "team": Choices(team=PAIR),
    "eight_bit": Choices(eight_bit=EightBitRule((LAYER,))),
}  # fmt: skip
"""Each step by itself, in order."""


@torch.no_grad()
def velocity(network):
    return network(**arguments(SIZE, "cpu"))


def transformer():
    return network_of(SIZE, "cpu")


def autoencoder():
    return WanVae(VaeConfig(dim=8, dim_mult=(1, 2, 2, 2), num_res_blocks=1)).requires_grad_(False)


def all_in_one(names):
    """The choices of several steps in one."""
    merged = Choices()
    for name in names:
        merged = replace(merged, **{name: getattr(STEPS[name], name)})
    return merged


def test_every_step_has_a_field():
    assert [field.name for field in fields(Choices)] == list(STEPS)


def test_choices_are_frozen_and_choose_nothing_by_default():
    network, plain = transformer(), transformer()
    before = {name: id(part) for name, part in network.named_modules()}
    made = prepare(network, Choices(), TRANSFORMER)
    assert (made.light, made.eight_bit) == (None, ())
    assert before == {name: id(part) for name, part in network.named_modules()}
    assert torch.equal(velocity(network), velocity(plain))
    with pytest.raises(FrozenInstanceError):
        Choices().attend = sdpa


def test_steps_are_taken_in_the_order_of_the_module():
    """Seen by what each finds there when it comes: a later step wraps what an earlier one put in place."""
    taken = []

    def dense(q, k, v, /):
        return sdpa(q, k, v)

    network = transformer()
    (first, *_) = network.text_blocks()

    def state(step):
        taken.append((
            step, network.patch_embedding.weight.is_contiguous(memory_format=torch.channels_last_3d),
            first.cross_attn.attend is dense, first.self_attn.attend is dense, "forward" in first.__dict__,
            isinstance(network.get_submodule(LAYER), EightBitLinear),
        ))  # fmt: skip

    watched = replace(
        TRANSFORMER, order_tokens=lambda *_: state("order"), divide=lambda *_: state("divide"),
        blocks=lambda network: state("blocks") or network.text_blocks(),
    )  # fmt: skip
    choices = replace(all_in_one(STEPS), attend=dense)
    made = prepare(network, choices, watched)
    state("end")
    assert taken == [
        ("order", True, True, True, False, False),
        ("blocks", True, True, False, False, False),
        ("divide", True, True, False, True, False),
        ("end", True, True, False, True, True),
    ]
    assert made.light.rule is HALF
    assert made.eight_bit == (network.get_submodule(LAYER),)


def test_steps_one_after_the_other_are_all_at_once():
    names = [name for name in STEPS if name != "team"]
    one, other = transformer(), transformer()
    for name in names:
        prepare(one, STEPS[name], TRANSFORMER)
    prepare(other, all_in_one(names), TRANSFORMER)
    found = velocity(one)
    assert torch.equal(found, velocity(other))
    assert not torch.equal(found, velocity(transformer()))


@pytest.mark.parametrize("later", list(STEPS)[1:])
def test_a_step_that_comes_too_late_is_refused(later):
    names = list(STEPS)
    for earlier in names[: names.index(later)]:
        network = transformer()
        prepare(network, STEPS[later], TRANSFORMER)
        layers = {name: id(part) for name, part in network.named_modules()}
        attends = [block.self_attn.attend for block in network.text_blocks()]
        with pytest.raises(InvalidRequest, match="must come before") as refused:
            prepare(network, STEPS[earlier], TRANSFORMER)
        assert refused.value.field == earlier
        assert layers == {name: id(part) for name, part in network.named_modules()}
        assert attends == [block.self_attn.attend for block in network.text_blocks()]


def test_what_may_still_come_is_said():
    network = transformer()
    prepare(network, STEPS["forward"], TRANSFORMER)
    with pytest.raises(InvalidRequest) as refused:
        prepare(network, STEPS["attend"], TRANSFORMER)
    assert refused.value.allowed == "team, eight_bit"
    prepare(network, STEPS["eight_bit"], TRANSFORMER)
    with pytest.raises(InvalidRequest) as refused:
        prepare(network, STEPS["team"], TRANSFORMER)
    assert refused.value.allowed == "nothing more: load it anew"


@pytest.mark.parametrize("name", STEPS)
def test_no_step_is_taken_twice(name):
    network = transformer()
    prepare(network, STEPS[name], TRANSFORMER)
    with pytest.raises(InvalidRequest, match="on it already") as refused:
        prepare(network, STEPS[name], TRANSFORMER)
    assert refused.value.field == name


def test_choices_with_one_step_too_late_take_none_of_the_others():
    network = transformer()
    prepare(network, STEPS["attend"], TRANSFORMER)
    with pytest.raises(InvalidRequest, match="layout of convolutions"):
        prepare(network, all_in_one(["channels_last", "forward"]), TRANSFORMER)
    assert "forward" not in network.text_blocks()[0].__dict__


@pytest.mark.parametrize(
    ("name", "what"), [("light", "self-attention"), ("forward", "blocks"), ("team", "ranks could divide")]
)
def test_a_network_of_which_nothing_is_known_takes_no_step_that_needs_it(name, what):
    network = autoencoder()
    with pytest.raises(InvalidRequest, match=what) as refused:
        prepare(network, all_in_one(["channels_last", name]))
    assert refused.value.field == name
    assert network.conv2.weight.is_contiguous(), "not even the step that it could take"
    prepare(network, Choices(channels_last=True))


def test_an_autoencoder_is_divided_and_has_no_blocks():
    prepare(autoencoder(), all_in_one(["channels_last", "team"]), AUTOENCODER)
    with pytest.raises(InvalidRequest, match="blocks"):
        prepare(autoencoder(), STEPS["forward"], AUTOENCODER)


def test_chosen_blocks_need_an_order_of_tokens_and_eight_bits_do_not():
    kind = NetworkKind(WanDiT.text_blocks, TRANSFORMER.self_attention)
    with pytest.raises(InvalidRequest, match="tokens that could be put in order"):
        prepare(transformer(), Choices(light=HALF), kind)
    assert prepare(transformer(), Choices(light=LightRule(eight_bit=True)), kind).light.narrow


def test_light_attention_does_not_go_round_in_a_ring():
    """The ring has an attention of its own: what were put around it would not be called."""
    ring = replace(PAIR, heads=Group(), ring=PAIR.heads)
    network = transformer()
    with pytest.raises(InvalidRequest, match="ring") as refused:
        prepare(network, Choices(light=HALF, team=ring), TRANSFORMER)
    assert refused.value.field == "light"
    prepare(network, Choices(light=HALF), TRANSFORMER)
    with pytest.raises(InvalidRequest, match="ring"):
        prepare(network, Choices(team=ring), TRANSFORMER)
    prepare(transformer(), Choices(team=ring), TRANSFORMER)


def test_layers_that_are_not_there_are_named():
    rule = EightBitRule((LAYER, "head.nothing", "blocks.9.ffn.0"))
    with pytest.raises(InvalidRequest, match=r"no layers blocks\.9\.ffn\.0, head\.nothing"):
        prepare(transformer(), Choices(eight_bit=rule), TRANSFORMER)


class Shelf:
    def __init__(self, tensors):
        self.tensors = tensors

    def copy_into(self, name, target):
        target.copy_(self.tensors[name])

    def copy_all(self, groups):
        for group in groups:
            for name, target in group:
                self.copy_into(name, target)


def test_streamed_weights_are_not_rounded():
    network = transformer()
    expected = velocity(network)
    stream = stream_blocks(network, Shelf({name: x.clone() for name, x in network.state_dict().items()}), CPU)
    with pytest.raises(InvalidRequest, match="streamed or sharded"):
        prepare(network, STEPS["eight_bit"], TRANSFORMER)
    prepare(network, STEPS["forward"], TRANSFORMER)
    torch.testing.assert_close(velocity(network), expected, atol=2e-5, rtol=2e-5)
    stream.close()


def test_a_missing_package_is_known_before_anything_is_put_on(monkeypatch):
    def check(width, dtype, device, *, eight_bit):
        assert (width, dtype, device, eight_bit) == (32, torch.float32, CPU, False)
        raise DeviceError("attention by blocks needs a package")

    monkeypatch.setattr("filmgate.engine.runtime.prepare.check_block_attention", check)
    network = transformer()
    with pytest.raises(DeviceError, match="needs a package"):
        prepare(network, all_in_one(["attend", "light", "forward"]), TRANSFORMER)
    assert "forward" not in network.text_blocks()[0].__dict__
    prepare(network, all_in_one(["attend", "forward"]), TRANSFORMER)


def change():
    """A LoRA of one layer."""
    return Delta(f"{LAYER}.weight", 1.0, up=torch.ones(SIZE.ffn_dim, 2) * 0.1, down=torch.ones(2, SIZE.dim) * 0.1)


def test_loras_come_before_eight_bits_and_after_all_else():
    early, late = transformer(), transformer()
    apply_lora(early, [change()], keep=False)
    prepare(early, all_in_one(["attend", "forward", "eight_bit"]), TRANSFORMER)
    prepare(late, all_in_one(["attend", "forward"]), TRANSFORMER)
    apply_lora(late, [change()], keep=False)
    prepare(late, STEPS["eight_bit"], TRANSFORMER)
    assert torch.equal(velocity(early), velocity(late))


@pytest.mark.parametrize("merge", [True, False])
def test_a_lora_that_comes_too_late_is_refused(merge):
    network = transformer()
    prepare(network, STEPS["eight_bit"], TRANSFORMER)
    before = velocity(network)
    with pytest.raises(InvalidRequest, match="in eight bits already") as refused:
        apply_lora(network, [replace(change(), target="blocks.0.ffn.0.weight"), change()], merge=merge)
    assert refused.value.field == "lora"
    assert torch.equal(velocity(network), before), "not even the layer that could"
