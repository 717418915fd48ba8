"""fp64 where there is any, and the CPU's where there is none."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from filmgate.engine.kernels import fp64
from filmgate.engine.kernels.fp64 import fp64_device, in_fp64
from filmgate.engine.kernels.rope import rope_table
from filmgate.engine.models.dit import WanDiT
from filmgate.engine.models.dit_layers import timestep_sinusoid
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.self_test import DIT, VAE
from filmgate.engine.sampling.steering import projected_update


class NoFp64(TorchDispatchMode):
    """Makes the device of shapes alone one without fp64, as Apple's GPU is; what is copied from it is ones."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), options: Any = None) -> Any:
        options = options or {}
        found = next((one for one in tree_leaves(args) if isinstance(one, Tensor)), None)
        target = options.get("device")
        away = operator is torch.ops.aten._to_copy.default and target is not None and torch.device(target).type == "cpu"
        if away and found is not None and found.device.type == "meta":
            assert options.get("dtype") in (None, found.dtype), "it would be widened before it is moved"
            return torch.ones(found.shape, dtype=found.dtype)
        made = operator(*args, **options)
        for one in tree_leaves(made):
            if isinstance(one, Tensor) and one.device.type == "meta" and one.dtype is torch.float64:
                raise TypeError(f"{operator}: there is no float64 here")
        return made


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    monkeypatch.setattr(fp64, "WITHOUT", ("mps", "meta"))
    # Autocast knows no device of shapes alone.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)
    return torch.device("meta")


def test_apples_gpu_has_none_and_others_stay_where_they_are() -> None:
    assert fp64_device("mps") == fp64_device(torch.device("mps", 0)) == "cpu"
    assert [fp64_device(name) for name in ("cpu", "cuda:1", None)] == ["cpu", "cuda:1", None]
    x = torch.rand(3)
    assert in_fp64(x).dtype is torch.float64
    assert torch.equal(in_fp64(x), x.double())


def test_the_stand_in_refuses_what_apples_gpu_refuses(shapes: torch.device) -> None:
    with NoFp64():
        for make in (
            lambda: torch.zeros(2, device=shapes).double(),
            lambda: torch.arange(3, device=shapes, dtype=torch.float64),
        ):
            with pytest.raises(TypeError, match="no float64"):
                make()
        with pytest.raises(AssertionError, match="widened before"):
            torch.zeros(2, device=shapes).to("cpu", torch.float64)


def test_results_come_back_to_the_device_in_fp32(shapes: torch.device) -> None:
    with NoFp64():
        tables = rope_table((2, 3, 4), 32, shapes)
        sinusoid = timestep_sinusoid(torch.zeros(2, device=shapes), 16)
        update = projected_update(torch.zeros(4, 5, device=shapes), torch.zeros(4, 5, device=shapes), eta=0.0)
    for made, shape in zip((*tables, sinusoid, update), ((24, 16), (24, 16), (2, 16), (4, 5)), strict=True):
        assert (made.device, made.dtype, made.shape) == (shapes, torch.float32, shape)


@torch.no_grad()
def test_both_networks_work_without_fp64(shapes: torch.device) -> None:
    dit, vae = WanDiT(DIT).to(shapes), WanVae(VAE).to(shapes)
    latent, text = torch.zeros(1, 16, 2, 6, 6, device=shapes), torch.zeros(1, 12, 24, device=shapes)
    with NoFp64():
        velocity = dit(latent, torch.zeros(1, device=shapes), text)
        video = vae.decode(latent)
        again = vae.encode(video)
    assert velocity.shape == latent.shape
    assert (video.device, again.device) == (shapes, shapes)
