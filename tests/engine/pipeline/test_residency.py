"""Networks of a directory come when they are asked for, and the experts one at a time."""

import json

import pytest
import torch
from tests.engine.wan_directory import SIDECAR

from filmgate.engine.checkpoints.describe import describe
from filmgate.engine.checkpoints.tokenizer import load_tokenizer
from filmgate.engine.pipeline.residency import OneAtATime
from filmgate.engine.pipeline.values import ColourMap
from filmgate.spec import DamagedFile, UnknownName

NAMES = ("text_encoder", "high_noise", "low_noise", "vae")


@pytest.fixture
def networks(wan_pair):
    return OneAtATime(describe(wan_pair), torch.device("cpu"), "bf16")


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
    assert OneAtATime(describe(plain), torch.device("cpu"), "fp32").colours is None


def test_a_damaged_sidecar_is_named(make_wan):
    root = make_wan(sidecar=SIDECAR)
    model = describe(root)
    (root / "generation.json").write_text(json.dumps({**SIDECAR, "latent_rgb_factors": "grey"}))
    with pytest.raises(DamagedFile, match="latent_rgb_factors"):
        OneAtATime(model, torch.device("cpu"), "fp32")
