"""The transformer: published golden vectors, diffusers with the same weights, precision, and what it refuses."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from tests.engine.models.dit_cases import DIT_TOLERANCE, GOLDEN_DIT, dit_deviation, golden_dit
from torch import Tensor

from filmgate.engine.kernels.attention import attention_reference
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.spec.errors import InvalidRequest

PARITY_RMS = 2e-6
DIFFUSERS_NAMES = (
    (r"text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
    (r"text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
    (r"time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"time_projection\.1\.", "condition_embedder.time_proj."),
    (r"img_emb\.proj\.0\.", "condition_embedder.image_embedder.norm1."),
    (r"img_emb\.proj\.1\.", "condition_embedder.image_embedder.ff.net.0.proj."),
    (r"img_emb\.proj\.3\.", "condition_embedder.image_embedder.ff.net.2."),
    (r"img_emb\.proj\.4\.", "condition_embedder.image_embedder.norm2."),
    (r"img_emb\.emb_pos", "condition_embedder.image_embedder.pos_embed"),
    (r"head\.modulation", "scale_shift_table"),
    (r"head\.head\.", "proj_out."),
    (r"(blocks\.\d+\.)modulation", r"\1scale_shift_table"),
    (r"(blocks\.\d+\.)norm3\.", r"\1norm2."),
    (r"(blocks\.\d+\.)ffn\.0\.", r"\1ffn.net.0.proj."),
    (r"(blocks\.\d+\.)ffn\.2\.", r"\1ffn.net.2."),
    (r"(blocks\.\d+\.)cross_attn\.k_img\.", r"\1attn2.add_k_proj."),
    (r"(blocks\.\d+\.)cross_attn\.v_img\.", r"\1attn2.add_v_proj."),
    (r"(blocks\.\d+\.)cross_attn\.norm_k_img\.", r"\1attn2.norm_added_k."),
    (r"(blocks\.\d+\.)self_attn\.([qkv])\.", r"\1attn1.to_\2."),
    (r"(blocks\.\d+\.)cross_attn\.([qkv])\.", r"\1attn2.to_\2."),
    (r"(blocks\.\d+\.)self_attn\.o\.", r"\1attn1.to_out.0."),
    (r"(blocks\.\d+\.)cross_attn\.o\.", r"\1attn2.to_out.0."),
    (r"(blocks\.\d+\.)self_attn\.norm_", r"\1attn1.norm_"),
    (r"(blocks\.\d+\.)cross_attn\.norm_", r"\1attn2.norm_"),
    (r"patch_embedding\.", "patch_embedding."),
)
"""Original name to diffusers' name; the first rule that matches the whole beginning of a name applies."""
PRESETS: dict[str, dict[str, Any]] = {
    "1.3B": {"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30},
    "14B": {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40},
    "5B": {"dim": 3072, "ffn_dim": 14336, "num_heads": 24, "num_layers": 30},
}
RELEASED: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("1.3B", {}, 1_418_996_800, 825),
    ("14B", {}, 14_288_491_584, 1095),
    ("14B", {"in_dim": 36}, 14_288_901_184, 1095),
    ("14B", {"in_dim": 36, "image_dim": 1280}, 16_394_878_784, 1303),
    ("14B", {"in_dim": 36, "image_dim": 1280, "image_positions": 514}, 16_395_536_704, 1304),
    ("5B", {"in_dim": 48, "out_dim": 48, "per_token_timestep": True}, 4_999_787_712, 825),
)


def randomise(model: WanDiT, seed: int) -> WanDiT:
    """Random weights of trained size, none of them zero or one by default."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.copy_(0.1 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0))
            elif name.endswith(("modulation", "emb_pos")):
                parameter.copy_(0.2 * noise)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return model.eval()


def diffusers_name(name: str) -> str:
    for pattern, replacement in DIFFUSERS_NAMES:
        renamed, count = re.subn(f"^{pattern}", replacement, name)
        if count:
            return renamed
    raise KeyError(name)


def diffusers_twin(model: WanDiT) -> Any:
    """diffusers' transformer with the weights of ``model``, loaded strictly."""
    diffusers = pytest.importorskip("diffusers")
    config = model.config
    twin = diffusers.WanTransformer3DModel(
        num_attention_heads=config.num_heads, attention_head_dim=config.head_dim, in_channels=config.in_dim,
        out_channels=config.out_dim, text_dim=config.text_dim, ffn_dim=config.ffn_dim, num_layers=config.num_layers,
        image_dim=config.image_dim, added_kv_proj_dim=config.dim if config.image_dim else None,
        pos_embed_seq_len=config.image_positions,
    )  # fmt: skip
    twin.load_state_dict({diffusers_name(name): tensor for name, tensor in model.state_dict().items()}, strict=True)
    return twin.eval()


def zero_padded(context: Tensor, rows: int) -> Tensor:
    return torch.cat([context, context.new_zeros(len(context), rows - context.shape[1], context.shape[2])], 1)


