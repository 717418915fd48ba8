"""Every published format of a network loads as the network: the same outputs as its original form, or as those of the
library that wrote it."""

import json
import shutil

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.engine.checkpoints import published
from tests.engine.checkpoints.published import DIT, TEXT
from tests.engine.wan_directory import VAE

from filmgate.engine.checkpoints.filling import load_into
from filmgate.engine.checkpoints.names import DIFFUSERS_DIT
from filmgate.engine.checkpoints.networks import networks_in, read_network
from filmgate.engine.checkpoints.parts import read_parts
from filmgate.engine.checkpoints.tensors import Tensors, build_empty
from filmgate.engine.checkpoints.weights import read_weights
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.spec import CheckpointError, DamagedFile, MissingTensor, WrongDtype, WrongShape, WrongVariant

CPU = torch.device("cpu")


def load(path, kind, build, config):
    network = build_empty(lambda: build(config))
    load_into(network, Tensors(read_network(path, kind).records), device=CPU, dtype=lambda _: torch.float32)
    return network


def load_dit(path, config=DIT):
    return load(path, "transformer", WanDiT, config)


@pytest.fixture(scope="module")
def original():
    return published.transformer()


def relative(found, expected):
    return float((found - expected).pow(2).mean().sqrt() / expected.pow(2).mean().sqrt())


# -------------------------------------------------------------------------------------------------------- transformers


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "diffusion_model.", "net."])
def test_single_files_are_the_network_bit_by_bit(original, tmp_path, prefix):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict(), prefix=prefix)
    assert torch.equal(published.velocity(load_dit(path)), published.velocity(original))


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [(torch.bfloat16, 4e-3), (torch.float16, 6e-4), (torch.float8_e4m3fn, 6e-3), (torch.float8_e5m2, 0.012)],
)
def test_casts_are_as_far_from_the_network_as_their_format(original, tmp_path, dtype, bound):
    path = published.save_single(tmp_path / "x.safetensors", original.state_dict(), dtype=dtype)
    error = relative(published.velocity(load_dit(path)), published.velocity(original))
    assert 0 < error < bound
    stored = load_file(path)
    assert all(torch.equal(value, stored[name].float()) for name, value in load_dit(path).state_dict().items())


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_patches_through_a_linear_layer_are_the_same(original, tmp_path, suffix):
    """TurboDiffusion's files have no convolution."""
    state = dict(original.state_dict())
    state["patch_embedding.weight"] = state["patch_embedding.weight"].flatten(1)
    path = tmp_path / f"x{suffix}"
    torch.save(state, path) if suffix == ".pth" else published.save_single(path, state)
    assert torch.equal(published.velocity(load_dit(path)), published.velocity(original))
    state["patch_embedding.weight"] = state["patch_embedding.weight"][:, :-1].contiguous()
    published.save_single(tmp_path / "y.safetensors", state)
    with pytest.raises(WrongShape, match=r"patch_embedding\.weight"):
        load_dit(tmp_path / "y.safetensors")


@pytest.mark.parametrize("convention", ["scaled_fp8", "comfy_quant", "lightx2v", "int8"])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_scaled_layers_are_multiplied_by_their_scales(original, tmp_path, convention, prefix):
    path = published.save_scaled(
        tmp_path / "x.safetensors", original.state_dict(), convention=convention, prefix=prefix
    )
    stored, loaded = load_file(path), load_dit(path)
    name = "blocks.1.ffn.2.weight"
    scale = "scale_weight" if convention == "scaled_fp8" else "weight_scale"
    expected = stored[prefix + name].float() * stored[f"{prefix}blocks.1.ffn.2.{scale}"]
    assert torch.equal(loaded.state_dict()[name], expected)
    bound = 0.004 if convention == "int8" else 0.007
    assert 0 < relative(published.velocity(loaded), published.velocity(original)) < bound
    network = read_network(path, "transformer")
    assert network.marked == (convention == "scaled_fp8")


