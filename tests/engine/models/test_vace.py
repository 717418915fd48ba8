"""VACE: the published golden vector, diffusers with the same weights, what its branch reads, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from tests.engine.golden_fill import fill_parameters, golden_tensor
from tests.engine.models.dit_cases import DIT_TOLERANCE, deviation
from tests.engine.models.test_dit import diffusers_name, exact_angles, randomise, zero_padded
from torch import Tensor

from filmgate.engine.kernels.attention import sdpa
from filmgate.engine.models.config import DitConfig
from filmgate.engine.models.dit import WanDiT
from filmgate.spec.errors import CheckpointError, InvalidRequest, MissingTensor, WrongShape

SETTINGS: dict[str, Any] = {"dim": 64, "ffn_dim": 96, "num_heads": 2, "text_dim": 32}
GOLDEN = DitConfig(**SETTINGS, num_layers=3, vace_layers=(0, 2))
EXPECTED = (-0.105081, 1.192086, -1.21540, -0.80519, 1.83877, -0.48444, -0.10127, -1.17297,
            1.15748, -0.73371, 1.20355, 0.37483)  # fmt: skip
PARITY_RMS = 2e-6


def tiny(layers: tuple[int, ...] = (0, 2), count: int = 4, **changes: Any) -> WanDiT:
    settings = {**SETTINGS, "text_len": 24, "vace_in_dim": 12, "num_layers": count, **changes}
    return randomise(WanDiT(DitConfig(**settings, vace_layers=layers)), 7)


def tiny_inputs(batch: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x, control = (torch.randn(batch, channels, 2, 4, 6, generator=generator) for channels in (16, 12))
    return x, torch.tensor([937.0, 12.0])[:batch], torch.randn(batch, 9, 32, generator=generator), control


@torch.inference_mode()
def test_the_published_vector() -> None:
    model = WanDiT(GOLDEN)
    fill_parameters(model)
    output = model(
        golden_tensor("x", (1, 16, 3, 8, 10)), torch.tensor([937.0]), golden_tensor("context", (1, 20, 32)),
        control=golden_tensor("vace", (1, 96, 3, 8, 10)), control_scale=0.8,
    )  # fmt: skip
    assert deviation(output, EXPECTED) <= DIT_TOLERANCE


def vace_name(name: str) -> str:
    """diffusers' name of one of our tensors."""
    if not name.startswith("vace_blocks"):
        return name if name.startswith("vace_patch") else diffusers_name(name)
    projected, count = re.subn(r"(vace_blocks\.\d+\.)before_proj\.", r"\1proj_in.", name)
    projected, other = re.subn(r"(vace_blocks\.\d+\.)after_proj\.", r"\1proj_out.", projected)
    return projected if count + other else "vace_" + diffusers_name(name.removeprefix("vace_"))


def diffusers_vace(model: WanDiT) -> Any:
    """diffusers' transformer with the weights of ``model``, loaded strictly."""
    diffusers = pytest.importorskip("diffusers")
    config = model.config
    twin = diffusers.WanVACETransformer3DModel(
        num_attention_heads=config.num_heads, attention_head_dim=config.head_dim, text_dim=config.text_dim,
        ffn_dim=config.ffn_dim, num_layers=config.num_layers, vace_layers=list(config.vace_layers),
        vace_in_channels=config.vace_in_dim, in_channels=config.in_dim, out_channels=config.out_dim,
        freq_dim=config.freq_dim,
    )  # fmt: skip
    twin.load_state_dict({vace_name(name): tensor for name, tensor in model.state_dict().items()}, strict=True)
    return twin.eval()


@pytest.mark.parametrize("scale", [1.0, 0.35])
@pytest.mark.parametrize(("layers", "count"), [((0, 2), 4), ((0, 1, 2), 3), ((0,), 2), ((0, 1, 4), 5)])
@torch.inference_mode()
def test_diffusers_with_the_same_random_weights(layers: tuple[int, ...], count: int, scale: float) -> None:
    model = tiny(layers, count, vace_in_dim=96, text_len=512)
    twin = diffusers_vace(model)
    twin.condition_embedder.timesteps_proj.forward = exact_angles
    generator = torch.Generator().manual_seed(5)
    x, control = (torch.randn(2, channels, 3, 6, 8, generator=generator) for channels in (16, 96))
    context, timestep = torch.randn(2, 20, 32, generator=generator), torch.tensor([937.0, 333.0])
    expected = twin(
        x, timestep, zero_padded(context, 512), control_hidden_states=control,
        control_hidden_states_scale=torch.full((len(layers),), scale), return_dict=False,
    )[0]  # fmt: skip
    difference = model(x, timestep, context, control=control, control_scale=scale) - expected
    assert difference.abs().max().item() <= DIT_TOLERANCE
    assert (difference.norm() / expected.norm()).item() <= PARITY_RMS


@torch.inference_mode()
def test_text_is_the_same_cached_folded_or_shared() -> None:
    model = tiny()
    x, timestep, context, control = tiny_inputs()
    expected = model(x, timestep, context, control=control)
    cached, folded = model.text_keys_values(context), model.fold_text(context)
    assert len(cached) == len(folded) == 6, "four blocks, two of the branch"
    assert torch.equal(model(x, timestep, text_cache=cached, control=control), expected)
    found = model(x, timestep, text_cache=folded, control=control)
    torch.testing.assert_close(found, expected, atol=5e-6, rtol=0)
    both = model(x, timestep, torch.cat([context, context * 0.5]), control=control)
    torch.testing.assert_close(both[:1], expected, atol=5e-6, rtol=0)
    other = model(x, timestep, context * 0.5, control=control)
    torch.testing.assert_close(both[1:], other, atol=5e-6, rtol=0)