def tiny(**changes: Any) -> WanDiT:
    settings = {"dim": 48, "ffn_dim": 64, "num_heads": 2, "num_layers": 2, "text_dim": 32, "text_len": 24, **changes}
    torch.manual_seed(0)
    return randomise(WanDiT(DitConfig(**settings)), 7)


def tiny_inputs(batch: int = 1, channels: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, channels, 2, 4, 6, generator=generator)
    return x, torch.tensor([937.0, 12.0, 500.0])[:batch], torch.randn(batch, 9, 32, generator=generator)


@pytest.mark.parametrize("name", GOLDEN_DIT)
def test_published_vectors(name: str) -> None:
    assert dit_deviation(golden_dit(GOLDEN_DIT[name]), GOLDEN_DIT[name]) <= DIT_TOLERANCE


def exact_angles(timesteps: Tensor) -> Tensor:
    angles = timesteps.double()[:, None] * torch.exp(-math.log(10_000) * torch.arange(128).double() / 128)
    return torch.cat([angles.cos(), angles.sin()], 1).float()


# diffusers computes the timestep's angles in fp32, where 937 rad is off by 3e-5; with exact ones both agree far closer.
@pytest.mark.parametrize(("timesteps", "exact"), [((64.0, 21.0), False), ((937.0, 333.0), True)])
@pytest.mark.parametrize("name", GOLDEN_DIT)
@torch.inference_mode()
def test_diffusers_with_the_same_random_weights(name: str, timesteps: tuple[float, float], exact: bool) -> None:
    case = GOLDEN_DIT[name]
    model = randomise(WanDiT(case.config), 11)
    twin = diffusers_twin(model)
    if exact:
        twin.condition_embedder.timesteps_proj.forward = exact_angles
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, case.in_dim, 3, 6, 8, generator=generator)
    context = torch.randn(2, 20, case.config.text_dim, generator=generator)
    pictures = 514 if case.image_positions else 257
    image = None if case.image_dim is None else torch.randn(2, pictures, case.image_dim, generator=generator)
    timestep = torch.tensor(timesteps)
    if case.per_token_timestep:
        timestep = torch.where(torch.arange(36) < 12, 0.0, timestep[:, None])
    # diffusers takes the two images of a first-last-frame model as two rows of the batch.
    features = image if image is None or not case.image_positions else image.reshape(4, 257, -1)
    expected = twin(x, timestep, zero_padded(context, 512), features, return_dict=False)[0]
    difference = model(x, timestep, context, image) - expected
    assert difference.abs().max().item() <= DIT_TOLERANCE
    assert (difference.norm() / expected.norm()).item() <= PARITY_RMS


@pytest.mark.parametrize(("preset", "changes", "parameters", "tensors"), RELEASED)
def test_the_released_models_have_their_published_size(
    preset: str, changes: dict[str, Any], parameters: int, tensors: int
) -> None:
    with torch.device("meta"):
        state = WanDiT(DitConfig(**PRESETS[preset], **changes)).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == parameters
    assert len(state) == tensors
    restored = DitConfig.from_tensors(
        {name: tuple(tensor.shape) for name, tensor in state.items()},
        per_token_timestep="per_token_timestep" in changes,
    )
    assert restored == DitConfig(**PRESETS[preset], **changes)