def test_a_scaled_layer_without_its_scale_has_the_scale_one(original, tmp_path):
    path = published.save_scaled(tmp_path / "x.safetensors", original.state_dict(), convention="scaled_fp8")
    tensors = load_file(path)
    del tensors["blocks.0.self_attn.q.scale_weight"]
    save_file(tensors, path)
    name = "blocks.0.self_attn.q.weight"
    assert torch.equal(load_dit(path).state_dict()[name], tensors[name].float())


@pytest.mark.parametrize("stated", [{"format": "nvfp4"}, {"format": "int8_tensorwise", "convrot": True}])
@pytest.mark.parametrize("place", ["tensor", "metadata"])
def test_formats_that_a_scale_is_not_enough_for(original, tmp_path, stated, place):
    path = published.save_scaled(tmp_path / "x.safetensors", original.state_dict(), convention="comfy_quant")
    tensors, metadata = load_file(path), None
    if place == "tensor":
        text = json.dumps(stated).encode()
        tensors["blocks.0.ffn.0.comfy_quant"] = torch.tensor(list(text), dtype=torch.uint8)
    else:
        metadata = {"_quantization_metadata": json.dumps({"layers": {"blocks.0.ffn.0": stated}})}
    save_file(tensors, path, metadata)
    with pytest.raises(WrongDtype, match=r"blocks\.0\.ffn\.0"):
        read_network(path, "transformer")


def test_scales_that_do_not_fit(original, tmp_path):
    path = published.save_scaled(tmp_path / "x.safetensors", original.state_dict(), convention="lightx2v")
    tensors = load_file(path)
    save_file({**tensors, "blocks.0.ffn.0.weight_scale": torch.ones(3, 1)}, path)
    with pytest.raises(WrongShape, match=r"blocks\.0\.ffn\.0\.weight_scale.*\(3, 1\)"):
        read_network(path, "transformer")
    save_file({**tensors, "blocks.0.ffn.0.weight": tensors["blocks.0.ffn.0.weight"].float()}, path)
    with pytest.raises(WrongDtype, match="a scale for numbers that have none"):
        read_network(path, "transformer")
    del tensors["blocks.0.ffn.0.weight_scale"]
    save_file({**tensors, "blocks.0.ffn.0.weight": tensors["blocks.0.ffn.0.weight"].to(torch.int8)}, path)
    with pytest.raises(WrongDtype, match="int8"):
        load_dit(path)


GGUF_BOUNDS = {"F32": 0, "F16": 4e-5, "BF16": 3e-4, "Q8_0": 8e-4, "Q5_0": 6e-3, "Q4_0": 0.014, "Q4_1": 0.013}
"""Twice what was measured."""


@pytest.mark.parametrize("kind", GGUF_BOUNDS)
def test_gguf_files_are_as_far_from_the_network_as_their_format(original, tmp_path, kind):
    path = published.save_gguf(tmp_path / "x.gguf", original.state_dict(), kind)
    error = relative(published.velocity(load_dit(path)), published.velocity(original))
    assert (error > 0) == (kind != "F32")
    assert error <= GGUF_BOUNDS[kind]


@pytest.mark.parametrize("kind", ["Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q3_K", "Q2_K", "Q5_1"])
def test_gguf_blocks_are_what_the_library_reads(original, tmp_path, kind):
    path = published.save_gguf(tmp_path / "x.gguf", original.state_dict(), kind)
    loaded, compared = load_dit(path).state_dict(), 0
    for tensor in gguf.GGUFReader(path).tensors:
        expected = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(loaded[tensor.name].numpy().ravel(), expected.ravel()), tensor.name
        compared += tensor.tensor_type.name == kind
    assert compared == 20  # ten matrices in each of two blocks


