"""The file that a training leaves: every key has a place, ours and Diffusers' networks give the trained velocity."""

import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanPipeline
from tests.engine.lora_cases import CONFIG, merged_by_hand, random_dit, run, run_twin, twin

from filmgate.engine.checkpoints.lora import cover, read_lora
from filmgate.engine.checkpoints.lora_inspection import inspect_lora
from filmgate.engine.checkpoints.lora_tensors import load_deltas
from filmgate.engine.models.dit_shapes import tensor_shapes
from filmgate.engine.runtime.lora import apply_lora
from filmgate.training.lora.adapter import Adapter
from filmgate.training.lora.export import key_of, write_lora
from filmgate.training.lora.targets import choose_layers

SHAPES = tensor_shapes(CONFIG)
RANK, ALPHA = 4, 6.0
NAMES = {"comfyui": "ComfyUI", "kohya": "kohya", "diffusers": "Diffusers"}

COMFYUI = {
    "blocks.0.self_attn.q": "diffusion_model.blocks.0.self_attn.q",
    "blocks.11.cross_attn.k_img": "diffusion_model.blocks.11.cross_attn.k_img",
    "blocks.3.ffn.2": "diffusion_model.blocks.3.ffn.2",
    "text_embedding.0": "diffusion_model.text_embedding.0",
    "head.head": "diffusion_model.head.head",
}
"""As the files of LightX2V and of ComfyUI's own loader have them."""
KOHYA = {
    "blocks.0.self_attn.q": "lora_unet_blocks_0_self_attn_q",
    "blocks.11.cross_attn.k_img": "lora_unet_blocks_11_cross_attn_k_img",
    "blocks.3.ffn.2": "lora_unet_blocks_3_ffn_2",
    "text_embedding.0": "lora_unet_text_embedding_0",
    "head.head": "lora_unet_head_head",
}
DIFFUSERS = {
    "blocks.0.self_attn.o": "transformer.blocks.0.attn1.to_out.0",
    "blocks.11.cross_attn.k_img": "transformer.blocks.11.attn2.add_k_proj",
    "blocks.3.ffn.0": "transformer.blocks.3.ffn.net.0.proj",
    "text_embedding.0": "transformer.condition_embedder.text_embedder.linear_1",
    "head.head": "transformer.proj_out",
}


@pytest.mark.parametrize(
    ("dialect", "layer", "key"),
    [
        (d, *pair)
        for d, table in (("comfyui", COMFYUI), ("kohya", KOHYA), ("diffusers", DIFFUSERS))
        for pair in table.items()
    ],
)
def test_keys_are_those_of_the_table(dialect, layer, key):
    assert key_of(layer, dialect) == key


def trained(targets):
    """A network with its factors beside it, as training leaves it."""
    network = random_dit()
    adapter = Adapter(choose_layers(SHAPES, targets), RANK, ALPHA / RANK, seed=1)
    generator = torch.Generator().manual_seed(2)
    for up in adapter.up:
        up.data.copy_(torch.randn(up.shape, generator=generator) * 0.2)
    adapter.attach(network)
    return network, adapter.factors()


def written(tmp_path, dialect, factors, dtype=torch.float32):
    path = tmp_path / "hero_high_noise.safetensors"
    write_lora(path, factors, rank=RANK, alpha=ALPHA, dialect=dialect, dtype=dtype, metadata={"expert": "high_noise"})
    return path


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("targets", [("all",), ("attention", "ffn")], ids="+".join)
def test_our_engine_has_a_place_for_every_key_and_gives_the_trained_velocity(dialect, targets, tmp_path):
    network, factors = trained(targets)
    lora = read_lora(written(tmp_path, dialect, factors))
    coverage = cover(lora.changes, SHAPES)
    assert (coverage.rest, lora.unknown, len(coverage.matched)) == ((), (), len(factors))
    assert {(c.rank, c.alpha) for c in lora.changes} == {(RANK, ALPHA)}
    for merge in (True, False):
        other = random_dit()
        apply_lora(other, load_deltas(lora, coverage.matched, 1.0), merge=merge)
        torch.testing.assert_close(run(other), run(network), atol=1e-5, rtol=1e-4)


PARTS = [("attention", "ffn"), ("self_attention",), ("blocks.1.*", "ffn"), ("all",)]


def pipeline(transformer, transformer_2=None):
    """A pipeline of Diffusers without the parts that a LoRA does not touch."""
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True)
    return WanPipeline(
        tokenizer=None, text_encoder=None, vae=None, scheduler=scheduler, transformer=transformer,
        transformer_2=transformer_2, boundary_ratio=0.875 if transformer_2 else None,
    )  # fmt: skip


# Diffusers reads kohya's names only where attention and feed-forward network are there whole.
@pytest.mark.parametrize(
    ("dialect", "targets"),
    [*(("diffusers", part) for part in PARTS), *(("comfyui", part) for part in PARTS[:3]), ("kohya", PARTS[0])],
)
def test_diffusers_loads_it_and_gives_the_same_velocity(dialect, targets, tmp_path):
    network, factors = trained(targets)
    other = twin(random_dit())
    pipeline(other).load_lora_weights(str(written(tmp_path, dialect, factors)))
    found = run_twin(other)
    torch.testing.assert_close(found, run(network), atol=1e-5, rtol=1e-4)
    assert (found - run(random_dit())).abs().max() > 0.05, "it does something"


@pytest.mark.parametrize("dialect", NAMES)
def test_diffusers_loads_the_second_file_into_the_second_transformer(dialect, tmp_path):
    network, factors = trained(PARTS[0])
    first, second = twin(random_dit()), twin(random_dit())
    path = str(written(tmp_path, dialect, factors))
    pipeline(first, second).load_lora_weights(path, adapter_name="low", load_into_transformer_2=True)
    torch.testing.assert_close(run_twin(second), run(network), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(run_twin(first), run(random_dit()), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dialect", NAMES)
def test_inspection_says_what_it_is(dialect, tmp_path):
    _, factors = trained(("attention",))
    facts = inspect_lora(written(tmp_path, dialect, factors, torch.bfloat16))
    assert facts.dialect == NAMES[dialect]
    assert (facts.ranks, facts.alphas) == ((RANK,), (ALPHA,))
    assert (facts.expert, facts.unknown) == ("high_noise", ())


def test_half_precision_is_rounded_once(tmp_path):
    network, factors = trained(("attention",))
    rounded = {name: tuple(f.bfloat16().float() for f in pair) for name, pair in factors.items()}
    lora = read_lora(written(tmp_path, "comfyui", factors, torch.bfloat16))
    other = random_dit()
    apply_lora(other, load_deltas(lora, lora.changes, 1.0))
    expected = run(merged_by_hand(random_dit(), rounded, ALPHA / RANK))
    torch.testing.assert_close(run(other), expected, atol=1e-5, rtol=1e-4)
    assert (run(other) - run(network)).abs().max() < 0.1
