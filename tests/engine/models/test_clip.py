"""The image encoder: the published golden vector, transformers with the same weights, and its input."""

import pytest
import torch
import torch.nn.functional as F
from tests.engine.golden_fill import fill_parameters, fingerprint, golden_tensor
from torch import nn

from filmgate.engine.models.clip import ClipEncoder, normalise
from filmgate.engine.models.config import ImageEncoderConfig
from filmgate.spec.errors import CheckpointError, InvalidRequest, MissingTensor

TINY = ImageEncoderConfig(dim=32, dim_ffn=128, heads=2, layers=4, grid=2)


def randomised(config, seed=0):
    torch.manual_seed(seed)
    model = ClipEncoder(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.3 if parameter.ndim > 1 else 0.1
            parameter.copy_(torch.randn_like(parameter) * scale + (1.0 if "norm" in name and "weight" in name else 0.0))
    return model.requires_grad_(False)


def transformers_twin(model):
    """CLIPVisionModel with the same weights; its last block and its last norm, which we leave out, are its own."""
    transformers = pytest.importorskip("transformers")
    config = model.config
    twin = transformers.CLIPVisionModel(
        transformers.CLIPVisionConfig(
            hidden_size=config.dim, intermediate_size=config.dim_ffn, num_hidden_layers=config.layers,
            num_attention_heads=config.heads, image_size=config.pixels, patch_size=config.patch, hidden_act="gelu",
            layer_norm_eps=1e-5, attn_implementation="sdpa",
        )
    ).eval()  # fmt: skip
    state = twin.state_dict()
    tower = next(name for name in state if name.endswith("class_embedding")).removesuffix("embeddings.class_embedding")
    renamed = {}
    for name, value in model.state_dict().items():
        if name == "cls_embedding":
            renamed["embeddings.class_embedding"] = value.flatten()
        elif name == "pos_embedding":
            renamed["embeddings.position_embedding.weight"] = value[0]
        elif name.startswith(("patch_embedding", "pre_norm")):
            renamed[name.replace("patch_", "embeddings.patch_").replace("pre_norm", "pre_layrnorm")] = value
        else:
            _, index, part, *rest = name.split(".")
            block = f"encoder.layers.{index}."
            if part == "attn" and rest[0] == "to_qkv":
                for letter, third in zip("qkv", value.chunk(3), strict=True):
                    renamed[f"{block}self_attn.{letter}_proj.{rest[1]}"] = third
            elif part == "attn":
                renamed[f"{block}self_attn.out_proj.{rest[1]}"] = value
            elif part == "mlp":
                renamed[f"{block}mlp.fc{1 if rest[0] == '0' else 2}.{rest[1]}"] = value
            else:
                renamed[f"{block}layer_{part}.{rest[0]}"] = value
    missing, unexpected = twin.load_state_dict({tower + name: value for name, value in renamed.items()}, strict=False)
    assert unexpected == []
    last = f"{tower}encoder.layers.{config.layers - 1}."
    assert all(name.startswith((last, f"{tower}post_layernorm")) or "position_ids" in name for name in missing)
    return twin


@torch.no_grad()
def test_the_published_vector():
    model = ClipEncoder(TINY).eval()
    fill_parameters(nn.ModuleDict({"visual": model}))  # the fill goes by the name in the file
    output = model(golden_tensor("img", (1, 3, 28, 28)))
    assert output.shape == (1, 5, 32)
    moments, values = fingerprint(output)
    assert moments == pytest.approx([-0.153725, 1.878046], abs=2e-6)
    assert values == pytest.approx(
        [-2.51646, -0.83308, 0.41030, -1.88864, -0.50239, -5.28230, -1.71675, -2.18605, 2.83416, 0.15269], abs=1.5e-5
    )


@pytest.mark.parametrize("config", [TINY, ImageEncoderConfig(dim=160, dim_ffn=200, heads=2, layers=3, grid=16)])
@torch.no_grad()
def test_equal_to_transformers(config):
    model = randomised(config)
    normalised = torch.randn(2, 3, config.pixels, config.pixels, generator=torch.Generator().manual_seed(1))
    expected = transformers_twin(model)(pixel_values=normalised, output_hidden_states=True).hidden_states[-2]
    torch.testing.assert_close(model(normalised), expected, atol=1e-5, rtol=1e-5)


def test_a_picture_is_squeezed_into_a_square_as_the_original_does():
    picture = torch.rand(3, 30, 50) * 2 - 1
    square = F.interpolate(picture[None], size=(28, 28), mode="bicubic", align_corners=False)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    torch.testing.assert_close(normalise(picture, 28), (square / 2 + 0.5 - mean) / std, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_half_precision_is_near():
    model, pictures = randomised(TINY), torch.randn(1, 3, 28, 28)
    exact = model(pictures)
    rough = model.to(torch.bfloat16)(pictures)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() / exact.norm() < 0.03


def test_the_published_tower_has_its_size():
    config = ImageEncoderConfig()
    with torch.device("meta"):
        model = ClipEncoder(config)
    block = sum(parameter.numel() for parameter in model.transformer[0].parameters())
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert parameters + block + 2 * 1280 + 1280 * 1024 == 632_076_800, "with the block, the norm and the head left out"
    assert (config.pixels, config.positions) == (224, 257)


def shapes_of(config, extra=()):
    with torch.device("meta"):
        model = ClipEncoder(config)
    return {name: tuple(value.shape) for name, value in model.state_dict().items()} | dict(extra)


def test_the_architecture_is_read_off_the_tensors():
    config = ImageEncoderConfig(dim=160, dim_ffn=200, heads=2, layers=3, grid=2)
    last = {"transformer.2.norm1.weight": (160,), "post_norm.weight": (160,), "head": (160, 8)}
    assert ImageEncoderConfig.from_tensors(shapes_of(config, last)) == config
    assert [name for name in shapes_of(config, last) if not config.reads(name)] == list(last)


def test_what_is_no_tower_is_said():
    with pytest.raises(MissingTensor, match=r"patch_embedding\.weight"):
        ImageEncoderConfig.from_tensors({})
    for changes in ({"pos_embedding": (1, 6, 160)}, {"patch_embedding.weight": (100, 3, 14, 14)}):
        shapes = shapes_of(ImageEncoderConfig(dim=160, dim_ffn=200, heads=2, layers=3, grid=2), changes)
        with pytest.raises(CheckpointError, match="not an image encoder that Wan was trained with"):
            ImageEncoderConfig.from_tensors(shapes)
    with pytest.raises(InvalidRequest, match="layers: 1 leaves no block before the last"):
        ImageEncoderConfig(layers=1)
