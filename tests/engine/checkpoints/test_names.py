"""Key tables: every name of a library's network has an original name and the other way round, and both ways together
change nothing."""

import pytest
from diffusers import AutoencoderKLWan
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.checkpoints import published
from tests.engine.wan_directory import network

from filmgate.engine.checkpoints.names import (
    DIFFUSERS_DIT,
    HUGGING_FACE_CLIP,
    HUGGING_FACE_UMT5,
    LLAMA_CPP_UMT5,
    diffusers_vae,
    has_place,
)
from filmgate.engine.models.config import DitConfig, TextEncoderConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.vae import WanVae
from filmgate.engine.models.vae_config import VaeConfig


def assert_same_names(naming, ours, theirs):
    """A table maps one set of names onto the other, one to one."""
    forward = {name: naming.to_theirs(name) for name in ours}
    assert set(forward.values()) == set(theirs)
    assert len(set(forward.values())) == len(forward)
    assert {name: naming.to_ours(theirs) for name, theirs in forward.items()} == {name: name for name in forward}


@pytest.mark.parametrize("image", [False, True])
def test_transformers(image):
    theirs = published.diffusers_transformer(in_channels=36, image=image).state_dict()
    config = DitConfig(
        dim=32, ffn_dim=48, num_heads=2, num_layers=2, in_dim=36, text_dim=32, freq_dim=16,
        image_dim=24 if image else None,
    )  # fmt: skip
    assert_same_names(DIFFUSERS_DIT, network(WanDiT, config, 1).state_dict(), theirs)


def test_vace_transformers():
    theirs = published.diffusers_vace().state_dict()
    ours = [DIFFUSERS_DIT.to_ours(name) for name in theirs]
    assert None not in ours
    assert [DIFFUSERS_DIT.to_theirs(name) for name in ours] == list(theirs)
    assert {"vace_blocks.0.before_proj.weight", "vace_blocks.1.after_proj.bias", "vace_blocks.1.norm3.weight"} < {*ours}


def test_positions_of_first_and_last_frame():
    assert DIFFUSERS_DIT.to_theirs("img_emb.emb_pos") == "condition_embedder.image_embedder.pos_embed"


def test_normalisations_are_not_exchanged():
    assert DIFFUSERS_DIT.to_theirs("blocks.0.norm3.weight") == "blocks.0.norm2.weight"
    assert DIFFUSERS_DIT.to_ours("blocks.0.norm2.weight") == "blocks.0.norm3.weight"
    assert DIFFUSERS_DIT.to_ours("blocks.0.norm3.weight") is None
    assert DIFFUSERS_DIT.to_ours("scale_shift_table") == "head.modulation"
    assert DIFFUSERS_DIT.to_ours("blocks.3.scale_shift_table") == "blocks.3.modulation"


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize("newer", [False, True])
def test_autoencoders(blocks, levels, newer):
    # Two levels of the newer kind cannot differ in width: nothing would halve in between.
    mult, downsample = ((1, 1) if newer and levels == 2 else (1, 2, 4, 4)[:levels]), (False, True, True)[: levels - 1]
    options = (
        {"in_channels": 12, "out_channels": 12, "patch_size": 2, "is_residual": True, "decoder_base_dim": 8}
        if newer
        else {}
    )
    theirs = AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=list(mult), num_res_blocks=blocks, temperal_downsample=list(downsample),
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4, **options,
    )  # fmt: skip
    config = VaeConfig(
        dim=4, dim_mult=mult, num_res_blocks=blocks, z_dim=4, temporal_downsample=downsample,
        latents_mean=(0.0,) * 4, latents_std=(1.0,) * 4, decoder_dim=8 if newer else None, patch=2 if newer else 1,
        level_shortcuts=newer,
    )  # fmt: skip
    naming = diffusers_vae(blocks=blocks + 1, nested=newer)
    assert_same_names(naming, network(WanVae, config, 1).state_dict(), theirs.state_dict())


