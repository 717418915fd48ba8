"""A member begins exactly as its parent: what it reads beside the noise, and its adapter, change nothing at first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from filmgate.spec.errors import MissingTensor, UnexpectedTensor, WrongShape
from filmgate.training.members import CAMERA, DEEP_PICTURED, I2V, T2V, TI2V, Member
from filmgate.training.records import save_tensors
from filmgate.training.stages import STAGES
from filmgate.training.trainee import ADAPTER, Recipe, Trainee, grown, new_trainee, optimisers

CPU = torch.device("cpu")


def fresh(member: Member, *resume: Path, learn: tuple[str, ...] = ()) -> Trainee:
    return new_trainee(Recipe(member=member, learn=learn), resume, CPU, compiled=False)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainee, Path]:
    model = fresh(T2V)
    torch.nn.init.normal_(model.dit.head.head.weight, std=0.1)
    path = tmp_path_factory.mktemp("parent") / "low_noise.safetensors"
    save_tensors(path, model.state_dict())
    return model, path


@pytest.mark.parametrize("member", [I2V, CAMERA], ids=lambda member: member.name)
@torch.no_grad()
def test_a_child_starts_as_its_parent(member: Member, parent: tuple[Trainee, Path]) -> None:
    generator = torch.Generator().manual_seed(4)
    x, text = (torch.randn(shape, generator=generator) for shape in ((1, 16, 2, 4, 6), (1, 9, 192)))
    beside = torch.randn(1, 20, 2, 4, 6, generator=generator)
    rays = torch.randn(1, 24, 2, 32, 48, generator=generator) if member is CAMERA else None
    time = torch.tensor([640.0])
    child = fresh(member, parent[1])
    expected, hints = parent[0](x, time, text)
    velocity, own_hints = child(torch.cat([x, beside], 1), time, text, rays)
    assert expected.abs().mean() > 0.01
    torch.testing.assert_close(velocity, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(own_hints, hints, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_child_of_twice_the_depth_starts_as_its_parent(tmp_path: Path) -> None:
    parent = fresh(I2V)
    torch.nn.init.normal_(parent.dit.head.head.weight, std=0.1)
    save_tensors(tmp_path / "base.safetensors", parent.state_dict())
    child = fresh(DEEP_PICTURED, tmp_path / "base.safetensors")
    assert len(child.dit.blocks) == 2 * len(parent.dit.blocks)
    generator = torch.Generator().manual_seed(4)
    x, text = (torch.randn(shape, generator=generator) for shape in ((1, 36, 2, 4, 6), (1, 9, 192)))
    for own, expected in zip(*(model(x, torch.tensor([640.0]), text) for model in (child, parent)), strict=True):
        torch.testing.assert_close(own, expected, atol=1e-6, rtol=0)
    experts = 2 * sum(p.numel() for name, p in parent.dit.named_parameters() if name.startswith("blocks."))
    assert sum(p.numel() for name, p in child.dit.named_parameters() if name.startswith("blocks.")) == experts


def test_a_published_model_is_a_parent_too(parent: tuple[Trainee, Path], tmp_path: Path) -> None:
    save_tensors(tmp_path / "expert.safetensors", parent[0].dit.state_dict())
    child = fresh(I2V, tmp_path / "expert.safetensors")
    weight = child.dit.patch_embedding.weight
    assert torch.equal(weight[:, :16], parent[0].dit.patch_embedding.weight)
    assert not weight[:, 16:].any()


@torch.no_grad()
def test_text_to_video_is_the_first_channels_of_image_to_video(tmp_path: Path) -> None:
    """One set of weights: told of nothing, the wider model paints as the narrower one that is cut out of it."""
    whole = fresh(I2V)
    torch.nn.init.normal_(whole.dit.head.head.weight, std=0.1)
    save_tensors(tmp_path / "low_noise.safetensors", whole.state_dict())
    part = fresh(T2V, tmp_path / "low_noise.safetensors")
    generator = torch.Generator().manual_seed(4)
    x, text = (torch.randn(shape, generator=generator) for shape in ((1, 16, 2, 4, 6), (1, 9, 192)))
    nothing = torch.zeros(1, 20, 2, 4, 6)
    expected, _ = whole(torch.cat([x, nothing], 1), torch.tensor([640.0]), text)
    velocity, _ = part(x, torch.tensor([640.0]), text)
    assert expected.abs().mean() > 0.01
    torch.testing.assert_close(velocity, expected, atol=1e-6, rtol=0)


def test_what_a_child_changed_comes_after_its_parent(parent: tuple[Trainee, Path], tmp_path: Path) -> None:
    child = fresh(CAMERA, parent[1])
    torch.nn.init.normal_(child.dit.control_adapter.conv.weight)
    changed = {name: tensor for name, tensor in child.state_dict().items() if name.startswith(ADAPTER)}
    save_tensors(tmp_path / "adapter.safetensors", changed)
    again = fresh(CAMERA, parent[1], tmp_path / "adapter.safetensors")
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, child.state_dict()[name])


def test_other_models_are_no_parents(parent: tuple[Trainee, Path]) -> None:
    tensors, own = parent[0].state_dict(), fresh(TI2V).state_dict()
    with pytest.raises(WrongShape):
        grown(tensors, own, Path("parent"))
    with pytest.raises(UnexpectedTensor):
        grown({"dit.head.head.weight": tensors["dit.head.head.weight"], "dit.more": torch.ones(1)}, tensors, Path("x"))
    with pytest.raises(MissingTensor):
        grown({"dit.head.head.weight": tensors["dit.head.head.weight"]}, tensors, Path("x"))


def test_only_what_is_named_learns(parent: tuple[Trainee, Path]) -> None:
    named = STAGES["camera_low"].only
    child = fresh(CAMERA, parent[1], learn=named)
    learning = {name for name, parameter in child.named_parameters() if parameter.requires_grad}
    assert learning == {
        name for name in child.state_dict() if name.startswith((ADAPTER, "dit.blocks.0.", "dit.blocks.1."))
    }
    before = {name: tensor.clone() for name, tensor in child.state_dict().items()}
    x, rays = torch.randn(1, 36, 2, 4, 6), torch.randn(1, 24, 2, 32, 48)
    working = optimisers(child, Recipe(member=CAMERA, learn=named))
    for _ in range(2):
        velocity, _ = child(x, torch.tensor([500.0]), torch.randn(1, 9, 192), rays)
        velocity.square().mean().backward()
        for optimiser in working:
            optimiser.step()
    changed = {name for name, tensor in child.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == learning


def test_a_head_that_does_not_learn_teaches_nothing() -> None:
    """An expert that is taken as it was published brings no auxiliary head along."""
    assert Recipe().aligned(0.5) == Recipe.alignment
    assert Recipe().aligned(0.9) == 0
    assert Recipe(learn=STAGES["camera_low"].only).aligned(0.5) == 0
    assert Recipe(learn=(ADAPTER, "head.")).aligned(0.5) == Recipe.alignment


def test_what_reads_many_numbers_that_are_alike_learns_slowly(parent: tuple[Trainee, Path]) -> None:
    """Adam moves every weight as far: a step on rays that are all 1 must not drown the token they are added to."""
    child = fresh(CAMERA, parent[1], learn=(ADAPTER,))
    (adam,) = optimisers(child, Recipe(member=CAMERA, learn=(ADAPTER,), rate=1e-3))
    conv = child.dit.control_adapter.conv
    rates = {id(p): group["lr"] for group in adam.param_groups for p in group["params"]}
    assert rates[id(conv.weight)] == pytest.approx(1e-3 * 256 / (24 * 64 * 4))
    assert rates[id(conv.bias)] == 1e-3
    rays = torch.ones(1, 24, 1, 32, 48)
    child.dit.control_adapter(rays).sum().backward()
    adam.step()
    added = child.dit.control_adapter(rays).abs().max()
    assert 0 < added < 0.5
