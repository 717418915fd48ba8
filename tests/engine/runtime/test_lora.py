"""LoRA on a transformer: what Diffusers and PEFT compute with the same file, and what must hold of any."""

import copy

import peft
import pytest
import torch
from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.lora_cases import (
    ALPHA,
    CONFIG,
    MODULES,
    RANK,
    diffusers_metadata,
    draw,
    factors,
    merged_by_hand,
    random_dit,
    run,
    run_twin,
    state_in,
    theirs,
    twin,
    write,
)
from torch import nn

from filmgate.engine.checkpoints.lora import cover, read_lora
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.runtime.lora import Delta, apply_lora, has_side_branches
from filmgate.spec import InvalidRequest, MissingTensor, WrongShape

NETWORK = random_dit()
PAIRS = factors(NETWORK)
TOLERANCE = 1e-5


def copied(dtype=torch.float32):
    return copy.deepcopy(NETWORK).to(dtype)


def bits(network):
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def same(one, other):
    return all(torch.equal(one[name].view(torch.uint8), other[name].view(torch.uint8)) for name in other)


def deltas_of(path, strength=1.0):
    lora = read_lora(path)
    shapes = {name: tuple(parameter.shape) for name, parameter in NETWORK.named_parameters()}
    coverage = cover(lora.changes, shapes)
    assert coverage.rest == ()
    return load_deltas(lora, coverage.matched, strength)


def deltas(scale=1.0, pairs=PAIRS):
    return [Delta(f"{module}.weight", scale, up=up, down=down) for module, (down, up) in pairs.items()]


def diffusers_with(path, strength=1.0):
    """Diffusers' transformer with the file loaded by its own converters and by PEFT."""
    other = twin(NETWORK)
    state, metadata = WanLoraLoaderMixin.lora_state_dict(str(path), return_lora_metadata=True)
    WanLoraLoaderMixin.load_lora_into_transformer(state, other, adapter_name="one", metadata=metadata)
    other.set_adapters(["one"], [strength])
    return other


@pytest.mark.parametrize("dialect", ["kohya", "ComfyUI", "ComfyUI, A and B", "Diffusers"])
@pytest.mark.parametrize("merge", [True, False])
def test_the_output_is_that_of_diffusers_with_the_same_file(dialect, merge, tmp_path):
    state, scale = state_in(dialect, PAIRS)
    metadata = None
    if dialect == "Diffusers":
        config = peft.LoraConfig(r=RANK, lora_alpha=10, target_modules=["to_q", "to_k", "to_v", "to_out.0", "net.2"])
        fields = config.to_dict() | {"target_modules": sorted({name.split(".", 2)[2] for name in map(theirs, MODULES)})}
        metadata = diffusers_metadata(**fields)
    path = write(tmp_path / "lora.safetensors", state, metadata)
    network = copied()
    apply_lora(network, deltas_of(path, 0.8), merge=merge)
    other = run_twin(diffusers_with(path, 0.8))
    torch.testing.assert_close(run(network), other, atol=TOLERANCE, rtol=1e-4)
    assert (other - run(NETWORK)).abs().max() > 0.1, "the LoRA does something"
    expected = 10 / RANK if metadata else scale
    by_hand = merged_by_hand(NETWORK, PAIRS, expected * 0.8)
    torch.testing.assert_close(run(network), run(by_hand), atol=TOLERANCE, rtol=1e-4)


def test_biases_of_lightx2v_are_those_of_diffusers(tmp_path):
    state, _ = state_in("ComfyUI", PAIRS)
    state |= {f"diffusion_model.{m}.diff_b": draw(70 + i, PAIRS[m][1].shape[0]) for i, m in enumerate(MODULES)}
    path = write(tmp_path / "lora.safetensors", state)
    network = copied()
    apply_lora(network, deltas_of(path, 0.7))
    torch.testing.assert_close(run(network), run_twin(diffusers_with(path, 0.7)), atol=TOLERANCE, rtol=1e-4)


@pytest.mark.parametrize("rslora", [False, True])
def test_what_peft_saved_is_what_peft_computes(rslora, tmp_path):
    targets = "to_q|to_k|to_v|to_out.0|net.0.proj|net.2"
    config = peft.LoraConfig(
        r=3, lora_alpha=5, use_rslora=rslora, target_modules=rf".*\.({targets})", lora_bias=False,
        alpha_pattern={"blocks.1.attn2.to_v": 9},
    )  # fmt: skip
    model = peft.get_peft_model(twin(NETWORK), config)
    for index, (name, parameter) in enumerate(model.named_parameters()):
        if "lora_B" in name:
            parameter.data.copy_(draw(90 + index, *parameter.shape, scale=0.2))
    model.save_pretrained(tmp_path)
    network = copied()
    apply_lora(network, deltas_of(tmp_path))
    other = run_twin(model.eval())
    torch.testing.assert_close(run(network), other, atol=TOLERANCE, rtol=1e-4)
    assert (other - run(NETWORK)).abs().max() > 0.05
    assert read_lora(tmp_path).dialect == "PEFT"


