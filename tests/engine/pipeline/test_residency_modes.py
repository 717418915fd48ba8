"""Wherever networks lie, and however narrow their weights are: the same video, on every device."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.engine.pipeline.modes import DEVICES, MODES, frames_of, opened, planned_for

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.lora_use import use_loras
from filmgate.engine.checkpoints.parts import read_parts
from filmgate.spec import LoraChoice, ResidencyPlan

NAMES = ("text_encoder", "high_noise", "low_noise", "vae")


def held(networks):
    return {name for name in NAMES if networks.holds(name)}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("profile", ["plain", "exact"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_mode_gives_the_same_frames_bit_by_bit(wan_pair, precision, profile, device):
    model = describe(wan_pair)
    planned = planned_for(model, precision=precision)
    assert {step.expert for step in planned.steps} == {"high_noise", "low_noise"}
    options = {"device": device, "profile": profile}
    frames = {name: frames_of(opened(model, mode, precision, **options), planned) for name, mode in MODES.items()}
    for name, found in frames.items():
        assert np.array_equal(found, frames["resident"]), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("weights", ["fp8", "int8", "int4"])
def test_every_mode_gives_the_same_frames_of_narrow_weights(wan_pair, weights, device):
    model = describe(wan_pair)
    planned = planned_for(model)
    frames = [
        frames_of(opened(model, mode.model_copy(update={"weights": weights}), device=device), planned)
        for mode in MODES.values()
    ]
    assert all(np.array_equal(found, frames[0]) for found in frames)
    assert not np.array_equal(frames[0], frames_of(opened(model, ResidencyPlan(), device=device), planned))


def test_what_stays_and_what_goes(wan_pair):
    model = describe(wan_pair)
    planned = planned_for(model)
    left = {}
    for name, mode in MODES.items():
        networks = opened(model, mode)
        frames_of(networks, planned)
        left[name] = held(networks)
    assert left.pop("resident") == set(NAMES)
    assert set(map(frozenset, left.values())) == {frozenset()}


def test_experts_that_stay_are_loaded_once(wan_pair):
    networks = opened(describe(wan_pair), MODES["resident"])
    high = networks.transformer("high_noise")
    low = networks.transformer("low_noise")
    networks.release("high_noise")
    assert networks.transformer("high_noise") is high
    assert networks.transformer("low_noise") is low


def test_the_text_encoder_may_stay_alone(wan_pair):
    networks = opened(describe(wan_pair), ResidencyPlan(text_encoder="device"))
    encoder = networks.text_encoder()
    networks.vae()
    for name in NAMES:
        networks.release(name)
    assert held(networks) == {"text_encoder"}
    assert networks.text_encoder() is encoder


@pytest.mark.gpu
def test_an_encoder_on_the_cpu_serves_a_gpu(wan_pair):
    """Not bit by bit: the text is read by another processor."""
    model = describe(wan_pair)
    on_cpu, on_gpu = (
        opened(model, ResidencyPlan(text_encoder=place), device="cuda:0") for place in ("cpu", "device")
    )  # fmt: skip
    tokens, mask = torch.tensor([[5, 6, 1]]), torch.ones(1, 3)
    found = on_cpu.text_encoder()(tokens, mask)
    expected = on_gpu.text_encoder()(tokens.to("cuda:0"), mask.to("cuda:0"))
    assert found.device == expected.device
    assert torch.allclose(found, expected, atol=1e-5)
    assert {tensor.device.type for tensor in on_cpu.text_encoder().parameters()} == {"cpu"}
    assert len(frames_of(on_cpu, planned_for(model))) == len(frames_of(on_gpu, planned_for(model)))


def test_features_of_an_encoder_on_the_cpu_go_to_the_device(wan_pair):
    networks = opened(describe(wan_pair), ResidencyPlan(text_encoder="cpu", mode="streamed"))
    networks.device = torch.device("meta")
    features = networks.text_encoder()(torch.tensor([[5, 6, 1]]), torch.ones(1, 3))
    assert features.device.type == "meta"
    assert {tensor.device.type for tensor in networks.text_encoder().parameters()} == {"cpu"}
    networks.release("text_encoder")
    assert held(networks) == set()


def test_what_is_where_can_be_listed(wan_pair):
    networks = opened(describe(wan_pair), MODES["one_expert"])
    assert networks.holdings() == ()
    networks.text_encoder()
    expert = networks.transformer("high_noise")
    sizes = {item.name: (item.where, item.bytes) for item in networks.holdings()}
    assert set(sizes) == {"text_encoder", "high_noise"}
    assert sizes["high_noise"] == ("cpu", sum(tensor.nbytes for tensor in expert.parameters()))


def test_streamed_experts_are_less_on_the_device_and_the_rest_on_the_host(wan_pair):
    model = describe(wan_pair)
    networks = opened(model, MODES["streamed"])
    networks.transformer("high_noise")
    networks.transformer("low_noise")
    assert {(item.name, item.where) for item in networks.holdings()} == {("low_noise", "cpu"), ("low_noise", "host")}
    mapped = opened(model, MODES["streamed from the file"])
    mapped.transformer("high_noise")
    assert {(item.name, item.where) for item in mapped.holdings()} == {("high_noise", "cpu")}


@pytest.mark.parametrize("profile", ["plain", "exact"])
def test_loras_are_the_same_in_every_mode_and_on_and_off_again(wan_pair, tmp_path, profile):
    model = describe(wan_pair)
    used = lora_of(model, tmp_path)
    x = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    text = torch.randn(1, 5, 24, generator=torch.Generator().manual_seed(2))

    def velocity(networks, **options):
        with torch.no_grad():
            return networks.transformer("high_noise", **options)(x, torch.tensor([500.0]), text)

    for precision in ("fp32", "bf16"):
        plain = velocity(opened(model, ResidencyPlan(), precision, profile=profile))
        expected = velocity(opened(model, ResidencyPlan(), precision, used, profile=profile))
        assert not torch.equal(plain, expected)
        for name, mode in MODES.items():
            networks = opened(model, mode, precision, used, profile=profile)
            assert torch.equal(velocity(networks), expected), name
            assert torch.equal(velocity(networks, adapted=False), plain), name
            assert torch.equal(velocity(networks), expected), name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", ["one_expert", "streamed"])
@pytest.mark.parametrize(("weights", "error"), [("fp8", 0.02), ("int8", 0.005), ("int4", 0.05)])
def test_loras_stand_beside_narrow_weights(wan_pair, tmp_path, weights, error, mode, device):
    """The LoRA itself loses nothing: with it the model is as far from the wide one as without."""
    model = describe(wan_pair)
    used = lora_of(model, tmp_path)
    residency = MODES[mode].model_copy(update={"weights": weights})
    narrow, wide = (opened(model, place, loras=used, device=device) for place in (residency, ResidencyPlan()))
    draw = torch.Generator().manual_seed(4)
    x, text = torch.randn(1, 16, 2, 4, 4, generator=draw), torch.randn(1, 5, 24, generator=draw)
    inputs = [tensor.to(device) for tensor in (x, torch.tensor([500.0]), text)]
    with torch.no_grad():
        found, expected, plain = (
            networks.transformer("high_noise", **options)(*inputs)
            for networks, options in ((narrow, {}), (wide, {}), (wide, {"adapted": False}))
        )
    assert float((found - expected).norm() / expected.norm()) < error
    assert float((plain - expected).norm() / expected.norm()) > 2 * error


def lora_of(model, folder):
    """A LoRA of the high-noise expert that changes weights, biases and norms."""
    draw = torch.Generator().manual_seed(9)
    state = {}
    for layer, (rows, columns) in {"self_attn.q": (32, 32), "cross_attn.o": (32, 32), "ffn.0": (48, 32)}.items():
        for block in range(2):
            key = f"diffusion_model.blocks.{block}.{layer}"
            state[f"{key}.lora_down.weight"] = torch.randn(3, columns, generator=draw)
            state[f"{key}.lora_up.weight"] = torch.randn(rows, 3, generator=draw)
    state["diffusion_model.blocks.1.ffn.2.diff_b"] = torch.randn(32, generator=draw)
    state["diffusion_model.head.head.diff_b"] = torch.randn(64, generator=draw)
    save_file(state, folder / "lora.safetensors")
    shapes = {name: read_parts(Path(model.path)).experts[name].shapes for name in ("high_noise", "low_noise")}
    return use_loras({"lora_high": [LoraChoice(path=str(folder / "lora.safetensors"))]}, shapes)