@torch.inference_mode()
def test_text_is_the_same_cached_or_not_and_padded_here_or_there() -> None:
    model, (x, timestep, context) = tiny(), tiny_inputs()
    expected = model(x, timestep, context)
    assert torch.equal(model(x, timestep, text_cache=model.text_keys_values(context)), expected)
    torch.testing.assert_close(model(x, timestep, zero_padded(context, 24)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("rows", [0, 1, 9, 23, 24])
@torch.inference_mode()
def test_folded_text_is_the_text(rows: int) -> None:
    model, (x, timestep, _) = tiny(), tiny_inputs()
    contexts = torch.randn(2, rows, 32, generator=torch.Generator().manual_seed(rows))
    contexts[1, rows // 2 :] = 0
    cache = model.fold_text(zero_padded(contexts, 24))
    assert cache[0].k.shape == (2, 2, min(rows + 1, 24), 24)
    found = model(x, timestep, text_cache=cache)
    torch.testing.assert_close(found, model(x, timestep, contexts), atol=5e-6, rtol=0)


def test_the_text_of_a_model_with_image_branch_is_not_folded() -> None:
    with pytest.raises(InvalidRequest, match="folded"):
        tiny(image_dim=40).fold_text(torch.randn(1, 9, 32))


@torch.inference_mode()
def test_samples_of_a_batch_do_not_see_each_other() -> None:
    model, (x, timestep, context) = tiny(), tiny_inputs(3)
    together = model(x, timestep, context)
    for i in range(3):
        alone = model(x[i : i + 1], timestep[i : i + 1], context[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=5e-6, rtol=0)


@torch.inference_mode()
def test_one_latent_with_several_texts_is_each_text_alone() -> None:
    model, (_, _, contexts), (x, timestep, _) = tiny(), tiny_inputs(3), tiny_inputs(1)
    together = model(x, timestep, contexts)
    assert together.shape == (3, 16, 2, 4, 6)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], model(x, timestep, contexts[i : i + 1]), atol=5e-6, rtol=0)


@torch.inference_mode()
def test_equal_timesteps_per_token_are_one_timestep_per_sample() -> None:
    model, (x, timestep, context) = tiny(per_token_timestep=True), tiny_inputs(2)
    each = timestep[:, None].expand(2, 12)
    torch.testing.assert_close(model(x, each, context), model(x, timestep, context), atol=5e-6, rtol=0)


@torch.inference_mode()
def test_attention_is_a_constructor_argument() -> None:
    model, (x, timestep, context) = tiny(), tiny_inputs()
    calls: list[tuple[int, ...]] = []

    def attend(q: Tensor, k: Tensor, v: Tensor, /) -> Tensor:
        calls.append((q.shape[1], k.shape[1]))
        return attention_reference(q, k, v)

    other = WanDiT(model.config, attend=attend)
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(x, timestep, context), model(x, timestep, context), atol=5e-6, rtol=0)
    assert calls == [(12, 12), (12, 24)] * 2


def keep_in_fp32(name: str) -> bool:
    return any(part in name for part in ("time_", "modulation", "norm", "head"))


@torch.inference_mode()
def test_half_precision_weights_lose_little_because_the_rest_stays_fp32() -> None:
    model, (x, timestep, context) = tiny(), tiny_inputs(2)
    expected = model(x, timestep, context)
    for name, parameter in model.named_parameters():
        if not keep_in_fp32(name):
            parameter.data = parameter.data.bfloat16()
    found = model(x, timestep, context)
    assert found.dtype == torch.float32
    assert (found - expected).norm() / expected.norm() < 0.02


@torch.inference_mode()
def test_autocast_leaves_time_modulation_norms_and_head_alone() -> None:
    model, (x, timestep, context) = tiny(), tiny_inputs(2)
    expected = model(x, timestep, context)
    e, e0, _ = model.embed_timestep(timestep)
    seen: list[torch.dtype] = []
    for module in (*model.blocks, model.head):
        module.register_forward_pre_hook(lambda _module, inputs: seen.extend(i.dtype for i in inputs[:2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(x, timestep, context)
        inside = model.embed_timestep(timestep)
    assert torch.equal(inside[0], e)
    assert torch.equal(inside[1], e0)
    assert set(seen) == {torch.float32}
    assert found.dtype == torch.float32
    assert 1e-4 < (found - expected).norm() / expected.norm() < 0.02


def test_every_parameter_gets_a_gradient_and_a_compiled_block_the_same_one() -> None:
    model, inputs = tiny(image_dim=40), (*tiny_inputs(2), torch.randn(2, 5, 40))
    model(*inputs).square().mean().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert not [name for name, gradient in expected.items() if gradient is None or not gradient.abs().sum() > 0]
    model.zero_grad()
    for block in model.blocks:
        block.compile(fullgraph=True, backend="aot_eager", dynamic=False)
    model(*inputs).square().mean().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("changes", "spoil", "field"),
    [
        ({}, lambda x, t, c: (x[:, :15], t, c), "x"),
        ({}, lambda x, t, c: (x[..., :5], t, c), "x"),
        ({}, lambda x, t, c: (x, t.repeat(2), c), "timestep"),
        ({}, lambda x, t, c: (x, t[:, None].expand(1, 12), c), "timestep"),
        ({"per_token_timestep": True}, lambda x, t, c: (x, t[:, None].expand(1, 11), c), "timestep"),
        ({}, lambda x, t, _: (x, t), "context"),
        ({}, lambda x, t, c: (x, t, c[..., :31]), "context"),
        ({}, lambda x, t, c: (x, t, c.repeat(1, 3, 1)), "context"),
        ({}, lambda x, t, c: (x, t, c, torch.zeros(1, 5, 40)), "image"),
        ({"image_dim": 40}, lambda x, t, c: (x, t, c), "image"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(changes: dict[str, Any], spoil: Any, field: str) -> None:
    with pytest.raises(InvalidRequest, match="Allowed") as caught:
        tiny(**changes)(*spoil(*tiny_inputs()))
    assert caught.value.field == field


@torch.inference_mode()
def test_a_timestep_per_token_is_embedded_once_per_distinct_value(monkeypatch):
    model = tiny(in_dim=4, out_dim=4, per_token_timestep=True)
    rows: list[int] = []
    model.time_embedding.register_forward_hook(lambda _, inputs, __: rows.append(len(inputs[0])))
    x, context = torch.randn(1, 4, 3, 8, 10), torch.randn(1, 5, 32)
    times = torch.cat([torch.zeros(20), torch.full((40,), 937.0)])[None]
    mixed = model(x, times, context)
    assert rows == [2], "60 tokens, two times"
    assert not torch.allclose(mixed, model(x, torch.tensor([937.0]), context), atol=1e-3)
    alike = model(x, torch.full((1, 60), 937.0), context)
    torch.testing.assert_close(alike, model(x, torch.tensor([937.0]), context), atol=1e-6, rtol=0)
    assert rows == [2, 1, 1, 1]
