"""A camera's adapter begins by adding nothing, and with every way that rays differ equally loud inside."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from filmgate.engine.models.camera_adapter import CameraAdapter, Residual
from filmgate.training.conditions import packed_rays
from filmgate.training.ray_features import begin_with_components

HEIGHT, WIDTH = 32, 64
FRAMES = 9


def paths(turns: Tensor, moves: Tensor) -> Tensor:
    """Paths [B, F, 16] of cameras that turn about the vertical to ``turns`` [B] radians and go to ``moves`` [B, 3]."""
    share = torch.linspace(0, 1, FRAMES)
    angle = turns[:, None] * share
    pose = torch.eye(3, 4).repeat(*angle.shape, 1, 1)
    pose[..., 0, 0] = pose[..., 2, 2] = angle.cos()
    pose[..., 0, 2], pose[..., 2, 0] = -angle.sin(), angle.sin()
    pose[..., 3] = moves[:, None] * share[:, None]
    lens = torch.tensor([0.8, 1.4, 0.5, 0.5]).expand(*angle.shape, 4)
    return torch.cat([lens, pose.flatten(2)], -1)


@pytest.fixture(scope="module")
def rays() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(24, *size, generator=generator) for size in ((), (3,))]
    return packed_rays(paths(0.2 * draw[0], draw[1]), HEIGHT, WIDTH)


@pytest.fixture
def adapter() -> CameraAdapter:
    torch.manual_seed(0)
    return CameraAdapter(64, 8, 1)


def hidden(adapter: CameraAdapter, rays: Tensor) -> Tensor:
    """What the hidden layer of the residual block has of rays, [B · T · L, D]."""
    found: list[Tensor] = []
    block = cast(Residual, adapter.residual_blocks[0])
    handle = block.conv1.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    with torch.no_grad():
        adapter(rays)
    handle.remove()
    return found[0].transpose(0, 1).flatten(1).T


def test_nothing_is_added_at_first(adapter: CameraAdapter, rays: Tensor) -> None:
    assert 6 <= begin_with_components(adapter, rays) <= 32
    with torch.no_grad():
        assert adapter(rays).abs().max() < 1e-3  # components of a unit's size take themselves away


def test_components_are_equally_loud_and_of_either_sign(adapter: CameraAdapter, rays: Tensor) -> None:
    count = begin_with_components(adapter, rays)
    seen = hidden(adapter, rays)
    torch.testing.assert_close(seen[:, :count], -seen[:, count : 2 * count], atol=1e-3, rtol=0)
    spread = torch.cov(seen[:, :count].T)
    torch.testing.assert_close(spread, torch.eye(count), atol=0.05, rtol=0)


def test_a_degree_is_heard(adapter: CameraAdapter, rays: Tensor) -> None:
    """It moves what a first layer says that begins anywhere by a few hundredths of what places in the picture do."""
    still, turned = (packed_rays(paths(torch.tensor([a]), torch.zeros(1, 3)), HEIGHT, WIDTH) for a in (0.0, 0.0175))
    plain = hidden(adapter, turned) - hidden(adapter, still)
    begin_with_components(adapter, rays)
    heard = hidden(adapter, turned) - hidden(adapter, still)
    assert heard.square().mean().sqrt() > 5 * plain.square().mean().sqrt()


def test_the_same_rays_and_seed_give_the_same_weights(rays: Tensor) -> None:
    twins = [CameraAdapter(64, 8, 1) for _ in range(2)]
    twins[1].load_state_dict(twins[0].state_dict())
    before = torch.get_rng_state()
    for one in twins:
        begin_with_components(one, rays, seed=3)
    assert torch.equal(torch.get_rng_state(), before)  # what is drawn after it is drawn as ever
    for name, tensor in twins[0].state_dict().items():
        assert torch.equal(tensor, twins[1].state_dict()[name]), name
