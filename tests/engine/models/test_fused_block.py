"""Fused blocks compute what blocks compute, with whatever hangs on their layers."""

from dataclasses import replace

import pytest
import torch
from tests.engine.pipeline.modes import DEVICES
from tests.engine.wan_directory import DIT

from filmgate.engine.kernels.attention import cudnn_attention, sdpa
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.fused_block import fused_block
from filmgate.engine.pipeline.speed import TRANSFORMER
from filmgate.engine.runtime.place import repeatable
from filmgate.engine.runtime.prepare import Choices, prepare

LARGE = replace(DIT, dim=256, ffn_dim=512, num_heads=2, num_layers=4)
MODELS = {
    "text": {}, "image": {"in_dim": 36}, "clip": {"in_dim": 36, "image_dim": 20},
    "per token": {"per_token_timestep": True}, "vace": {"vace_layers": (0, 1)},
}  # fmt: skip


def network_of(config, device, dtype=torch.float32):
    torch.manual_seed(2)
    network = WanDiT(config).requires_grad_(False).eval()
    for name, parameter in network.named_parameters():
        if "blocks" in name and parameter.ndim == 2:
            parameter.data = parameter.data.to(dtype)
    for block in network.text_blocks():  # zero and one would hide a forgotten weight or bias
        torch.nn.init.normal_(block.norm3.weight, 1, 0.2)
        torch.nn.init.normal_(block.norm3.bias, 0, 0.2)
        torch.nn.init.normal_(block.self_attn.norm_q.weight, 1, 0.2)
        for bias in (block.ffn[0].bias, block.self_attn.q.bias):
            torch.nn.init.normal_(bias, 0, 0.2)
    for part in network.modules():
        if isinstance(part, torch.nn.Linear) and part.bias is not None and part.weight.dtype != part.bias.dtype:
            part.bias.data = part.bias.data.to(part.weight.dtype)
    return network.to(device)


def arguments(config, device, texts=1):
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(1, config.in_dim, 2, 6, 8, generator=draw).to(device)
    timestep = torch.tensor([400.0])
    if config.per_token_timestep:
        timestep = torch.tensor([[0.0] * 12 + [400.0] * 12])
    text = torch.randn(texts, 7, config.text_dim, generator=draw).to(device)
    call = {"x": x, "timestep": timestep.to(device), "context": text}
    if config.image_dim is not None:
        call["image"] = torch.randn(texts, 257, config.image_dim, generator=draw).to(device)
    if config.vace_layers:
        call["control"] = torch.randn(1, config.vace_in_dim, 2, 6, 8, generator=draw).to(device)
    return call


def compared(network, call):
    with torch.no_grad(), repeatable(1):
        plain = network(**call)
        prepare(network, Choices(forward=fused_block), TRANSFORMER)
        fused = network(**call)
        again = network(**call)
    assert torch.equal(fused, again)
    return fused, plain


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("texts", [1, 2])
def test_every_kind_of_model_gives_the_same(device, kind, texts):
    config = replace(DIT, **MODELS[kind])
    fused, plain = compared(network_of(config, device), arguments(config, device, texts))
    assert fused.shape[0] == texts
    torch.testing.assert_close(fused, plain, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_in_bf16_it_differs_by_rounding(device):
    fused, plain = compared(network_of(LARGE, device, torch.bfloat16), arguments(LARGE, device))
    assert float((fused - plain).norm() / plain.norm()) < 0.01


def tilted(_module, _inputs, output):
    """A hook that norms do not take back."""
    return output * torch.linspace(0.5, 1.5, output.shape[-1], device=output.device)


@pytest.mark.parametrize("device", DEVICES)
def test_what_hangs_on_a_layer_is_called(device):
    call = arguments(DIT, device)
    for name in ("ffn.0", "ffn.2", "self_attn.q", "cross_attn.o"):
        network = network_of(DIT, device)
        layer = network.blocks[0].get_submodule(name)
        handle = layer.register_forward_hook(tilted)
        fused, plain = compared(network, call)
        torch.testing.assert_close(fused, plain, atol=2e-5, rtol=2e-5)
        handle.remove()
        with torch.no_grad():
            assert (network(**call) - fused).abs().max() > 1e-4, name


def test_attention_is_asked_by_every_layer_that_attends():
    network, seen = network_of(DIT, "cpu"), []

    def watched(q, k, v, /):
        seen.append(k.shape[1])
        return sdpa(q, k, v)

    prepare(network, Choices(attend=watched, forward=fused_block), TRANSFORMER)
    with torch.no_grad():
        network(**arguments(DIT, "cpu"))
    assert seen == [24, 12] * 2


@pytest.mark.gpu
@pytest.mark.parametrize(("length", "rows"), [(4096, 4096), (1000, 512), (77, 257)])
def test_the_attention_of_cudnn_is_that_of_torch_and_repeats(length, rows):
    draw = torch.Generator("cuda").manual_seed(0)
    q = torch.randn(2, length, 3, 128, device="cuda", dtype=torch.bfloat16, generator=draw)
    k, v = (torch.randn(2, rows, 3, 128, device="cuda", dtype=torch.bfloat16, generator=draw) for _ in range(2))
    exact = sdpa(q.double(), k.double(), v.double())
    with repeatable(1):
        found = cudnn_attention(q, k, v)
        assert all(torch.equal(found, cudnn_attention(q, k, v)) for _ in range(5))
    shared = cudnn_attention(q[:1].expand(2, -1, -1, -1), k, v)
    assert float((found.double() - exact).norm() / exact.norm()) < 0.004
    assert torch.equal(shared[:1], cudnn_attention(q[:1], k[:1], v[:1]))