@torch.inference_mode()
def test_without_strength_it_is_the_model_beside_the_branch() -> None:
    model = tiny()
    plain = WanDiT(DitConfig(**SETTINGS, text_len=24, num_layers=4))
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("vace")}, strict=True)
    *inputs, control = tiny_inputs()
    expected = plain(*inputs)
    assert torch.equal(model(*inputs, control=control, control_scale=0.0), expected)
    assert (model(*inputs, control=control) - expected).norm() / expected.norm() > 0.01


@torch.inference_mode()
def test_every_hint_counts_and_only_where_it_belongs() -> None:
    model = tiny((0, 2), 3)
    *inputs, control = tiny_inputs()
    expected = model(*inputs, control=control)
    for number in range(2):
        weight = model.vace_blocks[number].after_proj.weight
        kept = weight.clone()
        weight.zero_()
        assert (model(*inputs, control=control) - expected).norm() / expected.norm() > 1e-3
        weight.copy_(kept)
    assert torch.equal(model(*inputs, control=control), expected)


@torch.inference_mode()
def test_hints_are_computed_when_they_are_needed() -> None:
    order: list[str] = []
    model = tiny((0, 2), 3)
    for name, block in (*model.blocks.named_children(), *model.vace_blocks.named_children()):
        kind = "hint" if hasattr(block, "after_proj") else "block"
        block.register_forward_pre_hook(lambda *_, label=f"{kind} {name}": order.append(label))
    *inputs, control = tiny_inputs()
    model(*inputs, control=control)
    assert order == ["block 0", "hint 0", "block 1", "block 2", "hint 1"]


def test_every_parameter_gets_a_gradient() -> None:
    model = tiny((0, 2), 3)
    *inputs, control = tiny_inputs(2)
    model(*inputs, control=control).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize(
    ("size", "layers", "parameters", "tensors"),
    [
        ({"dim": 1536, "ffn_dim": 8960, "num_heads": 12, "num_layers": 30}, 15, 2_153_972_032, 1264),
        ({"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40}, 8, 17_337_592_896, 1331),
    ],
)
def test_the_released_models_are_known_by_their_tensors(
    size: dict[str, int], layers: int, parameters: int, tensors: int
) -> None:
    config = DitConfig(**size, vace_layers=tuple(range(0, size["num_layers"], size["num_layers"] // layers)))
    with torch.device("meta"):
        state = WanDiT(config, sdpa).state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == parameters
    assert len(state) == tensors
    assert DitConfig.from_tensors({name: tuple(tensor.shape) for name, tensor in state.items()}) == config


def shapes(layers: tuple[int, ...], count: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        state = tiny_meta(layers, count).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def tiny_meta(layers: tuple[int, ...], count: int) -> WanDiT:
    return WanDiT(DitConfig(**SETTINGS, num_layers=count, vace_layers=layers))


def test_uneven_layers_must_be_stored() -> None:
    found = shapes((0, 1, 4), 5)
    stored = DitConfig.from_tensors(found, num_heads=2, vace_layers=(0, 1, 4))
    assert stored.vace_layers == (0, 1, 4)
    assert DitConfig.from_tensors(found, num_heads=2).vace_layers == (0, 2, 4), "the even spacing of three in five"
    with pytest.raises(CheckpointError, match="vace_layers are not stored"):
        DitConfig.from_tensors(shapes((0, 1, 2, 4), 5), num_heads=2)


@pytest.mark.parametrize("layers", [(0, 2), (0, 1, 9)])
def test_a_configuration_of_other_blocks_is_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(WrongShape, match="vace_layers"):
        DitConfig.from_tensors(shapes((0, 1, 4), 5), num_heads=2, vace_layers=layers)


@pytest.mark.parametrize("key", ["vace_patch_embedding.weight", "vace_blocks.0.before_proj.weight"])
def test_half_a_branch_is_refused(key: str) -> None:
    found = shapes((0, 2), 3)
    del found[key]
    with pytest.raises(MissingTensor, match=re.escape(key)):
        DitConfig.from_tensors(found, num_heads=2)


@pytest.mark.parametrize("layers", [(1, 2), (0, 0), (2, 0), (0, 4), (0, -1)])
def test_impossible_layers_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        DitConfig(**SETTINGS, num_layers=4, vace_layers=layers)
    assert caught.value.field == "vace_layers"


@pytest.mark.parametrize("other", [{"image_dim": 40}, {"camera_scale": 8}])
def test_two_branches_are_refused(other: dict[str, int]) -> None:
    with pytest.raises(InvalidRequest, match="another branch"):
        DitConfig(**SETTINGS, num_layers=4, vace_layers=(0, 2), **other)


@pytest.mark.parametrize("cut", [None, (slice(None), slice(11)), (..., slice(4)), (slice(None), slice(None), [0])])
def test_a_context_that_does_not_fit_is_refused(cut: Any) -> None:
    *inputs, control = tiny_inputs()
    with pytest.raises(InvalidRequest, match=r"12, 2, 4, 6") as caught:
        tiny()(*inputs, control=None if cut is None else control[cut])
    assert caught.value.field == "control"


def test_a_model_without_branch_reads_no_context() -> None:
    *inputs, control = tiny_inputs()
    with pytest.raises(InvalidRequest, match="reads no control"):
        WanDiT(DitConfig(**SETTINGS, text_len=24, num_layers=1))(*inputs, control=control)
