"""Every member becomes a directory that is recognised as what it is, and paints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from filmgate.camera.poses import CameraPath, format_poses
from filmgate.cli.main import program
from filmgate.engine.checkpoints.describe import describe, inspect
from filmgate.engine.checkpoints.packed import materialise, pack_directory
from filmgate.engine.models.umt5 import Umt5Encoder
from filmgate.engine.models.vae import WanVae
from filmgate.training.export import PAIR, write_directory
from filmgate.training.members import MEMBERS, Member, smoke_clip
from filmgate.training.records import save_tensors
from filmgate.training.text_encoder import initialise, text_config
from filmgate.training.trainee import Recipe, new_trainee

BROUGHT = {
    "i2v": [["--image", "first.png"], ["--image", "first.png", "--last-image", "last.png"]],
    "camera": [["--camera", "path.txt"], ["--camera", "path.txt", "--image", "first.png"]],
    "ti2v": [[], ["--image", "first.png"]],
    "t2v": [[]],
}


def written(member: Member, folder: Path) -> Path:
    """A member of random weights, of few layers and small frames."""
    member = replace(member, clip=smoke_clip(member), steps=2, dit=replace(member.dit, num_layers=2))
    torch.manual_seed(0)
    vae, text = WanVae(member.vae), Umt5Encoder(text_config(member.world))
    initialise(text)
    save_tensors(folder / "vae.safetensors", vae.state_dict())
    save_tensors(folder / "text.safetensors", text.state_dict())
    z = member.vae.z_dim
    save_tensors(folder / "latents.safetensors", {"latents_mean": torch.zeros(z), "latents_std": torch.ones(z)})
    experts = {name: [folder / f"{name}.safetensors"] for name in (PAIR if member.pair else ("dense",))}
    for number, (path,) in enumerate(experts.values()):
        recipe = Recipe(member=member, seed=number)
        model = new_trainee(recipe, [], torch.device("cpu"), compiled=False)
        for name, parameter in model.named_parameters():
            if "control_adapter" in name or name.startswith("dit.head"):
                torch.nn.init.normal_(parameter, std=0.02)
        save_tensors(path, model.state_dict())
    output = folder / member.name
    write_directory(
        member, folder / "vae.safetensors", folder / "text.safetensors", experts, folder / "latents.safetensors", output
    )
    return output


@pytest.mark.parametrize(
    "name", sorted(set(MEMBERS) - {"toybox-dense", "toybox-deep", "toybox-deep-i2v", "toybox-t2v"})
)
def test_members_are_recognised_and_paint(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    member = MEMBERS[name]
    if member.told.beside:  # rendering takes time, and two members do it in earnest
        monkeypatch.setattr("filmgate.training.export.colour_factors", lambda *_: ([[0.1] * 3] * 16, [0.0] * 3))
    directory = written(member, tmp_path)
    model = describe(directory)
    assert (model.id, model.task, model.variant) == (name, member.task, member.variant)
    assert model.compression.spatial == member.vae.spatial_factor
    assert len(model.experts) == (2 if member.pair else 1)
    facts = inspect(directory)
    assert facts.complete, str(facts)
    assert {network.task for network in facts.networks if network.kind == "transformer"} == {member.task}
    pack_directory(directory, tmp_path / "packed")
    assert describe(materialise(tmp_path / "packed", tmp_path / "cache")).task == member.task

    clip = smoke_clip(member)
    monkeypatch.chdir(tmp_path)
    for picture, colour in (("first.png", (200, 30, 30)), ("last.png", (20, 40, 220))):
        Image.new("RGB", (clip.width, clip.height), colour).save(picture)
    pose = np.broadcast_to(np.eye(3, 4), (clip.frames, 3, 4)).copy()
    pose[:, 0, 3] = np.linspace(0, 1, clip.frames)
    path = CameraPath(np.tile([[0.8, 0.8 * clip.width / clip.height, 0.5, 0.5]], (clip.frames, 1)), pose)
    Path("path.txt").write_text(format_poses(path))
    for number, brought in enumerate(BROUGHT[member.task]):
        result = CliRunner().invoke(
            program, ["generate", "a red ball", "--model", str(directory), *brought, "--output", f"{number}.mp4"]
        )
        assert result.exit_code == 0, result.output
        assert Path(f"{number}.mp4").stat().st_size > 0