@pytest.mark.parametrize("by", ["pipeline", "transformer"])
def test_what_diffusers_saved_is_what_diffusers_computes(tmp_path, by):
    other = twin(NETWORK)
    other.add_adapter(peft.LoraConfig(r=3, lora_alpha=7, target_modules=["to_q", "to_v", "net.2"]))
    for index, (name, parameter) in enumerate(other.named_parameters()):
        if "lora_B" in name:
            parameter.data.copy_(draw(90 + index, *parameter.shape, scale=0.2))
    if by == "transformer":
        other.save_lora_adapter(tmp_path)
    else:
        WanLoraLoaderMixin.save_lora_weights(
            tmp_path,
            {name.replace(".default", ""): p for name, p in other.named_parameters() if "lora_" in name},
            transformer_lora_adapter_metadata=other.peft_config["default"].to_dict(),
        )
    network = copied()
    apply_lora(network, deltas_of(tmp_path))
    torch.testing.assert_close(run(network), run_twin(other), atol=TOLERANCE, rtol=1e-4)
    assert {change.alpha for change in read_lora(tmp_path).changes} == {7.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_merged_weight_is_rounded_once(dtype):
    network = copied(dtype)
    before = bits(network)
    second = factors(NETWORK, seed=80)
    apply_lora(network, [*deltas(0.3), *deltas(-0.2, second)])
    for module in MODULES:
        name = f"{module}.weight"
        total = before[name].double()
        for scale, pairs in ((0.3, PAIRS), (-0.2, second)):
            down, up = pairs[module]
            total = total + scale * (up.double() @ down.double())
        found, exact = network.get_parameter(name).double(), total.to(dtype).double()
        step = torch.finfo(dtype).eps * total.abs().clamp_min(torch.finfo(dtype).tiny)
        assert ((found - total).abs() <= 0.51 * step + 1e-6).all(), "nearest, up to fp32's own rounding"
        assert (found == exact).float().mean() > (0.99 if dtype != torch.float32 else 0.3)


def test_an_update_below_half_a_bit_is_not_added_step_by_step():
    """Two halves of a change that would each round to nothing in bf16 are summed before they are rounded."""
    layer = nn.Sequential(nn.Linear(1, 1, bias=False)).bfloat16().requires_grad_(False)
    layer[0].weight.fill_(1.0)
    third = torch.finfo(torch.bfloat16).eps / 3
    apply_lora(layer, [Delta("0.weight", third, full=torch.ones(1, 1))] * 2)
    assert layer[0].weight.item() == 1.0 + torch.finfo(torch.bfloat16).eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("offload", [None, torch.device("cpu")])
def test_taking_it_away_gives_the_bits_back(dtype, merge, offload):
    network = copied(dtype)
    before, output = bits(network), run(network)
    everything = [*deltas(0.9), Delta("blocks.1.modulation", 0.5, full=draw(1, 1, 6, CONFIG.dim))]
    applied = apply_lora(network, everything, merge=merge, offload=offload)
    assert not torch.equal(run(network), output)
    assert len(applied.merged) + len(applied.beside) == len(everything)
    applied.remove()
    assert same(bits(network), before)
    assert torch.equal(run(network), output)
    applied.remove()
    assert same(bits(network), before)


def test_the_tensors_that_were_there_are_not_written_to():
    network = copied()
    held, values = dict(network.named_parameters())["blocks.0.ffn.0.weight"].data, bits(network)
    apply_lora(network, deltas())
    assert torch.equal(held, values["blocks.0.ffn.0.weight"])
    assert not torch.equal(network.blocks[0].ffn[0].weight, held)


@pytest.mark.parametrize("merge", [True, False])
def test_strength_zero_is_the_base_to_the_bit(merge):
    network = copied()
    network.blocks[0].ffn[0].weight[0, 0] = -0.0
    before = bits(network)
    applied = apply_lora(network, deltas(0.0), merge=merge)
    assert same(bits(network), before)
    assert (applied.merged, applied.beside) == ([], [])


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 2) | st.floats(-2, -0.05), st.integers(1, 3))
def test_merged_and_beside_are_the_same_to_rounding(strength, count):
    pairs = [factors(NETWORK, rank=2 + index, seed=60 + 1000 * index) for index in range(count)]
    several = [delta for one in pairs for delta in deltas(strength / count, one)]
    merged, beside = copied(), copied()
    apply_lora(merged, several)
    applied = apply_lora(beside, several, merge=False)
    assert set(applied.beside) == {f"{module}.weight" for module in MODULES}
    assert same(bits(beside), bits(NETWORK))
    torch.testing.assert_close(run(merged), run(beside), atol=5e-5, rtol=1e-4)


