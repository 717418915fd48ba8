"""The text encoder: published golden vector, transformers with the same weights, masks and padding."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from tests.engine.models.dit_cases import TEXT_TOLERANCE, golden_text_encoder, text_deviation
from torch import Tensor

from filmgate.engine.models.config import TextEncoderConfig
from filmgate.engine.models.umt5 import Umt5Encoder, relative_buckets
from filmgate.spec.errors import InvalidRequest

TRANSFORMERS_NAMES = (
    (r"token_embedding\.weight", "shared.weight"),
    (r"blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"blocks\.(\d+)\.attn\.", r"encoder.block.\1.layer.0.SelfAttention."),
    (r"blocks\.(\d+)\.pos_embedding\.embedding\.", r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias."),
    (r"blocks\.(\d+)\.ffn\.gate\.0\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
    (r"blocks\.(\d+)\.ffn\.fc1\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
    (r"blocks\.(\d+)\.ffn\.fc2\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
    (r"norm\.weight", "encoder.final_layer_norm.weight"),
)


def randomise(model: Umt5Encoder, seed: int) -> Umt5Encoder:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.copy_(1 + 0.2 * noise)
            elif "embedding" in name:
                parameter.copy_(noise)
            else:
                # Without 1/√d scaling, unit queries and keys would make a softmax of one.
                parameter.copy_(noise * (0.4 if ".q." in name else 1.0) / parameter.shape[1] ** 0.5)
    return model.eval()


def transformers_name(name: str) -> str:
    for pattern, replacement in TRANSFORMERS_NAMES:
        renamed, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return renamed
    raise KeyError(name)


def transformers_twin(model: Umt5Encoder) -> Any:
    """transformers' encoder with the weights of ``model``; every tensor must find its place."""
    transformers = pytest.importorskip("transformers")
    config = model.config
    twin = transformers.UMT5EncoderModel(
        transformers.UMT5Config(
            vocab_size=config.vocab, d_model=config.dim, d_kv=config.dim_attn // config.heads, d_ff=config.dim_ffn,
            num_layers=config.layers, num_heads=config.heads, relative_attention_num_buckets=config.buckets,
            relative_attention_max_distance=config.max_distance, feed_forward_proj="gated-gelu", dropout_rate=0.0,
        )
    )  # fmt: skip
    state = {transformers_name(name): tensor for name, tensor in model.state_dict().items()}
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert set(missing) <= {"encoder.embed_tokens.weight"}  # the same tensor as "shared.weight"
    assert not unexpected
    return twin.eval()


def batch(lengths: tuple[int, ...], width: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(width)
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    return torch.randint(2, 100, (len(lengths), width), generator=generator) * mask, mask


def small(**changes: int) -> Umt5Encoder:
    settings = {"vocab": 100, "dim": 48, "dim_attn": 64, "dim_ffn": 80, "heads": 4, "layers": 3, **changes}
    return randomise(Umt5Encoder(TextEncoderConfig(**settings)), 9)


def test_published_vector() -> None:
    assert text_deviation(golden_text_encoder()) <= TEXT_TOLERANCE


@pytest.mark.parametrize(("lengths", "width"), [((64, 64), 64), ((1, 30, 200), 200), ((7, 512), 512)])
@torch.inference_mode()
def test_transformers_with_the_same_random_weights(lengths: tuple[int, ...], width: int) -> None:
    model = small()
    ids, mask = batch(lengths, width)
    expected = transformers_twin(model)(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    # All rows, those of padding included.
    assert (model(ids, mask) - expected).abs().max() <= TEXT_TOLERANCE


@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (16, 64)])
@torch.inference_mode()
def test_transformers_with_other_buckets(buckets: int, max_distance: int) -> None:
    model = small(buckets=buckets, max_distance=max_distance)
    ids, mask = batch((150,), 150)
    expected = transformers_twin(model)(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    assert (model(ids, mask) - expected).abs().max() <= TEXT_TOLERANCE


def test_buckets_of_some_distances() -> None:
    bucket = relative_buckets(300, 32, 128)
    assert bucket[150, 150] == 0
    assert [bucket[150, 150 - d].item() for d in (1, 7, 8, 11, 12, 127, 150)] == [1, 7, 8, 8, 9, 15, 15]
    assert [bucket[150, 150 + d].item() for d in (1, 7, 8, 11, 12, 127, 149)] == [17, 23, 24, 24, 25, 31, 31]


@torch.inference_mode()
def test_tokens_do_not_see_padding() -> None:
    model = small()
    ids, mask = batch((9,), 9)
    longer = torch.cat([ids, torch.full((1, 11), 55)], 1)
    padded = torch.cat([mask, torch.zeros(1, 11, dtype=torch.bool)], 1)
    torch.testing.assert_close(model(longer, padded)[:, :9], model(ids, mask), atol=1e-5, rtol=0)
    assert model(longer, padded)[:, 9:].abs().max() > 0.1


@torch.inference_mode()
def test_half_precision() -> None:
    model = small()
    ids, mask = batch((20, 40), 40)
    expected = model(ids, mask)
    found = model.bfloat16()(ids, mask)
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected)[mask].norm() / expected[mask].norm() < 0.05


def test_every_parameter_gets_a_gradient() -> None:
    model = small()
    ids, mask = batch((60, 60), 60)
    model(ids, mask).square().mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_the_released_encoder_has_its_published_size() -> None:
    with torch.device("meta"):
        state = Umt5Encoder(TextEncoderConfig()).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 5_680_910_336
    assert len(state) == 242
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert TextEncoderConfig.from_tensors(shapes) == TextEncoderConfig()


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="mask"):
        small()(torch.ones(1, 5, dtype=torch.long), torch.ones(1, 4))