def test_text_encoders():
    ours = published.text_encoder().state_dict()
    theirs = {name for name in published.hugging_face_text_encoder().state_dict() if "embed_tokens" not in name}
    assert_same_names(HUGGING_FACE_UMT5, ours, theirs)
    assert HUGGING_FACE_UMT5.to_ours("encoder.embed_tokens.weight") == "token_embedding.weight"
    ggml = {LLAMA_CPP_UMT5.to_theirs(name) for name in ours}
    assert ggml == {
        "token_embd.weight", "enc.output_norm.weight",
        *(f"enc.blk.{i}.{part}.weight" for i in range(TextEncoderConfig(layers=2).layers) for part in (
            "attn_q", "attn_k", "attn_v", "attn_o", "attn_norm", "attn_rel_b", "ffn_gate", "ffn_up", "ffn_down",
            "ffn_norm")),
    }  # fmt: skip
    assert {LLAMA_CPP_UMT5.to_ours(name) for name in ggml} == set(ours)


def test_image_encoders_with_their_parts():
    theirs = {name.removeprefix("vision_model.") for name in published.hugging_face_clip().state_dict()}
    theirs = {name for name in theirs if "position_ids" not in name}
    ours = [HUGGING_FACE_CLIP.to_ours(name) for name in theirs]
    assert None not in ours
    assert {HUGGING_FACE_CLIP.to_theirs(name) for name in ours} == theirs
    assert "transformer.2.attn.to_qkv#1.weight" in ours


@given(
    st.sampled_from(["blocks.{}.self_attn.q", "blocks.{}.ffn.0", "head.head", "time_projection.1"]),
    st.integers(0, 10**6),
    st.sampled_from(["", ".weight", ".bias", ".scale_weight", ".lora_A.weight", ".comfy_quant"]),
)
def test_whatever_lies_in_a_module_follows_it(template, number, suffix):
    name = template.format(number)
    assert DIFFUSERS_DIT.to_theirs(name + suffix) == DIFFUSERS_DIT.to_theirs(name) + suffix
    assert DIFFUSERS_DIT.to_ours(DIFFUSERS_DIT.to_theirs(name + suffix)) == name + suffix


@given(st.text(max_size=30))
def test_other_names_are_not_renamed(name):
    for naming in (DIFFUSERS_DIT, HUGGING_FACE_UMT5, HUGGING_FACE_CLIP):
        renamed = naming.to_ours(name)
        assert renamed is None or naming.to_theirs(renamed) == name


SIZES = {"dim": 32, "ffn_dim": 48, "num_heads": 2, "num_layers": 2, "text_dim": 32, "freq_dim": 16}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"in_dim": 36, "image_dim": 24, "image_positions": 10},
        {"vace_layers": (0, 1)},
        {"in_dim": 36, "camera_scale": 8, "camera_blocks": 2},
    ],
    ids=["plain", "image", "VACE", "camera"],
)
def test_every_tensor_of_our_transformers_has_a_place_and_nothing_like_it_has(changes):
    names = list(network(WanDiT, DitConfig(**SIZES, **changes), 1).state_dict())
    assert [name for name in names if not has_place(name)] == []
    for name in names:
        for wrong in (f"x.{name}", f"{name}.x", f"{name}x", name.replace("blocks", "block"), name.replace(".", "_")):
            assert wrong in names or not has_place(wrong), wrong


@pytest.mark.parametrize(
    "name",
    ["", ".", "weight", "modulation", "blocks.0.weight", "blocks.0.ffn.1.weight", "blocks.x.ffn.0.weight",
     "blocks.0.ffn.0.lora_A.weight", "face_adapter.fuser_blocks.0.k_norm.weight", "ref_conv.weight"],
)  # fmt: skip
def test_what_belongs_to_other_models_has_no_place(name):
    assert not has_place(name)