def test_the_order_of_several_does_not_matter_to_rounding():
    one, two = deltas(0.7), deltas(0.4, factors(NETWORK, seed=81))
    first, second = copied(), copied()
    apply_lora(first, [*one, *two])
    apply_lora(second, two)
    apply_lora(second, one)
    torch.testing.assert_close(run(first), run(second), atol=1e-5, rtol=1e-4)


class Eight(nn.Module):
    """A linear layer whose weight nobody can add to."""

    def __init__(self, weight):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.scale = weight.abs().max() / 448
        self.register_buffer("packed", (weight / self.scale).to(torch.float8_e4m3fn))

    def forward(self, x):
        return nn.functional.linear(x, self.packed.float() * self.scale)


def test_weights_that_cannot_be_added_to_keep_their_bits():
    weight, (down, up) = draw(1, 24, 40), (draw(2, 4, 40), draw(3, 24, 4))
    module = nn.Sequential(Eight(weight))
    x = draw(4, 5, 40)
    base = module(x)
    applied = apply_lora(module, [Delta("0.weight", 0.5, up=up, down=down)], dtype=torch.float32)
    torch.testing.assert_close(module(x), base + 0.5 * (x @ down.T) @ up.T, atol=1e-4, rtol=1e-4)
    assert (applied.merged, applied.beside) == ([], ["0.weight"])
    applied.remove()
    assert torch.equal(module(x), base)


def test_a_weight_cast_to_eight_bits_is_left_alone_too():
    module = nn.Sequential(nn.Linear(4, 4, bias=False)).requires_grad_(False)
    module[0].weight.data = module[0].weight.data.to(torch.float8_e4m3fn)
    applied = apply_lora(module, [Delta("0.weight", 1.0, full=torch.eye(4))])
    assert applied.beside == ["0.weight"]
    assert module[0].weight.dtype == torch.float8_e4m3fn


def test_a_convolution_is_merged_as_the_linear_layer_that_it_is():
    network = copied()
    down, up = draw(1, 3, 16, 1, 2, 2), draw(2, CONFIG.dim, 3, 1, 1, 1)
    apply_lora(network, [Delta("patch_embedding.weight", 0.5, up=up, down=down)], merge=False)
    conv = nn.functional.conv3d
    x = draw(3, 1, 16, 2, 4, 4)
    expected = conv(x, NETWORK.patch_embedding.weight, stride=(1, 2, 2)) + 0.5 * conv(
        conv(x, down, stride=(1, 2, 2)), up
    )
    torch.testing.assert_close(
        conv(x, network.patch_embedding.weight, stride=(1, 2, 2)), expected, atol=1e-5, rtol=1e-4
    )


def test_who_uses_a_weight_directly_can_know_of_what_is_beside():
    network = copied()
    assert not has_side_branches(network)
    applied = apply_lora(network, deltas(), merge=False)
    assert has_side_branches(network)
    applied.remove()
    assert not has_side_branches(network)


@pytest.mark.parametrize(
    ("delta", "error"),
    [
        (Delta("blocks.7.ffn.0.weight", 1.0, full=draw(1, 2, 2)), MissingTensor),
        (Delta("blocks.0.ffn.0.weight", 1.0, full=draw(1, 40, 23)), WrongShape),
        (Delta("blocks.0.ffn.0.weight", 1.0, up=draw(1, 40, 3), down=draw(1, 4, 24)), WrongShape),
        (Delta("blocks.0.ffn.0.weight", 1.0, up=draw(1, 24, 3), down=draw(1, 3, 40)), WrongShape),
        (Delta("blocks.0.ffn.0.bias", 1.0, up=draw(1, 40, 3), down=draw(1, 3, 1)), WrongShape),
    ],
)
def test_nothing_is_applied_if_one_change_does_not_fit(delta, error):
    network = copied()
    with pytest.raises(error):
        apply_lora(network, [*deltas(), delta])
    assert same(bits(network), bits(NETWORK))


@pytest.mark.parametrize("parts", [{}, {"up": draw(1, 2, 2)}, {"full": draw(1, 2, 2), "up": draw(1, 2, 2)}])
def test_a_delta_is_factors_or_a_difference(parts):
    with pytest.raises(InvalidRequest, match="up and down, or full"):
        Delta("x", 1.0, **parts)


def test_without_originals_there_is_no_way_back():
    network = copied()
    applied = apply_lora(network, deltas(), keep=False)
    with pytest.raises(InvalidRequest, match="were not kept"):
        applied.remove()


def test_the_scale_of_the_cases_is_not_one():
    assert ALPHA / RANK != 1
