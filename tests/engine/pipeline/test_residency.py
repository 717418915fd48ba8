"""Networks of a directory come when they are asked for, and the experts one at a time."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.engine.checkpoints import published
from tests.engine.pipeline.modes import planned_for
from tests.engine.wan_directory import SIDECAR, byte_tokenizer

from filmgate import Done, Filmgate
from filmgate.backends.local import LocalBackend
from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.engine.pipeline.residency import OnDemand
from filmgate.engine.pipeline.values import ColourMap
from filmgate.media.read import read_video
from filmgate.spec import DamagedFile, LoraChoice, Request, UnknownName

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


# --------------------------------------------------------------------------------------------- requests and takes


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
