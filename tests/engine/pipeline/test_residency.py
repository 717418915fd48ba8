"""Networks of a directory come when they are asked for, and the experts one at a time."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.direction.models import CPU as CPU_DEVICE
from tests.engine.checkpoints import published
from tests.engine.wan_directory import SIDECAR, byte_tokenizer

from filmgate import Done, Filmgate
from filmgate.backends.local import LocalBackend
from filmgate.direction.planner import plan
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.lora_use import use_loras
from filmgate.engine.checkpoints.parts import read_parts
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.engine.pipeline.render import render
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.pipeline.values import ColourMap
from filmgate.media.read import read_video
from filmgate.spec import DamagedFile, LoraChoice, Request, ResidencyPlan, UnknownName

NAMES = ("text_encoder", "high_noise", "low_noise", "vae")


@pytest.fixture
def networks(wan_pair):
    return OnDemand(describe(wan_pair), torch.device("cpu"), "bf16")


def held(networks):
    return {name for name in NAMES if networks.holds(name)}


def test_nothing_is_loaded_before_it_is_asked_for(networks):
    assert held(networks) == set()
    first = networks.vae()
    assert held(networks) == {"vae"}
    assert networks.vae() is first
    networks.release("vae")
    networks.release("vae")
    assert held(networks) == set()


def test_an_expert_replaces_the_other(networks):
    high = networks.transformer("high_noise")
    networks.text_encoder()
    low = networks.transformer("low_noise")
    assert held(networks) == {"text_encoder", "low_noise"}
    assert not torch.equal(high.head.head.weight, low.head.head.weight)
    with pytest.raises(UnknownName, match="high_noise"):
        networks.transformer("dense")


def test_precision_is_that_of_the_large_layers(networks):
    expert = networks.transformer("low_noise")
    assert expert.blocks[0].ffn[0].weight.dtype == torch.bfloat16
    assert expert.head.head.weight.dtype == torch.float32
    assert networks.text_encoder().token_embedding.weight.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in networks.vae().parameters()} == {torch.float32}


def test_prompts_are_read_as_the_model_reads_them(networks, wan_pair):
    assert networks.tokenise("a red ball") == load_tokenizer(describe(wan_pair))("a red ball")
    assert len(networks.tokenise("a red ball " * 20)) == 12


def test_colours_are_those_of_the_model(networks, make_wan):
    assert networks.colours == ColourMap(((0.1, 0.0, -0.1),) * 16)
    plain = make_wan("plain", sidecar={key: SIDECAR[key] for key in ("id", "text_len")})
    assert OnDemand(describe(plain), torch.device("cpu"), "fp32").colours is None


def test_a_damaged_sidecar_is_named(make_wan):
    root = make_wan(sidecar=SIDECAR)
    model = describe(root)
    (root / "generation.json").write_text(json.dumps({**SIDECAR, "latent_rgb_factors": "grey"}))
    with pytest.raises(DamagedFile, match="latent_rgb_factors"):
        OnDemand(model, torch.device("cpu"), "fp32")


# ---------------------------------------------------------------------------------------------- where networks lie

MODES = {
    "resident": ResidencyPlan(mode="resident", text_encoder="device"),
    "one_expert": ResidencyPlan(),
    "streamed": ResidencyPlan(mode="streamed"),
    "streamed from the file": ResidencyPlan(mode="streamed", host="mapped"),
    "streamed, one kept": ResidencyPlan(mode="streamed", kept_blocks=1),
}


def opened(model, residency, precision="fp32", loras=()):
    return OnDemand(model, torch.device("cpu"), precision, loras, residency)


def frames_of(networks, planned):
    return np.concatenate([item for item in render(planned, networks) if isinstance(item, np.ndarray)])


def planned_for(model, **wish):
    loras = wish.pop("loras", ())
    request = Request(prompt="a red ball rolls", seed=3, **wish)
    return plan(request, model, CPU_DEVICE, load_tokenizer(model).count, loras=loras)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_mode_gives_the_same_frames_bit_by_bit(wan_pair, precision):
    model = describe(wan_pair)
    planned = planned_for(model, precision=precision)
    assert {step.expert for step in planned.steps} == {"high_noise", "low_noise"}
    frames = {name: frames_of(opened(model, mode, precision), planned) for name, mode in MODES.items()}
    for name, found in frames.items():
        assert np.array_equal(found, frames["resident"]), name


@pytest.mark.parametrize("weights", ["fp8", "int8", "int4"])
def test_every_mode_gives_the_same_frames_of_narrow_weights(wan_pair, weights):
    model = describe(wan_pair)
    planned = planned_for(model)
    frames = [
        frames_of(opened(model, mode.model_copy(update={"weights": weights})), planned) for mode in MODES.values()
    ]
    assert all(np.array_equal(found, frames[0]) for found in frames)
    assert not np.array_equal(frames[0], frames_of(opened(model, ResidencyPlan()), planned))


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


def test_loras_are_the_same_in_every_mode_and_on_and_off_again(wan_pair, tmp_path):
    model = describe(wan_pair)
    used = lora_of(model, tmp_path)
    x = torch.randn(1, 16, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    text = torch.randn(1, 5, 24, generator=torch.Generator().manual_seed(2))

    def velocity(networks, **options):
        with torch.no_grad():
            return networks.transformer("high_noise", **options)(x, torch.tensor([500.0]), text)

    for precision in ("fp32", "bf16"):
        plain = velocity(opened(model, ResidencyPlan(), precision))
        expected = velocity(opened(model, ResidencyPlan(), precision, used))
        assert not torch.equal(plain, expected)
        for name, mode in MODES.items():
            networks = opened(model, mode, precision, used)
            assert torch.equal(velocity(networks), expected), name
            assert torch.equal(velocity(networks, adapted=False), plain), name
            assert torch.equal(velocity(networks), expected), name


@pytest.mark.parametrize("mode", ["one_expert", "streamed"])
@pytest.mark.parametrize(("weights", "error"), [("fp8", 0.02), ("int8", 0.005), ("int4", 0.05)])
def test_loras_stand_beside_narrow_weights(wan_pair, tmp_path, weights, error, mode):
    """The LoRA itself loses nothing: with it the model is as far from the wide one as without."""
    model = describe(wan_pair)
    used = lora_of(model, tmp_path)
    residency = MODES[mode].model_copy(update={"weights": weights})
    narrow, wide = opened(model, residency, loras=used), opened(model, ResidencyPlan(), loras=used)
    draw = torch.Generator().manual_seed(4)
    x, text = torch.randn(1, 16, 2, 4, 4, generator=draw), torch.randn(1, 5, 24, generator=draw)
    with torch.no_grad():
        found, expected, plain = (
            networks.transformer("high_noise", **options)(x, torch.tensor([500.0]), text)
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


def test_a_request_reaches_the_networks(wan_pair, tmp_path):
    asked = {"resident": "resident", "one_expert": "one_expert", "streamed": "streamed"}
    takes = {}
    for memory in asked:
        planned = planned_for(describe(wan_pair), memory=memory)
        assert planned.residency.mode == memory
        (tmp_path / memory).mkdir()
        *_, last = LocalBackend(tmp_path / memory).render(planned)
        takes[memory] = last.take.frames_sha256
    assert len(set(takes.values())) == 1
    (tmp_path / "narrow").mkdir()
    *_, last = LocalBackend(tmp_path / "narrow").render(planned_for(describe(wan_pair), weights="int4"))
    assert last.take.frames_sha256 not in takes.values()
    assert last.take.plan.residency.weights == "int4"


# ------------------------------------------------------------------------------------------- from files to frames


def quantised_model(root, form):
    """A pair in ComfyUI's folders, both experts in fp8 with scales or in GGUF's blocks."""
    for seed, name in enumerate(("high_noise", "low_noise"), 1):
        state = published.transformer(published.DIT, seed).state_dict()
        path = root / "diffusion_models" / f"wan_t2v_{name}{'.safetensors' if form == 'fp8' else '.gguf'}"
        if form == "fp8":
            published.save_scaled(path, state, convention="scaled_fp8")
        else:
            published.save_gguf(path, state, form)
    published.save_single(root / "vae" / "wan_2.1_vae.safetensors", published.vae().state_dict())
    published.save_single(root / "text_encoders" / "umt5_xxl.safetensors", published.text_encoder().state_dict())
    byte_tokenizer().save(str(root / "text_encoders" / "tokenizer.json"))
    return path


def quantised_lora(path):
    draw = torch.Generator().manual_seed(2)
    state = {
        f"diffusion_model.blocks.{block}.{layer}.lora_{name}.weight": 0.3 * torch.randn(*shape, generator=draw)
        for block in range(2)
        for layer in ("self_attn.v", "cross_attn.o")
        for name, shape in (("down", (4, 256)), ("up", (256, 4)))
    }
    save_file(state, path)
    return path


def made_by(wish, output):
    """Sum of the frames' bytes, and the frames."""
    filmgate = Filmgate()
    planned = filmgate.plan(wish)
    *_, last = filmgate.render(planned, output, overwrite=True)
    assert isinstance(last, Done), last
    return last.take.frames_sha256, read_video(output).frames.astype(np.float32)


@pytest.mark.parametrize("form", ["fp8", "Q8_0", "Q4_0"])
def test_quantised_files_stay_quantised_and_take_loras(tmp_path, form):
    model = quantised_model(tmp_path / "model", form)
    plain = Request(
        prompt="a red ball rolls", model=str(model), width=64, height=64, frames=5, steps=2, seed=1, device="cpu",
        precision="fp32", boundary=0.5, shift=1.0,
    )  # fmt: skip
    lora = plain.model_copy(update={"lora": (LoraChoice(path=str(quantised_lora(tmp_path / "l.safetensors"))),)})
    wide, wide_frames = made_by(plain, tmp_path / "a.mp4")
    for memory in ("one_expert", "streamed"):
        kept = {"weights": "as_stored", "memory": memory}
        assert made_by(plain.model_copy(update=kept), tmp_path / "b.mp4")[0] == wide, "bit by bit"
        _, beside = made_by(lora.model_copy(update=kept), tmp_path / "c.mp4")
        _, merged = made_by(lora, tmp_path / "d.mp4")
        # A sum taken apart: rounding only, while the LoRA itself shows.
        assert np.abs(beside - merged).mean() < 0.2
        assert np.abs(beside - wide_frames).mean() > 2
