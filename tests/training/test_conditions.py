"""What members are told in training is what the engine tells them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from filmgate.camera.rays import packed_rays as engine_rays
from filmgate.engine.models.vae import WanVae
from filmgate.engine.pipeline.pictures import frames_beside, known_frames, to_tensor
from filmgate.spec.shape import VideoShape
from filmgate.training.conditions import (
    beside,
    distinct,
    held_now,
    known_mask,
    only_known,
    packed_rays,
    path_of,
    token_timesteps,
)
from filmgate.training.latents import Batch, LatentBuffer
from filmgate.training.members import CAMERA, I2V, SMALL_VAE, T2V, TI2V, TOYBOX_VAE
from filmgate.training.objective import flow_loss
from filmgate.training.records import save_tensors
from filmgate.training.trainee import Recipe, new_trainee
from filmgate.training.world.attributes import ClipFormat
from filmgate.training.world.catalogue import RICH
from filmgate.training.world.ground_truth import render_clips
from filmgate.training.world.render import Renderer
from filmgate.training.world.scenes import sample_scenes


@pytest.mark.parametrize("size", [(9, 32, 48), (9, 48, 32), (5, 36, 64)])
def test_rays_are_those_of_the_pose_file(size: tuple[int, int, int]) -> None:
    form = ClipFormat(*size)
    for clip in islice(render_clips(11, 2, form, RICH), 2):
        numbers = np.concatenate([clip.path.lenses, clip.path.world_to_camera.reshape(len(clip.path), 12)], 1)
        rays = packed_rays(torch.from_numpy(numbers).float()[None], *size[1:])
        expected = engine_rays(clip.path, VideoShape(frames=size[0], height=size[1], width=size[2]))
        np.testing.assert_allclose(rays[0].numpy(), expected, atol=3e-6)


def test_paths_are_those_of_the_pose_file() -> None:
    form = ClipFormat(5, 32, 48)
    (clip,) = render_clips(3, 1, form, RICH)
    scenes = sample_scenes(1, torch.Generator().manual_seed(3 * 1_000_003), world=RICH)
    path = path_of(Renderer(form)(scenes).camera, form.width / form.height)[0].double().numpy()
    np.testing.assert_allclose(path[:, :4], clip.path.lenses, atol=1e-6)
    np.testing.assert_allclose(path[:, 4:].reshape(-1, 3, 4), clip.path.world_to_camera, atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
@torch.no_grad()
def test_known_frames_are_the_engines(last: bool) -> None:
    torch.manual_seed(0)
    vae = WanVae(TOYBOX_VAE)
    pictures = np.random.default_rng(1).integers(0, 256, (9, 32, 48, 3), dtype=np.uint8)
    video, ends = to_tensor(pictures)[None], torch.tensor([last])
    raw = vae.encode_sequence(only_known(video, ends))[0]
    ours = beside(vae.normalise(raw), ends)[0]
    shape = VideoShape(frames=9, height=32, width=48)
    theirs = frames_beside(pictures[0], pictures[-1] if last else None, shape, vae)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    assert torch.equal(known_mask(ends, 3)[0], known_frames({0, 8} if last else {0}, 9, 4))


def test_only_models_with_a_timestep_per_token_hold_frames() -> None:
    generator = torch.Generator().manual_seed(0)
    assert not any(held_now(told, generator) for told in (T2V.told, I2V.told, CAMERA.told) for _ in range(9))
    assert 5 < sum(held_now(TI2V.told, generator) for _ in range(20)) < 15


def test_held_tokens_are_told_zero() -> None:
    steps = token_timesteps(torch.tensor([800.0, 30.0]), 3, 4, 6)
    assert steps.shape == (2, 3 * 2 * 3)
    assert not steps[:, :6].any()
    assert steps[:, 6:].unique(dim=1).tolist() == [[800.0], [30.0]]


def test_no_two_levels_of_a_batch_are_equal() -> None:
    sigma = torch.tensor([1.0] * 300 + [1e-4] * 212)
    moved = distinct(sigma)
    assert len((moved * 1000).unique()) == 512
    assert (moved - sigma).abs().max() < 1e-3
    assert moved.min() > 0
    assert moved.max() <= 1


@torch.no_grad()
def test_the_error_of_a_held_frame_does_not_count() -> None:
    model = new_trainee(Recipe(member=TI2V), [], torch.device("cpu"), compiled=False)  # a fresh head says 0
    scenes = sample_scenes(2, torch.Generator().manual_seed(0), world=RICH)
    latents, noise = torch.randn(2, 48, 3, 4, 6), torch.randn(2, 48, 3, 4, 6)
    batch = Batch(latents, torch.ones(2, 64).long(), torch.zeros(2, 18, 3), scenes.labels)
    error, _ = flow_loss(model, batch, torch.tensor([0.7, 0.2]), noise, torch.zeros(2, 4, 192), held=True)
    expected = (noise - latents)[:, :, 1:].square().mean((1, 2, 3, 4))
    torch.testing.assert_close(error, expected)


def test_the_small_vae_takes_the_place_of_wan_2_2s() -> None:
    assert (SMALL_VAE.spatial_factor, SMALL_VAE.temporal_factor, SMALL_VAE.z_dim) == (16, 4, 48)
    assert TI2V.clip.width * TI2V.clip.height > 3 * T2V.clip.width * T2V.clip.height
    assert TI2V.clip.fps > T2V.clip.fps


def test_a_share_of_the_buffer_has_known_frames_and_all_clips_that_are_judged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_tensors(tmp_path / "vae.safetensors", WanVae(TOYBOX_VAE).state_dict())
    form = ClipFormat(5, 32, 48)
    buffer = LatentBuffer(
        tmp_path / "vae.safetensors", torch.device("cpu"), 64, clip=form, seed=1, chunk=64, compiled=False, world=RICH,
        member=I2V,
    )  # fmt: skip
    buffer.add_chunk()
    buffer.settle()
    assert buffer.shown.sum() == 32
    buffer.save(tmp_path / "kept.safetensors")
    drawn = buffer.batch(200, torch.Generator().manual_seed(0)).beside
    assert drawn is not None
    told = drawn[:, :4].amax((1, 2, 3, 4))
    assert 0.3 < told.mean() < 0.7
    assert not drawn[told == 0].any()
    assert (drawn[told == 1][:, :4, 0] == 1).all()
    again = LatentBuffer(
        tmp_path / "vae.safetensors", torch.device("cpu"), 64, clip=form, seed=2, chunk=64, compiled=False, world=RICH,
        member=I2V,
    )  # fmt: skip
    again.load([tmp_path / "kept.safetensors"])
    same = again.batch(200, torch.Generator().manual_seed(0)).beside
    assert same is not None
    assert torch.equal(same, drawn)
    judged = buffer.fresh(64, 9).beside
    assert judged is not None
    assert (judged[:, :4, 0] == 1).all()