def test_gguf_blocks_by_the_definition_of_the_format(tmp_path):
    """Q4_K by hand: 256 numbers are d·scale·q − dmin·min, with eight 6-bit scales and minima in 12 bytes."""
    kind = gguf.GGMLQuantizationType.Q4_K
    blocks = published.random_blocks((2, 256), kind, seed=3)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "wan")
    writer.add_tensor("w", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = Tensors(read_weights(tmp_path / "x.gguf"))["w"]
    for row, block in enumerate(blocks):
        d, dmin = (float(value) for value in block[:4].view(np.float16))
        packed, quants = [int(byte) for byte in block[4:16]], block[16:]
        for group in range(8):
            if group < 4:
                scale, low = packed[group] & 63, packed[group + 4] & 63
            else:
                scale = (packed[group + 4] & 15) | (packed[group - 4] >> 6 << 4)
                low = (packed[group + 4] >> 4) | (packed[group] >> 6 << 4)
            half = quants[group // 2 * 32 : group // 2 * 32 + 32]
            q = (half >> 4 if group % 2 else half & 15).astype(np.float64)
            expected = d * scale * q - dmin * low
            assert np.allclose(found[row, group * 32 : group * 32 + 32].numpy(), expected, atol=1e-6)


def test_a_gguf_tensor_of_many_blocks(tmp_path):
    """Large tensors are dequantised in parts."""
    kind = gguf.GGMLQuantizationType.Q8_0
    blocks = gguf.quants.quantize(np.random.default_rng(1).normal(size=(1100, 512)).astype(np.float32), kind)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "wan")
    writer.add_tensor("w", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = Tensors(read_weights(tmp_path / "x.gguf"))["w"]
    assert np.array_equal(found.numpy(), gguf.quants.dequantize(blocks, kind))


def test_a_gguf_tensor_that_was_reshaped_gets_its_shape_back(tmp_path):
    values = np.arange(512, dtype=np.float32).reshape(2, 256)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "wan")
    writer.add_array("comfy.gguf.orig_shape.w", [8, 4, 16])
    writer.add_tensor("w", gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0), raw_dtype=8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = Tensors(read_weights(tmp_path / "x.gguf"))["w"]
    assert found.shape == (8, 4, 16)
    assert np.allclose(found.numpy().ravel(), values.ravel(), atol=2)


@pytest.mark.parametrize("task", ["t2v", "i2v"])
def test_a_diffusers_transformer_gives_diffusers_velocities(tmp_path, task):
    theirs = published.diffusers_transformer(in_channels=36 if task == "i2v" else 16)
    theirs.save_pretrained(tmp_path / "transformer")
    path = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    config = read_dit_config(path)
    ours = load_dit(path, config)
    draw = torch.Generator().manual_seed(7)
    x, context = torch.randn(1, config.in_dim, 2, 4, 6, generator=draw), torch.randn(1, 512, 32, generator=draw)
    with torch.no_grad():
        expected = theirs(x, torch.tensor([437.0]), context, return_dict=False)[0]
        found = ours(x, torch.tensor([437.0]), context)
    assert float((found - expected).abs().max()) < 2e-5


def read_dit_config(path):
    from filmgate.engine.models.config import DitConfig

    return DitConfig.from_tensors(read_network(path, "transformer").records.shapes, num_heads=2)


def test_a_diffusers_vae_encodes_as_diffusers_does(tmp_path):
    for newer in (False, True):
        theirs = published.diffusers_vae(newer=newer)
        theirs.save_pretrained(tmp_path / str(newer))
        path = tmp_path / str(newer) / "diffusion_pytorch_model.safetensors"
        from filmgate.engine.models.vae_config import vae_config_from_shapes

        config = vae_config_from_shapes(read_network(path, "VAE").records.shapes)
        ours = load(path, "VAE", WanVae, config)
        video = torch.rand(1, 3, 5, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
        with torch.no_grad():
            expected = theirs.encode(video).latent_dist.mode()
            mean, std = (torch.tensor(v).view(1, -1, 1, 1, 1) for v in (config.latents_mean, config.latents_std))
            found = ours.encode(video) * std + mean
        assert expected.shape[1] == (48 if newer else 16)
        assert float((found - expected).abs().max()) < 1e-5


def test_a_hugging_face_text_encoder_gives_its_features(tmp_path):
    theirs = published.hugging_face_text_encoder()
    theirs.save_pretrained(tmp_path)
    from filmgate.engine.models.config import TextEncoderConfig

    shapes = read_network(tmp_path / "model.safetensors", "text encoder").records.shapes
    ours = load(tmp_path / "model.safetensors", "text encoder", Umt5Encoder, TextEncoderConfig.from_tensors(shapes))
    ids = torch.tensor([[5, 9, 200, 31, 1, 0, 0]])
    with torch.no_grad():
        expected = theirs(ids, attention_mask=ids.ne(0))[0]
        found = ours(ids, ids.ne(0))
    assert float((found - expected)[:, :5].abs().max()) < 1e-5


# ------------------------------------------------------------------------------------------------ spellings of the rest


def text_files(tmp_path):
    """The same text encoder in every spelling."""
    from filmgate.engine.checkpoints.names import HUGGING_FACE_UMT5, LLAMA_CPP_UMT5

    state = published.text_encoder().state_dict()
    theirs = {HUGGING_FACE_UMT5.to_theirs(name): tensor for name, tensor in state.items()}
    torch.save(state, tmp_path / "models_t5_umt5-xxl-enc-bf16.pth")
    published.save_single(tmp_path / "kijai.safetensors", state)
    published.save_single(tmp_path / "comfy.safetensors", theirs)
    extra = {
        "spiece_model": torch.zeros(9, dtype=torch.uint8),
        "encoder.embed_tokens.weight": theirs["shared.weight"].clone(),
    }
    published.save_single(tmp_path / "extras.safetensors", {**theirs, **extra})
    published.save_gguf(
        tmp_path / "llama.gguf", {LLAMA_CPP_UMT5.to_theirs(name): tensor for name, tensor in state.items()}, "F32"
    )
    return state, [
        "models_t5_umt5-xxl-enc-bf16.pth",
        "kijai.safetensors",
        "comfy.safetensors",
        "extras.safetensors",
        "llama.gguf",
    ]


def test_text_encoders_in_all_spellings_are_one(tmp_path):
    state, names = text_files(tmp_path)
    for name in names:
        loaded = load(tmp_path / name, "text encoder", Umt5Encoder, TEXT).state_dict()
        assert loaded.keys() == state.keys()
        assert all(torch.equal(loaded[key], state[key]) for key in state), name


def test_a_scaled_text_encoder(tmp_path):
    from filmgate.engine.checkpoints.names import HUGGING_FACE_UMT5

    state = published.text_encoder().state_dict()
    theirs = {HUGGING_FACE_UMT5.to_theirs(name): tensor for name, tensor in state.items()}
    path = published.save_scaled(tmp_path / "umt5_xxl_fp8_e4m3fn_scaled.safetensors", theirs, convention="scaled_fp8")
    loaded = load(path, "text encoder", Umt5Encoder, TEXT).state_dict()
    assert all(relative(loaded[name], tensor) < 0.04 for name, tensor in state.items())


def test_autoencoders_in_all_spellings_are_one(tmp_path):
    state = published.vae().state_dict()
    torch.save({"state_dict": state}, tmp_path / "Wan2.1_VAE.pth")
    published.save_single(tmp_path / "wan_2.1_vae.safetensors", state)
    published.save_single(tmp_path / "prefixed.safetensors", state, prefix="first_stage_model.")
    published.save_single(tmp_path / "kijai.safetensors", state, prefix="model.")
    for name in ("Wan2.1_VAE.pth", "wan_2.1_vae.safetensors", "prefixed.safetensors", "kijai.safetensors"):
        loaded = load(tmp_path / name, "VAE", WanVae, VAE).state_dict()
        assert all(torch.equal(loaded[key], state[key]) for key in state), name


def clip_state(tmp_path):
    """CLIP of transformers, and its tensors as the original calls them, written out by hand."""
    theirs = published.hugging_face_clip()
    theirs.save_pretrained(tmp_path / "clip")
    s = load_file(tmp_path / "clip" / "model.safetensors")
    ours = {
        "cls_embedding": s["embeddings.class_embedding"][None, None],
        "pos_embedding": s["embeddings.position_embedding.weight"][None],
        "patch_embedding.weight": s["embeddings.patch_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        ours |= {f"pre_norm.{kind}": s[f"pre_layrnorm.{kind}"], f"post_norm.{kind}": s[f"post_layernorm.{kind}"]}
        for i in range(3):
            there, here = f"encoder.layers.{i}", f"transformer.{i}"
            ours[f"{here}.attn.to_qkv.{kind}"] = torch.cat([s[f"{there}.self_attn.{x}_proj.{kind}"] for x in "qkv"])
            for mine, other in (
                ("norm1", "layer_norm1"), ("norm2", "layer_norm2"), ("attn.proj", "self_attn.out_proj"),
                ("mlp.0", "mlp.fc1"), ("mlp.2", "mlp.fc2"),
            ):  # fmt: skip
                ours[f"{here}.{mine}.{kind}"] = s[f"{there}.{other}.{kind}"]
    return s, ours


def test_image_encoders_in_all_spellings_are_one(tmp_path):
    theirs, ours = clip_state(tmp_path)
    original = {f"visual.{name}": tensor for name, tensor in ours.items()} | {"visual.head": torch.ones(24, 4)}
    torch.save({**original, "textual.x": torch.ones(2), "log_scale": torch.ones(())}, tmp_path / "models_clip_x.pth")
    published.save_single(tmp_path / "kijai.safetensors", original, dtype=None)
    comfy = {f"vision_model.{name}": tensor for name, tensor in theirs.items()}
    published.save_single(
        tmp_path / "clip_vision_h.safetensors", {**comfy, "visual_projection.weight": torch.ones(4, 24)}
    )
    for path in ("models_clip_x.pth", "kijai.safetensors", "clip_vision_h.safetensors", "clip/model.safetensors"):
        found = Tensors(read_network(tmp_path / path, "image encoder").records)
        assert set(found) == set(ours), path
        assert all(torch.equal(found[name], tensor) for name, tensor in ours.items()), path


def test_a_file_of_several_networks_holds_each(tmp_path):
    dit, vae = published.transformer().state_dict(), published.vae().state_dict()
    tensors = {f"model.diffusion_model.{name}": value for name, value in dit.items()}
    tensors |= {f"vae.{name}": value for name, value in vae.items()}
    path = published.save_single(tmp_path / "all-in-one.safetensors", tensors)
    assert [network.kind for network in networks_in(read_weights(path))] == ["transformer", "VAE"]
    assert torch.equal(published.velocity(load_dit(path)), published.velocity(published.transformer()))
    assert load(path, "VAE", WanVae, VAE).state_dict().keys() == vae.keys()


def test_a_file_of_another_kind_is_refused_by_what_it_is(tmp_path):
    path = published.save_single(tmp_path / "x.safetensors", published.vae().state_dict())
    with pytest.raises(WrongVariant, match=r"not a Wan transformer.*found VAE"):
        read_network(path, "transformer")


def test_a_part_of_a_joined_tensor_that_is_missing(tmp_path):
    theirs, _ = clip_state(tmp_path)
    del theirs["encoder.layers.1.self_attn.k_proj.weight"]
    path = published.save_single(tmp_path / "x.safetensors", theirs)
    with pytest.raises(WrongShape, match=r"transformer\.1\.attn\.to_qkv\.weight"):
        read_network(path, "image encoder")


def test_two_tensors_for_one_place(tmp_path):
    path = tmp_path / "x.safetensors"
    theirs = load_hf_text(tmp_path)
    save_file({**theirs, "encoder.embed_tokens.weight": torch.ones(3, 3)}, path)
    with pytest.raises(DamagedFile, match="two tensors for one place"):
        read_network(path, "text encoder")


def load_hf_text(tmp_path):
    published.hugging_face_text_encoder().save_pretrained(tmp_path / "hf")
    return load_file(tmp_path / "hf" / "model.safetensors")


def test_a_name_that_no_rule_knows_is_named_when_it_is_loaded(tmp_path, original):
    state = {**original.state_dict(), "blocks.0.surprise.weight": torch.ones(2)}
    path = published.save_single(tmp_path / "x.safetensors", state, prefix="model.diffusion_model.")
    with pytest.raises(Exception, match=r"blocks\.0\.surprise\.weight"):
        load_dit(path)
    del state["blocks.0.surprise.weight"], state["head.head.bias"]
    path = published.save_single(tmp_path / "y.safetensors", state, prefix="model.diffusion_model.")
    with pytest.raises(MissingTensor, match=r"head\.head\.bias"):
        load_dit(path)


# ---------------------------------------------------------------------------------------------------- whole directories


@pytest.mark.parametrize(("task", "pair"), [("t2v", True), ("t2v", False), ("i2v", True), ("i2v", False)])
def test_a_saved_pipeline_is_a_model(tmp_path, task, pair):
    root = published.save_pipeline(tmp_path / "pipeline", task, pair=pair)
    parts = read_parts(root)
    assert parts.task == task
    assert list(parts.experts) == (["high_noise", "low_noise"] if pair else ["dense"])
    assert (parts.image_encoder is not None) == (task == "i2v" and not pair)
    assert parts.dit.num_heads == 2
    first = next(iter(parts.experts.values()))
    stored = published.diffusers_transformer(1, in_channels=parts.dit.in_dim, image=parts.image_encoder is not None)
    name = "blocks.1.attn2.to_out.0.weight"
    assert torch.equal(Tensors(first)["blocks.1.cross_attn.o.weight"], stored.state_dict()[name])


def test_a_pipeline_in_shards_is_the_same(tmp_path):
    whole = published.save_pipeline(tmp_path / "whole", pair=False)
    for part, name in (
        (published.diffusers_transformer(1), "transformer"),
        (published.hugging_face_text_encoder(), "text_encoder"),
    ):
        shutil.rmtree(whole / name)
        part.save_pretrained(whole / name, max_shard_size="60KB")
    parts = read_parts(whole)
    assert len(parts.experts["dense"].files) > 1
    assert len(parts.text_encoder.files) > 1
    state = published.diffusers_transformer(1).state_dict()
    found = Tensors(parts.experts["dense"])
    assert all(torch.equal(found[DIFFUSERS_DIT.to_ours(name)], tensor) for name, tensor in state.items())


def test_the_small_model_brings_its_latent_statistics(tmp_path):
    parts = read_parts(published.save_small_pipeline(tmp_path / "model"))
    assert (parts.task, parts.family, list(parts.experts)) == ("ti2v", "wan2.2", ["dense"])
    assert parts.dit.per_token_timestep
    assert set(parts.vae_config.latents_mean) == {0.1}
    assert set(parts.vae_config.latents_std) == {0.7}
    assert parts.vae_config.compression.spatial == 16


@pytest.mark.parametrize(
    ("folder", "key", "value", "words"),
    [
        ("transformer", "num_attention_heads", 4, "the tensors are not those of its config.json.*'dim'"),
        ("transformer", "ffn_dim", 64, "'ffn_dim'"),
        ("transformer", "num_layers", "two", "'num_layers'"),
        ("transformer", "attention_head_dim", "wide", "'dim'"),
        ("vae", "z_dim", 32, "contradicts the weights.*z_dim"),
        ("vae", "latents_mean", [0.0], "latent statistics"),
        ("text_encoder", "relative_attention_max_distance", -1, "relative_attention_max_distance"),
    ],
)
def test_configurations_that_lie(tmp_path, folder, key, value, words):
    root = published.save_pipeline(tmp_path / "model", pair=False)
    path = root / folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(CheckpointError, match=words):
        read_parts(root)


def test_distances_of_a_text_encoder_are_those_of_its_configuration(tmp_path):
    root = published.save_pipeline(tmp_path / "model", pair=False)
    path = root / "text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "relative_attention_max_distance": 64}))
    assert read_parts(root).text_config.max_distance == 64


def test_a_t5_that_is_not_umt5(tmp_path):
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2)
    T5EncoderModel(config).save_pretrained(tmp_path)
    with pytest.raises(WrongVariant, match="not a Wan text encoder"):
        read_network(tmp_path / "model.safetensors", "text encoder")
